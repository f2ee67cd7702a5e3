package sqlite

import (
	"fmt"
	"io"
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

func TestNewerCompatibleDatabaseIsUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	inventorytest.CheckNewerRelease(t, inventorytest.NewerRelease{
		Open: func() inventory.Driver { return openAt(t, path) },
		Change: func() {
			db, err := connect(path, "rw")
			if err != nil {
				t.Fatal(err)
			}
			exec(t, db, "ALTER TABLE run ADD COLUMN later TEXT NOT NULL DEFAULT ''")
			exec(t, db, fmt.Sprint("PRAGMA user_version = ", inventorytest.NewerVersion))
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		},
		OpenReader: func() (io.Closer, error) { return OpenReader(t.Context(), path) },
		Version: func() int {
			r, err := OpenReader(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			return count(t, r.db, "PRAGMA user_version")
		},
	})
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

func TestOldRunsAndCausesGo(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "collector.db"), KeepRuns: 30 * day})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inventorytest.CheckOldRuns(t, s, func(table string) int { return count(t, s.db, "SELECT count(*) FROM "+table) })
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
