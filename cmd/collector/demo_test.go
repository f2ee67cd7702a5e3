package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/outputs/file"
	"github.com/aws-collector/collector/record"
)

// The demo's configuration causes no warning, and its outputs keep their files small.
func TestDemoConfiguration(t *testing.T) {
	scene := awsfake.Demo(awsfake.Options{Seed: 1})
	d := &demo{
		cli:   newCLI("", io.Discard, io.Discard),
		scene: scene, receiver: &receiver{addr: "127.0.0.1:1"},
		options: demoOptions{every: time.Minute}, dir: filepath.Join(t.TempDir(), `a "b" \c`), pageURL: "http://127.0.0.1:2",
	}
	if err := d.makeDir(); err != nil {
		t.Fatal(err)
	}
	loaded, err := configOf(d.path("config.yaml")).Load(t.Context())
	if err != nil || len(loaded.Warnings) > 0 {
		t.Fatalf("%v, warnings %q", err, loaded.Warnings)
	}
	files, total := 0, int64(0)
	for _, o := range loaded.File.Outputs {
		f, ok := o.Options.(*file.Options)
		if !ok {
			continue
		}
		if files++; f.Rotate.MaxBytes == 0 || f.Rotate.Keep == 0 {
			t.Errorf("%s grows without a limit", f.Path)
		}
		total += int64(f.Rotate.MaxBytes) * int64(1+f.Rotate.Keep)
	}
	if files != 2 || total > 16<<20 {
		t.Errorf("%d files of at most %d bytes", files, total)
	}
	for _, o := range loaded.File.Accounts {
		if slices.Contains([]string{"payments", "audit"}, o.Name) && o.SerialNumber == "" {
			t.Errorf("%s uses no MFA", o.Name)
		}
	}
}

// The demo takes another port if the default one is in use, but not if a person chose it.
func TestDemoListener(t *testing.T) {
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	o := demoOptions{listen: used.Addr().String()}
	if l, err := o.openListener(t.Context()); err == nil {
		l.Close()
		t.Error("it listens at an address that is in use")
	}
	o.anyPort = true
	l, err := o.openListener(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// The simulated past is one that the collector could have seen: resources come, change and go, failures begin and end,
// and runs say so. What the collector lists after its start continues it without a difference.
func TestDemoHistory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	const days = 7
	begun := time.Now()
	r := demoStore(t, dir, begun, "--accounts", "30", "--days", strconv.Itoa(days), "--every", "5m")
	first := begun.AddDate(0, 0, -days).Truncate(time.Hour)
	counts := map[string]int{}
	for c, err := range r.Changes(t.Context(), inventory.Query{}, first.Add(time.Minute)) {
		if err != nil {
			t.Fatal(err)
		}
		counts[c.Op]++
		terminated := c.Op == inventory.WasGone && c.Before.Ended == inventory.Terminated // an hour ago, at any time
		if c.At.After(begun) && !terminated {
			t.Errorf("the first run finds %s %s %s", c.Resource().Kind, c.Resource().ID, c.Op)
		}
	}
	if counts[inventory.WasAdded] < 20 || counts[inventory.WasChanged] < 20 || counts[inventory.WasGone] < 2 {
		t.Errorf("changes: %v", counts)
	}
	since := map[record.State]time.Duration{}
	for c, err := range r.Targets(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case c.Account == "sandbox" && c.Region == "eu-west-1", c.Account == "legacy":
			since[c.State] = begun.Sub(c.StateSince).Round(time.Hour)
			if c.State == record.AuthFailed && c.Region == "us-east-1" && c.Kind == "ec2_instance" && c.Resources == 0 {
				t.Error("no instance of legacy is known from before its failure")
			}
		case c.Account == "web" && c.State != record.OK:
			t.Errorf("%v is still %s", c.Target, c.State)
		}
	}
	if hour := time.Hour; since[record.Denied] < (days*24-1)*hour || since[record.AuthFailed] < (6*24-1)*hour {
		t.Errorf("failures last for %v", since)
	}
	statuses := map[record.Status]int{}
	for x, err := range r.Runs(t.Context(), inventory.RunQuery{Accounts: []string{"web"}}) {
		if err != nil {
			t.Fatal(err)
		}
		statuses[x.Status]++
		if x.Status == record.RunPartial && (len(x.Causes) != 1 || x.Causes[0].Region != "us-west-2") {
			t.Errorf("causes of web: %+v", x.Causes)
		}
	}
	if statuses[record.Success] < 30 || statuses[record.RunPartial] < 4 {
		t.Errorf("runs of web: %v", statuses)
	}
}

// demoStore runs the demo until it has listed everything once after its start, and returns its store.
func demoStore(t *testing.T, dir string, begun time.Time, flags ...string) inventory.Store {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	go func() {
		defer stop()
		for ctx.Err() == nil && !listedSince(ctx, dir, begun) {
			time.Sleep(100 * time.Millisecond)
		}
	}()
	args := append([]string{"demo", "--listen", "127.0.0.1:0", "--dir", dir}, flags...)
	if err := run(ctx, args, func(string) string { return "" }, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	r, err := sqlite.OpenReader(t.Context(), store.Path(filepath.Join(dir, "data")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// listedSince reports whether every target was listed since a time.
func listedSince(ctx context.Context, dir string, begun time.Time) bool {
	r, err := sqlite.OpenReader(ctx, store.Path(filepath.Join(dir, "data")))
	if err != nil {
		return false
	}
	defer r.Close()
	n := 0
	for c, err := range r.Targets(ctx) {
		if err != nil || c.Ended.Before(begun) {
			return false
		}
		n++
	}
	return n > 0
}

// Without a terminal, the demo prints lines: an introduction, the log without a warning about the configuration, and
// one line at its end. It removes its directory, or says what is there.
func TestDemoPrintsLines(t *testing.T) {
	for name, keep := range map[string]bool{"temporary": false, "a directory": true} {
		t.Run(name, func(t *testing.T) {
			temporary, kept := t.TempDir(), filepath.Join(t.TempDir(), "demo")
			t.Setenv("TMPDIR", temporary)
			args := []string{
				"demo", "--accounts", "15", "--days", "0", "--for", "3s", "--every", "30s", "--listen", "127.0.0.1:0",
			}
			if keep {
				args = append(args, "--dir", kept)
			}
			var stdout, stderr bytes.Buffer
			if err := run(t.Context(), args, func(string) string { return "" }, &stdout, &stderr); err != nil {
				t.Fatal(err)
			}
			text := stderr.String()
			lines := strings.Split(strings.TrimSpace(text), "\n")
			end := regexp.MustCompile(
				`^The demo ran for (\d+m )?\d+s: 1[04] accounts, \d+ resources, \d problems\. Records and database `)
			if last := lines[len(lines)-1]; !end.MatchString(last) || strings.Count(text, "The demo ran") != 1 {
				t.Errorf("it ends with %q", last)
			}
			if !strings.HasPrefix(text, "A fake AWS listens at http://127.0.0.1:") || !strings.Contains(text, "  web page ") {
				t.Errorf("it begins with %q", lines[0])
			}
			checkDemoLines(t, text)
			if strings.ContainsAny(text, "\x1b") || stdout.Len() > 0 {
				t.Errorf("controls or data: %q", stdout.String())
			}
			left, err := os.ReadDir(temporary)
			if err != nil || len(left) > 0 {
				t.Errorf("left in the temporary directory: %v, %v", left, err)
			}
			for _, file := range []string{"config.yaml", "records.jsonl", "changes.jsonl", "data/collector.db"} {
				if _, err := os.Stat(filepath.Join(kept, file)); keep == (err != nil) {
					t.Errorf("%s: %v", file, err)
				}
			}
		})
	}
}

// Stopped while it simulates the past, the demo says so and removes its files.
func TestDemoStoppedBeforeItsFirstRun(t *testing.T) {
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	ctx, stop := context.WithCancel(t.Context())
	stderr := &stopWriter{at: "Simulating 2 days", stop: stop}
	args := []string{"demo", "--accounts", "15", "--days", "2", "--listen", "127.0.0.1:0"}
	err := run(ctx, args, func(string) string { return "" }, io.Discard, stderr)
	want := "\nThe demo was stopped before its first run. Records and database were removed; --dir keeps them.\n"
	if text := stderr.text.String(); err != nil || !strings.HasSuffix(text, want) {
		t.Errorf("%v, it ends with %q", err, text[max(0, len(text)-200):])
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
}

// A stopWriter calls stop when it has got a text.
type stopWriter struct {
	text bytes.Buffer
	at   string
	stop func()
}

func (w *stopWriter) Write(b []byte) (int, error) {
	n, err := w.text.Write(b) // printers may write a text in parts
	if strings.Contains(w.text.String(), w.at) {
		w.stop()
	}
	return n, err
}

// checkDemoLines finds lines that the demo must not print when it prints lines.
func checkDemoLines(t *testing.T, text string) {
	t.Helper()
	unwanted := []string{"configuration warning", "ACCOUNT "}
	if !strings.Contains(text, "drain_timeout of 25s is over") { // a slow machine with the race detector needs longer
		unwanted = append(unwanted, "reason=drain", "reason=interrupted")
	}
	for _, no := range unwanted {
		if strings.Contains(text, no) {
			t.Errorf("it prints %q:\n%s", no, text)
		}
	}
}
