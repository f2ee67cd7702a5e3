package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

const (
	usEast = "us-east-1"
	euWest = "eu-west-1"
)

// end stores the outcome of a target, whose account's id is twelve times the last digit of its name.
func (s *storeScene) end(o record.Outcome) {
	s.t.Helper()
	id := record.Identity{AccountID: strings.Repeat(o.Account[len(o.Account)-1:], 12), Partition: "aws"}
	w, err := s.inv.Begin(s.t.Context(), o.Target, id, o.Run)
	s.must(err)
	o.Started = time.Now()
	s.must(w.End(s.t.Context(), o))
}

// list stores a target with a state. What failed has a reason, an error and a hint that name the kind.
func (s *storeScene) list(account, region, kind string, state record.State) {
	s.t.Helper()
	o := record.Outcome{Target: record.Target{Account: account, Region: region, Kind: kind}, Run: "01JD", State: state}
	if state == record.Denied {
		o.Reason, o.Error, o.Hint = record.AccessDenied, "EC2 denies "+kind, "Allow "+kind+"."
	}
	s.end(o)
}

// statusAfter runs the command as if it was called later, and returns its rows by account/region.
func (s *storeScene) statusAfter(
	later time.Duration, problems bool, values url.Values,
) (map[string]query.CoverageLine, string) {
	s.t.Helper()
	q := queryFlags{
		values: maps.Clone(values), parameters: []query.Parameter{query.Account, query.Region, query.Problems},
		format: "jsonl", now: time.Now().Add(later),
	}
	if problems {
		q.values.Set("problems", "true")
	}
	var out, errs bytes.Buffer
	c := newCLI(s.config, printable.NewWriter(&out), printable.NewWriter(&errs))
	s.must(c.status(s.t.Context(), q))
	rows := map[string]query.CoverageLine{}
	for l := range strings.Lines(out.String()) {
		var r query.CoverageLine
		s.must(json.Unmarshal([]byte(l), &r))
		rows[r.Account+"/"+r.Region] = r
	}
	return rows, errs.String()
}

const statusConfig = `
schedule: "@every 15m"
timeout: 30m
jitter: 0s
collector_configs: {regions: ["*"], kinds: [ec2_instance, ec2_volume], schedules: {ec2_volume: "@every 24h"}}
accounts:
  - {name: account1, profile: a}
  - {name: account2, profile: b}
  - {name: account3, profile: c}
  - {name: account4, profile: d, collector_configs: {regions: [us-east-1, eu-west-1]}}
  - {name: account5, profile: e, collector_configs: {regions: [us-east-1, eu-west-1]}}
`

// fillStatus stores: account1 is ok, but for a denied kind and a region that is not enabled; account2 has no enabled
// region; account3 and eu-west-1 of account4 were never listed; account5 never signed in; account6 is not in the
// configuration; account7 is not there any more.
func fillStatus(t *testing.T) *storeScene {
	s := newStoreScene(t, statusConfig)
	for _, kind := range []string{"ec2_instance", "ec2_volume"} {
		s.list("account1", usEast, kind, record.OK)
		s.list("account1", euWest, kind, record.OK)
		s.list("account1", "ap-east-1", kind, record.RegionDisabled)
		s.list("account2", usEast, kind, record.RegionDisabled)
		s.list("account4", usEast, kind, record.OK)
		s.list("account6", usEast, kind, record.OK)
		s.list("account7", usEast, kind, record.OK)
	}
	s.list("account1", euWest, "ec2_volume", record.Denied)
	s.end(record.Outcome{
		Target: record.Target{Account: "account4", Region: usEast, Kind: "ec2_volume"}, Run: "01JE",
		State: record.Denied, Reason: record.AccessDenied, Expected: true,
	})
	s.must(s.driver.RetireAccount(t.Context(),
		inventory.Account{Name: "account7", AccountID: "777777777777", Partition: "aws"}, inventory.AccountRemoved))
	s.store([]inventory.Run{{
		ID: runID(time.Now()), Account: "account5", Started: time.Now(), Ended: time.Now(), Status: record.RunFailed,
		Causes: []inventory.Cause{{State: record.AuthFailed, Reason: record.MFANeeded, Error: "no code", Hint: "Do it."}},
	}})
	s.must(s.inv.PutSignIn(t.Context(), inventory.SignIn{
		Account: "account5", AccountID: "555555555555", Partition: "aws", ARN: "arn:aws:iam::555555555555:user/x",
		Checked: time.Now(), Expires: time.Now(), Error: "the MFA code\nwas refused", Hint: "Run `collector login account5`.",
	}))
	return s
}

func TestStatus(t *testing.T) {
	s := fillStatus(t)
	rows, errs := s.statusAfter(0, false, url.Values{})
	if errs != "" {
		t.Errorf("%s", errs)
	}
	for key, want := range map[string]struct {
		state   record.State
		counts  query.TargetCounts
		problem bool
	}{
		"account1/us-east-1": {record.OK, query.TargetCounts{OK: 2}, false},
		"account1/eu-west-1": {record.Denied, query.TargetCounts{OK: 1, Failed: 1}, true},
		"account1/ap-east-1": {record.RegionDisabled, query.TargetCounts{Other: 2}, false},
		"account2/us-east-1": {record.RegionDisabled, query.TargetCounts{Failed: 2}, true},
		"account3/":          {query.NeverListed, query.TargetCounts{}, true},
		"account4/us-east-1": {record.OK, query.TargetCounts{OK: 1, Other: 1}, false},
		"account4/eu-west-1": {query.NeverListed, query.TargetCounts{}, true},
		"account5/us-east-1": {record.AuthFailed, query.TargetCounts{Failed: 2}, true},
		"account5/eu-west-1": {record.AuthFailed, query.TargetCounts{Failed: 2}, true},
		"account6/us-east-1": {record.OK, query.TargetCounts{OK: 2}, false},
	} {
		r, ok := rows[key]
		delete(rows, key)
		if !ok || r.State != want.state || r.Targets != want.counts || r.IsProblem() != want.problem || r.Overdue != 0 {
			t.Errorf("%s: %+v, want %+v", key, r, want)
		}
		if listed := r.State == record.OK || r.State == record.Denied; (r.LastComplete != nil) != listed {
			t.Errorf("%s: last complete %v", key, r.LastComplete)
		}
		if r.State != query.NeverListed && r.State != record.AuthFailed &&
			(r.Since == nil || time.Since(*r.Since) > time.Minute) {
			t.Errorf("%s: since %v", key, r.Since)
		}
		switch key {
		case "account1/eu-west-1":
			if r.Kind != "ec2_volume" || r.Reason != record.AccessDenied || r.Hint != "Allow ec2_volume." ||
				r.Error != "EC2 denies ec2_volume" {
				t.Errorf("why not: %+v", r)
			}
		case "account5/eu-west-1":
			if r.AccountID != "555555555555" || r.Hint != "Do it." || r.Reason != record.MFANeeded ||
				r.SignIn == nil || !strings.HasSuffix(r.SignIn.ARN, "user/x") {
				t.Errorf("sign-in: %+v", r)
			}
		}
	}
	for key := range rows {
		t.Errorf("%s is shown", key)
	}
	for n, q := range map[int]url.Values{
		3:  {"account": {"1111*"}},
		5:  {"region": {"us-*"}, "account": {"!account2"}}, // and the account without a region
		2:  {"region": {euWest}, "account": {"account1,account4"}},
		10: {"account": {"account*"}},
	} {
		if rows, _ := s.statusAfter(0, false, q); len(rows) != n {
			t.Errorf("%v: %d rows, want %d", q, len(rows), n)
		}
	}
	if rows, _ := s.statusAfter(0, true, url.Values{}); len(rows) != 6 {
		t.Errorf("%d problems", len(rows))
	}
	if _, errs := s.statusAfter(0, true, url.Values{"account": {"account6"}}); errs !=
		"no problem in 1 accounts and regions\n" {
		t.Errorf("%q", errs)
	}
	if _, errs := s.statusAfter(0, true, url.Values{"account": {"nobody"}}); errs !=
		"no account and region matches\n" {
		t.Errorf("%q", errs)
	}
}

// A kind is overdue by its own schedule, and not while a run that may list it is in progress.
func TestStatusOverdue(t *testing.T) {
	s := fillStatus(t)
	overdue := func(later time.Duration, key string) time.Duration {
		t.Helper()
		rows, _ := s.statusAfter(later, false, url.Values{})
		return (time.Duration(rows[key].Overdue) * time.Second).Round(time.Minute)
	}
	for _, c := range []struct {
		later time.Duration
		key   string
		want  time.Duration
	}{
		{14 * time.Minute, "account1/us-east-1", 0},
		{20 * time.Minute, "account1/us-east-1", 5 * time.Minute},
		{25 * time.Hour, "account1/eu-west-1", 24*time.Hour + 45*time.Minute}, // ec2_instance, later than ec2_volume
		{25 * time.Hour, "account2/us-east-1", 0},                             // nothing there can be complete
		{25 * time.Hour, "account6/us-east-1", 0},                             // its schedule is not known
	} {
		if got := overdue(c.later, c.key); got != c.want {
			t.Errorf("%s after %s: overdue for %s, want %s", c.key, c.later, got, c.want)
		}
	}
	now := time.Now()
	s.store([]inventory.Run{{ID: runID(now), Account: "account1", Tick: now, Started: now, Status: record.RunRunning}})
	if got := overdue(20*time.Minute, "account1/us-east-1"); got != 0 {
		t.Errorf("while a run is in progress: %s", got)
	}
	if got := overdue(time.Hour, "account1/us-east-1"); got != 45*time.Minute {
		t.Errorf("after the timeout of the run: %s", got)
	}
	if rows, _ := s.statusAfter(20*time.Minute, true, url.Values{}); rows["account4/us-east-1"].Overdue == 0 {
		t.Errorf("an overdue row is not shown as a problem: %+v", rows)
	}
}

// The table and CSV, with the failed sign-in of an account below the table.
func TestStatusForPeople(t *testing.T) {
	s := fillStatus(t)
	out := s.want("status", "ACCOUNT   REGION     STATE ", " LAST COMPLETE  OVERDUE  OK  FAILED  REASON         HINT\n",
		"account3             never_listed ", " never ", " access_denied  Allow ec2_volume.\n",
		"\naccount5: sign-in failed at 20", ", last identity arn:aws:iam::555555555555:user/x, session expires 20",
		`  the MFA code\nwas refused`+"\n  hint: Run `collector login account5`.\n")
	if n := strings.Count(out, "sign-in failed"); n != 1 || strings.Contains(out, "nil") {
		t.Errorf("sign-in failed is shown %d times:\n%s", n, out)
	}
	s.want("status -o csv --account account5 --region eu-*", "account,account_id,region,state,since,last_complete,",
		"account5,555555555555,eu-west-1,auth_failed,,,,2,0,0,2,0,0,,mfa_needed,no code,Do it.,",
		"was refused\",Run `collector login account5`.\n")
	if out := s.want("status --problems -o json --account account6"); out != "[]\n" {
		t.Errorf("%q", out)
	}
}

// The command needs no secrets. It warns if account names depend on secrets, or if the configuration is missing.
func TestStatusWithoutSecrets(t *testing.T) {
	s := newStoreScene(t, noAccounts)
	s.list("prod1", usEast, "ec2_vpc", record.OK)
	out, errs, code := s.run("status")
	if code != exitDone || !strings.Contains(out, "prod ") || !strings.Contains(out, "prod1 ") || errs != "" {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	unnamed := strings.Replace(noAccounts, "name: prod, ", "", 1)
	write(t, s.config, fmt.Sprintf("data_dir: %s\nsession_key: ${env:NOT_SET}\n%s", s.dir, unnamed))
	if _, errs, _ := s.run("status"); strings.Count(errs, "\n") != 1 || !strings.HasSuffix(errs, "; and 1 more\n") ||
		!strings.HasPrefix(errs, "warning: names and members may be wrong, because references have no value here: ") {
		t.Errorf("%s", errs)
	}
	var stdout, stderr bytes.Buffer
	err := run(t.Context(), []string{"status", "-c", "nowhere.yaml"},
		func(name string) string { return map[string]string{"COLLECTOR_DATA_DIR": s.dir}[name] }, &stdout, &stderr)
	if err != nil || !strings.Contains(stdout.String(), "prod1 ") ||
		!strings.Contains(stderr.String(), "warning: what is overdue or was never listed is not known: open nowhere.yaml") {
		t.Errorf("%v\n%s%s", err, &stdout, &stderr)
	}
}

// Members of organizations are those that the collector saved.
func TestStatusOfMembers(t *testing.T) {
	s := newStoreScene(t, "accounts: []\norganizations: [{via: {profile: company}, role: inventory}]\n")
	rows, errs := s.statusAfter(0, false, url.Values{})
	if r := rows["organization:company/"]; len(rows) != 1 || r.State != query.NeverListed {
		t.Errorf("without a list: %+v %s", rows, errs)
	}
	l, err := configOf(s.config).Load(t.Context())
	s.must(err)
	members := accounts.NewDirectory(
		func(context.Context, config.Organization) (auth.OrganizationMembers, error) {
			return auth.OrganizationMembers{
				Caller:  record.Identity{AccountID: "999999999999", Partition: "aws"},
				Members: []config.Member{{ID: "111111111111", Name: "one"}, {ID: "222222222222", Name: "two"}},
			}, nil
		},
		accounts.MembersPath(s.dir), slog.New(slog.DiscardHandler),
	)
	defer members.Close()
	s.must(members.Refresh(t.Context(), l.File.Organizations[0], time.Hour))
	s.end(record.Outcome{Target: record.Target{Account: "111111111111", Region: usEast, Kind: "ec2_instance"},
		Run: "01JD", State: record.OK})
	rows, errs = s.statusAfter(time.Hour*48, false, url.Values{})
	if one, two := rows["111111111111/"+usEast], rows["222222222222/"]; len(rows) != 2 || one.State != record.OK ||
		one.Overdue == 0 || two.State != query.NeverListed || two.AccountID != "222222222222" {
		t.Errorf("%+v %s", rows, errs)
	}
}
