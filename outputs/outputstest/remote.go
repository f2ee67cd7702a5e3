package outputstest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/record"
)

// A Remote is an output whose receiver is reached over a network.
type Remote struct {
	Type outputs.Type
	// Serve starts a receiver that serves on w until the test ends. w simulates network faults.
	Serve func(t *testing.T, w *FaultyListener) Receiver
	// TLS is set if the output supports TLS. Then Serve is also called with a TLS listener. Its CA is a file that the
	// output can be configured to trust.
	TLS bool
	// Unordered is set if the receiver does not keep the order of records, as with partitions and objects.
	Unordered bool
}

// A Receiver is a running receiver of one test.
type Receiver struct {
	// Options returns options of an output that sends to this receiver. ca is "" or a file of certificates to trust.
	Options func(ca string) any
	// Received returns the ids of the records that have arrived, in order and with repeats. It may be called at any
	// time, by any goroutine.
	Received func() []string
	// Refuse makes the receiver refuse requests that contain the record with this id, as HTTP does with 400. It is nil if
	// the protocol has no such answer.
	Refuse func(id string)
	// Busy makes the receiver answer the next request with a delay, as HTTP does with 503 and a Retry-After. It is nil if
	// the protocol has no such answer.
	Busy func(after time.Duration)
}

// RunRemote runs the suite on the output itself, and on the output behind a spool.
func RunRemote(t *testing.T, r Remote) {
	t.Run("order", r.order)
	t.Run("flush", r.flush)
	t.Run("large", r.large)
	t.Run("cancelled", r.cancelled)
	t.Run("dead", r.unreachable)
	t.Run("slow", r.slow)
	t.Run("deaf", r.lostAnswer)
	t.Run("refused", r.refused)
	t.Run("busy", r.busy)
	t.Run("certificate", r.certificate)
	t.Run("close", r.close)
	t.Run("spooled order", r.spooledOrder)
	t.Run("spooled faults", r.spooledFaults)
	t.Run("spooled restart", r.spooledRestart)
	t.Run("spooled refused", r.spooledRefused)
	t.Run("spooled certificate", r.spooledCertificate)
}

// waitLimit bounds each wait of the suite.
const waitLimit = 15 * time.Second

func (r Remote) open(t *testing.T, rc Receiver, ca string) outputs.Output {
	t.Helper()
	out, err := r.Type.Open(t.Context(), rc.Options(ca), outputs.Deps{
		Log: slog.New(slog.DiscardHandler), Kind: KindInfo,
	})
	must(t, err)
	t.Cleanup(func() { must(t, out.Close(context.Background())) })
	return out
}

func (r Remote) serve(t *testing.T) (*FaultyListener, Receiver) {
	t.Helper()
	w := newFaultyListener(t, false)
	return w, r.Serve(t, w)
}

// send sends and flushes a page of n records with a time limit.
func send(t *testing.T, out outputs.Output, name string, n int) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	defer cancel()
	return errors.Join(out.Send(ctx, BatchOf(name, Page(name, n, 10))), out.Flush(ctx))
}

func (r Remote) same(t *testing.T, got, want []string) {
	t.Helper()
	if r.Unordered {
		got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	}
	if !slices.Equal(got, want) {
		t.Errorf("received %v, want %v", got, want)
	}
}

// idsOf returns the ids of Page(name, n, …).
func idsOf(name string, n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("%s-%d", name, i))
	}
	return ids
}

func (r Remote) order(t *testing.T) {
	_, rc := r.serve(t)
	out := r.open(t, rc, "")
	var want []string
	for i := range 20 {
		name := fmt.Sprintf("i-%02d", i)
		p := Page(name, 3, 10)
		must(t, out.Send(t.Context(), BatchOf(name, p)))
		p.Poison() // the page is reused after Send
		want = append(want, idsOf(name, 3)...)
	}
	must(t, out.Flush(t.Context()))
	r.same(t, rc.Received(), want)
}

// flush checks that everything sent before a flush is there, and that an empty flush is not an error.
func (r Remote) flush(t *testing.T) {
	_, rc := r.serve(t)
	out := r.open(t, rc, "")
	must(t, out.Flush(t.Context()))
	for i := range 3 {
		must(t, send(t, out, fmt.Sprint("f", i), 1))
		if got := rc.Received(); len(got) != i+1 {
			t.Fatalf("%d records after flush %d", len(got), i+1)
		}
	}
	must(t, out.Flush(t.Context()))
}

func (r Remote) large(t *testing.T) {
	_, rc := r.serve(t)
	out := r.open(t, rc, "")
	must(t, out.Send(t.Context(), BatchOf("big", Page("big", 400, 4<<10))))
	must(t, out.Flush(t.Context()))
	r.same(t, rc.Received(), idsOf("big", 400))
}

// cancelled checks that a batch sent under a cancelled context does not arrive, and that a timeout ends a hung Send.
func (r Remote) cancelled(t *testing.T) {
	w, rc := r.serve(t)
	out := r.open(t, rc, "")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 5 {
		if err := out.Send(over, BatchOf("late", Page("late", 1, 10))); !errors.Is(err, context.Canceled) {
			t.Fatalf("Send under an ended context: %v", err)
		}
	}
	must(t, send(t, out, "next", 1))
	r.same(t, rc.Received(), []string{"next-0"})

	w.Stall()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	err := out.Send(ctx, BatchOf("hung", Page("hung", 1, 10)))
	if err == nil {
		err = out.Flush(ctx)
	}
	if err == nil || errors.Is(err, outputs.ErrRefused) || errors.Is(err, outputs.ErrPermanent) {
		t.Errorf("a receiver that does not answer: %v", err)
	}
	if took := time.Since(begin); took > waitLimit/3 {
		t.Errorf("a context of 200ms ended Send after %s", took)
	}
	w.Restore()
}

// unreachable checks that an output opens without its receiver, fails with a retriable error, and then recovers.
func (r Remote) unreachable(t *testing.T) {
	w, rc := r.serve(t)
	w.Cut()
	out := r.open(t, rc, "")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := out.Send(ctx, BatchOf("d", Page("d", 1, 10)))
	if err == nil {
		err = out.Flush(ctx)
	}
	if err == nil || errors.Is(err, outputs.ErrRefused) || errors.Is(err, outputs.ErrPermanent) {
		t.Fatalf("an unreachable receiver: %v", err)
	}
	w.Restore()
	must(t, eventually(t, func() error { return send(t, out, "d", 1) }))
	if got := rc.Received(); !slices.Contains(got, "d-0") {
		t.Errorf("received %v", got)
	}
}

// eventually repeats do until it succeeds: a client may keep a broken connection, or pause, for a moment.
func eventually(t *testing.T, do func() error) error {
	t.Helper()
	deadline := time.Now().Add(waitLimit)
	for {
		err := do()
		if err == nil || time.Now().After(deadline) || t.Context().Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond) // this is a real network
	}
}

// slow checks that a slow receiver gets everything.
func (r Remote) slow(t *testing.T) {
	w, rc := r.serve(t)
	out := r.open(t, rc, "")
	must(t, send(t, out, "before", 1))
	w.Stall()
	heal := time.AfterFunc(300*time.Millisecond, w.Restore)
	defer heal.Stop()
	must(t, send(t, out, "slow", 5))
	r.same(t, rc.Received(), append([]string{"before-0"}, idsOf("slow", 5)...))
}

// lostAnswer checks that Send fails if the answer is lost. Sending again may deliver a record twice.
func (r Remote) lostAnswer(t *testing.T) {
	w, rc := r.serve(t)
	out := r.open(t, rc, "")
	w.DropAnswers()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := out.Send(ctx, BatchOf("e", Page("e", 2, 10)))
	if err == nil {
		err = out.Flush(ctx)
	}
	if err == nil {
		t.Error("no error from Send, but the answer was lost")
	}
	w.Restore()
	must(t, eventually(t, func() error { return send(t, out, "e", 2) }))
	got := slices.Compact(slices.Sorted(slices.Values(rc.Received())))
	if !slices.Equal(got, []string{"e-0", "e-1"}) {
		t.Errorf("received %v", got)
	}
}

// refused checks that only a record that the receiver will never take gives ErrRefused.
func (r Remote) refused(t *testing.T) {
	_, rc := r.serve(t)
	if rc.Refuse == nil {
		t.Skip("no pass: the protocol cannot refuse a record for its content")
	}
	out := r.open(t, rc, "")
	rc.Refuse("bad-0")
	if err := send(t, out, "bad", 1); !errors.Is(err, outputs.ErrRefused) {
		t.Errorf("a refused record: %v; want one that is ErrRefused", err)
	}
	must(t, send(t, out, "good", 1))
	r.same(t, rc.Received(), []string{"good-0"})
}

// busy checks that the delay that the receiver asks for reaches the caller.
func (r Remote) busy(t *testing.T) {
	_, rc := r.serve(t)
	if rc.Busy == nil {
		t.Skip("no pass: the protocol cannot ask for a delay")
	}
	out := r.open(t, rc, "")
	rc.Busy(7 * time.Second)
	err := send(t, out, "b", 1)
	var later *outputs.RetryAfterError
	if !errors.As(err, &later) || later.After != 7*time.Second {
		t.Errorf("a busy receiver: %v; want a RetryAfterError of 7s", err)
	}
	if errors.Is(err, outputs.ErrRefused) || errors.Is(err, outputs.ErrPermanent) {
		t.Errorf("busy is not a refusal: %v", err)
	}
	must(t, send(t, out, "b", 1))
	r.same(t, rc.Received(), []string{"b-0"})
}

// certificate checks that a receiver with an untrusted certificate gets nothing, that the error has a hint, and that a
// trusted receiver gets everything.
func (r Remote) certificate(t *testing.T) {
	if !r.TLS {
		t.Skip("no pass: the output does not support TLS")
	}
	w := newFaultyListener(t, true)
	rc := r.Serve(t, w)
	out := r.open(t, rc, "")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	err := out.Send(ctx, BatchOf("tls", Page("tls", 1, 10)))
	if err == nil {
		err = out.Flush(ctx)
	}
	switch {
	case err == nil || len(rc.Received()) > 0:
		t.Fatalf("a receiver with an untrusted certificate received %v (%v)", rc.Received(), err)
	case !strings.Contains(err.Error(), "certificate"):
		t.Errorf("the error does not name the certificate: %v", err)
	case record.HintOf(err) == "":
		t.Errorf("no hint: %v", err)
	case errors.Is(err, outputs.ErrRefused), errors.Is(err, outputs.ErrPermanent):
		t.Errorf("a certificate error is not permanent: %v", err)
	}
	trusting := r.open(t, rc, w.CA)
	must(t, send(t, trusting, "tls", 1))
	r.same(t, rc.Received(), []string{"tls-0"})
}

func (r Remote) close(t *testing.T) {
	_, rc := r.serve(t)
	out := r.open(t, rc, "")
	must(t, send(t, out, "c", 2))
	must(t, out.Close(t.Context()))
	must(t, out.Close(t.Context()))
	if err := out.Send(t.Context(), BatchOf("d", Page("d", 1, 10))); !errors.Is(err, outputs.ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	if err := out.Flush(t.Context()); !errors.Is(err, outputs.ErrClosed) {
		t.Errorf("Flush after Close: %v", err)
	}
	r.same(t, rc.Received(), idsOf("c", 2))
}

// openSpooled opens the output as the program does: behind a spool, in dir.
func (r Remote) openSpooled(t *testing.T, rc Receiver, ca, dir string) (*deliver.Set, *deliver.Fan) {
	t.Helper()
	s := deliver.NewSet([]outputs.Type{r.Type}, outputs.Deps{
		Log: slog.New(slog.DiscardHandler), SpoolDir: dir, Kind: KindInfo,
	})
	f, err := s.Open(t.Context(), []deliver.Spec{{Type: r.Type.Name, Options: rc.Options(ca)}})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitLimit)
		defer cancel()
		must(t, s.Close(ctx))
	})
	return s, f
}

// disableBatchWait makes requests not wait to fill up.
func disableBatchWait(s *deliver.Set) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Drain(ctx) // the error says what is left, which is expected
}

func (r Remote) fill(t *testing.T, f *deliver.Fan, name string, pages, n int) (want []string) {
	t.Helper()
	begin := time.Now()
	for i := range pages {
		page := fmt.Sprintf("%s%03d", name, i)
		p := Page(page, n, 100)
		must(t, f.Send(t.Context(), BatchOf(page, p)))
		p.Poison()
		want = append(want, idsOf(page, n)...)
	}
	must(t, f.Flush(t.Context()))
	if took := time.Since(begin); took > waitLimit/2 {
		t.Errorf("pages waited %s for the receiver; want no wait", took)
	}
	return want
}

func (r Remote) drain(t *testing.T, s *deliver.Set) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*waitLimit)
	defer cancel()
	must(t, s.Drain(ctx))
}

// containsInOrder checks that everything arrived, in order except for repeats.
func (r Remote) containsInOrder(t *testing.T, got, want []string) {
	t.Helper()
	seen := map[string]bool{}
	var first []string
	for _, id := range got {
		if !seen[id] {
			first = append(first, id)
		}
		seen[id] = true
	}
	r.same(t, first, want)
}

func (r Remote) spooledOrder(t *testing.T) {
	_, rc := r.serve(t)
	s, f := r.openSpooled(t, rc, "", t.TempDir())
	want := r.fill(t, f, "o", 30, 7)
	r.drain(t, s)
	r.same(t, rc.Received(), want)
}

// spooledFaults checks that everything arrives despite network faults.
func (r Remote) spooledFaults(t *testing.T) {
	w, rc := r.serve(t)
	s, f := r.openSpooled(t, rc, "", t.TempDir())
	disableBatchWait(s)
	want := r.fill(t, f, "a", 5, 5)
	w.Cut()
	want = append(want, r.fill(t, f, "b", 5, 5)...)
	must(t, eventually(t, func() error {
		if st := s.States()[0]; st.Up || st.Error == "" || !st.Ready {
			return fmt.Errorf("an unreachable receiver: %+v", st)
		}
		return nil
	}))
	w.Restore()
	want = append(want, r.fill(t, f, "c", 5, 5)...)
	w.Stall()
	want = append(want, r.fill(t, f, "d", 5, 5)...)
	w.Restore()
	w.DropAnswers()
	want = append(want, r.fill(t, f, "e", 5, 5)...)
	heal := time.AfterFunc(300*time.Millisecond, w.Restore)
	defer heal.Stop()
	r.drain(t, s)
	r.containsInOrder(t, rc.Received(), want)
	if st := s.States()[0]; !st.Up || st.Lost != 0 || st.Spool.Records != 0 {
		t.Errorf("after the faults: %+v %+v", st, st.Spool)
	}
}

// spooledRestart checks that a new process delivers what the previous one could not.
func (r Remote) spooledRestart(t *testing.T) {
	w, rc := r.serve(t)
	dir := t.TempDir()
	w.Cut()
	s, f := r.openSpooled(t, rc, "", dir)
	want := r.fill(t, f, "r", 10, 3)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	must(t, s.Close(ctx))
	must(t, s.Close(ctx))
	if err := f.Send(t.Context(), BatchOf("late", Page("late", 1, 10))); !errors.Is(err, outputs.ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	w.Restore()
	s, f = r.openSpooled(t, rc, "", dir)
	want = append(want, r.fill(t, f, "s", 1, 3)...)
	r.drain(t, s)
	r.containsInOrder(t, rc.Received(), want)
}

// spooledRefused checks that a refused record is set aside and the others arrive.
func (r Remote) spooledRefused(t *testing.T) {
	_, rc := r.serve(t)
	if rc.Refuse == nil {
		t.Skip("no pass: the protocol cannot refuse a record for its content")
	}
	rc.Refuse("x001-2")
	s, f := r.openSpooled(t, rc, "", t.TempDir())
	want := r.fill(t, f, "x", 3, 5)
	r.drain(t, s)
	want = slices.DeleteFunc(want, func(id string) bool { return id == "x001-2" })
	r.containsInOrder(t, rc.Received(), want)
	if st := s.States()[0]; st.Spool.DeadLetters != 1 || !st.Up {
		t.Errorf("%+v %+v", st, st.Spool)
	}
}

// spooledCertificate checks that records held back by an untrusted certificate arrive once a reload trusts it.
func (r Remote) spooledCertificate(t *testing.T) {
	if !r.TLS {
		t.Skip("no pass: the output does not support TLS")
	}
	w := newFaultyListener(t, true)
	rc := r.Serve(t, w)
	s, f := r.openSpooled(t, rc, "", t.TempDir())
	disableBatchWait(s)
	want := r.fill(t, f, "t", 2, 2)
	must(t, eventually(t, func() error {
		if st := s.States()[0]; st.Up || st.Hint == "" || !strings.Contains(st.Error, "certificate") {
			return fmt.Errorf("an untrusted certificate: %+v", st)
		}
		return nil
	}))
	next, err := s.Open(t.Context(), []deliver.Spec{{Type: r.Type.Name, Options: rc.Options(w.CA)}})
	must(t, err)
	must(t, f.Close(t.Context()))
	r.drain(t, s)
	r.containsInOrder(t, rc.Received(), want)
	must(t, next.Close(t.Context()))
}
