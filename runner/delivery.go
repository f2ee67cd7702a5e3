package runner

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// A delivery takes the pages of one target: the output gets a page, then the store. Several loops may share it; it
// takes one page at a time. Loops that hang keep their delivery, and the target ends with its successor.
type delivery struct {
	l         *listing
	pageToken chan struct{} // held by the loop whose page is delivered

	pages      int
	ids        []string              // of the listed resources, for children
	outputErr  error                 // the first one
	outputDown bool                  // the output is not called for this target any more
	writer     inventory.ScopeWriter // nil: the target is not begun
	storeErr   error                 // if set, the store gets no more pages of this target
	stored     *record.Outcome       // what the run stored before, if the job is done again: then nothing is listed
	panicErr   error                 // the first panic of the output or of the store
	setAside   record.SetAside       // resources that could not be read

	// Read while loops may hang.
	records, duplicates atomic.Int64
	inOutput            atomic.Bool
}

func newDelivery(l *listing) *delivery { return &delivery{l: l, pageToken: make(chan struct{}, 1)} }

// successor returns the delivery that ends a target whose loops were abandoned. It begins the target again in the
// store, so the late loops cannot write. It does not call an output that has a page.
func (d *delivery) successor() *delivery {
	next := newDelivery(d.l)
	next.records.Store(d.records.Load())
	next.outputDown = d.inOutput.Load()
	return next
}

// take delivers one page. An error of the output or of the store is reported, and the listing continues; take's own
// error ends the loop. After the end of ctx nothing is called: the loop may be late, and its target may have ended.
func (d *delivery) take(ctx context.Context, p *record.Page) error {
	select {
	case d.pageToken <- struct{}{}:
		defer func() { <-d.pageToken }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(d.l.children) > 0 {
		if err := d.collectIDs(p); err != nil {
			return err
		}
	}
	if !d.l.hidden {
		d.send(ctx, p)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if d.writer != nil && d.storeErr == nil {
			d.callStore(ctx, func() error { return d.writer.Page(ctx, p) })
		}
	}
	d.setAside.Add(p.SetAside())
	n := d.records.Add(int64(p.Len()))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !d.l.hidden {
		d.l.j.r.observe(TargetProgress{d.l.t, d.l.j.Run, int(n)})
	}
	return nil
}

func (d *delivery) collectIDs(p *record.Page) error {
	for v := range p.Views() {
		id, err := record.Unquote(v.ID())
		if err != nil {
			return fmt.Errorf("id of a parent: %w", err)
		}
		d.ids = append(d.ids, id)
	}
	d.ids = append(d.ids, p.SetAside().IDs...)
	return nil
}

// send passes a page to the output. The id of the batch has the attempt: the third page of a second listing is not the
// third of the first.
func (d *delivery) send(ctx context.Context, p *record.Page) {
	j, t := d.l.j, d.l.t
	if j.conf.Output == nil || d.outputDown || p.Len() == 0 {
		return
	}
	b := outputs.Batch{
		ID:     fmt.Sprintf("%s/%s/%s/%s/%d/%d", j.Run, t.Account, t.Region, t.Kind, j.Attempt, d.pages),
		Target: t, Run: j.Run, N: p.Len(), Lines: p.Lines(),
	}
	d.pages++
	d.inOutput.Store(true)
	err := CatchPanic(func() error { return j.conf.Output.Send(ctx, b) })
	d.inOutput.Store(false)
	d.outputFailed(err)
}

// outputFailed reports the output's first error for this target. A panic is a bug, and becomes the error of the target.
func (d *delivery) outputFailed(err error) {
	if err == nil {
		return
	}
	if d.outputErr == nil {
		d.outputErr = err
		d.undelivered("outputs", err)
	}
	d.outputDown = d.outputDown || isPanic(err)
	d.notePanic(err)
}

// callStore calls the store while the target is listed. A call that the end of the run cut off is not a failure of the
// store: the target is begun again to store how it ended.
func (d *delivery) callStore(ctx context.Context, f func() error) {
	err := CatchPanic(f)
	if err != nil && ctx.Err() != nil && !isPanic(err) {
		d.writer = nil
		return
	}
	d.storeFailed(err)
}

// storeFailed reports the store's first error for this target; it then gets no more pages. A panic is as in
// outputFailed.
func (d *delivery) storeFailed(err error) {
	if err == nil || d.storeErr != nil {
		return
	}
	d.storeErr = err
	d.undelivered("store", err)
	d.notePanic(err)
}

func (d *delivery) notePanic(err error) {
	if d.panicErr == nil && isPanic(err) {
		d.panicErr = err
	}
}

func (d *delivery) undelivered(output string, err error) {
	j, t := d.l.j, d.l.t
	j.r.log.Debug("not delivered",
		"output", output, "account", t.Account, "region", t.Region, "kind", t.Kind, "run", j.Run, "error", err)
	var p *panicError
	if errors.As(err, &p) {
		j.logPanic(t, p)
	}
	j.r.observe(Undelivered{t, j.Run, output, err})
}

// begin begins the target in the store: from now on no earlier writer can commit.
func (d *delivery) begin(ctx context.Context, id record.Identity) error {
	w, err := d.l.j.r.o.Store.Begin(ctx, d.l.t, id, d.l.j.Run)
	if err != nil {
		return err
	}
	d.writer, d.stored = w, w.Committed()
	return nil
}

// checkMissing returns an error if the pages lack too many of the resources that the store expects.
func (d *delivery) checkMissing(ctx context.Context) error {
	limit := d.l.maxGone()
	if limit.AtLeast == 0 || d.writer == nil || d.storeErr != nil {
		return nil
	}
	var missing, expected int
	d.callStore(ctx, func() (err error) {
		missing, expected, err = d.writer.Missing(ctx)
		return err
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case d.storeErr != nil: // it is reported, and not the target's
		return nil
	}
	return limit.Check(missing, expected)
}

// end ends the target in the store. It begins a target that has no writer, unless the run has stored it before. A block
// that was refused because another one collects the AWS account must not begin the other's targets: that would fence
// the other's writers, and give the targets this block's name.
func (d *delivery) end(ctx context.Context, o record.Outcome) error {
	if d.writer == nil {
		id := d.l.j.identity
		if o.Reason == record.SameAccount {
			id = record.Identity{}
		}
		if err := d.begin(ctx, id); err != nil || d.stored != nil {
			return err
		}
	}
	return d.writer.End(ctx, o)
}
