package deliver

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

const (
	runningLine = `{"kind":"ec2_instance","id":"i-1","account":"prod","account_id":"222222222222","partition":"aws",` +
		`"region":"us-east-1",` +
		`"name":"web","tags":{"team.name":"a<b","env":"prod"},"extra_tags":{"cost":"1"},"run":"R",` +
		`"collected_at":"2026-11-21T22:15:03Z",` +
		`"data":{"InstanceId":"i-1","State":{"Name":"running"},"Big":12345678901234567890,` +
		`"LaunchTime":"2026-11-01T00:00:00Z"}}` + "\n"
	stoppedLine = `{"kind":"ec2_instance","id":"i-2","account":"prod","region":"us-east-1","tags":{},"extra_tags":{},` +
		`"run":"R","collected_at":"2026-11-21T22:15:03Z","data":{"State":{"Name":"stopped"}}}` + "\n"
)

// A memoryOutput keeps the lines that it gets.
type memoryOutput struct {
	mu    sync.Mutex
	lines bytes.Buffer
	fails error
}

func (s *memoryOutput) Send(_ context.Context, b outputs.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return s.fails
	}
	s.lines.Write(b.Lines)
	return nil
}

func (*memoryOutput) Flush(context.Context) error { return nil }
func (*memoryOutput) Close(context.Context) error { return nil }

// has returns and clears the ids that arrived: a change with its operation, an end of a target as state and record
// count.
func (s *memoryOutput) has(t *testing.T) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for l, err := range outputs.Lines(s.lines.Bytes()) {
		switch {
		case err != nil:
			t.Fatal(err)
		case l.Target != "":
			all = append(all, string(l.State)+"="+string(rune('0'+l.Records)))
		case l.Change != "":
			all = append(all, l.Change+":"+l.ID)
		default:
			all = append(all, l.ID)
		}
	}
	s.lines.Reset()
	return strings.Join(all, " ")
}

// changesOnly is a store with changes and targets alone.
type changesOnly struct {
	inventory.Reader
	*fakeChanges
}

func (c changesOnly) Changes(
	ctx context.Context, q inventory.Query, after time.Time,
) iter.Seq2[inventory.Change, error] {
	return c.fakeChanges.Changes(ctx, q, after)
}

func (c changesOnly) Targets(ctx context.Context) iter.Seq2[inventory.Coverage, error] {
	return c.fakeChanges.Targets(ctx)
}

func TestSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, dir := new(fakeChanges), t.TempDir()
		outputsByName := map[string]*memoryOutput{"records": {}, "changes": {}, "both": {}, "spooled": {}}
		types := []outputs.Type{{
			Name: "memory", Options: func() any { return &outputs.Common{} }, Direct: true,
			Key: func(o any) string { return o.(*outputs.Common).Name },
			Open: func(_ context.Context, o any, _ outputs.Deps) (outputs.Output, error) {
				return outputsByName[o.(*outputs.Common).Name], nil
			},
		}}
		open := func(deps outputs.Deps, edit func(*outputs.Common)) (*Set, *Fan) {
			set := NewSet(types, deps)
			var specs []Spec
			for _, c := range []*outputs.Common{
				{Name: "records", Ends: true}, {Name: "changes", Send: outputs.SendChanges},
				{Name: "both", Send: outputs.SendBoth, Ends: true},
				{Name: "spooled", Send: outputs.SendBoth, Spool: &outputs.Spool{}},
			} {
				if edit != nil {
					edit(c)
				}
				specs = append(specs, Spec{Type: "memory", Options: c})
			}
			fan, err := set.Open(t.Context(), specs)
			if err != nil {
				t.Fatal(err)
			}
			return set, fan
		}
		var log bytes.Buffer
		deps := outputs.Deps{
			Store: changesOnly{nil, h}, Log: slog.New(slog.NewTextHandler(&log, nil)),
			CursorDir: filepath.Join(dir, "cursors"), SpoolDir: filepath.Join(dir, "spools"),
			Kind: func(string) record.KindInfo { return record.KindInfo{State: []string{"State", "State.Name"}} },
		}
		want := func(step string, ids map[string]string) {
			t.Helper()
			for name, s := range outputsByName {
				if got := s.has(t); got != ids[name] {
					t.Errorf("%s: %s has %q, want %q", step, name, got, ids[name])
				}
			}
		}
		target := record.Target{Account: "prod", Region: "us-east-1", Kind: "ec2_instance"}
		run := func(fan *Fan) {
			b := outputs.Batch{ID: "b", Target: target, Run: "R", N: 2, Lines: []byte(runningLine + stoppedLine)}
			if err := fan.Send(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			if err := fan.End(t.Context(), record.Outcome{Target: target, Run: "R", State: record.OK, Records: 2}); err != nil {
				t.Fatal(err)
			}
		}

		set, fan := open(deps, nil)
		time.Sleep(time.Second)
		h.add("i-1")
		run(fan)
		time.Sleep(5 * time.Second)
		want("a run", map[string]string{
			"records": "i-1 i-2 ok=2", "changes": "added:i-1",
			"both": "i-1 i-2 ok=2 added:i-1", "spooled": "i-1 i-2 added:i-1",
		})

		// A reload adds a filter. Filtered records are neither counted at the end of the target nor lost. The feeds continue.
		var specs []Spec
		for _, m := range fan.outputs {
			c := *m.options.(*outputs.Common)
			c.Where = "state=running"
			specs = append(specs, Spec{Type: "memory", Options: &c})
		}
		next, err := set.Open(t.Context(), specs)
		if err != nil {
			t.Fatal(err)
		}
		if err := fan.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.add("i-9") // not running
		run(next)
		time.Sleep(5 * time.Second)
		want("with a filter", map[string]string{"records": "i-1 ok=1", "both": "i-1 ok=1", "spooled": "i-1"})

		// Close sends the last changes. The next start sends those that Close could not send.
		outputsByName["changes"].fails = errors.New("no")
		if next, err = set.Open(t.Context(), specs[:0]); err != nil {
			t.Fatal(err)
		}
		_ = next
		if err := set.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		outputsByName["changes"].fails = nil
		set, _ = open(deps, nil)
		synctest.Wait() // for the first catchUp of each feed
		h.add("i-10")
		outputsByName["changes"].fails = errors.New("no")
		err = set.Close(t.Context())
		if err == nil || !strings.Contains(err.Error(), "send the last changes (the next start sends them)") {
			t.Errorf("a close that could not send: %v", err)
		}
		outputsByName["changes"].fails = nil
		want("the end", map[string]string{"both": "added:i-10", "spooled": "added:i-10"})
		set, _ = open(deps, func(c *outputs.Common) { c.Where = "" })
		time.Sleep(time.Second)
		want("the next start", map[string]string{"changes": "added:i-10"})
		if err := set.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSendNeedsStore(t *testing.T) {
	types := []outputs.Type{{
		Name: "memory", Options: func() any { return &outputs.Common{} }, Direct: true,
		Open: func(context.Context, any, outputs.Deps) (outputs.Output, error) { return &memoryOutput{}, nil },
	}}
	specs := []Spec{{Type: "memory", Options: &outputs.Common{Send: outputs.SendChanges}, Line: 7}}
	_, err := NewSet(types, outputs.Deps{}).Open(t.Context(), specs)
	if err == nil || !strings.Contains(err.Error(), "line 7: output memory: send: changes needs a store") {
		t.Errorf("%v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cursors"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	deps := outputs.Deps{Store: changesOnly{nil, new(fakeChanges)}, CursorDir: filepath.Join(dir, "cursors")}
	if _, err = NewSet(types, deps).Open(t.Context(), specs); err == nil {
		t.Error("a file was accepted as the folder of cursors")
	}
}
