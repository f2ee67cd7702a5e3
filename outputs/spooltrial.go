package outputs

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs/internal/journal"
	"github.com/aws-collector/collector/record"
)

// How long a request that the receiver fails at is given the benefit of the doubt. With the spool's pauses the tries of a
// record alone take the better part of a minute. Once a record of this receiver was set aside, the next are no surprise.
const (
	requestAttempts   = 3 // of a request of several records, before it is halved
	recordAttempts    = 6 // of one record alone, before another is tried in its place
	fewRecordAttempts = 2 // of one record alone, where another was set aside less than a trialMemory ago
	recentDeadLetter  = 10 * time.Minute
)

// How far ahead a probe is looked for: records of a kind come together, and a receiver may fail at all of them.
const (
	probeLines = 16 << 10
	probeBytes = 16 << 20
)

// A trial is what is known of the request at the cursor, at which the receiver fails ([ErrReceiverFailed]). Either its record
// is at fault, which would hold all that comes after it for ever, or the receiver is ill, and would fail at any other. Only
// another record tells: the one at the cursor is set aside when it fails, time and again, before and after another is taken.
type poisonDetector struct {
	requestID     string        // the request's name
	innerReplaced chan struct{} // the output that it was made to, as feeder.swapped
	failures      int
	otherAccepted bool // another record was taken since the last fail

	probeReach     int             // the next probe is 1<<reach lines ahead
	acceptedProbes map[string]bool // that were taken; one that comes again may be answered from memory, and prove nothing
	lastDeadLetter time.Time       // when a record was set aside
}

// reset forgets the request: it was taken, or set aside, or something else came between.
func (t *poisonDetector) reset() { t.requestID, t.failures, t.otherAccepted = "", 0, false }

func (t *poisonDetector) hasRecentDeadLetter() bool {
	return !t.lastDeadLetter.IsZero() && time.Since(t.lastDeadLetter) < recentDeadLetter
}

// handleReceiverFailed halves the request until one record stands alone, and finds out whether that is at fault.
func (f *feeder) handleReceiverFailed(ctx context.Context, out Output, of chan struct{}, ch journal.Chunk, failure error) time.Duration {
	t := &f.poison
	if name := requestID(ch.Lines); t.requestID != name || t.innerReplaced != of {
		t.reset()
		t.requestID, t.innerReplaced = name, of
	}
	t.failures++
	quiet := t.hasRecentDeadLetter() || f.suspectLines > 0 && !f.isFailing() // it has taken a part of the request meanwhile
	whole, alone := requestAttempts, recordAttempts
	if t.hasRecentDeadLetter() {
		whole, alone = 1, fewRecordAttempts
	}
	switch {
	case ch.LineCount > 1 && (f.suspectLines > 0 || t.failures >= whole):
		f.suspectLines, f.retryLines = ch.LineCount, 0
		f.journal.Release()
		f.recordFailure(failure, quiet)
		return atLeast(minPause, failure)
	case ch.LineCount > 1 || t.failures < alone:
		f.retryLines = ch.LineCount
		f.journal.Release()
		f.recordFailure(failure, quiet)
		return f.backoff(failure)
	case t.otherAccepted:
		t.lastDeadLetter = time.Now()
		return f.moveToDeadLetters(ch, "receiver fails at a record, and takes others; it is set aside", &record.Fault{Reason: record.BadAnswer, Err: failure,
			Hint: "see the receiver's log for what it does not get on with in this record"})
	}
	f.retryLines = ch.LineCount
	f.journal.Release()
	if f.probe(ctx, out) {
		t.otherAccepted = true
		f.recordFailure(failure, quiet)
		return atLeast(0, failure)
	}
	return f.handleFailed(failure)
}

// probe hands on a record from further ahead, and reports whether the receiver took it. It stays where it is, and comes again in
// its turn: what is handed on out of order is only ever a repeat to come.
func (f *feeder) probe(ctx context.Context, out Output) bool {
	defer f.journal.Release()
	ch, err := f.journal.Read(probeLines, probeBytes)
	if err != nil {
		return false // the next request meets it too
	}
	t := &f.poison
	line, l := t.chooseProbe(ch.Lines)
	if line == nil {
		t.probeReach = 0
		return false
	}
	name := requestID(line)
	switch err := f.attempt(ctx, out, journal.Chunk{Lines: line, LineCount: 1, Records: 1, Run: l.Run, Target: record.Target{Account: l.Account, Region: l.Region, Kind: l.Kind}}); {
	case err == nil:
		if t.acceptedProbes == nil {
			t.acceptedProbes = map[string]bool{}
		}
		t.acceptedProbes[name] = true
		return true
	case errors.Is(err, ErrReceiverFailed), errors.Is(err, ErrRefused):
		if t.probeReach++; 1<<t.probeReach >= min(ch.LineCount, probeLines) {
			t.probeReach = 0
		}
	default: // it is the receiver, or the way there
		t.failures = 0
	}
	return false
}

// chooseProbe finds the record that is to be the probe: not the first, which is on trial, none that was one, and none of which an
// output may send nothing, as of the end of a target.
func (t *poisonDetector) chooseProbe(lines []byte) (line []byte, l *Line) {
	n := 0
	for raw := range bytes.Lines(lines) {
		if n++; n == 1 || line != nil && n > 1+1<<t.probeReach {
			continue
		}
		// The last one before it is far enough ahead, or the first after that.
		if t.acceptedProbes[requestID(raw)] {
			continue
		}
		if p, err := parseLine(bytes.TrimSuffix(raw, []byte("\n"))); err == nil && p.Target == "" && p.Change != inventory.WasGone {
			line, l = raw, p
		}
	}
	return line, l
}
