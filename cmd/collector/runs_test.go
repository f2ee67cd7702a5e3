package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/internal/datadir"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// storeScene is a store in which a test writes, and a configuration that names it.
type storeScene struct {
	t        *testing.T
	dir      string
	config   string
	driver   *sqlite.Store
	inv      *inventory.Inventory
	accounts map[string]record.Identity
}

func newStoreScene(t *testing.T, config string) *storeScene {
	t.Helper()
	dir := t.TempDir()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: store.Path(dir)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	st := &storeScene{t: t, dir: dir, config: filepath.Join(dir, "config.yaml"), driver: s,
		inv: inventory.New(s, inventory.Options{}), accounts: map[string]record.Identity{}}
	write(t, st.config, fmt.Sprintf("data_dir: %s\n%s", dir, config))
	return st
}

func (s *storeScene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// run runs a command line beside the open store.
func (s *storeScene) run(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	var out, errs bytes.Buffer
	err := run(s.t.Context(), append(args, "--config", s.config), func(string) string { return "" }, &out, &errs)
	code = exitCode(err, &errs)
	return out.String(), errs.String(), code
}

// want fails unless the output of a command has each text, in any order.
func (s *storeScene) want(command string, texts ...string) string {
	s.t.Helper()
	out, errs, code := s.run(strings.Fields(command)...)
	for _, text := range texts {
		if !strings.Contains(out, text) {
			s.t.Errorf("%s: no %q in\n%s", command, text, out)
		}
	}
	if code != exitDone {
		s.t.Errorf("%s: exit %d: %s", command, code, errs)
	}
	return out
}

// runID is the id of a run that began at an instant.
func runID(at time.Time) string {
	var id ulid.ULID
	if err := id.SetTime(ulid.Timestamp(at)); err != nil {
		panic(err) // of constant arguments
	}
	return id.String()
}

// sampleRuns has a run in progress, a failed one with causes, a missed tick and a successful one, the latest first.
func sampleRuns(now time.Time) []inventory.Run {
	process := inventory.Process{Replica: "host-1", Version: "v1"}
	at := func(ago time.Duration) time.Time { return now.Add(-ago).UTC().Truncate(time.Second) }
	return []inventory.Run{
		{ID: runID(at(time.Minute)), Account: "prod", Tick: at(time.Minute), Started: at(50 * time.Second), Ticks: 1,
			Status: record.RunRunning, Process: process},
		{ID: runID(at(time.Hour)), Account: "prod", Tick: at(time.Hour), Started: at(time.Hour - time.Second),
			Ended: at(time.Hour - 91*time.Second), Ticks: 1, Status: record.RunPartial, Process: process,
			Targets: map[record.State]int{record.OK: 7, record.Denied: 300, record.RegionDisabled: 2},
			Failed:  290, Records: 1000, Calls: 2000, Throttles: 3,
			Causes: []inventory.Cause{
				{State: record.Denied, Reason: record.AccessDenied, Error: "DescribeVolumes: denied\nhint: evil",
					Hint: "Allow ec2:DescribeVolumes.", Region: "us-east-1", Kind: "ec2_volume", Targets: 299},
				{State: inventory.OtherCauses, Targets: 1},
			}},
		{ID: runID(at(2 * time.Hour)), Account: "prod", Tick: at(2 * time.Hour), Ended: at(2 * time.Hour), Ticks: 96,
			Status: record.RunSkipped, Missed: "downtime", Process: process},
		{ID: runID(at(50 * time.Hour)), Account: "test", Tick: at(50 * time.Hour), Started: at(50 * time.Hour),
			Ended: at(49 * time.Hour), Ticks: 1, Status: record.Success, Process: process,
			Targets: map[record.State]int{record.OK: 2}, Records: 1},
	}
}

func (s *storeScene) store(runs []inventory.Run) {
	s.t.Helper()
	for _, r := range runs {
		if r.Ended.IsZero() {
			s.must(s.driver.StartRun(s.t.Context(), r))
			continue
		}
		s.must(s.driver.EndRun(s.t.Context(), r))
	}
}

// storeSampleRuns makes a store in a directory, as a collector would.
func storeSampleRuns(dir string) error {
	if err := datadir.Make(dir); err != nil {
		return err
	}
	s, err := sqlite.Open(context.Background(), sqlite.Options{Path: store.Path(dir)})
	if err != nil {
		return err
	}
	for _, r := range sampleRuns(time.Now()) {
		write := s.EndRun
		if r.Ended.IsZero() {
			write = s.StartRun
		}
		if err := write(context.Background(), r); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	return s.Close()
}

const noAccounts = "accounts: [{name: prod, ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: \"${env:NOT_SET}\"}]\n"

func TestRuns(t *testing.T) {
	s := newStoreScene(t, noAccounts)
	_, errs, code := s.run("runs")
	if code != exitDone || errs != "no run matches\n" {
		t.Errorf("exit %d, %q", code, errs)
	}
	runs := sampleRuns(time.Now())
	s.store(runs)

	lines := strings.Split(strings.TrimSpace(s.want("runs")), "\n")
	if len(lines) != 5 {
		t.Fatalf("%d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	if !strings.HasSuffix(lines[1], "s  running") {
		t.Errorf("a run in progress has counts: %s", lines[1])
	}
	started := func(r inventory.Run) string { return printer.Time(r.Tick) + " " + printer.Time(r.Started) }
	for i, want := range []string{
		"RUN ACCOUNT TICK STARTED TOOK STATUS OK FAILED OTHER RECORDS CALLS THROTTLES MISSED",
		runs[0].ID + " prod " + started(runs[0]) + " 5",
		runs[1].ID + " prod " + started(runs[1]) + " 1m30s partial 7 290 12 1000 2000 3",
		runs[2].ID + " prod " + printer.Time(runs[2].Tick) + " skipped 0 0 0 0 0 0 downtime × 96",
		runs[3].ID + " test " + started(runs[3]) + " 1h0m success 2 0 0 1 0 0",
	} {
		if got := strings.Join(strings.Fields(lines[i]), " "); !strings.HasPrefix(got, want) {
			t.Errorf("line %d:\n got %s\nwant %s", i, got, want)
		}
	}

	in := inventory.SignIn{Account: "test", AccountID: "222222222222", Checked: time.Now()}
	s.must(s.driver.PutSignIn(t.Context(), in))
	for command, want := range map[string][]int{
		"runs --account pr*":                     {0, 1, 2},
		"runs --account 2222*":                   {3}, // by the id with which it signed in
		"runs --since 3h":                        {0, 1, 2},
		"runs --status partial,running":          {0, 1},
		"runs --status skipped --status success": {2, 3},
		"runs --limit 2":                         {0, 1},
		"runs --limit 0":                         {0, 1, 2, 3},
		"runs --status failed":                   nil,
	} {
		var ids []string
		for l := range strings.Lines(s.want(command + " -o jsonl")) {
			var r query.RunLine
			s.must(json.Unmarshal([]byte(l), &r))
			ids = append(ids, r.Run)
		}
		var wanted []string
		for _, i := range want {
			wanted = append(wanted, runs[i].ID)
		}
		if !slices.Equal(ids, wanted) {
			t.Errorf("%s: %v, want %v", command, ids, wanted)
		}
	}
	if _, errs, _ := s.run("runs", "--limit", "2"); errs != "there are more than 2 runs; set --limit to show more\n" {
		t.Errorf("%q", errs)
	}
	if _, errs, _ := s.run("runs", "--limit", "4"); errs != "" {
		t.Errorf("%q", errs)
	}
}

// The formats for programs have every field.
func TestRunsForPrograms(t *testing.T) {
	s := newStoreScene(t, noAccounts)
	runs := sampleRuns(time.Now())
	s.store(runs)
	var array []query.RunLine
	s.must(json.Unmarshal([]byte(s.want("runs -o json")), &array))
	if len(array) != 4 {
		t.Fatalf("%+v", array)
	}
	running, failed, missed := array[0], array[1], array[2]
	if running.Ended != nil || running.Took == nil || *running.Took < 49 || running.Status != record.RunRunning {
		t.Errorf("%+v", running)
	}
	if *failed.Took != 90 || failed.Targets[record.Denied] != 300 || failed.Failed != 290 || failed.Replica != "host-1" ||
		failed.Version != "v1" || len(failed.Causes) != 2 || failed.Causes[0].Targets != 299 ||
		failed.Causes[0].Error != runs[1].Causes[0].Error {
		t.Errorf("%+v", failed)
	}
	if missed.Started != nil || missed.Took != nil || missed.Missed != "downtime" || missed.Ticks != 96 ||
		missed.Causes == nil {
		t.Errorf("%+v", missed)
	}
	s.want("runs -o csv", "run,account,tick,started,ended,took_seconds,status,ok,failed,other,records,calls,throttles,"+
		"missed,ticks,replica,version\n", ",90,partial,7,290,12,1000,2000,3,,1,host-1,v1\n", ",downtime,96,host-1,v1\n")
	if out := s.want("runs -o json --status failed"); out != "[]\n" {
		t.Errorf("%q", out)
	}
}

// More runs than a part of the CSV come as one table.
func TestRunsInParts(t *testing.T) {
	s := newStoreScene(t, noAccounts)
	at := time.Now().Add(-time.Hour)
	for n := range 1001 {
		r := inventory.Run{ID: runID(at.Add(time.Duration(n) * time.Millisecond)), Account: "a", Ended: at, Ticks: 1}
		s.must(s.driver.EndRun(context.Background(), r))
	}
	lines := strings.Split(strings.TrimSpace(s.want("runs -o csv --limit 0")), "\n")
	if len(lines) != 1002 || slices.Index(lines[1:], lines[0]) >= 0 {
		t.Errorf("%d lines", len(lines))
	}
}

func TestOneRun(t *testing.T) {
	s := newStoreScene(t, noAccounts)
	runs := sampleRuns(time.Now())
	s.store(runs)
	out := s.want("runs "+runs[1].ID, "took       1m30s\n",
		"targets    7 ok, 300 denied, 2 region_disabled\nfailed     290\n",
		"\nprod: denied (access_denied), 299 targets, one of them us-east-1: ec2_volume\n"+
			`  DescribeVolumes: denied\nhint: evil`+"\n  hint: Allow ec2:DescribeVolumes.\n",
		"\nprod: 1 more targets, for other reasons\n")
	requireHarmless(t, "runs RUN", out)
	if out := s.want("runs "+runs[2].ID, "missed   downtime\n", "ticks    96\n"); strings.Contains(out, "records") {
		t.Errorf("a missed run has counts:\n%s", out)
	}
	s.want("runs "+runs[1].ID+" -o csv", "state,reason,targets,region,kind,error,hint\n",
		"denied,access_denied,299,us-east-1,ec2_volume,")
	var array []query.RunLine
	s.must(json.Unmarshal([]byte(s.want("runs "+runs[1].ID+" -o json")), &array))
	if len(array) != 1 || array[0].Run != runs[1].ID || len(array[0].Causes) != 2 {
		t.Errorf("%+v", array)
	}
	_, errs, code := s.run("runs", runID(time.Unix(1, 0)))
	if code != exitFailed || !strings.Contains(errs, "no run with the id 00000000Z80000000000000000 is stored\nhint: ") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
