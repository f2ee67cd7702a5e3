package runner

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner/internal/fairqueue"
)

// EC2's own bucket for each API, account and region, for calls with MaxResults or a filter.
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
const (
	ec2Refill = 20
	ec2Burst  = 100
)

const (
	minRatio        = 1.0 / 32         // throttles do not reduce the budget below this
	recoverStep     = 1.0 / 8          // of the full budget
	recoverInterval = 30 * time.Second // without a throttle: a half budget is full again after two minutes
	throttleWindow  = time.Second      // throttles of concurrent calls are one event
)

// Limits are the two limits on calls: the calls in flight (one account has at most an eighth of them), and a bucket for
// each account × region × service × API with half of EC2's refill and burst, because other programs use the account
// too. Memory is limited by record.Pages. A page is taken inside a call and never the other way round, so the two
// limits cannot deadlock. Calls wait in turn between accounts, so that one account cannot starve another.
type Limits struct {
	observe Observer

	mu       sync.Mutex
	inFlight *fairqueue.Queue[*waiter]

	bucketMu sync.Mutex
	buckets  map[bucketKey]*bucket
	sweepAt  int // the number of buckets at which full unused ones are removed
}

type waiter struct {
	ready   chan struct{}
	granted bool // guarded by Limits.mu
}

type bucketKey struct{ account, region, service, op string }

// NewLimits limits the calls in flight. The observer is told every call and every wait for a budget; nil: none.
func NewLimits(calls int, observe Observer) *Limits {
	return &Limits{
		observe:  Tee(observe),
		inFlight: fairqueue.New[*waiter](calls),
		buckets:  map[bucketKey]*bucket{},
		sweepAt:  256,
	}
}

// InFlight is the number of calls in flight.
func (l *Limits) InFlight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.inFlight.Used()
}

// grant gives free slots to waiting calls. l.mu is held.
func (l *Limits) grant() {
	for {
		_, w, ok := l.inFlight.Pop(0)
		if !ok {
			return
		}
		w.granted = true
		close(w.ready)
	}
}

func (l *Limits) acquire(ctx context.Context, account string) error {
	l.mu.Lock()
	if l.inFlight.TryAcquire(account) {
		l.mu.Unlock()
		return nil
	}
	w := &waiter{ready: make(chan struct{})}
	l.inFlight.Push(account, 0, w)
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
		l.inFlight.Release(account)
		l.grant()
	} else {
		l.inFlight.Remove(account, func(x *waiter) bool { return x == w })
	}
	return context.Cause(ctx)
}

func (l *Limits) release(account string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inFlight.Release(account)
	l.grant()
}

// BudgetOf is the collector's half of an API's refill (calls per second) and burst: the budget of a bucket.
func BudgetOf(refill float64, burst int) (perSecond float64, atOnce int) {
	return refill / 2, max(burst/2, 1)
}

// RunConcurrency is the largest number of calls that a run over so many regions has in flight, given the limit for all
// runs.
func RunConcurrency(callsInFlight, regions int) int {
	return min(fairqueue.PerAccount(callsInFlight), jobWidth*max(regions, 1))
}

// A bucket is the budget of one API in one region of one account.
type bucket struct {
	users int // guarded by Limits.bucketMu

	mu       sync.Mutex
	lim      *rate.Limiter
	fullRate rate.Limit
	burst    int
	ratio    float64   // of the full budget, reduced by throttles: 1 is full
	since    time.Time // when ratio changed
}

// bucket returns a budget, which stays until releaseBucket. An unused bucket that is full again is equal to a new one
// and is removed: so memory depends on the accounts in progress, not on all accounts.
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

// wait waits until the budget allows one call, and returns how long that took.
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

// A ReducedBudget is an account and region whose budgets throttles have reduced.
type ReducedBudget struct {
	Account, Region string
	Ratio           float64 // of the smallest of its budgets to the full one; below 1
}

// ReducedBudgets returns the budgets that throttles have reduced and that have not recovered yet, in no order.
func (l *Limits) ReducedBudgets() []ReducedBudget {
	l.bucketMu.Lock()
	defer l.bucketMu.Unlock()
	type accountRegion struct{ account, region string }
	least := map[accountRegion]float64{}
	now := time.Now()
	for k, b := range l.buckets {
		b.mu.Lock()
		b.restore(now)
		ratio := b.ratio
		b.mu.Unlock()
		at := accountRegion{k.account, k.region}
		if former, ok := least[at]; ratio < 1 && (!ok || ratio < former) {
			least[at] = ratio
		}
	}
	out := make([]ReducedBudget, 0, len(least))
	for at, ratio := range least {
		out = append(out, ReducedBudget{at.account, at.region, ratio})
	}
	return out
}

// A Gate applies the limits to the calls of one target: each attempt of a call, retries included, enters it and is
// counted. It implements collectors.Gate; neither package imports the other.
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
	inFlight         int
	closed           bool // the target is over: late calls are refused and not counted
}

// Gate makes the gate of one target. kind has the budget of its own API, and one like it for TagsOp; other APIs have
// EC2's.
func (l *Limits) Gate(account, region string, kind Kind) *Gate {
	return &Gate{region, &gate{l: l, account: account, kind: kind}}
}

// ForRegion is the same gate (same counts, same account) for calls to another region.
func (g *Gate) ForRegion(region string) *Gate { return &Gate{region, g.gate} }

var errTargetOver = errors.New("the target has ended")

// Enter waits for the budget of a service's op, then for one of the calls in flight. leave must be called when the
// attempt is over. It takes AWS's error code, "" for an answer; a throttling code reduces this budget and no other. The
// error is the context's cause.
func (g *Gate) Enter(ctx context.Context, service, op string) (leave func(code string), err error) {
	refill, burst := g.kind.Refill, g.kind.Burst
	key := bucketKey{g.account, g.region, service, op}
	other := service != g.kind.Service || op != g.kind.Op && op != g.kind.TagsOp
	if g.kind.Shared && service == g.kind.Service {
		other, key.op = false, ""
	}
	if refill == 0 || other {
		refill = ec2Refill
	}
	if burst == 0 || other {
		burst = ec2Burst
	}
	b := g.l.bucket(key, refill, burst)
	waited, err := b.wait(ctx)
	if waited > 0 {
		g.l.observe(BudgetWaited{g.account, g.region, waited})
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
				g.l.observe(CallEnded{g.account, g.region, op, code, now.Sub(from)})
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

// close ends the counting and releases the calls in flight of an abandoned call.
func (g *gate) close() (calls, throttles int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for ; g.inFlight > 0; g.inFlight-- {
		g.l.release(g.account)
	}
	return g.calls, g.throttles
}
