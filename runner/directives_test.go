package runner

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/record"
)

func openDirectives(t *testing.T, path string) *Directives {
	t.Helper()
	d, err := OpenDirectives(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What people decided survives a restart, also one right after it.
func TestDirectivesSurvive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "directives.json")
	evil := "a\x00<b>\u202e\n"
	at := time.Now().UTC()
	denied := record.Outcome{
		Target: record.Target{Account: evil, Region: "us-east-1", Kind: "ec2_volume"},
		State:  record.Denied, Reason: record.AccessDenied,
	}
	d := openDirectives(t, path)
	none := func(*Acknowledgement) bool { return false }
	if err := errors.Join(d.Pause(evil, Directive{"alice", at, evil}), d.Pause(evil, Directive{"bob", at, ""}),
		d.Pause("other", Directive{By: "bob", At: at}), d.Resume("other"), d.Resume("nobody"),
		d.Acknowledge(Acknowledgement{Account: evil, Reason: record.AccessDenied, Directive: Directive{By: "carol", At: at}},
			none)); err != nil {
		t.Fatal(err)
	}
	again := openDirectives(t, path)
	if p := again.Paused(evil); p == nil || *p != (Directive{"alice", at, evil}) {
		t.Errorf("after a restart: %+v", p)
	}
	if p := again.Paused("other"); p != nil {
		t.Errorf("a resumed account is paused: %+v", p)
	}
	if a := again.Acknowledged(&denied, time.Time{}); a == nil || a.By != "carol" {
		t.Errorf("acknowledged: %+v", a)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v %v", info, err)
	}
}

// An acknowledgement covers a failure until the target was listed completely, or fails for another reason.
func TestAcknowledged(t *testing.T) {
	at := time.Now()
	target := record.Target{Account: "prod", Region: "us-east-1", Kind: "ec2_volume"}
	denied := record.Outcome{State: record.Denied, Reason: record.AccessDenied}
	expected := denied
	expected.Expected = true
	for name, c := range map[string]struct {
		region, kind string
		outcome      record.Outcome
		lastSuccess  time.Time
		covered      bool
	}{
		"never complete":     {"", "", denied, time.Time{}, true},
		"complete before":    {"", "", denied, at.Add(-1), true},
		"complete since":     {"", "", denied, at.Add(1), false},
		"its region, kind":   {"us-east-1", "ec2_volume", denied, at, true},
		"another region":     {"eu-west-1", "", denied, at, false},
		"another kind":       {"", "ec2_instance", denied, at, false},
		"another reason":     {"", "", record.Outcome{State: record.Throttled, Reason: record.Throttling}, at, false},
		"no failure":         {"", "", record.Outcome{State: record.OK}, at, false},
		"expected, so known": {"", "", expected, at, false},
	} {
		d := openDirectives(t, "")
		if err := d.Acknowledge(Acknowledgement{
			Account: "prod", Region: c.region, Kind: c.kind, Reason: record.AccessDenied, Directive: Directive{At: at},
		}, nil); err != nil {
			t.Fatal(err)
		}
		c.outcome.Target = target
		if got := d.Acknowledged(&c.outcome, c.lastSuccess) != nil; got != c.covered {
			t.Errorf("%s: covered is %t", name, got)
		}
	}
	var none *Directives
	if none.Paused("prod") != nil || none.Acknowledged(&record.Outcome{State: record.Denied}, at) != nil {
		t.Error("no directives say something")
	}
}

// Acknowledgements do not accumulate: a new one replaces the same one, and those that are obsolete.
func TestAcknowledgementsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "directives.json")
	d := openDirectives(t, path)
	for i := range 50 {
		a := Acknowledgement{Account: "prod", Region: string(rune('a' + i%5)), Reason: record.AccessDenied}
		if err := d.Acknowledge(a, func(old *Acknowledgement) bool { return old.Region == "a" }); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), `"account"`) != 4 {
		t.Errorf("%s %v", text, err)
	}
}

// A decision that cannot be saved is not made, and says what to do. A damaged file is kept, and nothing is paused.
func TestDirectivesNotSaved(t *testing.T) {
	dir := t.TempDir()
	d := openDirectives(t, filepath.Join(dir, "gone", "directives.json"))
	err := d.Pause("prod", Directive{By: "alice"})
	if !errors.Is(err, fs.ErrNotExist) || record.HintOf(err) == "" || d.Paused("prod") != nil {
		t.Errorf("%v, hint %q, paused %v", err, record.HintOf(err), d.Paused("prod"))
	}
	path := filepath.Join(dir, "directives.json")
	if err := os.WriteFile(path, []byte(`{"version":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	if _, err := ReadDirectives(path); err == nil || !strings.Contains(err.Error(), "unknown version 2") {
		t.Errorf("a reader: %v", err)
	}
	d, err = OpenDirectives(path, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil || d.Paused("prod") != nil || !strings.Contains(log.String(), "moved_to="+path+".damaged") {
		t.Errorf("%v, log %s", err, &log)
	}
}
