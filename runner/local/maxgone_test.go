package local

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A missingStore reports missing resources, by kind, or fails to.
type missingStore struct {
	*runner.MemoryStore
	missing, expected map[string]int
	fail              error

	mu    sync.Mutex
	ended map[string]record.Outcome // by kind
}

type missingWriter struct {
	inventory.ScopeWriter
	s    *missingStore
	kind string
}

func (s *missingStore) Begin(
	ctx context.Context, t record.Target, id record.Identity, run string,
) (inventory.ScopeWriter, error) {
	w, err := s.MemoryStore.Begin(ctx, t, id, run)
	return missingWriter{w, s, t.Kind}, err
}

func (w missingWriter) Missing(context.Context) (missing, expected int, err error) {
	return w.s.missing[w.kind], w.s.expected[w.kind], w.s.fail
}

func (w missingWriter) End(ctx context.Context, o record.Outcome) error {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.ended[o.Kind] = o
	return w.ScopeWriter.End(ctx, o)
}

// A listing that lacks too much of what the store expects is delivered. It is unconfirmed for the output, the store,
// the board and the run. Its children are listed, and none of them is gone either.
func TestUnconfirmed(t *testing.T) {
	for _, c := range []struct {
		name   string
		limit  inventory.MaxGone
		fail   error
		state  string // of the kind with missing resources, and of the kinds below it
		status record.Status
	}{
		{"no limit", inventory.MaxGone{}, nil, "ok", record.Success},
		{"within the limit", inventory.MaxGone{Percent: 50, AtLeast: 21}, nil, "ok", record.Success},
		{"a smaller part", inventory.MaxGone{Percent: 67, AtLeast: 20}, nil, "ok", record.Success},
		{"beyond it", inventory.MaxGone{Percent: 50, AtLeast: 20}, nil, "unconfirmed max_gone", record.RunPartial},
		{"the store fails", inventory.MaxGone{AtLeast: 1}, errors.New("disk full"), "ok", record.Success},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &missingStore{
					MemoryStore: runner.NewMemoryStore(), fail: c.fail, ended: map[string]record.Outcome{},
					missing:  map[string]int{"ec2_table": 20, "ec2_route": 1, "ec2_hop": 1},
					expected: map[string]int{"ec2_instance": 9, "ec2_table": 30, "ec2_route": 100, "ec2_hop": 100},
				}
				output := &fakeOutput{}
				g := newHarness(t, runner.Options{Store: store}, Options{})
				f := &fakeAccount{
					regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
						return runner.Plan{Regions: []string{"r"}}, nil
					},
				}
				conf := buildConfiguration(t, account("a", f, family, func(a *runner.Account) { a.MaxGone = c.limit }))
				conf.Output = output
				g.runner.Swap(conf)
				res := g.once()
				g.want(map[string]string{
					"r ec2_instance": "ok", "r ec2_table": c.state, "r ec2_route": c.state, "r ec2_hop": c.state,
				})
				if res[0].Status != c.status {
					t.Errorf("the run is %s, want %s", res[0].Status, c.status)
				}
				if output.records() != 2*(1+1+2+4) { // each page has two resources, and each parent a listing
					t.Errorf("%d records were delivered", output.records())
				}
				for _, o := range output.ended {
					if all := g.recorder.all(); o.State != all["a r "+o.Kind].State {
						t.Errorf("%s ended as %s for the output", o.Kind, o.State)
					}
				}
				if o := store.ended["ec2_table"]; c.fail == nil && !strings.HasPrefix(c.state, string(o.State)) {
					t.Errorf("stored as %+v", o)
				}
				for info := range g.board.TargetsOf("a") {
					if info.State == record.Unconfirmed && (!info.Failed() || !info.LastSuccess.IsZero() || info.Hint == "") {
						t.Errorf("board: %+v", info)
					}
				}
			})
		})
	}
}

// The end of a run while the store is asked is not taken for a complete listing.
func TestUnconfirmedTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &missingStore{MemoryStore: runner.NewMemoryStore(), ended: map[string]record.Outcome{}}
		g := newHarness(t, runner.Options{Store: slowMissing{store}}, Options{})
		g.runner.Swap(buildConfiguration(t, account("a", &fakeAccount{}, func(a *runner.Account) {
			a.MaxGone, a.Timeout = inventory.MaxGone{AtLeast: 1}, time.Minute
		})))
		g.once()
		g.want(map[string]string{"us-east-1 ec2_instance": "timeout timeout", "eu-west-1 ec2_instance": "timeout timeout"})
	})
}

// slowMissing does not say what is missing before the context ends.
type slowMissing struct{ *missingStore }

type slowMissingWriter struct{ inventory.ScopeWriter }

func (s slowMissing) Begin(
	ctx context.Context, t record.Target, id record.Identity, run string,
) (inventory.ScopeWriter, error) {
	w, err := s.missingStore.Begin(ctx, t, id, run)
	return slowMissingWriter{w}, err
}

func (slowMissingWriter) Missing(ctx context.Context) (missing, expected int, err error) {
	<-ctx.Done()
	return 0, 0, context.Cause(ctx)
}
