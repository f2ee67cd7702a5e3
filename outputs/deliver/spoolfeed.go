package deliver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/journal"
	"github.com/aws-collector/collector/record"
)

// Pauses between requests. They start short, because most failures are short, and grow to spare a receiver that is
// down.
const (
	requestTimeout = 2 * time.Minute
	minPause       = 250 * time.Millisecond
	maxPause       = time.Minute
	drainPause     = 5 * time.Second // replaces maxPause while the spool is drained
	maxSpoolPause  = time.Hour       // that a receiver can ask for
)

// A feeder sends what a spool holds, in order. It makes one request at a time and repeats it until the receiver accepts
// it. Only the feeder's goroutine uses it.
type feeder struct {
	*spool
	failures     int // in a row
	retryLines   int // lines of the failed request: a repeat has the same lines, hence the same ID
	growingLimit int // lines per request while it grows again after a refusal; 0: no limit
	suspectLines int // lines after the cursor, one of which was refused; 0: none
	deadInARow   int // dead letters in a row
	unproven     int // dead letters since the receiver last accepted a record
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

// setBusy sets feederBusy, which drain waits for.
func (f *feeder) setBusy(busy bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.feederBusy = busy
	if !busy {
		f.notifyProgressLocked()
	}
}

// waitForWork waits until there is enough for a request, or until the oldest record has waited long enough. It closes
// replaced outputs. It returns false when the feeder must stop.
func (f *feeder) waitForWork(ctx context.Context) bool {
	for {
		f.mu.Lock()
		b, replaced, draining, drainStarted := f.batching, f.replaced, f.drainRequested, f.drainStarted
		f.replaced = nil
		f.mu.Unlock()
		for _, o := range replaced {
			f.closeReplaced(ctx, o)
		}
		if ctx.Err() != nil {
			return false
		}
		st := f.journal.Stat()
		wait := time.Duration(-1) // without limit
		if st.Bytes > 0 {
			wait = time.Until(st.Oldest.Add(time.Duration(b.MaxWait)))
			if wait > time.Duration(b.MaxWait) { // the clock went back: the age is unknown
				wait = 0
			}
			full := st.Records >= b.MaxRecords && b.MaxRecords > 0 || st.Uncompressed >= int64(b.MaxBytes) && b.MaxBytes > 0
			if wait <= 0 || draining || f.retryLines+f.suspectLines > 0 || full {
				return true
			}
		}
		if draining {
			drainStarted = nil
		}
		f.wait(ctx, wait, f.wakeup, drainStarted)
	}
}

// wait returns after d, unless d is negative, or when ctx ends, or when a or b is ready.
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

func (f *feeder) closeReplaced(ctx context.Context, o outputs.Output) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := o.Close(ctx); err != nil {
		f.log.Warn("cannot close the replaced output", "error", err)
	}
}

// sendNext makes one request and returns how long to pause before the next one.
func (f *feeder) sendNext(ctx context.Context) time.Duration {
	f.mu.Lock()
	out, b, permanent, innerReplaced := f.inner, f.batching, f.permanent, f.innerReplaced
	f.mu.Unlock()
	if permanent {
		f.wait(ctx, -1, innerReplaced, nil)
		return 0
	}
	ch, err := f.journal.Read(f.lineLimit(b), orDefault(int(b.MaxBytes), int(outputs.DefaultBatching.MaxBytes)))
	if err != nil {
		return f.handleFailed(f.wrapError("read", err))
	}
	if ch.LineCount == 0 { // the waiting data was damaged
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
	case errors.Is(err, outputs.ErrRefused):
		return f.handleRefused(ctx, out, ch, err)
	case errors.Is(err, outputs.ErrReceiverFailed):
		return f.handleReceiverFailed(ctx, out, innerReplaced, ch, err)
	default:
		f.poison.reset()
		f.retryLines = ch.LineCount
		f.journal.Release()
		return f.handleFailed(err)
	}
}

func orDefault(n, byDefault int) int {
	if n > 0 {
		return n
	}
	return byDefault
}

// lineLimit returns the number of lines that the next request may have.
func (f *feeder) lineLimit(b outputs.Batching) int {
	n := orDefault(b.MaxRecords, outputs.DefaultBatching.MaxRecords)
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

// attempt makes the request once.
func (f *feeder) attempt(ctx context.Context, out outputs.Output, ch journal.Chunk) error {
	f.mu.Lock()
	f.requestStarted = time.Now()
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.requestStarted = time.Time{}
		f.mu.Unlock()
	}()
	ctx, cancel := withTimeout(ctx, requestTimeout)
	defer cancel()
	lines := f.losses.annotateEnds(ch.Lines)
	err := out.Send(ctx, outputs.Batch{ID: requestID(lines), Target: ch.Target, Run: ch.Run, N: ch.Records, Lines: lines})
	if err == nil {
		err = out.Flush(ctx)
	}
	if err != nil && errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	return err
}

// requestID returns the ID of a request with these lines. It is the same for every repeat.
func requestID(lines []byte) string {
	sum := sha256.Sum256(lines)
	return hex.EncodeToString(sum[:16])
}

// markAccepted moves past lines that the receiver has accepted.
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
		f.log.Warn("more records were set aside",
			"records", f.deadInARow-maxLoggedDeadLetters, "file", f.deadLetters.path)
	}
	f.deadInARow, f.unproven = 0, 0
	f.mu.Lock()
	lastErr, since := f.lastErr, f.downSince
	f.lastErr = nil
	f.delivered += ch.Records
	f.mu.Unlock()
	if f.observer != nil {
		f.observer.OutputSent(f.name, ch.Records)
	}
	if lastErr != nil {
		f.log.Info("output works again",
			"duration", time.Since(since).Round(time.Second), "waiting", f.journal.Stat().Records)
		f.onChange()
	}
}

// ack moves the cursor. If the cursor cannot be saved, a restart repeats records, and nothing else is lost.
func (f *feeder) ack(ch journal.Chunk) {
	if err := f.journal.Ack(ch); err != nil {
		err = f.wrapError("save the cursor of", err)
		f.log.Error("cannot save the spool cursor", "error", err,
			"hint", addHint(err, "Expect repeats: after a restart, records are sent again."))
	}
	if f.journal.Stat().Bytes == 0 {
		f.reportUnsavedLosses(f.losses.clearUnknown())
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

// maxUnproven is how many records may be set aside in a row before the receiver has to accept another one. The count is
// not saved: a restart begins at zero.
const maxUnproven = 10

// errRefusesAll means that the receiver refuses the record at the cursor and the last one that it was sent from further
// ahead. So it is not the record that is at fault.
var errRefusesAll = errors.New("the receiver refuses every record")

// handleRefused halves a refused request. It sets a single refused record aside, as long as the receiver accepts
// others: after [maxUnproven] records in a row, a record from further ahead has to show that.
func (f *feeder) handleRefused(ctx context.Context, out outputs.Output, ch journal.Chunk, refusal error) time.Duration {
	if ch.LineCount > 1 {
		f.retryLines, f.failures = 0, 0 // the receiver answered
		f.suspectLines = ch.LineCount
		f.journal.Release()
		return 0
	}
	if f.unproven < maxUnproven {
		return f.moveToDeadLetters(ch, "receiver refused a record; record set aside", refusal)
	}
	f.retryLines = ch.LineCount
	f.journal.Release()
	switch f.probe(ctx, out) {
	case probeAccepted:
		f.unproven = 0 // the record is sent once more
		return 0
	case probeRefused:
		return f.handleFailed(&record.Fault{
			Reason: record.BadAnswer, Err: fmt.Errorf("%w: %w", errRefusesAll, refusal),
			Hint: "Check the output's options and the receiver: it accepts nothing. The records wait in the spool.",
		})
	}
	return f.handleFailed(&record.Fault{
		Reason: record.BadAnswer, Err: refusal,
		Hint: "Look in the receiver's log for what is wrong with this record. It waits until the receiver accepts another.",
	})
}

// moveToDeadLetters sets the chunk's only record aside.
func (f *feeder) moveToDeadLetters(ch journal.Chunk, message string, cause error) time.Duration {
	if err := f.deadLetters.write(ch.Lines, cause); err != nil {
		f.retryLines = ch.LineCount
		f.journal.Release()
		return f.handleFailed(f.wrapError("write a dead letter to", err))
	}
	f.reportUnsavedLosses(f.losses.addLine(ch.Lines))
	f.unproven++
	if f.deadInARow++; f.deadInARow <= maxLoggedDeadLetters {
		kind, id := kindAndID(ch.Lines)
		f.log.Error(message, "kind", kind, "id", id,
			"error", cause, "hint", record.HintOf(cause), "file", f.deadLetters.path)
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
	f.suspectLines, f.growingLimit = 0, 1 // the next record may be bad too
	return 0
}

// handleFailed records a failure and returns how long to pause.
func (f *feeder) handleFailed(err error) time.Duration {
	if errors.Is(err, outputs.ErrClosed) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.replaced) > 0 || f.closed { // the output was replaced in the meantime
			return 0
		}
	}
	f.recordFailure(err, false)
	return f.backoff(err)
}

// recordFailure counts a failure, and logs the first one after the output worked. A quiet failure is only counted: it
// is not known yet whether the output or a record is at fault.
func (f *feeder) recordFailure(err error, quiet bool) {
	permanent := errors.Is(err, outputs.ErrPermanent)
	f.mu.Lock()
	previous := f.lastErr
	if !quiet {
		f.lastErr, f.permanent = err, permanent
		if previous == nil {
			f.downSince = time.Now()
		}
	}
	f.errs++
	f.stats.Retries++
	if permanent {
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
	case permanent:
		f.log.Error("output failed permanently; records wait in spool", "error", err,
			"hint", addHint(err, "Reload or restart to try again."))
	case previous == nil:
		f.log.Warn("output fails; records wait in spool", "error", err, "hint", record.HintOf(err))
	}
	if previous == nil || permanent {
		f.onChange()
	}
}

// backoff returns the pause after a failure. It grows with each failure, and is never less than the receiver asked for.
func (f *feeder) backoff(err error) time.Duration {
	longest := maxPause
	if f.isDraining() {
		longest = drainPause
	}
	d := min(minPause<<min(f.failures, 16), longest)
	f.failures++
	return atLeast(d/2+rand.N(d/2+1), err) // spread out, so that clients of a recovered receiver do not come all at once
}

// atLeast returns d, or the longer pause that the receiver asked for.
func atLeast(d time.Duration, err error) time.Duration {
	var later *outputs.RetryAfterError
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

// pause waits before the next attempt. It ends early when the output is replaced or a drain starts.
func (f *feeder) pause(ctx context.Context, d time.Duration) {
	f.mu.Lock()
	innerReplaced, drainStarted := f.innerReplaced, f.drainStarted
	if f.drainRequested {
		drainStarted = nil
	}
	f.mu.Unlock()
	f.wait(ctx, d, innerReplaced, drainStarted)
}
