package deliver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/record"
)

// A fakeReceiver is the output behind a spool. It answers as a test sets it, and keeps what it accepts.
type fakeReceiver struct {
	mu      sync.Mutex
	answer  func(b outputs.Batch) error // nil: accept
	hang    chan struct{}               // no request is answered until it is closed
	ids     []string
	batches []outputs.Batch // all requests, without their lines
	closed  int
}

func (r *fakeReceiver) Send(ctx context.Context, b outputs.Batch) error {
	r.mu.Lock()
	hang, answer := r.hang, r.answer
	r.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	head := b
	head.Lines = nil
	r.batches = append(r.batches, head)
	if answer != nil {
		if err := answer(b); err != nil {
			return err
		}
	}
	for line := range bytes.Lines(b.Lines) {
		var rec record.Record
		if err := json.Unmarshal(line, &rec); err != nil {
			return fmt.Errorf("%w: %w", outputs.ErrRefused, err)
		}
		r.ids = append(r.ids, rec.ID)
	}
	return nil
}

func (r *fakeReceiver) Flush(ctx context.Context) error { return ctx.Err() }
func (r *fakeReceiver) Close(context.Context) error     { r.set(func() { r.closed++ }); return nil }

func (r *fakeReceiver) set(do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	do()
}

func (r *fakeReceiver) has() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ids)
}

func (r *fakeReceiver) requests() []outputs.Batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches)
}

// remoteOptions configures a fakeReceiver.
type remoteOptions struct {
	outputs.Common
	outputs.Batching
	To   *fakeReceiver
	Fail error // of Open
}

var remoteType = outputs.Type{
	Name: "remote",
	Open: func(_ context.Context, o any, _ outputs.Deps) (outputs.Output, error) {
		opt := o.(*remoteOptions)
		return opt.To, opt.Fail
	},
}

// A spoolHarness is a data_dir with an open set and what its observer recorded.
type spoolHarness struct {
	*outputstest.Observer
	dir string
	set *deliver.Set
}

func newSpoolHarness(dir string) *spoolHarness {
	w := outputstest.NewObserver()
	p := &spoolHarness{dir: dir, Observer: w}
	d := outputs.Deps{Log: slog.New(slog.NewTextHandler(w, nil)), Observer: w, SpoolDir: filepath.Join(dir, "spools")}
	p.set = deliver.NewSet([]outputs.Type{remoteType, fakeType}, d)
	return p
}

func (p *spoolHarness) open(t *testing.T, o ...*remoteOptions) *deliver.Fan {
	t.Helper()
	f, err := p.try(t, o...)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (p *spoolHarness) try(t *testing.T, os ...*remoteOptions) (*deliver.Fan, error) {
	t.Helper()
	var all []deliver.Spec
	for _, o := range os {
		all = append(all, deliver.Spec{Type: "remote", Options: o})
	}
	return p.set.Open(t.Context(), all)
}

func (p *spoolHarness) logs() string {
	p.Mu.Lock()
	defer p.Mu.Unlock()
	return p.Log.String()
}

// logCount returns how often text is in the log.
func (p *spoolHarness) logCount(text string) int { return strings.Count(p.logs(), text) }

// drain waits, and fails the test if records are left.
func (p *spoolHarness) drain(t *testing.T) {
	t.Helper()
	if err := p.set.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

func idsFrom(from, to int) (ids []string) {
	for i := from; i < to; i++ {
		ids = append(ids, fmt.Sprintf("i-%d-0", i))
	}
	return ids
}

func sameIDs(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %d records %.300v…, want %d %.300v…", what, len(got), got, len(want), want)
	}
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A spool passes the suite of outputs.
func TestSpoolConformance(t *testing.T) {
	outputstest.Run(t, outputstest.Subject{Open: func(t *testing.T) (outputs.Output, func() []byte) {
		to := new(fakeOutput)
		deps := outputs.Deps{Log: slog.New(slog.DiscardHandler), SpoolDir: t.TempDir()}
		out, drain, err := deliver.OpenSpool("s", outputs.Spool{}, deps, nil, to)
		noErr(t, err)
		return out, func() []byte {
			drain(t.Context())
			to.mu.Lock()
			defer to.mu.Unlock()
			return bytes.Clone(to.lines.Bytes())
		}
	}})
}

// If a receiver is down for an hour, nothing is lost, no page waits, no other output is affected, and the program stays
// ready.
func TestDownForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newSpoolHarness(t.TempDir())
		to, other := new(fakeReceiver), new(fakeReceiver)
		f := p.open(t, &remoteOptions{To: to}, &remoteOptions{To: other, Common: outputs.Common{Name: "other"}})
		begin := time.Now()
		down := errors.New("connection refused")
		to.set(func() { to.answer = func(outputs.Batch) error { return down } })
		for i := range 60 {
			before := time.Now()
			noErr(t, f.Send(t.Context(), testPage(fmt.Sprint("i-", i), 1)))
			noErr(t, f.End(t.Context(), record.Outcome{}))
			if took := time.Since(before); took != 0 {
				t.Errorf("page %d waited %s", i, took)
			}
			time.Sleep(time.Minute)
		}
		sameIDs(t, "the other output", other.has(), idsFrom(0, 60))
		st := p.set.States()[0]
		if st.Up || !st.Ready || st.Error != "connection refused" || st.Spool.Records != 60 || st.Records != 0 ||
			st.Lost != 0 || !st.Spool.Oldest.Equal(begin) || p.Waiting != 60 && p.Waiting != 0 {
			t.Errorf("while it is down: %+v %+v", st, st.Spool)
		}
		if n := len(to.requests()); n < 55 || n > 130 { // pauses are between half a minute and a minute
			t.Errorf("%d attempts in an hour", n)
		}
		to.set(func() { to.answer = nil })
		time.Sleep(time.Minute)
		synctest.Wait()
		sameIDs(t, "after the hour", to.has(), idsFrom(0, 60))
		st = p.set.States()[0]
		if !st.Up || !st.Ready || st.Error != "" || st.Spool.Records != 0 || st.Records != 60 {
			t.Errorf("when it is back: %+v %+v", st, st.Spool)
		}
		if p.logCount("output fails") != 1 || p.logCount("works again") != 1 || p.Retries < 55 || p.Sent["remote"] != 60 {
			t.Errorf("%d retries, %v sent, log:\n%s", p.Retries, p.Sent, p.logs())
		}
		closeFan(t, f)
	})
}

// A repeat has the same content and ID, and comes when the receiver asked for it.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, to := newSpoolHarness(t.TempDir()), new(fakeReceiver)
		var at []time.Duration
		begin := time.Now()
		to.answer = func(outputs.Batch) error {
			at = append(at, time.Since(begin))
			switch len(at) {
			case 1:
				return errors.New("reset")
			case 2:
				return fmt.Errorf("wrapped: %w", &outputs.RetryAfterError{After: 7 * time.Minute, Err: errors.New("busy")})
			}
			return nil
		}
		f := p.open(t, &remoteOptions{To: to})
		noErr(t, f.Send(t.Context(), testPage("i-0", 1)))
		time.Sleep(100 * time.Millisecond)
		noErr(t, f.Send(t.Context(), testPage("i-1", 1))) // must not join the repeat
		time.Sleep(10 * time.Minute)
		sameIDs(t, "received", to.has(), idsFrom(0, 2))
		if len(at) != 4 || at[1] < 125*time.Millisecond || at[1] > 250*time.Millisecond || at[2]-at[1] != 7*time.Minute {
			t.Errorf("attempts at %v", at)
		}
		b := to.requests()
		if b[0].ID == "" || b[0].ID != b[1].ID || b[1].ID != b[2].ID || b[3].ID == b[2].ID {
			t.Errorf("requests are %v", b)
		}
		closeFan(t, f)
	})
}

// A request without an answer times out and is repeated.
func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, to := newSpoolHarness(t.TempDir()), &fakeReceiver{hang: make(chan struct{})}
		f := p.open(t, &remoteOptions{To: to})
		noErr(t, f.Send(t.Context(), testPage("i-0", 1)))
		time.Sleep(3 * time.Minute)
		if st := p.set.States()[0]; st.Up || !strings.Contains(st.Error, "no answer within 2m") {
			t.Errorf("%+v", st)
		}
		close(to.hang)
		time.Sleep(time.Second)
		sameIDs(t, "received", to.has(), idsFrom(0, 1))
		closeFan(t, f)
	})
}

// If the receiver refuses some records, only these are set aside, with the error. All others arrive in order.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p, to := newSpoolHarness(dir), new(fakeReceiver)
		bad := []string{"i-0-0", "i-0-1", "i-3-77", "i-9-99"}
		to.answer = func(b outputs.Batch) error {
			for _, id := range bad {
				if bytes.Contains(b.Lines, []byte(`"`+id+`"`)) {
					return fmt.Errorf("%w: 400 mapping failed", outputs.ErrRefused)
				}
			}
			return nil
		}
		f := p.open(t, &remoteOptions{To: to, Batching: outputs.Batching{MaxRecords: 250}})
		var want []string
		for i := range 10 {
			noErr(t, f.Send(t.Context(), testPage(fmt.Sprint("i-", i), 100)))
			for r := range 100 {
				if id := fmt.Sprintf("i-%d-%d", i, r); !slices.Contains(bad, id) {
					want = append(want, id)
				}
			}
		}
		p.drain(t)
		sameIDs(t, "received", to.has(), want)
		if n := len(to.requests()); n > 100 {
			t.Errorf("%d requests to find %d of 1,000", n, len(bad))
		}
		b, err := os.ReadFile(filepath.Join(dir, "spools", "remote", "dead-letter.jsonl"))
		noErr(t, err)
		var dead []string
		for line := range bytes.Lines(b) {
			var l struct {
				Output, Error, ID string
				Time              time.Time
				Record            record.Record
			}
			noErr(t, json.Unmarshal(line, &l))
			if l.Output != "remote" || !strings.Contains(l.Error, "mapping failed") || len(l.ID) != 32 || l.Time.IsZero() {
				t.Errorf("a dead letter is %s", line)
			}
			dead = append(dead, l.Record.ID)
		}
		sameIDs(t, "dead letters", dead, bad)
		st := p.set.States()[0]
		if !st.Up || st.Spool.DeadLetters != 4 || st.Records != 996 || p.Letters != 4 || p.logCount("set aside") != 4 ||
			p.logCount("id=i-3-77") != 1 {
			t.Errorf("%+v %+v, log:\n%s", st, st.Spool, p.logs())
		}
		closeFan(t, f)
	})
}

// The next process delivers what this one did not.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p := newSpoolHarness(dir)
		gone := &fakeReceiver{answer: func(outputs.Batch) error { return errors.New("down") }}
		f := p.open(t, &remoteOptions{To: gone})
		for i := range 5 {
			noErr(t, f.Send(t.Context(), testPage(fmt.Sprint("i-", i), 1)))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		noErr(t, p.set.Close(ctx))
		if took := time.Since(begin); took > 3*time.Second || gone.closed != 1 ||
			p.logCount("records are left in the spool") != 1 {
			t.Errorf("closing took %s, closed %d times, log:\n%s", took, gone.closed, p.logs())
		}
		noErr(t, f.Close(t.Context()))

		p, to := newSpoolHarness(dir), new(fakeReceiver)
		f = p.open(t, &remoteOptions{To: to})
		noErr(t, f.Send(t.Context(), testPage("i-5", 1)))
		p.drain(t)
		sameIDs(t, "the next process delivers", to.has(), idsFrom(0, 6))
		closeFan(t, f)
		if left, err := filepath.Glob(filepath.Join(dir, "spools", "remote", "*.seg")); err != nil || len(left) > 1 {
			t.Errorf("segments %v %v", left, err)
		}
		for _, path := range []string{"", "cursor", "lock"} {
			st, err := os.Stat(filepath.Join(dir, "spools", "remote", path))
			if err != nil || st.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %v, %v: others may read records", path, st.Mode(), err)
			}
		}
	})
}

// Drain, at the end of run --once, waits for the receiver until its deadline, and says what is left.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, to := newSpoolHarness(t.TempDir()), new(fakeReceiver)
		to.answer = func(outputs.Batch) error { return errors.New("down") }
		f := p.open(t, &remoteOptions{To: to, Batching: outputs.Batching{MaxWait: config.Duration(time.Hour)}})
		noErr(t, f.Send(t.Context(), testPage("i-0", 1)))
		time.AfterFunc(20*time.Second, func() { to.set(func() { to.answer = nil }) })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		err := p.set.Drain(ctx)
		if err == nil || !strings.Contains(err.Error(), "output remote: 1 records wait in ") ||
			!strings.Contains(err.Error(), "down") {
			t.Errorf("after 10s: %v", err)
		}
		begin := time.Now()
		p.drain(t)
		if took := time.Since(begin); took < 9*time.Second || took > 16*time.Second {
			t.Errorf("it took %s to see that the receiver is back after 10s", took)
		}
		sameIDs(t, "received", to.has(), idsFrom(0, 1))
		closeFan(t, f)
	})
}

// Requests fill up to the output's limits, and wait no longer than max_wait.
func TestBatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, to := newSpoolHarness(t.TempDir()), new(fakeReceiver)
		batching := outputs.Batching{MaxRecords: 10, MaxBytes: 1 << 20, MaxWait: config.Duration(5 * time.Second)}
		f := p.open(t, &remoteOptions{To: to, Batching: batching})
		b := testPage("i-0", 4)
		noErr(t, f.Send(t.Context(), b))
		other := testPage("i-1", 4)
		other.Target.Region, other.Run = "eu-west-1", "01JDNEXT"
		time.Sleep(4 * time.Second)
		noErr(t, f.Send(t.Context(), other))
		synctest.Wait()
		if n := len(to.requests()); n != 0 {
			t.Errorf("%d requests before the batch is full or max_wait has passed", n)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		noErr(t, f.Send(t.Context(), testPage("i-2", 25)))
		synctest.Wait()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		var sizes []int
		for _, r := range to.requests() {
			sizes = append(sizes, r.N)
		}
		if !slices.Equal(sizes, []int{8, 10, 10, 5}) {
			t.Errorf("requests of %v records", sizes)
		}
		if r := to.requests(); r[0].Run != "" || r[0].Target != (record.Target{}) || r[1].Run != b.Run ||
			r[1].Target != b.Target {
			t.Errorf("of several: %+v; of one: %+v", r[0], r[1])
		}
		closeFan(t, f)
	})
}

// Records that were appended before the clock went back wait no longer than others.
func TestClockGoesBack(t *testing.T) {
	dir, patient := t.TempDir(), outputs.Batching{MaxRecords: 10, MaxBytes: 1 << 20, MaxWait: config.Duration(time.Minute)}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(24 * time.Hour) // the clock of each bubble starts at the same instant
		p := newSpoolHarness(dir)
		down := &fakeReceiver{answer: func(outputs.Batch) error { return errors.New("down") }}
		f := p.open(t, &remoteOptions{To: down, Batching: patient})
		noErr(t, f.Send(t.Context(), testPage("i-0", 1)))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		noErr(t, p.set.Close(ctx))
		noErr(t, f.Close(t.Context()))
	})
	synctest.Test(t, func(t *testing.T) {
		p, to := newSpoolHarness(dir), new(fakeReceiver)
		f := p.open(t, &remoteOptions{To: to, Batching: patient})
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		sameIDs(t, "a day earlier", to.has(), idsFrom(0, 1))
		closeFan(t, f)
	})
}

// A reload replaces the inner output and keeps the spool. The replaced output is closed after its request.
func TestReloadBehindASpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, a, b := newSpoolHarness(t.TempDir()), &fakeReceiver{hang: make(chan struct{})}, new(fakeReceiver)
		old := p.open(t, &remoteOptions{To: a})
		noErr(t, old.Send(t.Context(), testPage("i-0", 1)))
		synctest.Wait() // the request is in flight
		_, err := p.try(t, &remoteOptions{To: b, Fail: errors.New("no such host")})
		if err == nil || !strings.Contains(err.Error(), "no such host") {
			t.Errorf("a bad option: %v", err)
		}
		next := p.open(t, &remoteOptions{To: b, Common: outputs.Common{Spool: &outputs.Spool{MaxBytes: 2 << 20}}})
		synctest.Wait()
		if a.closed != 0 || b.closed != 0 {
			t.Errorf("closed in mid-request: %d %d", a.closed, b.closed)
		}
		noErr(t, old.Send(t.Context(), testPage("i-1", 1))) // a job of the old configuration
		closeFan(t, old)
		noErr(t, next.Send(t.Context(), testPage("i-2", 1)))
		close(a.hang)
		synctest.Wait()
		sameIDs(t, "the replaced output has the request in flight", a.has(), idsFrom(0, 1))
		sameIDs(t, "the new one has the rest", b.has(), idsFrom(1, 3))
		if a.closed != 1 || b.closed != 0 {
			t.Errorf("closed %d %d", a.closed, b.closed)
		}
		closeFan(t, next)
		if b.closed != 1 {
			t.Error("the new one is not closed")
		}
	})
}

// After a permanent failure there is no retry until a reload replaces the output.
func TestPermanentBehindASpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, to := newSpoolHarness(t.TempDir()), new(fakeReceiver)
		to.answer = func(outputs.Batch) error { return fmt.Errorf("%w: the topic was removed", outputs.ErrPermanent) }
		f := p.open(t, &remoteOptions{To: to})
		noErr(t, f.Send(t.Context(), testPage("i-0", 1)))
		time.Sleep(time.Hour)
		noErr(t, f.Send(t.Context(), testPage("i-1", 1)))
		if err := p.set.Drain(t.Context()); err == nil { // does not wait
			t.Error("no error after a permanent failure")
		}
		st := p.set.States()[0]
		if len(to.requests()) != 1 || st.Up || st.Spool.Records != 2 || p.logCount("records wait in spool") != 1 {
			t.Errorf("%d requests, %+v", len(to.requests()), st)
		}
		mended := new(fakeReceiver)
		next := p.open(t, &remoteOptions{To: mended})
		closeFan(t, f)
		p.drain(t)
		sameIDs(t, "after the reload", mended.has(), idsFrom(0, 2))
		closeFan(t, next)
	})
}

// Close without a deadline does not wait for a receiver that fails.
func TestCloseWhileItFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := func(outputs.Batch) error { return errors.New("down") }
		p, to := newSpoolHarness(t.TempDir()), &fakeReceiver{hang: make(chan struct{}), answer: down}
		f := p.open(t, &remoteOptions{To: to})
		noErr(t, f.Send(t.Context(), testPage("i-0", 3)))
		time.AfterFunc(time.Second, func() { close(to.hang) })
		ctx, cancel := context.WithCancel(t.Context())
		defer time.AfterFunc(time.Hour, cancel).Stop()
		begin := time.Now()
		noErr(t, f.Close(ctx))
		if took := time.Since(begin); took > time.Minute {
			t.Errorf("closing took %s", took)
		}
		cancel()
	})
}

// A spool without an output is logged at the start.
func TestOrphan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p, to := newSpoolHarness(dir), &fakeReceiver{answer: func(outputs.Batch) error { return errors.New("down") }}
		f := p.open(t, &remoteOptions{To: to, Common: outputs.Common{Name: "../siem/1"}})
		noErr(t, f.Send(t.Context(), testPage("i-0", 3)))
		closeFan(t, f)
		if folders, err := os.ReadDir(filepath.Join(dir, "spools")); err != nil || len(folders) != 1 {
			t.Errorf("%v %v", folders, err)
		}
		p = newSpoolHarness(dir)
		f = p.open(t, &remoteOptions{To: new(fakeReceiver)})
		if p.logCount("spool without an output holds records") != 1 || p.logCount("output=../siem/1") != 1 ||
			p.logCount("records=3") != 1 {
			t.Errorf("log:\n%s", p.logs())
		}
		closeFan(t, f)
	})
}

// A second process on the same spool gets an error with a hint.
func TestSpoolLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p, q := newSpoolHarness(dir), newSpoolHarness(dir)
		f := p.open(t, &remoteOptions{To: new(fakeReceiver)})
		to := new(fakeReceiver)
		_, err := q.try(t, &remoteOptions{To: to})
		if err == nil || !strings.Contains(err.Error(), "already locked") ||
			!strings.Contains(record.HintOf(unjoin(err)), "other collector") || to.closed != 1 {
			t.Errorf("the second: %v, hint %q", err, record.HintOf(unjoin(err)))
		}
		closeFan(t, f)
		closeFan(t, q.open(t, &remoteOptions{To: new(fakeReceiver)}))
	})
}

// unjoin returns the first of joined errors that has a hint.
func unjoin(err error) error {
	var f *record.Fault
	if errors.As(err, &f) {
		return f
	}
	return err
}
