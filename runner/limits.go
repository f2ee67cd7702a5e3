package runner

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/aws-collector/collector/record"
)

// EC2's own bucket, of each API, account and region, for calls that say MaxResults or a filter.
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
const (
	ec2Refill = 20
	ec2Burst  = 100
)

const (
	minRatio        = 1.0 / 32         // of the budget: throttles slow it down to this and no further
	recoverStep     = 1.0 / 8          // of the budget, each
	recoverInterval = 30 * time.Second // without a throttle: from a half to the whole in two minutes
	throttleWindow  = time.Second      // throttles of calls that were under way together are one sign, not many
)

// Limits are the two bounds on calls: in flight in all (and at most an eighth of it for one account), and a bucket for
// each account × region × API at half of EC2's refill and burst: the other half is for whoever else works in the
// account. The bound on memory is record.Pages, taken inside a call and never the other way round, so the two cannot
// wait for each other. Who waits gets in by turns between accounts, so that one cannot starve another.
type Limits struct {
	observer Observer

	mu       sync.Mutex
	inFlight *fairQueue[*waiter]

	bucketMu sync.Mutex
	buckets  map[bucketKey]*bucket
	sweepAt  int // the number of buckets at which those that are full again are dropped
}

type waiter struct {
	ready   chan struct{}
	granted bool // guarded by Limits.mu
}

type bucketKey struct{ account, region, op string }

// NewLimits bounds the calls in flight. watch hears of every call and of every wait for a budget; nil: nobody.
func NewLimits(calls int, watch Observer) *Limits {
	return &Limits{observer: Tee(watch), inFlight: newFairQueue[*waiter](calls), buckets: map[bucketKey]*bucket{}, sweepAt: 256}
}

// Resize changes the bound on calls in flight, for a reload. Calls under way stay.
func (l *Limits) Resize(calls int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight.resize(calls)
	l.grant()
}

// InFlight is the number of calls under way.
func (l *Limits) InFlight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inFlight.used
}

// grant lets in whoever has the turn. l.mu is held.
func (l *Limits) grant() {
	for {
		_, w, ok := l.inFlight.pop(0)
		if !ok {
			return
		}
		w.granted = true
		close(w.ready)
	}
}

func (l *Limits) acquire(ctx context.Context, account string) error {
	l.mu.Lock()
	if l.inFlight.tryAcquire(account) {
		l.mu.Unlock()
		return nil
	}
	w := &waiter{ready: make(chan struct{})}
	l.inFlight.push(account, 0, w)
	l.grant()
	l.mu.Unlock()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.granted {
		l.inFlight.release(account)
		l.grant()
	} else {
		l.inFlight.remove(account, func(x *waiter) bool { return x == w })
	}
	return context.Cause(ctx)
}

func (l *Limits) release(account string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight.release(account)
	l.grant()
}

// BudgetOf is what of EC2's refill (calls a second) and burst of one API is ours: the budget of a bucket.
func BudgetOf(refill float64, burst int) (perSecond float64, atOnce int) {
	return refill / 2, max(burst/2, 1)
}

// RunConcurrency is the most calls that a run has in flight in so many regions, of the number that is allowed in all.
func RunConcurrency(callsInFlight, regions int) int {
	return min(newFairQueue[struct{}](callsInFlight).perAccount, jobWidth*max(regions, 1))
}

// A bucket is the budget of one API in one region of one account.
type bucket struct {
	users int // who holds it now; guarded by Limits.bmu

	mu       sync.Mutex
	lim      *rate.Limiter
	fullRate rate.Limit
	burst    int
	ratio    float64   // of the budget that is left after throttles: 1 is all
	since    time.Time // when part changed
}

// bucket finds a budget and keeps it from being dropped until free. A bucket that nobody holds and that is full again
// says nothing that a new one would not, so it goes: memory follows the accounts at work, not the accounts.
func (l *Limits) bucket(k bucketKey, refill float64, burst int) *bucket {
	l.bucketMu.Lock()
	defer l.bucketMu.Unlock()
	b := l.buckets[k]
	if b == nil {
		if len(l.buckets) >= l.sweepAt {
			now := time.Now()
			for k, b := range l.buckets {
				if b.users == 0 && b.idle(now) {
					delete(l.buckets, k)
				}
			}
			l.sweepAt = max(256, 2*len(l.buckets))
		}
		perSecond, atOnce := BudgetOf(refill, burst)
		full := rate.Limit(perSecond)
		b = &bucket{lim: rate.NewLimiter(full, atOnce), fullRate: full, burst: atOnce, ratio: 1}
		l.buckets[k] = b
	}
	b.users++
	return b
}

func (l *Limits) releaseBucket(b *bucket) {
	l.bucketMu.Lock()
	defer l.bucketMu.Unlock()
	b.users--
}

// wait waits for one call's worth of the budget, and says how long that took.
func (b *bucket) wait(ctx context.Context) (time.Duration, error) {
	now := time.Now()
	b.mu.Lock()
	b.restore(now)
	r := b.lim.ReserveN(now, 1)
	b.mu.Unlock()
	d := r.DelayFrom(now)
	if d == 0 {
		return 0, nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return d, nil
	case <-ctx.Done():
		r.Cancel()
		return time.Since(now), context.Cause(ctx)
	}
}

func (b *bucket) restore(now time.Time) {
	if b.ratio == 1 {
		return
	}
	if steps := int(now.Sub(b.since) / recoverInterval); steps > 0 {
		b.ratio = min(1, b.ratio+float64(steps)*recoverStep)
		b.since = b.since.Add(time.Duration(steps) * recoverInterval)
		b.apply(now)
	}
}

func (b *bucket) apply(now time.Time) {
	b.lim.SetLimitAt(now, b.fullRate*rate.Limit(b.ratio))
	b.lim.SetBurstAt(now, max(1, int(float64(b.burst)*b.ratio)))
}

// throttled halves the budget. EC2's own bucket is empty at this moment, so ours is too.
func (b *bucket) throttled(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.restore(now)
	if b.ratio < 1 && now.Sub(b.since) < throttleWindow {
		return
	}
	b.ratio, b.since = max(minRatio, b.ratio/2), now
	b.apply(now)
	if n := int(b.lim.TokensAt(now)); n > 0 {
		b.lim.AllowN(now, n)
	}
}

func (b *bucket) idle(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.restore(now)
	return b.ratio == 1 && b.lim.TokensAt(now) >= float64(b.burst)
}

// ReducedBudget is what throttles have left of an account's budgets in a region.
type ReducedBudget struct {
	Account, Region string
	Ratio           float64 // of the least of its budgets: below 1, which is all of our share
}

// ReducedBudgets is where throttles have made the collector slow down and it has not recovered yet, in no order.
func (l *Limits) ReducedBudgets() []ReducedBudget {
	l.bucketMu.Lock()
	defer l.bucketMu.Unlock()
	type place struct{ account, region string }
	least := map[place]float64{}
	now := time.Now()
	for k, b := range l.buckets {
		b.mu.Lock()
		b.restore(now)
		part := b.ratio
		b.mu.Unlock()
		at := place{k.account, k.region}
		if was, ok := least[at]; part < 1 && (!ok || part < was) {
			least[at] = part
		}
	}
	out := make([]ReducedBudget, 0, len(least))
	for at, part := range least {
		out = append(out, ReducedBudget{at.account, at.region, part})
	}
	return out
}

// A Gate is one target's door to an API: it is asked before each attempt of a call, retries included, and counts them.
// It satisfies collectors' Gate without either package knowing the other.
type Gate struct {
	region string
	*gate
}

type gate struct {
	l       *Limits
	account string
	kind    Kind

	mu               sync.Mutex
	calls, throttles int
	inFlight         int  // places in flight held now
	closed           bool // the target is over: what comes late is refused and counts no more
}

// Gate makes the door for one target. kind says what the budget of its own API is; other APIs have EC2's.
func (l *Limits) Gate(account, region string, kind Kind) *Gate {
	return &Gate{region, &gate{l: l, account: account, kind: kind}}
}

// ForRegion is the same gate (its counts, its account) for calls that go to another region.
func (g *Gate) ForRegion(region string) *Gate { return &Gate{region, g.gate} }

var errTargetOver = errors.New("the target is over")

// Enter waits for the budget of op, then for a place in flight. leave must be called when the attempt is over; it takes
// AWS's error code, "" for an answer, and slows this budget (and no other) down when the code is a throttle. The error
// is the context's cause.
func (g *Gate) Enter(ctx context.Context, op string) (leave func(code string), err error) {
	refill, burst := g.kind.Refill, g.kind.Burst
	if refill == 0 || op != g.kind.Op {
		refill = ec2Refill
	}
	if burst == 0 || op != g.kind.Op {
		burst = ec2Burst
	}
	b := g.l.bucket(bucketKey{g.account, g.region, op}, refill, burst)
	waited, err := b.wait(ctx)
	if waited > 0 {
		g.l.observer.BudgetWait(g.account, g.region, waited)
	}
	if err == nil {
		err = g.l.acquire(ctx, g.account)
	}
	if err == nil && !g.begin() {
		g.l.release(g.account)
		err = errTargetOver
	}
	if err != nil {
		g.l.releaseBucket(b)
		return nil, err
	}
	from := time.Now()
	var once sync.Once
	return func(code string) {
		once.Do(func() {
			now := time.Now()
			throttle := record.IsThrottlingCode(code)
			if throttle {
				b.throttled(now)
			}
			g.l.releaseBucket(b)
			if g.end(throttle) {
				g.l.observer.Call(g.account, g.region, op, code, now.Sub(from))
			}
		})
	}, nil
}

func (g *gate) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.calls++
	g.inFlight++
	return true
}

func (g *gate) end(throttle bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.inFlight--
	if throttle {
		g.throttles++
	}
	g.l.release(g.account)
	return true
}

// close ends the counting and frees the places of a work that was given up on.
func (g *gate) close() (calls, throttles int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for ; g.inFlight > 0; g.inFlight-- {
		g.l.release(g.account)
	}
	return g.calls, g.throttles
}
