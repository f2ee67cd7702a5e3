package deliver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/record"
)

// A fakeOutput is an output with configurable failures.
type fakeOutput struct {
	mu      sync.Mutex
	lines   bytes.Buffer
	fail    error // of Send
	unsync  error // of Flush
	hang    chan struct{}
	flushes int
	slow    time.Duration // of a Flush
	closed  int
}

func (f *fakeOutput) Send(_ context.Context, b outputs.Batch) error {
	f.mu.Lock()
	hang, fail := f.hang, f.fail
	f.mu.Unlock()
	if hang != nil {
		<-hang // like a write to a full pipe: no context ends it
	}
	if fail != nil {
		return fail
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines.Write(b.Lines)
	return nil
}

func (f *fakeOutput) Flush(context.Context) error {
	time.Sleep(f.slow)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flushes++
	return f.unsync
}

func (f *fakeOutput) Close(context.Context) error {
	f.closed++
	return nil
}

func (f *fakeOutput) set(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
}

// fakeOptions configures a fake output. Its Open returns Fake.
type fakeOptions struct {
	outputs.Common
	Fake *fakeOutput
	Key  string
	Err  error
}

var fakeType = outputs.Type{
	Name: "fake", Direct: true,
	Key: func(o any) string { return o.(*fakeOptions).Key },
	Open: func(_ context.Context, o any, _ outputs.Deps) (outputs.Output, error) {
		f := o.(*fakeOptions)
		return f.Fake, f.Err
	},
}

func newSet() (*deliver.Set, *outputstest.Observer) {
	w := outputstest.NewObserver()
	d := outputs.Deps{Log: slog.New(slog.NewTextHandler(w, nil)), Observer: w}
	return deliver.NewSet([]outputs.Type{fakeType}, d), w
}

func openFan(t *testing.T, s *deliver.Set, os ...*fakeOptions) *deliver.Fan {
	t.Helper()
	f, err := s.Open(t.Context(), specs(os...))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func specs(os ...*fakeOptions) (all []deliver.Spec) {
	for i, o := range os {
		all = append(all, deliver.Spec{Type: "fake", Options: o, Line: 10 + i})
	}
	return all
}

func closeFan(t *testing.T, f *deliver.Fan) {
	t.Helper()
	for range 2 {
		if err := f.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func testPage(name string, n int) outputs.Batch {
	return outputstest.BatchOf(name, outputstest.Page(name, n, 10))
}

// An output that fails does not affect the others. It logs the start and the end of the failure once, and counts each
// error.
func TestFailureIsIsolated(t *testing.T) {
	s, w := newSet()
	good, bad := new(fakeOutput), &fakeOutput{fail: errors.New("disk on fire")}
	f := openFan(t, s, &fakeOptions{Fake: bad}, &fakeOptions{Fake: good})
	for i := range 3 {
		err := f.Send(t.Context(), testPage(fmt.Sprint("i-", i), 2))
		if err == nil || !strings.Contains(err.Error(), "output fake: disk on fire") {
			t.Errorf("Send returns %v", err)
		}
	}
	if n := w.LoggedLines(); n != 1 {
		t.Errorf("%d lines in the log, want 1:\n%s", n, w.Log.String())
	}
	st := s.States()
	if st[0].Up || st[0].Lost != 6 || st[0].Errors != 3 || !st[1].Up || st[1].Records != 6 {
		t.Errorf("states are %+v", st)
	}
	bad.set(func() { bad.fail = nil })
	if err := f.Send(t.Context(), testPage("i-9", 2)); err != nil {
		t.Error(err)
	}
	if n := w.LoggedLines(); n != 2 || !s.States()[0].Up {
		t.Errorf("%d lines in the log, want 2:\n%s", n, w.Log.String())
	}
	if ids := outputstest.IDs(t, good.lines.Bytes()); len(ids) != 8 {
		t.Errorf("the working output has %v", ids)
	}
	closeFan(t, f)
	if got := fmt.Sprint(w.Sent, w.Lost, w.Errs, w.Ups, w.Closed); got != "map[fake:2 fake-2:8] map[fake:6] map[fake:3] "+
		"[fake true fake-2 true fake false fake true] [fake fake-2]" {
		t.Error(got)
	}
	if good.closed != 1 || bad.closed != 1 {
		t.Errorf("closed %d and %d times", good.closed, bad.closed)
	}
}

// An output that hangs delays the others by SendTimeout once, and then not again until it answers.
func TestHungOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet()
		good, hung := new(fakeOutput), &fakeOutput{hang: make(chan struct{})}
		f := openFan(t, s, &fakeOptions{Fake: hung}, &fakeOptions{Fake: good})
		begin := time.Now()
		for i := range 10 {
			b := testPage(fmt.Sprint("i-", i), 1)
			if err := f.Send(t.Context(), b); err == nil {
				t.Error("no error from a hung output")
			}
			clear(b.Lines) // the page is reused after Send
		}
		if took := time.Since(begin); took != deliver.SendTimeout {
			t.Errorf("ten batches took %s, want %s", took, deliver.SendTimeout)
		}
		if n := len(outputstest.IDs(t, good.lines.Bytes())); n != 10 {
			t.Errorf("the working output has %d records", n)
		}
		close(hung.hang)
		synctest.Wait()
		if err := f.Send(t.Context(), testPage("i-10", 1)); err != nil {
			t.Error(err)
		}
		if ids := outputstest.IDs(t, hung.lines.Bytes()); strings.Join(ids, " ") != "i-0-0 i-10-0" {
			t.Errorf("the hung output has %v: it used borrowed bytes after Send", ids)
		}
		if st := s.States(); st[0].Lost != 10 || st[0].Records != 1 || !st[0].Up {
			t.Errorf("its state is %+v", st[0])
		}
		closeFan(t, f)
	})
}

// A single output may take as long as the run.
func TestSingleOutputMayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet()
		hung := &fakeOutput{hang: make(chan struct{})}
		f := openFan(t, s, &fakeOptions{Fake: hung})
		time.AfterFunc(20*time.Minute, func() { close(hung.hang) }) // the pager continues
		if err := f.Send(t.Context(), testPage("i-0", 1)); err != nil {
			t.Error(err)
		}
		hung.set(func() { hung.hang = make(chan struct{}) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := f.Send(ctx, testPage("i-1", 1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("at the end of the run: %v", err)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.Close(short); err == nil || !strings.Contains(err.Error(), "in progress") {
			t.Errorf("Close while it hangs: %v", err)
		}
		close(hung.hang)
	})
}

// A permanent failure is not retried, and never recovers.
func TestPermanent(t *testing.T) {
	s, w := newSet()
	bad := &fakeOutput{fail: fmt.Errorf("%w: gone", outputs.ErrPermanent)}
	f := openFan(t, s, &fakeOptions{Fake: bad})
	for range 3 {
		if err := f.Send(t.Context(), testPage("i", 1)); !errors.Is(err, outputs.ErrPermanent) {
			t.Error(err)
		}
		bad.set(func() { bad.fail = nil })
	}
	if w.LoggedLines() != 1 || bad.lines.Len() != 0 || s.States()[0].Lost != 3 {
		t.Errorf("state %+v, log %s", s.States()[0], w.Log.String())
	}
	closeFan(t, f)
}

// Targets that end together share a flush. Nothing is flushed if nothing was sent.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet()
		out := &fakeOutput{slow: time.Second}
		f := openFan(t, s, &fakeOptions{Fake: out})
		if err := f.Flush(t.Context()); err != nil || out.flushes != 0 {
			t.Errorf("nothing was sent: %d flushes, %v", out.flushes, err)
		}
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				if err := f.Send(t.Context(), testPage(fmt.Sprint(i), 1)); err != nil {
					t.Error(err)
				}
				if err := f.Flush(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if out.flushes < 1 || out.flushes > 2 {
			t.Errorf("%d flushes for 50 targets at once, want one or two", out.flushes)
		}
		closeFan(t, f)
	})
}

// A Send that works does not clear the failure of a flush, so the state does not flap.
func TestFlushFails(t *testing.T) {
	s, w := newSet()
	out := &fakeOutput{unsync: syscall.EIO}
	f := openFan(t, s, &fakeOptions{Fake: out})
	for range 3 {
		if err := f.Send(t.Context(), testPage("i", 1)); err != nil {
			t.Error(err)
		}
		if err := f.Flush(t.Context()); !errors.Is(err, syscall.EIO) {
			t.Errorf("Flush returns %v", err)
		}
	}
	if w.LoggedLines() != 1 || s.States()[0].Up {
		t.Errorf("log:\n%s", w.Log.String())
	}
	out.set(func() { out.unsync = nil })
	_ = f.Send(t.Context(), testPage("i", 1))
	if err := f.Flush(t.Context()); err != nil || !s.States()[0].Up {
		t.Errorf("after the recovery: %v, %+v", err, s.States()[0])
	}
	closeFan(t, f)
}

// A hung flush delays the others once.
func TestFlushHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet()
		slow, good := &fakeOutput{slow: time.Hour}, new(fakeOutput)
		f := openFan(t, s, &fakeOptions{Fake: slow}, &fakeOptions{Fake: good})
		begin := time.Now()
		for i := range 5 {
			_ = f.Send(t.Context(), testPage(fmt.Sprint(i), 1))
			if err := f.Flush(t.Context()); err == nil {
				t.Error("no error from a flush that hangs")
			}
		}
		if took := time.Since(begin); took != deliver.SendTimeout || good.flushes != 5 {
			t.Errorf("five flushes took %s, the working output had %d", took, good.flushes)
		}
		time.Sleep(3 * time.Hour)
		closeFan(t, f)
	})
}

// The line at the end of a target goes to outputs that asked for it, and says what that output got.
func TestEnds(t *testing.T) {
	s, _ := newSet()
	asked, not, bad := new(fakeOutput), new(fakeOutput), &fakeOutput{}
	f := openFan(t, s, &fakeOptions{Fake: asked, Common: outputs.Common{Ends: true}}, &fakeOptions{Fake: not},
		&fakeOptions{Fake: bad, Common: outputs.Common{Ends: true}})
	b := testPage("i", 3)
	_ = f.Send(t.Context(), b)
	bad.set(func() { bad.fail = syscall.ENOSPC })
	_ = f.Send(t.Context(), b)
	bad.set(func() { bad.fail = nil })
	o := record.Outcome{Target: b.Target, Run: b.Run, State: record.OK, Records: 6}
	if err := f.End(t.Context(), o); err != nil {
		t.Error(err)
	}
	last := func(out *fakeOutput) string {
		ls := strings.Split(strings.TrimSpace(out.lines.String()), "\n")
		return ls[len(ls)-1]
	}
	want := `{"kind":"_target","account":"prod","region":"us-east-1","target":"ec2_instance","state":"ok","records":6,` +
		`"run":"01JDRUN"}`
	if last(asked) != want {
		t.Errorf("end line is\n%s, want\n%s", last(asked), want)
	}
	if strings.Contains(not.lines.String(), "_target") {
		t.Error("an output that did not ask got an end line")
	}
	var got struct {
		State   string
		Records int
	}
	if err := json.Unmarshal([]byte(last(bad)), &got); err != nil || got.State != "partial" || got.Records != 3 {
		t.Errorf("the output that lost three records gets %s", last(bad))
	}
	if err := f.End(t.Context(), o); err != nil || !strings.Contains(last(bad), `"state":"ok"`) {
		t.Errorf("losses are reported once; then %s", last(bad))
	}
	closeFan(t, f)
}

// At a reload, an output with the same key stays open. One that the new configuration does not have is closed when the
// old fan closes.
func TestReload(t *testing.T) {
	s, w := newSet()
	a, b, never := new(fakeOutput), new(fakeOutput), new(fakeOutput)
	old := openFan(t, s, &fakeOptions{Fake: a, Key: "a"}, &fakeOptions{Fake: b, Key: "b"})
	next := openFan(t, s, &fakeOptions{Fake: never, Key: "b", Common: outputs.Common{Name: "archive"}})
	closeFan(t, old)
	if a.closed != 1 || b.closed != 0 {
		t.Errorf("after the old configuration's end: a closed %d times, b %d", a.closed, b.closed)
	}
	if err := next.Send(t.Context(), testPage("i", 1)); err != nil || b.lines.Len() == 0 || w.Sent["archive"] != 1 {
		t.Errorf("the output that stays: %v, sent %v", err, w.Sent)
	}
	closeFan(t, next)
	if b.closed != 1 || len(s.States()) != 0 {
		t.Errorf("at the end b was closed %d times, open are %v", b.closed, s.States())
	}
}

// A bad configuration opens nothing and returns every error.
func TestOpenAllOrNothing(t *testing.T) {
	s, _ := newSet()
	ok := new(fakeOutput)
	sp := specs(&fakeOptions{Fake: ok, Key: "x"}, &fakeOptions{Key: "x"}, &fakeOptions{Err: io.ErrUnexpectedEOF},
		&fakeOptions{Fake: ok, Common: outputs.Common{Name: "fake"}})
	_, err := s.Open(t.Context(), append(sp, deliver.Spec{Type: "fax"}))
	for _, want := range []string{
		"line 11: output fake: writes to the same place as line 10", "line 12: output fake: unexpected EOF",
		`line 13: output fake: name: two outputs are named "fake"`, "output fax: unknown output type",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
	if ok.closed != 1 || len(s.States()) != 0 {
		t.Errorf("outputs are left open: %v", s.States())
	}
}

// Set.Close closes the outputs of open fans, once.
func TestSetClose(t *testing.T) {
	s, _ := newSet()
	out := new(fakeOutput)
	f := openFan(t, s, &fakeOptions{Fake: out})
	for range 2 {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	closeFan(t, f)
	if out.closed != 1 || len(s.States()) != 0 {
		t.Errorf("closed %d times", out.closed)
	}
}

// Set.Close closes an output even if its flush takes too long. The fan then returns ErrClosed and sends nothing.
func TestSendAfterHungClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := newSet()
		slow := &fakeOutput{slow: time.Hour}
		f := openFan(t, s, &fakeOptions{Fake: slow})
		_ = f.Send(t.Context(), testPage("in time", 1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Close(ctx); err == nil {
			t.Error("no error from a flush that hangs")
		}
		if err := f.Send(t.Context(), testPage("late", 1)); !errors.Is(err, outputs.ErrClosed) {
			t.Errorf("after the end: %v", err)
		}
		if strings.Contains(slow.lines.String(), "late") {
			t.Error("a closed output was sent something")
		}
		time.Sleep(2 * time.Hour)
	})
}
