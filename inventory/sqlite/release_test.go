package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/internal/sqlquery"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/record"
)

// A database of the last release is migrated: nothing in it is lost, and it is written to. testdata/release-0436523.db
// was made by that commit, from the listings that [inventorytest.CheckRelease] expects.
func TestMigrateLastRelease(t *testing.T) {
	data, err := os.ReadFile("testdata/release-0436523.db")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "collector.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	inventorytest.CheckRelease(t, openAt(t, path))
}

// A newer program that says so may have written beside this one.
func TestNewerCompatibleDatabaseIsUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	s := openAt(t, path)
	exec(t, s.writeDB, "ALTER TABLE run ADD COLUMN later TEXT NOT NULL DEFAULT ''; PRAGMA user_version = 99")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if err := s.StartRun(t.Context(), inventory.Run{ID: "one", Status: record.RunRunning}); err != nil {
		t.Error(err)
	}
	r, err := OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var version int
	if err := r.db.QueryRow("PRAGMA user_version").Scan(&version); err != nil || version != 99 {
		t.Errorf("the version is %d, %v", version, err)
	}
}

// 300 denied targets × 96 runs a day × 1,000 accounts must stay small: this is a part of that.
func TestRunsAreSmall(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "collector.db"))
	const accounts, perDay = 20, 96
	at := time.Now().Add(-24 * time.Hour)
	for n := range perDay {
		for a := range accounts {
			started := at.Add(time.Duration(n) * 15 * time.Minute)
			r := inventory.Run{
				ID:      inventory.FirstRunID(started)[:22] + fmt.Sprintf("%04d", a),
				Account: fmt.Sprintf("account-%04d", a), Tick: started, Started: started, Ended: started.Add(time.Minute),
				Status: record.RunFailed, Targets: map[record.State]int{record.Denied: 300}, Calls: 300,
				Process: inventory.Process{Replica: "collector-0", Version: "v1.2.3"},
			}
			for i := range 3 {
				r.Causes = append(r.Causes, inventory.Cause{
					State: record.Denied, Reason: record.AccessDenied, Targets: 100, Kind: fmt.Sprintf("ec2_kind_%d", i),
					Region: "us-east-1", Error: strings.Repeat("EC2 denies the call. ", 20),
					Hint: fmt.Sprintf("Allow it to account %d.", a),
				})
			}
			if err := s.EndRun(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	var size int64
	if err := s.db.QueryRow("SELECT sum(pgsize) FROM dbstat WHERE name IN ('run', 'run_account', 'run_running', 'cause')").
		Scan(&size); err != nil {
		t.Fatal(err)
	}
	each := size / (accounts * perDay)
	t.Logf("%d bytes a run", each)
	if each > 300 {
		t.Errorf("a run with 300 denied targets takes %d bytes", each)
	}
}

// The end of a run deletes what is too old, with the causes that no run names any more, and no others.
func TestOldRunsAndCausesGo(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "collector.db"), KeepRuns: 30 * day})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, age := range []time.Duration{60 * day, 33 * day, 29 * day, 0} {
		at := time.Now().Add(-age)
		r := inventory.Run{
			ID: inventory.FirstRunID(at), Account: "a", Tick: at, Started: at, Ended: at, Status: record.RunFailed,
			Causes: []inventory.Cause{{State: record.Error, Error: fmt.Sprint("cause ", i), Targets: 1}},
		}
		if err := s.EndRun(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for table, want := range map[string]int{"run": 2, "cause": 2} {
		var n int
		if err := s.db.QueryRow("SELECT count(*) FROM " + table).Scan(&n); err != nil || n != want {
			t.Errorf("%d rows in %s, want %d: %v", n, table, want, err)
		}
	}
}

// Running runs are found by their index: there may be millions of others.
func TestRunningRunsHaveAnIndex(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "collector.db"))
	b := sqlquery.New(dialect)
	b.Runs(inventory.RunQuery{Statuses: []record.Status{record.RunRunning}})
	for query, index := range map[string]string{
		"SELECT run FROM run r" + b.Where() + " ORDER BY r.run DESC": "run_running",
		"SELECT cause FROM cause WHERE used < 1":                     "cause_used",
	} {
		var id, parent, unused int
		var plan string
		params := b.Params()
		if !strings.Contains(query, "?") {
			params = nil
		}
		if err := s.db.QueryRow("EXPLAIN QUERY PLAN "+query, params...).Scan(&id, &parent, &unused, &plan); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan, index) {
			t.Errorf("%s: %s", query, plan)
		}
	}
}
