package board

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

func TestBoard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New()
		nudge, cancel := b.Subscribe()
		nudged := func() bool {
			select {
			case <-nudge:
				return true
			default:
				return false
			}
		}
		b.Observe(runner.Configured{Kinds: map[string][]string{"a": {"k1", "k2"}, "b": {"k1"}}})
		if as := slices.Collect(b.Accounts()); len(as) != 2 || as[0].Name != "a" || !nudged() || nudged() {
			t.Error(as)
		}
		k1, k2 := record.Target{Account: "a", Region: "r1", Kind: "k1"}, record.Target{Account: "a", Region: "r1", Kind: "k2"}
		tick := time.Now()
		b.Observe(runner.RunStarted{Account: "a", Run: "run-1", Tick: tick})
		b.Observe(runner.SignedIn{Account: "a", Identity: record.Identity{AccountID: "111111111111"}})
		b.Observe(runner.RegionsPlanned{Account: "a", Regions: []string{"r1"}, Disabled: []string{"r9"}, Warning: nil})
		b.Observe(runner.SessionExpires{Account: "a", At: tick.Add(time.Hour)})
		b.Observe(runner.NextStart{Account: "a", At: tick.Add(15 * time.Minute)})
		b.Observe(runner.TargetStarted{Target: k1, Run: "run-1"})
		b.Observe(runner.TargetStarted{Target: k2, Run: "run-1"})
		b.Observe(runner.TargetProgress{Target: k1, Run: "run-1", Records: 500})
		b.Observe(runner.TargetProgress{Target: k1, Run: "run-0", Records: 9000}) // a late target of an older run
		time.Sleep(time.Minute)
		if ls := b.Listings(); len(ls) != 2 || ls[0].Kind != "k1" || ls[0].Records != 500 || !ls[0].Started.Equal(tick) {
			t.Error(ls)
		}
		ok := record.Outcome{Target: k1, Run: "run-1", State: record.OK, Records: 700, Calls: 2, Ended: time.Now()}
		b.Observe(runner.TargetEnded{Outcome: ok})
		b.Observe(
			runner.TargetEnded{
				Outcome: record.Outcome{
					Target: k2, Run: "run-1", State: record.Denied, Reason: record.AccessDenied, Calls: 1, Throttles: 1,
				},
			},
		)
		b.Observe(runner.RunMissed{Account: "a", Reason: runner.MissedOverlap})
		b.Observe(runner.Undelivered{Target: k1, Run: "run-1", Output: "s3", Err: nil})
		info, found := b.Account("a")
		run := RunInfo{
			Run:       "run-1",
			Tick:      tick,
			Started:   tick,
			Took:      time.Minute,
			Targets:   2,
			Failed:    1,
			Records:   700,
			Calls:     3,
			Throttles: 1,
		}
		if !found || len(info.Running) != 1 || info.Running[0] != run || info.Last.Run != "" ||
			info.Identity.AccountID != "111111111111" ||
			!slices.Equal(info.Regions, []string{"r1"}) || !info.Next.Equal(tick.Add(15*time.Minute)) ||
			!info.Expires.Equal(tick.Add(time.Hour)) ||
			info.Missed[runner.MissedOverlap] != 1 ||
			info.Undelivered["s3"] != 1 {
			t.Errorf("%+v", info)
		}
		b.Observe(runner.RunEnded{Account: "a", Run: "run-1", Status: record.RunPartial, Took: time.Minute})
		b.Observe(runner.RunEnded{Account: "a", Run: "run-2", Status: record.RunSkipped, Took: 0}) // never started
		info, _ = b.Account("a")
		if run.Status = record.RunPartial; len(info.Running) != 0 || info.Last != run {
			t.Errorf("%+v", info)
		}
		if len(b.Listings()) != 0 {
			t.Error(b.Listings())
		}
		// A later failure keeps what the last success was.
		time.Sleep(time.Minute)
		b.Observe(runner.TargetEnded{Outcome: record.Outcome{Target: k1, Run: "run-3", State: record.Timeout}})
		ts := slices.Collect(b.Targets())
		if len(ts) != 2 || ts[0].State != record.Timeout || !ts[0].LastSuccess.Equal(ok.Ended) || ts[0].Resources != 700 ||
			!ts[1].LastSuccess.IsZero() {
			t.Errorf("%+v", ts)
		}
		for target, n := range b.Resources() {
			if target != (record.Target{Account: "a", Kind: "k1"}) || n != 700 {
				t.Error(target, n)
			}
		}
		// Kinds, regions and accounts that are gone.
		b.Observe(runner.Configured{Kinds: map[string][]string{"a": {"k1"}, "c": nil}})
		if ts := slices.Collect(b.Targets()); len(ts) != 1 || ts[0].Kind != "k1" {
			t.Error(ts)
		}
		b.Observe(runner.RegionsPlanned{Account: "a", Regions: []string{"r2"}, Disabled: nil, Warning: nil})
		if ts := slices.Collect(b.Targets()); len(ts) != 0 {
			t.Error(ts)
		}
		b.Observe(
			runner.TargetEnded{Outcome: record.Outcome{Target: record.Target{Account: "b"}, State: record.OK}},
		) // a run of a removed account
		if as := slices.Collect(b.Accounts()); len(as) != 2 || as[1].Name != "c" {
			t.Error(as)
		}
		nudged()
		cancel()
		b.Observe(runner.RunMissed{Account: "a", Reason: runner.MissedDrain})
		if nudged() {
			t.Error("nudged after the end")
		}
	})
}

// Every field of an outcome is read back, although most fields are stored only if they are unusual.
func TestBoardKeepsOutcomesWhole(t *testing.T) {
	target := record.Target{Account: "a", Region: "r", Kind: "k"}
	at := time.Unix(1_700_000_000, 5)
	for _, o := range []record.Outcome{
		{State: record.OK},
		{State: record.OK, Records: 7, Duplicates: 3, Calls: 2},
		{State: record.OK, Records: 7, Calls: 4, Throttles: 2},
		{State: record.Partial, Reason: record.Throttling, Error: "slow down", Hint: "wait", Records: 5, Duplicates: 1,
			Calls: 9, Throttles: 8},
		{State: record.Denied, Reason: record.AccessDenied, Expected: true},
		{State: record.Skipped},
	} {
		o.Target, o.Run, o.Started, o.Ended = target, "second", at, at.Add(time.Second)
		first := record.Outcome{
			Target:  target,
			Run:     "first",
			State:   record.OK,
			Records: 4,
			Started: at.Add(-time.Hour),
			Ended:   at.Add(-time.Minute),
		}
		b := New()
		b.Observe(runner.TargetEnded{Outcome: first})
		b.Observe(runner.TargetEnded{Outcome: o})
		want := TargetInfo{Outcome: o, LastSuccess: first.Ended, Resources: first.Records}
		if o.State == record.OK {
			want.LastSuccess, want.Resources = o.Ended, o.Records
		}
		for range 2 { // the second time, a target failed before it
			if got := slices.Collect(b.Targets()); len(got) != 1 || got[0] != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			b.Observe(runner.TargetEnded{Outcome: o})
		}
	}
}

// Concurrent readers and writers, for the race detector.
func TestBoardConcurrent(t *testing.T) {
	b := New()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for k := range 200 {
				target := record.Target{Account: fmt.Sprint(i % 4), Region: fmt.Sprint(k % 5), Kind: "k"}
				b.Observe(runner.RunStarted{Account: target.Account, Run: fmt.Sprint(i, k), Tick: time.Now()})
				b.Observe(runner.TargetStarted{Target: target, Run: fmt.Sprint(i, k)})
				b.Observe(runner.TargetProgress{Target: target, Run: fmt.Sprint(i, k), Records: k})
				b.Observe(runner.TargetEnded{Outcome: record.Outcome{Target: target, Run: fmt.Sprint(i, k), State: record.OK}})
				b.Observe(runner.RegionsPlanned{Account: target.Account, Regions: []string{"0", "1"}, Disabled: nil, Warning: nil})
				b.Observe(runner.RunEnded{Account: target.Account, Run: fmt.Sprint(i, k), Status: record.Success, Took: 0})
			}
		})
		wg.Go(func() {
			_, cancel := b.Subscribe()
			defer cancel()
			for range 100 {
				_, _, _ = slices.Collect(b.Accounts()), b.Listings(), slices.Collect(b.Targets())
				for range b.Resources() {
				}
				if i == 0 {
					b.Observe(runner.Configured{Kinds: map[string][]string{"0": {"k"}, "1": {"k"}, "2": {"k"}, "3": {"k"}}})
				}
			}
		})
	}
	wg.Wait()
}

// A storedState is a store with these answers.
type storedState struct {
	targets []inventory.Coverage
	runs    []inventory.Run
	signIns []inventory.SignIn
	err     error
}

func rowsOf[T any](rows []T, err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(*new(T), err)
		}
	}
}

func (s storedState) Targets(context.Context) iter.Seq2[inventory.Coverage, error] {
	return rowsOf(s.targets, s.err)
}
func (s storedState) Runs(context.Context, inventory.RunQuery) iter.Seq2[inventory.Run, error] {
	return rowsOf(s.runs, s.err)
}
func (s storedState) LastRuns(_ context.Context, accounts []string) iter.Seq2[inventory.Run, error] {
	return rowsOf(slices.DeleteFunc(slices.Clone(s.runs), func(r inventory.Run) bool {
		return !slices.Contains(accounts, r.Account)
	}), nil)
}
func (s storedState) SignIns(context.Context) iter.Seq2[inventory.SignIn, error] {
	return rowsOf(s.signIns, nil)
}

// After a restart the board has the store's last word, and events that came before stay.
func TestBoardLoad(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	outcome := func(account, kind string, s record.State) record.Outcome {
		return record.Outcome{
			Target: record.Target{Account: account, Region: "r", Kind: kind}, Run: "run-1", State: s, Records: 4, Calls: 2,
			Started: at, Ended: at.Add(time.Minute),
		}
	}
	before := at.Add(-time.Hour)
	stored := storedState{
		targets: []inventory.Coverage{
			{Outcome: outcome("a", "k1", record.OK), LastSeen: at.Add(time.Minute), Resources: 4},
			{Outcome: outcome("a", "k2", record.Denied), LastSeen: before, Resources: 9},
			{Outcome: outcome("a", "k3", record.RegionDisabled)},
			{Outcome: outcome("a", "gone", record.OK)},
			{Outcome: outcome("a", "k4", record.OK), Retired: at},
			{Outcome: record.Outcome{Target: record.Target{Account: "a", Region: "r2", Kind: "k1"}}}, // begun only
			{Outcome: outcome("b", "k1", record.RegionDisabled)},
			{Outcome: outcome("c", "k1", record.Denied), LastSeen: before, Resources: 7},
			{Outcome: outcome("removed", "k1", record.OK)},
		},
		runs: []inventory.Run{
			{ID: "run-1", Account: "a", Tick: at, Started: at, Ended: at.Add(time.Minute), Status: record.RunPartial,
				Targets: map[record.State]int{record.OK: 1, record.Denied: 1}, Failed: 1, Records: 8, Calls: 6, Throttles: 1,
				Causes: []inventory.Cause{{State: record.Denied, Targets: 1}}},
			{ID: "run-1", Account: "b", Started: at, Ended: at.Add(time.Minute), Status: record.RunFailed,
				Targets: map[record.State]int{record.RegionDisabled: 1}, Failed: 1,
				Causes: []inventory.Cause{{State: record.RegionDisabled, Targets: 1}}},
			{ID: "run-0", Account: "c", Started: before, Ended: before, Status: record.RunFailed},
			{ID: "run-1", Account: "never", Started: at, Ended: at.Add(time.Minute), Status: record.RunFailed, Failed: 1,
				Targets: map[record.State]int{record.AuthFailed: 1},
				Causes: []inventory.Cause{
					{State: record.AuthFailed, Reason: record.BadKey, Error: "bad", Hint: "Check it.", Targets: 1},
				}},
			// Its scopes are retired: that one target failed says nothing about those that it has now.
			{ID: "run-1", Account: "again", Started: at, Ended: at.Add(time.Minute), Status: record.RunPartial, Failed: 1,
				Targets: map[record.State]int{record.OK: 299, record.Denied: 1},
				Causes:  []inventory.Cause{{State: record.Denied, Targets: 1}}},
			{ID: "run-1", Account: "removed"},
		},
		signIns: []inventory.SignIn{
			{Account: "a", AccountID: "111111111111", Partition: "aws", ARN: "arn", Expires: at.Add(time.Hour)},
			{Account: "removed", AccountID: "222222222222"},
		},
	}
	expected := func(account string) []record.Target {
		return []record.Target{{Account: account, Region: "r", Kind: "k1"}}
	}
	b := New()
	kinds := []string{"k1", "k2", "k3", "k4"}
	b.Observe(runner.Configured{Kinds: map[string][]string{
		"a": kinds, "b": kinds, "c": kinds, "never": kinds, "again": kinds,
	}})
	b.Observe(runner.RunStarted{Account: "c", Run: "run-2", Tick: at})
	live := outcome("c", "k1", record.Timeout)
	live.Run, live.Ended = "run-2", at.Add(2*time.Minute)
	b.Observe(runner.TargetEnded{Outcome: live})
	b.Observe(runner.RunEnded{Account: "c", Run: "run-2", Status: record.RunFailed, Took: time.Second})
	if err := b.Load(t.Context(), stored, expected); err != nil {
		t.Fatal(err)
	}
	unusable := outcome("b", "k1", record.RegionDisabled)
	unusable.AccountUnusable = true
	want := []TargetInfo{
		{Outcome: outcome("a", "k1", record.OK), LastSuccess: at.Add(time.Minute), Resources: 4},
		{Outcome: outcome("a", "k2", record.Denied), LastSuccess: before, Resources: 9},
		{Outcome: outcome("a", "k3", record.RegionDisabled)},
		{Outcome: unusable},
		{Outcome: live, LastSuccess: before, Resources: 7},
		{Outcome: record.Outcome{
			Target: record.Target{Account: "never", Region: "r", Kind: "k1"}, Run: "run-1", State: record.AuthFailed,
			Reason: record.BadKey, Error: "bad", Hint: "Check it.", Started: at, Ended: at.Add(time.Minute),
		}},
	}
	got := slices.Collect(b.Targets())
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("target %d:\n got %+v\nwant %+v", i, got, want)
		}
	}
	a, _ := b.Account("a")
	run := RunInfo{Run: "run-1", Tick: at, Started: at, Took: time.Minute, Status: record.RunPartial,
		Targets: 2, Failed: 1, Records: 8, Calls: 6, Throttles: 1}
	if a.Last != run || a.Identity != (record.Identity{AccountID: "111111111111", Partition: "aws", ARN: "arn"}) ||
		!a.Expires.Equal(at.Add(time.Hour)) {
		t.Errorf("%+v", a)
	}
	if c, _ := b.Account("c"); c.Last.Run != "run-2" {
		t.Errorf("an older run replaced a later one: %+v", c.Last)
	}
	if bad, _ := b.Account("b"); bad.Last.Failed != 1 {
		t.Errorf("%+v", bad.Last)
	}
	if n := len(slices.Collect(b.Accounts())); n != 5 {
		t.Errorf("%d accounts", n)
	}
	stored.err = errors.New("disk I/O error")
	if err := b.Load(t.Context(), stored, expected); !errors.Is(err, stored.err) {
		t.Error(err)
	}
}

// The board says when each target is due again, by the configuration in force.
func TestBoardDue(t *testing.T) {
	s, err := cron.ParseStandard("0 * * * *")
	if err != nil {
		t.Fatal(err)
	}
	spec := &runner.AccountSpec{
		Kinds: []runner.Kind{{Name: "instance"}}, Ticks: []runner.Tick{{Spec: "hourly", Schedule: s}},
	}
	conf, err := runner.NewConfiguration(runner.Configuration{
		Accounts: []*runner.Account{{Name: "a", AccountSpec: spec}},
	})
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	b := New()
	b.Observe(runner.TargetEnded{Outcome: record.Outcome{
		Target: record.Target{Account: "a", Region: "r", Kind: "instance"}, State: record.OK, Ended: noon.Add(time.Minute),
	}})
	due := func() (at time.Time) {
		for target := range b.Targets() {
			at = target.Due
		}
		for target := range b.TargetsOf("a") {
			if !target.Due.Equal(at) {
				t.Errorf("of the account: %s, of all: %s", target.Due, at)
			}
		}
		return at
	}
	if at := due(); !at.IsZero() {
		t.Errorf("without a configuration: %s", at)
	}
	b.Observe(runner.Configured{Kinds: map[string][]string{"a": {"instance"}}, Configuration: conf})
	if at := due(); !at.Equal(noon.Add(time.Hour)) {
		t.Errorf("due at %s", at)
	}
}
