package outputs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws-collector/collector/outputs/internal/journal"
	"github.com/aws-collector/collector/record"
)

// The pace of a feeder. The first pauses are short, as most troubles are; the last ones spare a receiver that is down.
const (
	tryTimeout   = 2 * time.Minute
	firstPause   = 250 * time.Millisecond
	longestPause = time.Minute
	drainPause   = 5 * time.Second // at the end, when there is little time
	longestLater = time.Hour
)

// A feeder hands on what a spool holds, in order: one request at a time, tried until the receiver takes it. It is one
// goroutine's.
type feeder struct {
	*spool
	pauses  int // since something last went well
	again   int // lines of the request that failed: a repeat has the same bounds, hence the same id
	grown   int // lines of a request, while it grows back after a refusal; 0: as many as there may be
	suspect int // lines from the cursor on, one of which was refused; 0: none
	letters int // records set aside in a row
	trial   trial
}

func (s *spool) feed(ctx context.Context) {
	f := &feeder{spool: s}
	for f.due(ctx) {
		f.at(true)
		pause := f.once(ctx)
		f.at(false)
		if pause > 0 {
			f.pause(ctx, pause)
		}
	}
}

// at notes whether the feeder is at something, for who waits until all is done.
func (f *feeder) at(work bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.busy = work
	if !work {
		f.wake()
	}
}

// due waits until there is enough for a request, or what there is has waited for long enough. It closes outputs that were
// replaced. False: it is over.
func (f *feeder) due(ctx context.Context) bool {
	for {
		f.mu.Lock()
		b, old, drains, draining := f.batching, f.old, f.drains, f.draining
		f.old = nil
		f.mu.Unlock()
		for _, o := range old {
			f.closeOld(ctx, o)
		}
		if ctx.Err() != nil {
			return false
		}
		st := f.journal.Stat()
		wait := time.Duration(-1) // for as long as it takes
		if st.Bytes > 0 {
			wait = time.Until(st.Oldest.Add(time.Duration(b.MaxWait)))
			if wait > time.Duration(b.MaxWait) { // the clock went back since: nobody knows how long it has waited
				wait = 0
			}
			if wait <= 0 || drains || f.again+f.suspect > 0 || st.Records >= b.MaxRecords && b.MaxRecords > 0 || st.Lines >= int64(b.MaxBytes) && b.MaxBytes > 0 {
				return true
			}
		}
		if drains {
			draining = nil
		}
		f.wait(ctx, wait, f.more, draining)
	}
}

// wait ends after d, unless that is negative, when ctx does, and with either of the channels.
func (f *feeder) wait(ctx context.Context, d time.Duration, a, b <-chan struct{}) {
	var after <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	select {
	case <-after:
	case <-ctx.Done():
	case <-a:
	case <-b:
	}
}

func (f *feeder) closeOld(ctx context.Context, o Output) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := o.Close(ctx); err != nil {
		f.log.Warn("closing what a reload replaced", "error", err)
	}
}

// once makes one request, and says how long to pause before the next.
func (f *feeder) once(ctx context.Context) time.Duration {
	f.mu.Lock()
	out, b, gone, swapped := f.inner, f.batching, f.gone, f.swapped
	f.mu.Unlock()
	if gone {
		f.wait(ctx, -1, swapped, nil)
		return 0
	}
	ch, err := f.journal.Read(f.lines(b), maxOr(int(b.MaxBytes), int(defaultBatching.MaxBytes)))
	if err != nil {
		return f.failed(f.fault("read", err))
	}
	if ch.Count == 0 { // what waited was damaged
		f.roomy()
		f.watchStat()
		f.wakeAll()
		return 0
	}
	switch err := f.try(ctx, out, ch); {
	case err == nil:
		f.took(ch)
		return 0
	case ctx.Err() != nil:
		f.journal.Release()
		return 0
	case errors.Is(err, ErrRefused):
		return f.refused(ch, err)
	case errors.Is(err, ErrReceiverFailed):
		return f.failedAt(ctx, out, swapped, ch, err)
	default:
		f.trial.over()
		f.again = ch.Count
		f.journal.Release()
		return f.failed(err)
	}
}

func maxOr(n, or int) int {
	if n > 0 {
		return n
	}
	return or
}

// lines is how many the next request has at most.
func (f *feeder) lines(b Batching) int {
	n := maxOr(b.MaxRecords, defaultBatching.MaxRecords)
	switch {
	case f.suspect > 0:
		n = min(n, max(1, f.suspect/2))
	case f.grown > 0:
		n = min(n, f.grown)
	}
	if f.again > 0 {
		n = min(n, f.again)
	}
	return n
}

// try makes the request. What it is called follows from what is in it.
func (f *feeder) try(ctx context.Context, out Output, ch journal.Chunk) error {
	f.mu.Lock()
	f.trying = time.Now()
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.trying = time.Time{}; f.mu.Unlock() }()
	ctx, cancel := patient(ctx, tryTimeout)
	defer cancel()
	lines := f.missing.tell(ch.Lines)
	err := out.Send(ctx, Batch{ID: nameOf(lines), Target: ch.Target, Run: ch.Run, N: ch.Records, Lines: lines})
	if err == nil {
		err = out.Flush(ctx)
	}
	if err != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// nameOf is what a request of these lines is called, whenever it is made.
func nameOf(lines []byte) string {
	sum := sha256.Sum256(lines)
	return hex.EncodeToString(sum[:16])
}

// took goes on after what the receiver has taken.
func (f *feeder) took(ch journal.Chunk) {
	f.forgetful(f.missing.told(ch.Lines))
	f.ack(ch)
	f.again, f.pauses = 0, 0
	f.trial.over()
	f.trial.reach, f.trial.probes = 0, nil
	switch {
	case f.suspect > 0:
		f.suspect = max(0, f.suspect-ch.Count)
	case f.grown > 0:
		if f.grown *= 2; f.grown > 1<<20 {
			f.grown = 0
		}
	}
	if f.letters > lettersLogged {
		f.log.Warn("more records were set aside", "records", f.letters-lettersLogged, "file", f.dead.path)
	}
	f.letters = 0
	f.mu.Lock()
	was, since := f.down, f.downSince
	f.down = nil
	f.delivered += ch.Records
	f.mu.Unlock()
	if f.watch != nil {
		f.watch.OutputSent(f.name, ch.Records)
	}
	if was != nil {
		f.log.Info("output works again", "down", time.Since(since).Round(time.Second), "waiting", f.journal.Stat().Records)
		f.changed()
	}
}

// ack moves the cursor. That it could not be written down costs a repeat after the next start, no more.
func (f *feeder) ack(ch journal.Chunk) {
	if err := f.journal.Ack(ch); err != nil {
		err = f.fault("write the cursor of", err)
		f.log.Error("after a restart records will be sent again", "error", err, "hint", record.HintOf(err))
	}
	f.wakeAll()
	f.roomy()
	f.watchStat()
}

func (f *feeder) wakeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wake()
}

// refused finds out whose fault it is, by halves, and sets that one aside.
func (f *feeder) refused(ch journal.Chunk, refusal error) time.Duration {
	f.again, f.pauses = 0, 0 // a refusal is an answer
	if ch.Count > 1 {
		f.suspect = ch.Count
		f.journal.Release()
		return 0
	}
	return f.setAside(ch, "receiver refused a record; it is set aside", refusal)
}

// setAside goes on without the one record that the chunk is.
func (f *feeder) setAside(ch journal.Chunk, what string, why error) time.Duration {
	if err := f.dead.put(ch.Lines, why); err != nil {
		f.again = ch.Count
		f.journal.Release()
		return f.failed(f.fault("write a dead letter into", err))
	}
	f.forgetful(f.missing.addLine(ch.Lines))
	if f.letters++; f.letters <= lettersLogged {
		kind, id := identify(ch.Lines)
		f.log.Error(what, "kind", kind, "id", id, "error", why, "hint", record.HintOf(why), "file", f.dead.path)
	}
	f.mu.Lock()
	f.stats.DeadLetters++
	f.mu.Unlock()
	if f.watch != nil {
		f.watch.OutputDeadLetter(f.name)
	}
	f.ack(ch)
	f.trial.over()
	f.again, f.pauses = 0, 0
	f.suspect, f.grown = 0, 1 // the next may be no better
	return 0
}

// failed notes a failure, and says how long to pause.
func (f *feeder) failed(err error) time.Duration {
	if errors.Is(err, ErrClosed) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.old) > 0 || f.closed { // replaced meanwhile
			return 0
		}
	}
	f.note(err, false)
	return f.backoff(err)
}

// note counts a failure, and says it once until the output works again. A quiet one is only counted: it is not known yet
// whether the output fails.
func (f *feeder) note(err error, quiet bool) {
	gone := errors.Is(err, ErrPermanent)
	f.mu.Lock()
	was := f.down
	if !quiet {
		f.down, f.gone = err, gone
		if was == nil {
			f.downSince = time.Now()
		}
	}
	f.errs++
	f.stats.Retries++
	if gone {
		f.wake()
	}
	f.mu.Unlock()
	if f.watch != nil {
		f.watch.OutputFailed(f.name, 0)
		f.watch.OutputRetried(f.name)
	}
	if quiet {
		return
	}
	switch {
	case gone:
		f.log.Error("output is gone for good; its records wait in its spool until a reload or a restart", "error", err, "hint", record.HintOf(err))
	case was == nil:
		f.log.Warn("output fails; its records wait in its spool", "error", err, "hint", record.HintOf(err))
	}
	if was == nil || gone {
		f.changed()
	}
}

// backoff is how long to pause after a failure: longer with each, but no shorter than the receiver asked for.
func (f *feeder) backoff(err error) time.Duration {
	longest := longestPause
	if f.isDraining() {
		longest = drainPause
	}
	d := min(firstPause<<min(f.pauses, 16), longest)
	f.pauses++
	return atLeast(d/2+rand.N(d/2+1), err) // not all at once, when a receiver of many comes back
}

// atLeast is d, or as long as the receiver asked for.
func atLeast(d time.Duration, err error) time.Duration {
	var later *Later
	if errors.As(err, &later) {
		d = max(d, min(later.After, longestLater))
	}
	return d
}

func (f *feeder) isDraining() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.drains
}

func (f *feeder) isDown() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down != nil
}

// pause waits before the next try. Another output in place of this one ends it, and so does the begin of the end.
func (f *feeder) pause(ctx context.Context, d time.Duration) {
	f.mu.Lock()
	swapped, draining := f.swapped, f.draining
	if f.drains {
		draining = nil
	}
	f.mu.Unlock()
	f.wait(ctx, d, swapped, draining)
}
