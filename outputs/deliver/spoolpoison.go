package deliver

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/journal"
	"github.com/aws-collector/collector/record"
)

// How often a request at which the receiver fails is repeated. With the spool's pauses, the attempts for a single
// record take almost a minute. Fewer attempts are enough after a recent dead letter of the same receiver.
const (
	requestAttempts   = 3 // for a request of several records, before it is halved
	recordAttempts    = 6 // for a single record, before a probe
	fewRecordAttempts = 2 // for a single record after a recent dead letter
	recentDeadLetter  = 10 * time.Minute
)

// How far ahead a probe may be. Records of a kind are adjacent, and a receiver may fail at all of them.
const (
	probeLines = 16 << 10
	probeBytes = 16 << 20
)

// A poisonDetector decides what is at fault when the receiver fails at the request at the cursor
// ([outputs.ErrReceiverFailed]). If it is the record, it would block all later records for ever. If it is the receiver,
// it would fail at any record. Only another record, a probe, can tell. A record is set aside if the receiver fails at
// it repeatedly, both before and after it accepts a probe.
type poisonDetector struct {
	requestID     string
	innerReplaced chan struct{} // identifies the inner output, as spool.innerReplaced
	failures      int
	otherAccepted bool // a probe was accepted after the last failure

	probeReach     int             // the next probe is 1<<probeReach lines ahead
	acceptedProbes map[string]bool // by ID; the receiver may recognize them, so a repeat proves nothing
	lastDeadLetter time.Time
}

// reset forgets the request: it was accepted or set aside, or failed in another way.
func (d *poisonDetector) reset() { d.requestID, d.failures, d.otherAccepted = "", 0, false }

func (d *poisonDetector) hasRecentDeadLetter() bool {
	return !d.lastDeadLetter.IsZero() && time.Since(d.lastDeadLetter) < recentDeadLetter
}

// handleReceiverFailed halves the request until one record stands alone, then finds out whether that record is at
// fault.
func (f *feeder) handleReceiverFailed(
	ctx context.Context, out outputs.Output, innerReplaced chan struct{}, ch journal.Chunk, failure error,
) time.Duration {
	d := &f.poison
	if id := requestID(ch.Lines); d.requestID != id || d.innerReplaced != innerReplaced {
		d.reset()
		d.requestID, d.innerReplaced = id, innerReplaced
	}
	d.failures++
	halved := f.suspectLines > 0 && !f.isFailing() // the receiver has accepted a part of the request since
	quiet := d.hasRecentDeadLetter() || halved
	whole, alone := requestAttempts, recordAttempts
	if d.hasRecentDeadLetter() {
		whole, alone = 1, fewRecordAttempts
	}
	switch {
	case ch.LineCount > 1 && (f.suspectLines > 0 || d.failures >= whole):
		f.suspectLines, f.retryLines = ch.LineCount, 0
		f.journal.Release()
		f.recordFailure(failure, quiet)
		return atLeast(minPause, failure)
	case ch.LineCount > 1 || d.failures < alone:
		f.retryLines = ch.LineCount
		f.journal.Release()
		f.recordFailure(failure, quiet)
		return f.backoff(failure)
	case d.otherAccepted:
		d.lastDeadLetter = time.Now()
		return f.moveToDeadLetters(ch, "receiver fails at one record; record set aside", &record.Fault{
			Reason: record.BadAnswer, Err: failure, Hint: "Look in the receiver's log for what is wrong with this record.",
		})
	}
	f.retryLines = ch.LineCount
	f.journal.Release()
	if f.probe(ctx, out) == probeAccepted {
		d.otherAccepted = true
		f.recordFailure(failure, quiet)
		return atLeast(0, failure)
	}
	return f.handleFailed(failure)
}

// A probeResult is what a probe found out about the receiver.
type probeResult int

const (
	probeUnknown  probeResult = iota // there was no record to send, or the receiver or the network failed
	probeAccepted                    // the receiver accepts another record
	probeRefused                     // the receiver refuses another record too
)

// probe sends a record from further ahead and reports what the receiver did with it. The record stays in the spool
// and is sent again later, so the probe changes no order: it only adds a repeat.
func (f *feeder) probe(ctx context.Context, out outputs.Output) probeResult {
	defer f.journal.Release()
	ch, err := f.journal.Read(probeLines, probeBytes)
	if err != nil {
		return probeUnknown // the next request reports it
	}
	d := &f.poison
	line, l := d.chooseProbe(ch.Lines)
	if line == nil {
		d.probeReach = 0
		return probeUnknown
	}
	id := requestID(line)
	probe := journal.Chunk{
		Lines: line, LineCount: 1, Records: 1,
		Run: l.Run, Target: record.Target{Account: l.Account, Region: l.Region, Kind: l.Kind},
	}
	err = f.attempt(ctx, out, probe)
	refused := errors.Is(err, outputs.ErrRefused)
	switch {
	case err == nil:
		if d.acceptedProbes == nil {
			d.acceptedProbes = map[string]bool{}
		}
		d.acceptedProbes[id] = true
		return probeAccepted
	case refused, errors.Is(err, outputs.ErrReceiverFailed):
		if 1<<d.probeReach >= min(ch.LineCount, probeLines) { // this was the last record
			d.probeReach = -1
		}
		d.probeReach++
	default: // the receiver or the network is at fault
		d.failures = 0
	}
	if refused {
		return probeRefused
	}
	return probeUnknown
}

// chooseProbe returns the record to probe with. It skips the first record, earlier probes, and lines for which an
// output may send nothing, such as the end of a target.
func (d *poisonDetector) chooseProbe(lines []byte) (line []byte, l *outputs.Line) {
	n := 0
	for raw := range bytes.Lines(lines) {
		if n++; n == 1 || line != nil && n > 1+1<<d.probeReach {
			continue
		}
		// Take the last record before the reach, or else the first one after it.
		if d.acceptedProbes[requestID(raw)] {
			continue
		}
		parsed, err := outputs.ParseLine(bytes.TrimSuffix(raw, []byte("\n")))
		if err == nil && parsed.Target == "" && parsed.Change != inventory.WasGone {
			line, l = raw, parsed
		}
	}
	return line, l
}
