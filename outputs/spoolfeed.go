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
	requestTimeout = 2 * time.Minute
	minPause       = 250 * time.Millisecond
	maxPause       = time.Minute
	drainPause     = 5 * time.Second // at the end, when there is little time
	maxSpoolPause  = time.Hour
)

// A feeder hands on what a spool holds, in order: one request at a time, tried until the receiver takes it. It is one
// goroutine's.
type feeder struct {
	*spool
	failures     int // since something last went well
	retryLines   int // lines of the request that failed: a repeat has the same bounds, hence the same id
	growingLimit int // lines of a request, while it grows back after a refusal; 0: as many as there may be
	suspectLines int // lines from the cursor on, one of which was refused; 0: none
	deadInARow   int // records set aside in a row
	poison       poisonDetector
}

func (s *spool) runFeeder(ctx context.Context) {
	f := &feeder{spool: s}
	for f.waitForWork(ctx) {
		f.setBusy(true)
		pause := f.sendNext(ctx)
		f.setBusy(false)
		if pause > 0 {
			f.pause(ctx, pause)
		}
	}
}

// setBusy notes whether the feeder is at something, for who waits until all is done.
func (f *feeder) setBusy(work bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.feederBusy = work
	if !work {
		f.notifyProgressLocked()
	}
}

// waitForWork waits until there is enough for a request, or what there is has waited for long enough. It closes outputs that were
// replaced. False: it is over.
func (f *feeder) waitForWork(ctx context.Context) bool {
	for {
		f.mu.Lock()
		b, old, drains, draining := f.batching, f.replaced, f.drainRequested, f.drainStarted
		f.replaced = nil
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
			if wait <= 0 || drains || f.retryLines+f.suspectLines > 0 || st.Records >= b.MaxRecords && b.MaxRecords > 0 || st.Uncompressed >= int64(b.MaxBytes) && b.MaxBytes > 0 {
				return true
			}
		}
		if drains {
			draining = nil
		}
		f.wait(ctx, wait, f.wakeup, draining)
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

// sendNext makes one request, and says how long to pause before the next.
func (f *feeder) sendNext(ctx context.Context) time.Duration {
	f.mu.Lock()
	out, b, gone, swapped := f.inner, f.batching, f.permanent, f.innerReplaced
	f.mu.Unlock()
	if gone {
		f.wait(ctx, -1, swapped, nil)
		return 0
	}
	ch, err := f.journal.Read(f.lineLimit(b), orDefault(int(b.MaxBytes), int(defaultBatching.MaxBytes)))
	if err != nil {
		return f.handleFailed(f.fault("read", err))
	}
	if ch.LineCount == 0 { // what waited was damaged
		f.markDrained()
		f.reportStat()
		f.notifyProgress()
		return 0
	}
	switch err := f.attempt(ctx, out, ch); {
	case err == nil:
		f.markAccepted(ch)
		return 0
	case ctx.Err() != nil:
		f.journal.Release()
		return 0
	case errors.Is(err, ErrRefused):
		return f.handleRefused(ch, err)
	case errors.Is(err, ErrReceiverFailed):
		return f.handleReceiverFailed(ctx, out, swapped, ch, err)
	default:
		f.poison.reset()
		f.retryLines = ch.LineCount
		f.journal.Release()
		return f.handleFailed(err)
	}
}

func orDefault(n, or int) int {
	if n > 0 {
		return n
	}
	return or
}

// lineLimit is how many the next request has at most.
func (f *feeder) lineLimit(b Batching) int {
	n := orDefault(b.MaxRecords, defaultBatching.MaxRecords)
	switch {
	case f.suspectLines > 0:
		n = min(n, max(1, f.suspectLines/2))
	case f.growingLimit > 0:
		n = min(n, f.growingLimit)
	}
	if f.retryLines > 0 {
		n = min(n, f.retryLines)
	}
	return n
}

// attempt makes the request. What it is called follows from what is in it.
func (f *feeder) attempt(ctx context.Context, out Output, ch journal.Chunk) error {
	f.mu.Lock()
	f.requestStarted = time.Now()
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.requestStarted = time.Time{}; f.mu.Unlock() }()
	ctx, cancel := withTimeout(ctx, requestTimeout)
	defer cancel()
	lines := f.losses.annotateEnds(ch.Lines)
	err := out.Send(ctx, Batch{ID: requestID(lines), Target: ch.Target, Run: ch.Run, N: ch.Records, Lines: lines})
	if err == nil {
		err = out.Flush(ctx)
	}
	if err != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// requestID is what a request of these lines is called, whenever it is made.
func requestID(lines []byte) string {
	sum := sha256.Sum256(lines)
	return hex.EncodeToString(sum[:16])
}

// markAccepted goes on after what the receiver has taken.
func (f *feeder) markAccepted(ch journal.Chunk) {
	f.reportUnsavedLosses(f.losses.clearEnds(ch.Lines))
	f.ack(ch)
	f.retryLines, f.failures = 0, 0
	f.poison.reset()
	f.poison.probeReach, f.poison.acceptedProbes = 0, nil
	switch {
	case f.suspectLines > 0:
		f.suspectLines = max(0, f.suspectLines-ch.LineCount)
	case f.growingLimit > 0:
		if f.growingLimit *= 2; f.growingLimit > 1<<20 {
			f.growingLimit = 0
		}
	}
	if f.deadInARow > maxLoggedDeadLetters {
		f.log.Warn("more records were set aside", "records", f.deadInARow-maxLoggedDeadLetters, "file", f.deadLetters.path)
	}
	f.deadInARow = 0
	f.mu.Lock()
	was, since := f.lastErr, f.downSince
	f.lastErr = nil
	f.delivered += ch.Records
	f.mu.Unlock()
	if f.observer != nil {
		f.observer.OutputSent(f.name, ch.Records)
	}
	if was != nil {
		f.log.Info("output works again", "down", time.Since(since).Round(time.Second), "waiting", f.journal.Stat().Records)
		f.onChange()
	}
}

// ack moves the cursor. That it could not be written down costs a repeat after the next start, no more.
func (f *feeder) ack(ch journal.Chunk) {
	if err := f.journal.Ack(ch); err != nil {
		err = f.fault("write the cursor of", err)
		f.log.Error("after a restart records will be sent again", "error", err, "hint", record.HintOf(err))
	}
	f.notifyProgress()
	f.markDrained()
	f.reportStat()
}

func (f *feeder) notifyProgress() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notifyProgressLocked()
}

// handleRefused finds out whose fault it is, by halves, and sets that one aside.
func (f *feeder) handleRefused(ch journal.Chunk, refusal error) time.Duration {
	f.retryLines, f.failures = 0, 0 // a refusal is an answer
	if ch.LineCount > 1 {
		f.suspectLines = ch.LineCount
		f.journal.Release()
		return 0
	}
	return f.moveToDeadLetters(ch, "receiver refused a record; it is set aside", refusal)
}

// moveToDeadLetters goes on without the one record that the chunk is.
func (f *feeder) moveToDeadLetters(ch journal.Chunk, what string, why error) time.Duration {
	if err := f.deadLetters.write(ch.Lines, why); err != nil {
		f.retryLines = ch.LineCount
		f.journal.Release()
		return f.handleFailed(f.fault("write a dead letter into", err))
	}
	f.reportUnsavedLosses(f.losses.addLine(ch.Lines))
	if f.deadInARow++; f.deadInARow <= maxLoggedDeadLetters {
		kind, id := kindAndID(ch.Lines)
		f.log.Error(what, "kind", kind, "id", id, "error", why, "hint", record.HintOf(why), "file", f.deadLetters.path)
	}
	f.mu.Lock()
	f.stats.DeadLetters++
	f.mu.Unlock()
	if f.observer != nil {
		f.observer.OutputDeadLetter(f.name)
	}
	f.ack(ch)
	f.poison.reset()
	f.retryLines, f.failures = 0, 0
	f.suspectLines, f.growingLimit = 0, 1 // the next may be no better
	return 0
}

// handleFailed notes a failure, and says how long to pause.
func (f *feeder) handleFailed(err error) time.Duration {
	if errors.Is(err, ErrClosed) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.replaced) > 0 || f.closed { // replaced meanwhile
			return 0
		}
	}
	f.recordFailure(err, false)
	return f.backoff(err)
}

// recordFailure counts a failure, and says it once until the output works again. A quiet one is only counted: it is not known yet
// whether the output fails.
func (f *feeder) recordFailure(err error, quiet bool) {
	gone := errors.Is(err, ErrPermanent)
	f.mu.Lock()
	was := f.lastErr
	if !quiet {
		f.lastErr, f.permanent = err, gone
		if was == nil {
			f.downSince = time.Now()
		}
	}
	f.errs++
	f.stats.Retries++
	if gone {
		f.notifyProgressLocked()
	}
	f.mu.Unlock()
	if f.observer != nil {
		f.observer.OutputFailed(f.name, 0)
		f.observer.OutputRetried(f.name)
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
		f.onChange()
	}
}

// backoff is how long to pause after a failure: longer with each, but no shorter than the receiver asked for.
func (f *feeder) backoff(err error) time.Duration {
	longest := maxPause
	if f.isDraining() {
		longest = drainPause
	}
	d := min(minPause<<min(f.failures, 16), longest)
	f.failures++
	return atLeast(d/2+rand.N(d/2+1), err) // not all at once, when a receiver of many comes back
}

// atLeast is d, or as long as the receiver asked for.
func atLeast(d time.Duration, err error) time.Duration {
	var later *RetryAfterError
	if errors.As(err, &later) {
		d = max(d, min(later.After, maxSpoolPause))
	}
	return d
}

func (f *feeder) isDraining() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.drainRequested
}

func (f *feeder) isFailing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lastErr != nil
}

// pause waits before the next try. Another output in place of this one ends it, and so does the begin of the end.
func (f *feeder) pause(ctx context.Context, d time.Duration) {
	f.mu.Lock()
	swapped, draining := f.innerReplaced, f.drainStarted
	if f.drainRequested {
		draining = nil
	}
	f.mu.Unlock()
	f.wait(ctx, d, swapped, draining)
}
