package outputs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// feedKillTestEnv is the variable that makes this test's binary a process that sends changes until it is killed: folder and URL.
const feedKillTestEnv = "OUTPUTS_TEST_FEED_VICTIM"

// A past is a store with one commit of many changes, and one of a few after it.
type endlessChanges struct {
	inventory.Reader // the questions that nobody asks here
	n                int
}

func (p endlessChanges) Targets(context.Context) iter.Seq2[inventory.Coverage, error] {
	return func(func(inventory.Coverage, error) bool) {}
}

func (p endlessChanges) id(i int) string { return fmt.Sprintf("i-%05d", i) }

func (p endlessChanges) Changes(_ context.Context, _ inventory.Query, after time.Time) iter.Seq2[inventory.Change, error] {
	first := time.Date(2026, 11, 1, 0, 0, 0, 123_000, time.UTC)
	return func(yield func(inventory.Change, error) bool) {
		for i := range p.n {
			at := first
			if i >= p.n-10 {
				at = first.Add(time.Microsecond)
			}
			if !at.After(after) {
				continue
			}
			r := &inventory.Resource{Record: record.Record{Kind: "ec2_instance", ID: p.id(i), Name: strings.Repeat("x", 2000)}}
			if !yield(inventory.Change{Op: inventory.WasAdded, At: at, After: r}, nil) {
				return
			}
		}
	}
}

func runFeedKillTest(args string) error {
	dir, url, _ := strings.Cut(args, "|")
	s := outputs.NewSet([]outputs.Type{{Name: "post", Direct: true, Open: func(context.Context, any, outputs.Deps) (outputs.Output, error) { return postOutput{url}, nil }}},
		outputs.Deps{Log: slog.New(slog.DiscardHandler), Store: endlessChanges{n: 3000}, CursorDir: dir})
	if _, err := s.Open(context.Background(), []outputs.Spec{{Type: "post", Options: &remoteOptions{Common: outputs.Common{Name: "hook", Send: "changes"}}}}); err != nil {
		return err
	}
	select {}
}

// A feed is killed at each of its requests, after the receiver has it and before it answers: what comes twice is that request.
func TestKillOfAFeed(t *testing.T) {
	exe, err := os.Executable()
	noErr(t, err)
	dir := t.TempDir()
	noErr(t, os.WriteFile(filepath.Join(dir, "hook.cursor"), []byte("2026-10-01T00:00:00Z\n"), 0o600)) // all of it is news
	var (
		mu      sync.Mutex
		got     = map[string]int{}
		largest int
		kill    func() // nil: it is let live
		all     = make(chan struct{})
	)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // its sender was killed
		}
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for line := range strings.Lines(string(body)) {
			var c struct{ ID string }
			if err := json.Unmarshal([]byte(line), &c); err != nil {
				t.Errorf("%q: %v", line, err)
			}
			got[c.ID]++
			n++
		}
		largest = max(largest, n)
		if k := kill; k != nil && len(got) > 100 {
			kill = nil
			k()
			return
		}
		if len(got) == 3000 {
			select {
			case <-all:
			default:
				close(all)
			}
		}
	}))
	defer server.Close()
	start := func() *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), exe)
		cmd.Env = append(os.Environ(), feedKillTestEnv+"="+dir+"|"+server.URL)
		cmd.Stderr = os.Stderr
		noErr(t, cmd.Start())
		return cmd
	}
	const kills = 6
	for n := range kills {
		killed := make(chan struct{})
		requests := 0
		mu.Lock()
		var die func()
		die = func() {
			if requests++; requests <= n%3 { // later, at another request
				kill = die
				return
			}
			close(killed)
		}
		kill = die
		mu.Unlock()
		cmd := start()
		select {
		case <-killed:
		case <-all:
		}
		noErr(t, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
	}
	mu.Lock()
	kill = nil
	mu.Unlock()
	cmd := start()
	<-all
	noErr(t, cmd.Process.Kill())
	_ = cmd.Wait()
	mu.Lock()
	defer mu.Unlock()
	twice := 0
	for _, n := range got {
		twice += n - 1
	}
	t.Logf("%d changes, %d of them twice; the largest request had %d", len(got), twice, largest)
	if len(got) != 3000 || largest > 300 || twice > (kills+1)*largest {
		ids := slices.Sorted(func(yield func(string) bool) {
			for id := range got {
				if !yield(id) {
					return
				}
			}
		})
		t.Errorf("%d changes (%v…), %d twice, %d in the largest request", len(got), ids[:min(3, len(ids))], twice, largest)
	}
}
