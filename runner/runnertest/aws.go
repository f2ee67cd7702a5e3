package runnertest

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A block is an account of a case.
type block struct {
	name    string
	regions []string
	kinds   []string
	took    float64 // units that a listing takes
	ticks   []runner.Tick
	overlap runner.Overlap
	timeout float64 // units; 0: an hour, which no case lasts
	list    func(ctx context.Context, t record.Target) error
}

// A listing is what the fake AWS saw of one listing.
type listing struct {
	record.Target
	run     string
	process *process
	begun   time.Time
	ended   time.Time // zero: it has not ended
	ok      bool
}

// A fakeAWS lists one resource for each target, and keeps its own log of what was listed. Two listings of a target at
// once are a violation, whatever the engine reports.
type fakeAWS struct {
	mu         sync.Mutex
	listings   []*listing
	violations []string
}

func (a *fakeAWS) begin(p *process, t record.Target, run string) *listing {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, o := range a.listings {
		if o.Target == t && o.ended.IsZero() {
			a.violations = append(a.violations, fmt.Sprintf("%v is listed twice at once, by runs %s and %s", t, o.run, run))
		}
	}
	l := &listing{Target: t, run: run, process: p, begun: time.Now()}
	a.listings = append(a.listings, l)
	return l
}

func (a *fakeAWS) violate(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.violations = append(a.violations, what)
}

// end ends a listing, also one that is over for everybody else because its context has ended.
func (a *fakeAWS) end(l *listing, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l.ended.IsZero() {
		l.ended, l.ok = time.Now(), ok
	}
}

// endOf ends the listings of a process that died.
func (a *fakeAWS) endOf(p *process) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.listings {
		if l.process == p && l.ended.IsZero() {
			l.ended = time.Now()
		}
	}
}

// count counts listings.
func (a *fakeAWS) count(of func(*listing) bool) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.listings {
		if of(l) {
			n++
		}
	}
	return n
}

// An openedBlock is a block as one process has opened it.
type openedBlock struct {
	p      *process
	b      block
	closed *atomic.Int32 // its configuration
}

var errDead = errors.New("the process is dead")

// Identity is the AWS account: each name is another one.
func (o *openedBlock) Identity() record.Identity {
	h := fnv.New32a()
	_, _ = h.Write([]byte(o.b.name))
	return record.Identity{AccountID: fmt.Sprintf("%012d", h.Sum32()), Partition: "aws"}
}

func (o *openedBlock) SignIn() inventory.SignIn { return inventory.SignIn{Path: "role"} }

func (o *openedBlock) Regions(context.Context, *runner.Gate) (runner.Plan, error) {
	return runner.Plan{Regions: o.b.regions, Complete: true}, nil
}

func (o *openedBlock) Pages(
	ctx context.Context, _ *runner.Gate, t record.Target, run, _ string, _ *record.ListStats,
) iter.Seq2[*record.Page, error] {
	return func(yield func(*record.Page, error) bool) {
		if o.p.dead.Load() {
			yield(nil, errDead)
			return
		}
		aws := o.p.f.aws
		l := aws.begin(o.p, t, run)
		stop := context.AfterFunc(ctx, func() { aws.end(l, false) })
		defer stop()
		ended := !yield(page("i-1"), nil)
		err := o.list(ctx, t)
		if ctx.Err() == nil && !o.p.dead.Load() && o.closed.Load() > 0 {
			aws.violate(fmt.Sprintf("%v: its configuration was closed while it was listed", t))
		}
		aws.end(l, err == nil)
		if err != nil && !ended {
			yield(nil, err)
		}
	}
}

// list takes the time that the listing takes; it ends at once when the process dies.
func (o *openedBlock) list(ctx context.Context, t record.Target) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(o.p.life, func() { cancel(errDead) })
	defer stop()
	if o.b.list != nil {
		return o.b.list(ctx, t)
	}
	return sleep(ctx, o.p.f.units(o.b.took))
}

// page returns a page with resources of these ids.
func page(ids ...string) *record.Page {
	p := new(record.Page)
	p.Reset(record.NewEnvelope(record.Target{}, record.Identity{}, []byte("{}"), "", ""))
	for _, id := range ids {
		p.BeginItem(1)
		p.Items.Buf = append(p.Items.Buf, fmt.Sprintf(`{"Id":%q}`, id)...)
		n := len(p.Items.Buf)
		p.SetID(0, record.SpanOf(n-len(id)-3, n-1))
		p.EndItem()
		p.EncodeLines("")
	}
	return p
}
