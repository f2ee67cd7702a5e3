package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// SendTimeout bounds how long a batch or a flush waits for one output if there are others. A single output may take as
// long as the caller's context allows: a pager that pauses standard output is not a failure.
const SendTimeout = 30 * time.Second

// A Fan delivers to all outputs of one configuration at once. An output that fails does not stop the others, and delays
// them by [SendTimeout] at most. Many goroutines may use a Fan.
type Fan struct {
	set     *Set
	outputs []fanOutput
	mounted map[string]mountedOutput // by path

	mu     sync.Mutex
	closed bool
}

// A fanOutput is one output of a fan with the options of its configuration.
type fanOutput struct {
	*worker
	name         string
	typ          string
	key          string
	wantsEnds    bool
	wantsRecords bool
	shaping      outputs.Shaping
	out          outputs.Output // the worker, with this fan's time limit
	records      outputs.Output // the same, for what shaping selects
	feed         *feed          // of changes; nil if the output gets none
	options      any
	redactor     redactor
	hasSpool     bool
	spoolOptions outputs.Spool
	newInner     outputs.Output // replaces the output behind the spool; nil keeps it
}

// Send returns when every output has taken the batch or was abandoned. The error joins theirs, for callers that count;
// the outputs log their failures themselves, once per failure period.
func (f *Fan) Send(ctx context.Context, b outputs.Batch) error {
	return f.forEach(func(fo fanOutput) error {
		if !fo.wantsRecords {
			return nil
		}
		return fo.records.Send(ctx, b)
	})
}

// End marks the end of a target: outputs with the option ends get a line for it, then all outputs are flushed. If an
// output lost records of the target, its line has the state partial and the number of records that it has, so that its
// receiver does not take the lost ones for gone.
func (f *Fan) End(ctx context.Context, o record.Outcome) error {
	return f.forEach(func(fo fanOutput) error {
		lost, left := fo.takeLosses(o.Run, o.Target)
		fo.wakeFeed()
		if !fo.wantsRecords {
			return nil
		}
		o := o
		o.Records -= left
		var err error
		if fo.wantsEnds {
			b := outputs.Batch{ID: o.Run + "/" + o.Account + "/" + o.Region + "/" + o.Kind + "/end", Target: o.Target,
				Run: o.Run}
			if b.Lines, err = endLine(o, lost); err == nil {
				err = fo.out.Send(ctx, b)
			}
		}
		return errors.Join(err, fo.out.Flush(ctx))
	})
}

// Flush returns when everything that was sent before would survive a kill.
func (f *Fan) Flush(ctx context.Context) error {
	return f.forEach(func(fo fanOutput) error { return fo.out.Flush(ctx) })
}

func (f *Fan) forEach(do func(fanOutput) error) error {
	switch len(f.outputs) {
	case 0:
		return nil
	case 1:
		return do(f.outputs[0])
	}
	errs := make([]error, len(f.outputs))
	var wg sync.WaitGroup
	for i, fo := range f.outputs {
		wg.Go(func() { errs[i] = do(fo) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close closes the outputs that no other fan uses. It waits for calls in progress until ctx ends. It may be called
// twice.
func (f *Fan) Close(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	f.set.configMu.Lock()
	defer f.set.configMu.Unlock()
	var errs []error
	for _, fo := range f.outputs {
		errs = append(errs, f.set.releaseWorker(ctx, fo.worker))
	}
	f.set.unmount(f)
	return errors.Join(errs...)
}

// endLine returns the line that marks the end of a target.
func endLine(o record.Outcome, lost int) ([]byte, error) {
	l := struct {
		Kind    string       `json:"kind"`
		Account string       `json:"account"`
		Region  string       `json:"region"`
		Target  string       `json:"target"`
		State   record.State `json:"state"`
		Records int          `json:"records"`
		Run     string       `json:"run"`
	}{"_target", o.Account, o.Region, o.Kind, o.State, max(o.Records-lost, 0), o.Run}
	if lost > 0 && o.State == record.OK {
		l.State = record.Partial
	}
	b, err := json.Marshal(l)
	return append(b, '\n'), err
}
