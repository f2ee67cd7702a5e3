package inventorytest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// runAt is a run that began at an instant.
func runAt(account string, at time.Time) inventory.Run {
	id, err := ulid.New(ulid.Timestamp(at), ulid.DefaultEntropy())
	if err != nil {
		panic(err) // of constant arguments
	}
	return inventory.Run{
		ID: id.String(), Account: account, Tick: at, Started: at.Add(time.Second), Ticks: 1,
		Process: inventory.Process{Replica: "host-1", Version: "v1"},
	}
}

func (fx *fixture) runsOf(q inventory.RunQuery) string {
	fx.Helper()
	var out []string
	for _, r := range collect(fx.T, fx.driver.Runs(fx.Context(), q)) {
		out = append(out, r.Account+" "+string(r.Status))
	}
	return strings.Join(out, ", ")
}

// runsStored: a run is there while it lasts and after it, and everything of it comes back.
func (fx *fixture) runsStored() {
	now := time.Now().UTC().Truncate(time.Microsecond)
	r := runAt("prod", now.Add(-time.Hour))
	fx.must(fx.inv.StartRun(fx.Context(), r))
	fx.must(fx.inv.StartRun(fx.Context(), r))
	fx.wantText("while it lasts", fx.runsOf(inventory.RunQuery{}), "prod running")

	r.Ended, r.Status = now, record.RunPartial
	r.Targets = map[record.State]int{record.OK: 7, record.Denied: 300}
	r.Failed, r.Records, r.Calls, r.Throttles = 300, 1000, 2000, 3
	r.Causes = []inventory.Cause{
		{State: record.Denied, Reason: record.AccessDenied, Error: `"quoted" \u0000 ’`, Hint: "Allow it.",
			Region: "us-east-1", Kind: "ec2_volume", Targets: 299},
		{State: record.Error, Reason: record.Network, Error: "reset", Region: "eu-west-1", Kind: "ec2_vpc", Targets: 1},
	}
	fx.must(fx.inv.EndRun(fx.Context(), r))
	again := r
	again.Status, again.Records = record.Success, 1
	fx.must(fx.inv.EndRun(fx.Context(), again)) // a repeated end changes nothing
	missed := inventory.Run{ID: runAt("", now).ID, Account: "prod", Tick: now, Ended: now, Status: record.RunSkipped,
		Missed: "downtime", Ticks: 96, Process: r.Process}
	fx.must(fx.inv.EndRun(fx.Context(), missed)) // its begin was never stored
	other := runAt("test", now)
	other.Ended, other.Status, other.Causes = now, record.RunFailed, r.Causes
	fx.must(fx.inv.EndRun(fx.Context(), other))

	fx.driver = fx.reopen()
	got := collect(fx.T, fx.driver.Runs(fx.Context(), inventory.RunQuery{Accounts: []string{"pr*"}}))
	if len(got) != 2 {
		fx.Fatalf("runs of prod: %+v", got)
	}
	missed.Targets = map[record.State]int{}
	for i, want := range []inventory.Run{missed, r} {
		if g, w := fmt.Sprintf("%+v", got[i]), fmt.Sprintf("%+v", want); g != w {
			fx.Errorf("run %d:\n got %s\nwant %s", i, g, w)
		}
	}
	fx.wantText("by status", fx.runsOf(inventory.RunQuery{Statuses: []record.Status{record.RunFailed}}), "test failed")
	fx.wantText("before", fx.runsOf(inventory.RunQuery{Before: inventory.FirstRunID(now)}), "prod partial")
	fx.wantText("by id", fx.runsOf(inventory.RunQuery{IDs: []string{r.ID}}), "prod partial")
	fx.wantText("since", fx.runsOf(inventory.RunQuery{Since: now.Add(-30 * time.Minute), Accounts: []string{"prod"}}),
		"prod skipped")
	if n := len(collect(fx.T, fx.driver.Runs(fx.Context(), inventory.RunQuery{Limit: 1}))); n != 1 {
		fx.Errorf("limit 1: %d runs", n)
	}
}

// runsInterrupted: what a dead process left running is interrupted, and only that. If processes share the store, the
// run may be that of a live one: their engine ends it.
func (fx *fixture) runsInterrupted() {
	now := time.Now()
	ended := runAt("a", now)
	ended.Ended, ended.Status = now, record.Success
	fx.must(fx.driver.EndRun(fx.Context(), ended))
	left := runAt("b", now.Add(time.Millisecond))
	fx.must(fx.driver.StartRun(fx.Context(), left))
	fx.driver = fx.reopen()
	start := now.Add(time.Minute)
	later := runAt("c", start.Add(time.Second)) // of this process
	fx.must(fx.driver.StartRun(fx.Context(), later))
	n, err := fx.driver.InterruptRuns(fx.Context(), start)
	fx.must(err)
	again, err := fx.driver.InterruptRuns(fx.Context(), start)
	fx.must(err)
	if fx.shared {
		if n != 0 || again != 0 {
			fx.Errorf("interrupted %d, then %d, of others", n, again)
		}
		fx.wantText("after it", fx.runsOf(inventory.RunQuery{}), "c running, b running, a success")
		return
	}
	if n != 1 || again != 0 {
		fx.Errorf("interrupted %d, then %d", n, again)
	}
	fx.wantText("after it", fx.runsOf(inventory.RunQuery{}), "c running, b interrupted, a success")
	left.Ended, left.Status = time.Now(), record.Success
	fx.must(fx.driver.EndRun(fx.Context(), left)) // a late end of the dead process
	fx.wantText("after a late end", fx.runsOf(inventory.RunQuery{}), "c running, b interrupted, a success")
}

// runsExpire: the end of a run deletes the runs that are too old, and causes that no run names any more.
func (fx *fixture) runsExpire() {
	old := runAt("old", time.Now().Add(-60*24*time.Hour))
	old.Ended, old.Status = old.Started, record.RunFailed
	old.Causes = []inventory.Cause{{State: record.Error, Error: "gone with its run", Targets: 1}}
	fx.must(fx.driver.EndRun(fx.Context(), old))
	now := runAt("new", time.Now())
	now.Ended, now.Status = time.Now(), record.RunFailed
	now.Causes = []inventory.Cause{{State: record.Error, Error: "kept", Targets: 1}}
	fx.must(fx.driver.EndRun(fx.Context(), now))
	got := collect(fx.T, fx.driver.Runs(fx.Context(), inventory.RunQuery{}))
	if len(got) != 1 || got[0].Account != "new" || len(got[0].Causes) != 1 || got[0].Causes[0].Error != "kept" {
		fx.Errorf("%+v", got)
	}
}

// signIns: the last one of each account.
func (fx *fixture) signIns() {
	at := time.Now().UTC().Truncate(time.Microsecond)
	fx.must(fx.inv.PutSignIn(fx.Context(), inventory.SignIn{
		Account: "b", Checked: at, Error: "no (request 4442587FB7D0A2F9)", Hint: "Run it.",
	}))
	fx.must(fx.inv.PutSignIn(fx.Context(), inventory.SignIn{Account: "a", Checked: at}))
	want := inventory.SignIn{Account: "a", AccountID: "111111111111", Partition: "aws-cn", ARN: "arn:aws-cn:iam::1",
		Path: "role x", Expires: at.Add(time.Hour), Checked: at}
	fx.must(fx.inv.PutSignIn(fx.Context(), want))
	fx.driver = fx.reopen()
	got := collect(fx.T, fx.driver.SignIns(fx.Context()))
	if len(got) != 2 || got[0] != want || got[1].Error != "no" || got[1].Hint != "Run it." || !got[1].Expires.IsZero() {
		fx.Errorf("%+v", got)
	}
	// After a failure it is still known who the account was.
	fx.must(fx.driver.PutSignIn(fx.Context(), inventory.SignIn{Account: "a", Checked: at.Add(time.Hour), Error: "no"}))
	want.Checked, want.Error = at.Add(time.Hour), "no"
	if got := collect(fx.T, fx.driver.SignIns(fx.Context())); got[0] != want {
		fx.Errorf("after a failure: %+v", got[0])
	}
}

// lastRuns: of each named account the last one that began and has ended.
func (fx *fixture) lastRuns() {
	now := time.Now()
	for i, account := range []string{"a", "a", "b", "other"} {
		r := runAt(account, now.Add(time.Duration(i)*time.Second))
		r.Ended, r.Status, r.Calls = r.Started, record.Success, i
		fx.must(fx.driver.EndRun(fx.Context(), r))
	}
	fx.must(fx.driver.StartRun(fx.Context(), runAt("a", now.Add(time.Minute))))
	missed := runAt("b", now.Add(time.Minute))
	missed.Started, missed.Ended, missed.Status = time.Time{}, now, record.RunSkipped
	fx.must(fx.driver.EndRun(fx.Context(), missed))
	var got []string
	for _, r := range collect(fx.T, fx.driver.LastRuns(fx.Context(), []string{"b", "a", "unknown", `"'`})) {
		got = append(got, fmt.Sprint(r.Account, r.Calls))
	}
	slices.Sort(got)
	fx.wantText("last runs", strings.Join(got, " "), "a1 b2")
}

// manyCauses: a run has at most MaxCauses, those of most targets first.
func (fx *fixture) manyCauses() {
	var causes []inventory.Cause
	for i := range 40 {
		for range 40 - i {
			causes = inventory.AddCause(causes, inventory.CauseOf(record.Outcome{
				Target: fx.target, State: record.Denied, Reason: record.AccessDenied,
				Error: fmt.Sprintf("denied (request %d)", i), Hint: fmt.Sprintf("Allow ec2:DescribeX, case %d.", i),
			}))
		}
	}
	causes = inventory.AddCause(causes, inventory.Cause{State: record.Denied, Reason: record.AccessDenied,
		Hint: "Allow ec2:DescribeOther, case 0.", Targets: 2}) // the same, for another action
	r := runAt("a", time.Now())
	r.Ended, r.Status, r.Causes = r.Started, record.RunFailed, inventory.LimitCauses(causes)
	fx.must(fx.driver.EndRun(fx.Context(), r))
	got := collect(fx.T, fx.driver.Runs(fx.Context(), inventory.RunQuery{}))[0].Causes
	if len(got) != inventory.MaxCauses || got[0].Targets != 42 || got[0].Error != "denied" ||
		got[0].Hint != "Allow ec2:DescribeX, case 0." || got[1].Targets != 39 ||
		got[19] != (inventory.Cause{State: inventory.OtherCauses, Targets: 21 * 22 / 2}) {
		fx.Errorf("%d causes: %+v", len(got), got)
	}
}

// committed: a run that comes again to a target learns what it has stored; another run does not.
func (fx *fixture) committed() {
	begin := func(run string) *record.Outcome {
		w, err := fx.inv.Begin(fx.Context(), fx.target, fx.identity, run)
		fx.must(err)
		return w.Committed()
	}
	if o := begin("run-1"); o != nil {
		fx.Errorf("of a new target: %+v", o)
	}
	fx.runs = 0
	fx.list(record.Partial, Item{ID: "i-1"})
	if o := begin("run-1"); o == nil || o.State != record.Partial || o.Run != "run-1" || o.Target != fx.target {
		fx.Errorf("the same run: %+v", o)
	}
	if o := begin("run-2"); o != nil {
		fx.Errorf("another run: %+v", o)
	}
}

// stateSince: the instant at which a target entered its state stays while the state does.
func (fx *fixture) stateSince() {
	since := func() time.Time {
		fx.Helper()
		all := collect(fx.T, fx.driver.Targets(fx.Context()))
		if len(all) != 1 {
			fx.Fatalf("%+v", all)
		}
		return all[0].StateSince
	}
	fx.list(record.Denied)
	first := since()
	fx.list(record.Denied)
	if second := since(); first.IsZero() || !second.Equal(first) {
		fx.Errorf("denied since %s, then since %s", first, second)
	}
	fx.list(record.OK)
	ok := since()
	if !ok.After(first) {
		fx.Errorf("ok since %s, denied since %s", ok, first)
	}
}

// manyFailures: a day of runs that fail in every target.
func (fx *fixture) manyFailures() {
	const accounts, perDay = 20, 96
	kinds := []string{"ec2_instance", "ec2_volume", "ec2_vpc"}
	at := time.Now().Add(-24 * time.Hour)
	for n := range perDay {
		for a := range accounts {
			r := runAt(fmt.Sprintf("account-%02d", a), at.Add(time.Duration(n)*15*time.Minute))
			r.Ended, r.Status = r.Started.Add(time.Minute), record.RunFailed
			r.Targets = map[record.State]int{record.Denied: 300}
			for _, k := range kinds {
				r.Causes = append(r.Causes, inventory.Cause{
					State: record.Denied, Reason: record.AccessDenied, Kind: k, Region: "us-east-1", Targets: 100,
					Error: "EC2 denies the call " + strings.Repeat("with many words ", 20), Hint: "Allow ec2:Describe*.",
				})
			}
			fx.must(fx.driver.EndRun(fx.Context(), r))
		}
	}
	rows := collect(fx.T, fx.driver.Runs(fx.Context(), inventory.RunQuery{}))
	if len(rows) != accounts*perDay {
		fx.Fatalf("%d runs", len(rows))
	}
	if !slices.IsSortedFunc(rows, func(a, b inventory.Run) int { return strings.Compare(b.ID, a.ID) }) {
		fx.Error("the latest run is not first")
	}
}
