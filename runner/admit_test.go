package runner

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/record"
)

// A listing waits for the ledger's room before it asks AWS anything, and leaves it when its end is over. What is listed for
// its ids alone, or not at all, needs none.
func TestTheLedgersRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := make(chan struct{})
		asked := 0
		f := &fakeAccount{
			regions: func(context.Context, *Gate) (Plan, error) {
				return Plan{Regions: []string{"r"}, Disabled: []string{"off"}, Complete: true}, nil
			},
			list: func(ctx context.Context, _ *Gate, _ record.Target, _ string, emit func(context.Context, *record.Page) error) error {
				asked++
				return emit(ctx, page("x-1"))
			}}
		g := newHarness(t, Options{}, LocalOptions{})
		g.store.wait = func(context.Context) { <-room }
		g.runner.Swap(buildConfiguration(t, account("a", f, func(a *Account) {
			a.Kinds = []Kind{{Name: "ec2_table", Op: "DescribeTables"}, {Name: "ec2_route", Op: "DescribeRoutes", Parent: "ec2_table"}}
		})))
		go func() {
			time.Sleep(time.Minute)
			if n := len(g.board.Listings()); asked > 0 || n > 0 {
				t.Errorf("%d were asked for and %d shown before there was room", asked, n)
			}
			close(room)
		}()
		g.once()
		g.want(map[string]string{"r ec2_table": "ok", "r ec2_route": "ok", "off ec2_table": "region_disabled region_disabled", "off ec2_route": "region_disabled region_disabled"})
		if n := g.store.released.Load(); n != 2 {
			t.Errorf("%d had room, want the two that were listed", n)
		}
	})
}

// A run's time-out ends the waiting for room: the target says so, to the outputs and to the ledger.
func TestNoRoomBeforeTheTimeOut(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			sink := &fakeOutput{name: "file"}
			ledger := &slowStore{MemoryStore: NewMemoryStore(), turn: make(chan struct{}, 1)}
			g := newHarness(t, Options{Store: ledger}, LocalOptions{})
			release := make(chan struct{})
			g.store.wait = func(ctx context.Context) {
				<-ctx.Done()
				if !heeds {
					<-release
				}
			}
			fl := buildConfiguration(t, account("a", &fakeAccount{}, func(a *Account) { a.Timeout = time.Minute }))
			fl.Outputs = []Output{sink}
			g.runner.Swap(fl)
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
			if ledger.took != 2 || len(sink.ended) != 2 || sink.records() != 0 {
				t.Errorf("the ledger took %d ends, the output %d with %d records; want 2, 2 and 0", ledger.took, len(sink.ended), sink.records())
			}
		})
	}
}
