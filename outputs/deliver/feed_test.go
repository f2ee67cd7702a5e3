package deliver

import (
	"bytes"
	"cmp"
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
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// fakeChanges is a store with changes.
type fakeChanges struct {
	mu    sync.Mutex
	all   []inventory.Change
	ended time.Time // of the last target
	down  error

	history string
	targets []inventory.Coverage
}

func (h *fakeChanges) add(id string) { h.at(id, time.Now().UTC()) }

func (h *fakeChanges) at(id string, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, inventory.Change{Op: inventory.WasAdded, At: at,
		After: &inventory.Resource{Record: record.Record{Kind: "ec2_instance", ID: id, Name: strings.Repeat("x", 1000)}}})
}

func (h *fakeChanges) Targets(context.Context) iter.Seq2[inventory.Coverage, error] {
	return func(yield func(inventory.Coverage, error) bool) {
		h.mu.Lock()
		ended, down := h.ended, h.down
		h.mu.Unlock()
		if down != nil {
			yield(inventory.Coverage{}, down)
		} else if !ended.IsZero() {
			yield(inventory.Coverage{Outcome: record.Outcome{Ended: ended}}, nil)
		}
		for _, c := range h.targets {
			c.History = h.history
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (h *fakeChanges) Changes(
	_ context.Context, q inventory.Query, after time.Time,
) iter.Seq2[inventory.Change, error] {
	h.mu.Lock()
	all := slices.Clone(h.all)
	h.mu.Unlock()
	slices.SortStableFunc(all, func(a, b inventory.Change) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.After.ID, b.After.ID))
	})
	return func(yield func(inventory.Change, error) bool) {
		for _, c := range all {
			if ok, err := q.Where.Match(c.After); c.At.After(after) && ok && err == nil && !yield(c, nil) {
				return
			}
		}
	}
}

// A recordingReceiver records what a feed sends, and how much of it was flushed.
type recordingReceiver struct {
	mu     sync.Mutex
	fails  error
	got    []string
	safe   int
	sizes  []int
	broken error
}

func (k *recordingReceiver) Send(_ context.Context, b outputs.Batch) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fails != nil {
		return k.fails
	}
	k.sizes = append(k.sizes, len(b.Lines))
	for l, err := range outputs.Lines(b.Lines) {
		if err != nil || l.Change != inventory.WasAdded {
			k.broken = errors.Join(k.broken, fmt.Errorf("%q is not a change: %w", l.Raw, err))
			continue
		}
		k.got = append(k.got, l.ID)
	}
	return nil
}

func (k *recordingReceiver) Flush(context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.safe = len(k.got)
	return nil
}

func (k *recordingReceiver) Close(context.Context) error { return nil }

func (k *recordingReceiver) ids() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return strings.Join(k.got[:k.safe], " ")
}

// An interceptedOutput calls send, and flush if it is set, in place of the output's methods.
type interceptedOutput struct {
	outputs.Output
	send  func(context.Context, outputs.Batch) error
	flush func(context.Context) error
}

func (o *interceptedOutput) Send(ctx context.Context, b outputs.Batch) error { return o.send(ctx, b) }

func (o *interceptedOutput) Flush(ctx context.Context) error {
	if o.flush == nil {
		return o.Output.Flush(ctx)
	}
	return o.flush(ctx)
}

func openFeed(t *testing.T, dir string, h *fakeChanges, k *recordingReceiver, log *slog.Logger) *feed {
	t.Helper()
	f, err := newFeed(t.Context(), "hook", dir, "", h, log)
	if err != nil {
		t.Fatal(err)
	}
	f.to = k
	if err := f.saveCursor(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var log bytes.Buffer
		h, k := new(fakeChanges), new(recordingReceiver)
		h.add("before")
		time.Sleep(time.Hour)
		f := openFeed(t, dir, h, k, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { f.run(ctx) })
		time.Sleep(time.Millisecond)
		h.add("a")
		h.add("b") // in the same commit
		f.wake()
		time.Sleep(2 * feedDelay)
		if got := k.ids(); got != "a b" {
			t.Errorf("after a target's end: %q, want the changes since the output was added", got)
		}
		h.add("c") // without wake, as when an account is retired
		time.Sleep(2 * feedInterval)
		if got := k.ids(); got != "a b c" {
			t.Errorf("after a while: %q", got)
		}
		k.fails = errors.New("the receiver is down")
		for i := range 20 {
			h.add(fmt.Sprint("d", i))
			f.wake()
			time.Sleep(time.Minute)
		}
		if n := strings.Count(log.String(), "cannot send changes"); n != 1 {
			t.Errorf("the failure was logged %d times:\n%s", n, log.String())
		}
		stop()
		wg.Wait()

		// A new process continues where the last one stopped.
		k.fails = nil
		f = openFeed(t, dir, h, k, slog.New(slog.DiscardHandler))
		if err := f.catchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := k.ids(); !strings.HasPrefix(got, "a b c d0 d1 ") || !strings.HasSuffix(got, " d19") || len(k.got) != 23 {
			t.Errorf("after a restart: %q", got)
		}
		if err := f.catchUp(t.Context()); err != nil || len(k.got) != 23 {
			t.Errorf("%v: %d changes; want no new ones", err, len(k.got))
		}
		if k.broken != nil {
			t.Error(k.broken)
		}
	})
}

// A first load is one commit with many changes. It is sent in batches.
func TestFeedOfALargeCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, k := new(fakeChanges), new(recordingReceiver)
		f := openFeed(t, t.TempDir(), h, k, slog.New(slog.DiscardHandler))
		time.Sleep(time.Second)
		for i := range 1000 {
			h.add(fmt.Sprint(i))
		}
		f.where = "id ~ 9*"
		if err := f.catchUp(t.Context()); err != nil || len(k.got) != 111 {
			t.Fatalf("%v: %d changes, want the 111 that the condition names", err, len(k.got))
		}
		f.where, f.position.after = "", f.position.after.Add(-time.Second)
		k.got, k.sizes = nil, nil
		if err := f.catchUp(t.Context()); err != nil || len(k.got) != 1000 {
			t.Fatalf("%v: %d changes", err, len(k.got))
		}
		if len(k.sizes) < 4 || slices.Max(k.sizes) > feedBatchBytes+2<<10 {
			t.Errorf("batches of %v bytes", k.sizes)
		}
	})
}

// A cursor is an instant of the store. This machine's clock does not matter.
func TestFeedUsesTheStoresClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		open := func(dir string, h *fakeChanges) (*feed, *recordingReceiver) {
			k := new(recordingReceiver)
			return openFeed(t, dir, h, k, slog.New(slog.NewTextHandler(&log, nil))), k
		}
		sent := func(what string, f *feed, k *recordingReceiver, want string) {
			t.Helper()
			if err := f.catchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := k.ids(); got != want {
				t.Errorf("%s: %q was sent, want %q", what, got, want)
			}
		}

		// The store's clock is behind: changes after the start of the output have an instant before it.
		behind, dir := new(fakeChanges), t.TempDir()
		behind.at("old", time.Now().Add(-2*time.Hour))
		f, k := open(dir, behind)
		behind.at("new", time.Now().Add(-time.Hour))
		sent("a store that is behind", f, k, "new")

		// The store's clock is ahead, as after this machine's clock went back: its present changes are not new.
		ahead := &fakeChanges{ended: time.Now().Add(90 * time.Minute)}
		ahead.at("old", time.Now().Add(time.Hour))
		f, k = open(t.TempDir(), ahead)
		ahead.at("new", time.Now().Add(2*time.Hour))
		sent("a store that is ahead", f, k, "new")
		f, k = open(filepath.Dir(f.cursorPath), ahead)
		ahead.at("newer", time.Now().Add(3*time.Hour))
		sent("and after a restart", f, k, "newer")
		if log.Len() > 0 {
			t.Errorf("want no log:\n%s", log.String())
		}

		// Another database replaces it.
		other := new(fakeChanges)
		f, k = open(filepath.Dir(f.cursorPath), other)
		sent("an empty store", f, k, "")
		other.at("first", time.Now().Add(time.Minute))
		sent("another database", f, k, "first")
		if !strings.Contains(log.String(), "cursor is ahead of the store") {
			t.Errorf("it was not logged:\n%s", log.String())
		}

		// A store that fails is asked again.
		down := &fakeChanges{down: errors.New("the disk is away")}
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

// A damaged cursor does not stop the start. It is moved aside and logged, and the feed starts after the store's last
// change.
func TestDamagedCursor(t *testing.T) {
	for name, damage := range map[string]string{
		"empty": "", "no instant": "yesterday\n", "zeroes": "\x00\x00\x00", "half a line": "2026-11-3",
		"half of the second line": "2026-11-01T00:00:00Z\n{\"id\":\"i-",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "hook.cursor")
			if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			h, k := new(fakeChanges), new(recordingReceiver)
			h.add("old")
			f := openFeed(t, dir, h, k, slog.New(slog.NewTextHandler(&log, nil)))
			h.at("new", time.Now().Add(time.Second))
			if err := f.catchUp(t.Context()); err != nil || k.ids() != "new" {
				t.Errorf("%v: %q was sent, want what is new", err, k.ids())
			}
			if b, err := os.ReadFile(path + ".damaged"); err != nil || string(b) != damage {
				t.Errorf("moved aside: %q, %v", b, err)
			}
			if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), path+".damaged") {
				t.Errorf("it was not logged:\n%s", log.String())
			}
			again := openFeed(t, dir, h, k, slog.New(slog.DiscardHandler))
			if err := again.catchUp(t.Context()); err != nil || k.ids() != "new" {
				t.Errorf("after a restart: %v, %q", err, k.ids())
			}
		})
	}
}

// The cursor moves with each flushed batch, also within an instant. A kill at any moment repeats one batch.
func TestCursorMovesWithEachBatch(t *testing.T) {
	h, dir := new(fakeChanges), t.TempDir()
	openFeed(t, dir, h, new(recordingReceiver), slog.New(slog.DiscardHandler))
	var want []string
	for instant := range 2 {
		at := time.Now().UTC().Add(time.Duration(instant) * time.Second).Truncate(time.Microsecond)
		for i := range 1000 {
			id := fmt.Sprintf("i-%d-%04d", instant, i)
			h.at(id, at)
			want = append(want, id)
		}
	}
	gone := errors.New("killed")
	var got []string
	repeated, runs := 0, 0
	for n := range 100 {
		k := new(recordingReceiver)
		f := openFeed(t, dir, h, k, slog.New(slog.DiscardHandler))
		batches := 0
		to := &interceptedOutput{Output: k}
		to.send = func(ctx context.Context, b outputs.Batch) error {
			if batches++; batches > 1+n%2 {
				return gone
			}
			return k.Send(ctx, b)
		}
		if n%3 == 0 { // killed before its cursor is saved
			to.flush = func(ctx context.Context) error {
				_ = k.Flush(ctx)
				if batches > n%2 {
					return gone
				}
				return nil
			}
		}
		f.to = to
		err := f.catchUp(t.Context())
		for _, id := range k.got {
			if slices.Contains(got, id) {
				repeated++
			} else {
				got = append(got, id)
			}
		}
		runs++
		if err == nil {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d changes arrived, or in another order; want %d", len(got), len(want))
	}
	if batch := feedBatchBytes/1000 + 2; runs < 5 || repeated == 0 || repeated > (runs+2)/3*batch {
		t.Errorf("%d runs repeated %d changes, of %d a batch", runs, repeated, batch)
	}
}

// A cursor that could not be saved, as on a full disk, is saved as soon as possible, even without new changes.
func TestCursorIsSavedAgain(t *testing.T) {
	h, dir := new(fakeChanges), t.TempDir()
	k := new(recordingReceiver)
	f := openFeed(t, dir, h, k, slog.New(slog.DiscardHandler))
	h.at("i-1", time.Now().UTC().Truncate(time.Microsecond))
	obstacle := filepath.Join(f.cursorPath+".new", "x")
	if err := os.MkdirAll(obstacle, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := f.catchUp(t.Context()); err == nil {
		t.Fatal("the cursor was saved")
	}
	if err := os.RemoveAll(filepath.Dir(obstacle)); err != nil {
		t.Fatal(err)
	}
	if err := f.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	next := new(recordingReceiver)
	if err := openFeed(t, dir, h, next, slog.New(slog.DiscardHandler)).catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(k.got) != 1 || len(next.got) != 0 {
		t.Errorf("sent %q, and after a restart %q", k.got, next.got)
	}
}

// After the history was replaced, first complete listings show resources that existed before: they are not sent as
// added. Later changes are sent, and so is everything after newHistoryPeriod.
func TestHistoryReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		dir := t.TempDir()
		open := func(h *fakeChanges) (*feed, *recordingReceiver) {
			k := new(recordingReceiver)
			return openFeed(t, dir, h, k, slog.New(slog.NewTextHandler(&log, nil))), k
		}
		target := func(region string, first time.Time) inventory.Coverage {
			return inventory.Coverage{
				Outcome:       record.Outcome{Target: record.Target{Account: "prod", Region: region, Kind: "ec2_instance"}},
				FirstComplete: first,
			}
		}
		listed := func(h *fakeChanges, id, region string) {
			h.at(id, time.Now().UTC())
			h.all[len(h.all)-1].After.Region = region
		}
		sent := func(what string, f *feed, k *recordingReceiver, want string) {
			t.Helper()
			if err := f.catchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := k.ids(); got != want {
				t.Errorf("%s: %q was sent, want %q", what, got, want)
			}
		}
		old := &fakeChanges{history: "one"}
		f, k := open(old)
		time.Sleep(time.Minute)
		old.targets = append(old.targets, target("a", time.Now().UTC()))
		listed(old, "i-1", "a")
		sent("a history of its own", f, k, "i-1")
		time.Sleep(30 * 24 * time.Hour)

		replaced := &fakeChanges{history: "two"}
		f, k = open(replaced)
		sent("nothing yet", f, k, "")
		time.Sleep(time.Minute)
		replaced.targets = append(replaced.targets, target("a", time.Now().UTC()), target("b", time.Time{}))
		listed(replaced, "i-1", "a")
		listed(replaced, "i-9", "b") // of an incomplete listing
		sent("what was there", f, k, "")
		time.Sleep(time.Minute)
		f, k = open(replaced)
		replaced.targets[1].FirstComplete = time.Now().UTC()
		listed(replaced, "i-8", "b")
		listed(replaced, "i-2", "a")
		sent("after a restart", f, k, "i-2")
		time.Sleep(2 * newHistoryPeriod)
		replaced.targets = append(replaced.targets, target("c", time.Now().UTC()))
		listed(replaced, "i-5", "c")
		sent("a target that is new", f, k, "i-2 i-5")
		if n := strings.Count(log.String(), "the store has another history"); n != 1 {
			t.Errorf("it was logged %d times:\n%s", n, log.String())
		}
	})
}
