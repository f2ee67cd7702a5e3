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
	wholeTries  = 3 // of a request of several records, before it is halved
	aloneTries  = 6 // of one record alone, before another is tried in its place
	fewTries    = 2 // of one record alone, where another was set aside less than a trialMemory ago
	trialMemory = 10 * time.Minute
)

// How far ahead a probe is looked for: records of a kind come together, and a receiver may fail at all of them.
const (
	probeLines = 16 << 10
	probeBytes = 16 << 20
)

// A trial is what is known of the request at the cursor, at which the receiver fails ([ErrReceiverFailed]). Either its record
// is at fault, which would hold all that comes after it for ever, or the receiver is ill, and would fail at any other. Only
// another record tells: the one at the cursor is set aside when it fails, time and again, before and after another is taken.
type trial struct {
	batch string        // the request's name
	of    chan struct{} // the output that it was made to, as feeder.swapped
	fails int
	proof bool // another record was taken since the last fail

	reach  int             // the next probe is 1<<reach lines ahead
	probes map[string]bool // that were taken; one that comes again may be answered from memory, and prove nothing
	last   time.Time       // when a record was set aside
}

// over forgets the request: it was taken, or set aside, or something else came between.
func (t *trial) over() { t.batch, t.fails, t.proof = "", 0, false }

func (t *trial) recent() bool { return !t.last.IsZero() && time.Since(t.last) < trialMemory }

// failedAt halves the request until one record stands alone, and finds out whether that is at fault.
func (f *feeder) failedAt(ctx context.Context, out Output, of chan struct{}, ch journal.Chunk, failure error) time.Duration {
	t := &f.trial
	if name := nameOf(ch.Lines); t.batch != name || t.of != of {
		t.over()
		t.batch, t.of = name, of
	}
	t.fails++
	quiet := t.recent() || f.suspect > 0 && !f.isDown() // it has taken a part of the request meanwhile
	whole, alone := wholeTries, aloneTries
	if t.recent() {
		whole, alone = 1, fewTries
	}
	switch {
	case ch.Count > 1 && (f.suspect > 0 || t.fails >= whole):
		f.suspect, f.again = ch.Count, 0
		f.journal.Release()
		f.note(failure, quiet)
		return atLeast(firstPause, failure)
	case ch.Count > 1 || t.fails < alone:
		f.again = ch.Count
		f.journal.Release()
		f.note(failure, quiet)
		return f.backoff(failure)
	case t.proof:
		t.last = time.Now()
		return f.setAside(ch, "receiver fails at a record, and takes others; it is set aside", &record.Fault{Reason: record.BadAnswer, Err: failure,
			Hint: "see the receiver's log for what it does not get on with in this record"})
	}
	f.again = ch.Count
	f.journal.Release()
	if f.probe(ctx, out) {
		t.proof = true
		f.note(failure, quiet)
		return atLeast(0, failure)
	}
	return f.failed(failure)
}

// probe hands on a record from further ahead, and reports whether the receiver took it. It stays where it is, and comes again in
// its turn: what is handed on out of order is only ever a repeat to come.
func (f *feeder) probe(ctx context.Context, out Output) bool {
	defer f.journal.Release()
	ch, err := f.journal.Read(probeLines, probeBytes)
	if err != nil {
		return false // the next request meets it too
	}
	t := &f.trial
	line, l := t.choose(ch.Lines)
	if line == nil {
		t.reach = 0
		return false
	}
	name := nameOf(line)
	switch err := f.try(ctx, out, journal.Chunk{Lines: line, Count: 1, Records: 1, Run: l.Run, Target: record.Target{Account: l.Account, Region: l.Region, Kind: l.Kind}}); {
	case err == nil:
		if t.probes == nil {
			t.probes = map[string]bool{}
		}
		t.probes[name] = true
		return true
	case errors.Is(err, ErrReceiverFailed), errors.Is(err, ErrRefused):
		if t.reach++; 1<<t.reach >= min(ch.Count, probeLines) {
			t.reach = 0
		}
	default: // it is the receiver, or the way there
		t.fails = 0
	}
	return false
}

// choose finds the record that is to be the probe: not the first, which is on trial, none that was one, and none of which an
// output may send nothing, as of the end of a target.
func (t *trial) choose(lines []byte) (line []byte, l *Line) {
	n := 0
	for raw := range bytes.Lines(lines) {
		if n++; n == 1 || line != nil && n > 1+1<<t.reach {
			continue
		}
		// The last one before it is far enough ahead, or the first after that.
		if t.probes[nameOf(raw)] {
			continue
		}
		if p, err := parseLine(bytes.TrimSuffix(raw, []byte("\n"))); err == nil && p.Target == "" && p.Change != inventory.WasGone {
			line, l = raw, p
		}
	}
	return line, l
}
