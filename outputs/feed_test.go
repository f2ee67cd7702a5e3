package outputs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A log of changes, as a store has it.
type happened struct {
	mu    sync.Mutex
	all   []inventory.Change
	ended time.Time // of the last target
	down  error
}

func (h *happened) add(id string) { h.at(id, time.Now().UTC()) }

func (h *happened) at(id string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, inventory.Change{What: inventory.WasAdded, At: at,
		After: &inventory.Resource{Record: record.Record{Kind: "ec2_instance", ID: id, Name: strings.Repeat("x", 1000)}}})
}

func (h *happened) Targets(context.Context) iter.Seq2[inventory.Coverage, error] {
	return func(yield func(inventory.Coverage, error) bool) {
		h.mu.Lock()
		ended, down := h.ended, h.down
		h.mu.Unlock()
		if down != nil {
			yield(inventory.Coverage{}, down)
		} else if !ended.IsZero() {
			yield(inventory.Coverage{Outcome: record.Outcome{Ended: ended}}, nil)
		}
	}
}

func (h *happened) Changes(_ context.Context, q inventory.Query, after time.Time) iter.Seq2[inventory.Change, error] {
	h.mu.Lock()
	all := slices.Clone(h.all)
	h.mu.Unlock()
	return func(yield func(inventory.Change, error) bool) {
		for _, c := range all {
			if ok, err := q.Where.Match(c.After); c.At.After(after) && ok && err == nil && !yield(c, nil) {
				return
			}
		}
	}
}

// A taker is an output's side of a feed; what is not flushed yet is not safe.
type taker struct {
	mu     sync.Mutex
	fails  error
	got    []string
	safe   int
	sizes  []int
	broken error
}

func (k *taker) send(_ context.Context, b Batch) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fails != nil {
		return k.fails
	}
	k.sizes = append(k.sizes, len(b.Lines))
	for l, err := range Lines(b.Lines) {
		if err != nil || l.Change != inventory.WasAdded {
			k.broken = errors.Join(k.broken, fmt.Errorf("%q is no change: %w", l.Raw, err))
			continue
		}
		k.got = append(k.got, l.ID)
	}
	return nil
}

func (k *taker) flush(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.safe = len(k.got)
	return nil
}

func (k *taker) ids() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.got[:k.safe], " ")
}

func openFeed(t *testing.T, dir string, h *happened, k *taker, log *slog.Logger) *feed {
	t.Helper()
	f, err := newFeed(t.Context(), "hook", dir, "", h, log)
	if err != nil {
		t.Fatal(err)
	}
	f.send, f.flush = k.send, k.flush
	if err := f.save(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var log bytes.Buffer
		h, k := new(happened), new(taker)
		h.add("before")
		time.Sleep(time.Hour)
		f := openFeed(t, dir, h, k, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { f.run(ctx) })
		time.Sleep(time.Millisecond)
		h.add("a")
		h.add("b") // of one commit
		f.nudge()
		time.Sleep(2 * feedSoon)
		if got := k.ids(); got != "a b" {
			t.Errorf("after a target's end: %q, want what happened since the output is there", got)
		}
		h.add("c") // nobody says so: an account was retired
		time.Sleep(2 * feedIdle)
		if got := k.ids(); got != "a b c" {
			t.Errorf("after a while: %q", got)
		}
		k.fails = errors.New("the receiver is down")
		for i := range 20 {
			h.add(fmt.Sprint("d", i))
			f.nudge()
			time.Sleep(time.Minute)
		}
		if n := strings.Count(log.String(), "changes cannot be sent"); n != 1 {
			t.Errorf("its trouble was said %d times:\n%s", n, log.String())
		}
		stop()
		wg.Wait()

		// A new process goes on where the last one was.
		k.fails = nil
		f = openFeed(t, dir, h, k, slog.New(slog.DiscardHandler))
		if err := f.catchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := k.ids(); !strings.HasPrefix(got, "a b c d0 d1 ") || !strings.HasSuffix(got, " d19") || len(k.got) != 23 {
			t.Errorf("after a restart: %q", got)
		}
		if err := f.catchUp(t.Context()); err != nil || len(k.got) != 23 {
			t.Errorf("%v: %d changes; nothing has happened since", err, len(k.got))
		}
		if k.broken != nil {
			t.Error(k.broken)
		}
	})
}

// A first load is one commit of many changes: it goes out in batches, and the cursor moves once.
func TestFeedOfALargeCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := new(happened), new(taker)
		f := openFeed(t, t.TempDir(), h, k, slog.New(slog.DiscardHandler))
		time.Sleep(time.Second)
		for i := range 1000 {
			h.add(fmt.Sprint(i))
		}
		f.where = "id ~ 9*"
		if err := f.catchUp(t.Context()); err != nil || len(k.got) != 111 {
			t.Fatalf("%v: %d changes, want the 111 that the condition names", err, len(k.got))
		}
		f.where, f.after = "", f.after.Add(-time.Second)
		k.got, k.sizes = nil, nil
		if err := f.catchUp(t.Context()); err != nil || len(k.got) != 1000 {
			t.Fatalf("%v: %d changes", err, len(k.got))
		}
		if len(k.sizes) < 4 || slices.Max(k.sizes) > feedBytes+2<<10 {
			t.Errorf("batches of %v bytes", k.sizes)
		}
	})
}

// A cursor is the store's instant. What the clock of this machine says is nothing to it.
func TestFeedGoesByTheStoresClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		open := func(dir string, h *happened) (*feed, *taker) {
			k := new(taker)
			return openFeed(t, dir, h, k, slog.New(slog.NewTextHandler(&log, nil))), k
		}
		sent := func(what string, f *feed, k *taker, want string) {
			t.Helper()
			if err := f.catchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := k.ids(); got != want {
				t.Errorf("%s: %q was sent, want %q", what, got, want)
			}
		}

		// The store's clock is behind ours: what it sees right after the output is new has an instant before that.
		behind, dir := new(happened), t.TempDir()
		behind.at("old", time.Now().Add(-2*time.Hour))
		f, k := open(dir, behind)
		behind.at("new", time.Now().Add(-time.Hour))
		sent("a store that is behind", f, k, "new")

		// It is ahead, as after this machine's clock went back: what it has is not new.
		ahead := &happened{ended: time.Now().Add(90 * time.Minute)}
		ahead.at("old", time.Now().Add(time.Hour))
		f, k = open(t.TempDir(), ahead)
		ahead.at("new", time.Now().Add(2*time.Hour))
		sent("a store that is ahead", f, k, "new")
		f, k = open(filepath.Dir(f.cursor), ahead)
		ahead.at("newer", time.Now().Add(3*time.Hour))
		sent("and after a restart", f, k, "newer")
		if log.Len() > 0 {
			t.Errorf("nothing is wrong:\n%s", log.String())
		}

		// Another database takes its place.
		other := new(happened)
		f, k = open(filepath.Dir(f.cursor), other)
		sent("an empty store", f, k, "")
		other.at("first", time.Now().Add(time.Minute))
		sent("another database", f, k, "first")
		if !strings.Contains(log.String(), "another database") {
			t.Errorf("it was not said:\n%s", log.String())
		}

		// A store that cannot say is asked again.
		down := &happened{down: errors.New("the disk is away")}
		down.at("old", time.Now().Add(time.Hour))
		f, k = open(t.TempDir(), down)
		if err := f.catchUp(t.Context()); err == nil || !strings.Contains(err.Error(), "the disk is away") {
			t.Errorf("%v", err)
		}
		down.down = nil
		sent("a store that is back", f, k, "")
		down.at("new", time.Now().Add(2*time.Hour))
		sent("a store that is back", f, k, "new")
	})
}

func TestFeedCursor(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "hook.cursor"), []byte("yesterday\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := newFeed(t.Context(), "hook", dir, "", new(happened), nil)
	if err == nil || !strings.Contains(err.Error(), "hook.cursor") || !strings.Contains(record.HintOf(err), "remove the file") {
		t.Errorf("a cursor that is none: %v", err)
	}
}
