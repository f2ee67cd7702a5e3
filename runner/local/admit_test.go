package local

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A listing waits for the store's admission before it calls AWS, and releases it after its end. A target that is listed
// only for its ids, or not at all, needs no admission.
func TestStoreAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		admitted := make(chan struct{})
		asked := 0
		f := &fakeAccount{
			regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
				return runner.Plan{Regions: []string{"r"}, Disabled: []string{"off"}, Complete: true}, nil
			},
			list: func(ctx context.Context, _ *runner.Gate, _ record.Target, _ string, emit emitFunc) error {
				asked++
				return emit(ctx, page("x-1"))
			}}
		g := newHarness(t, runner.Options{}, Options{})
		g.store.wait = func(context.Context) { <-admitted }
		g.runner.Swap(buildConfiguration(t, account("a", f, func(a *runner.Account) {
			a.Kinds = []runner.Kind{
				{Name: "ec2_table", Op: "DescribeTables"},
				{Name: "ec2_route", Op: "DescribeRoutes", Parent: "ec2_table"},
			}
		})))
		go func() {
			time.Sleep(time.Minute)
			if n := len(g.board.Listings()); asked > 0 || n > 0 {
				t.Errorf("%d listed and %d shown before the store admitted them", asked, n)
			}
			close(admitted)
		}()
		g.once()
		g.want(map[string]string{
			"r ec2_table":   "ok",
			"r ec2_route":   "ok",
			"off ec2_table": "region_disabled region_disabled",
			"off ec2_route": "region_disabled region_disabled",
		})
		if n := g.store.released.Load(); n != 2 {
			t.Errorf("%d admitted, want the two that were listed", n)
		}
	})
}

// A run's timeout ends the wait for admission: the target times out, in the outputs and in the store.
func TestTimeoutEndsTheWaitForTheStore(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			output := &fakeOutput{}
			store := &slowStore{MemoryStore: runner.NewMemoryStore(), turn: make(chan struct{}, 1)}
			g := newHarness(t, runner.Options{Store: store}, Options{})
			release := make(chan struct{})
			g.store.wait = func(ctx context.Context) {
				<-ctx.Done()
				if !heeds {
					<-release
				}
			}
			conf := buildConfiguration(t, account("a", &fakeAccount{}, func(a *runner.Account) { a.Timeout = time.Minute }))
			conf.Output = output
			g.runner.Swap(conf)
			if _, err := g.local.Once(t.Context()); err != nil {
				t.Fatal(err)
			}
			close(release)
			g.checkInvariants()
			want := "timeout timeout"
			if !heeds {
				want = "timeout stuck"
			}
			g.want(map[string]string{"us-east-1 ec2_instance": want, "eu-west-1 ec2_instance": want})
			if store.took != 2 || len(output.ended) != 2 || output.records() != 0 {
				t.Errorf(
					"the store took %d ends, the output %d with %d records; want 2, 2 and 0",
					store.took,
					len(output.ended),
					output.records(),
				)
			}
		})
	}
}
