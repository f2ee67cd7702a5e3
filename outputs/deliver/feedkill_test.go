package deliver_test

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
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/record"
)

// feedKillTestEnv makes this test binary send changes until it is killed. Its value is a folder and a URL.
const feedKillTestEnv = "OUTPUTS_TEST_FEED_VICTIM"

// endlessChanges is a store with one commit of many changes, and one of ten changes after it.
type endlessChanges struct {
	inventory.Reader // other methods are not called
	n                int
}

func (p endlessChanges) Targets(context.Context) iter.Seq2[inventory.Coverage, error] {
	return func(func(inventory.Coverage, error) bool) {}
}

func (p endlessChanges) id(i int) string { return fmt.Sprintf("i-%05d", i) }

func (p endlessChanges) Changes(
	_ context.Context, _ inventory.Query, after time.Time,
) iter.Seq2[inventory.Change, error] {
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
	post := outputs.Type{
		Name: "post", Direct: true,
		Open: func(context.Context, any, outputs.Deps) (outputs.Output, error) { return postOutput{url}, nil },
	}
	options := &remoteOptions{Common: outputs.Common{Name: "hook", Send: "changes"}}
	s := deliver.NewSet([]outputs.Type{post},
		outputs.Deps{Log: slog.New(slog.DiscardHandler), Store: endlessChanges{n: 3000}, CursorDir: dir})
	if _, err := s.Open(context.Background(), []deliver.Spec{{Type: "post", Options: options}}); err != nil {
		return err
	}
	select {}
}

// A feed is killed during its requests, after the receiver has the request and before it answers. Each kill repeats
// that request at most.
func TestFeedKill(t *testing.T) {
	exe, err := os.Executable()
	noErr(t, err)
	dir := t.TempDir()
	cursor := []byte("2026-10-01T00:00:00Z\n") // before all changes
	noErr(t, os.WriteFile(filepath.Join(dir, "hook.cursor"), cursor, 0o600))
	var (
		mu      sync.Mutex
		got     = map[string]int{}
		largest int
		kill    func() // nil: do not kill
		all     = make(chan struct{})
	)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the sender was killed
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
