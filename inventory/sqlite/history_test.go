package sqlite_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/record"
)

func list(t *testing.T, s *sqlite.Store, ids ...string) error {
	t.Helper()
	inv := inventory.New(s, inventory.Options{})
	target, identity := inventorytest.Target()
	v, err := inv.Begin(t.Context(), target, identity, "run")
	if err != nil {
		return err
	}
	var items []inventorytest.Item
	for _, id := range ids {
		items = append(items, inventorytest.Item{ID: id, State: "running"})
	}
	if err := v.Page(t.Context(), inventorytest.Page(target, identity, "run", items...)); err != nil {
		return err
	}
	return v.End(t.Context(), record.Outcome{Target: target, Run: "run", State: record.OK, Records: len(ids)})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func historyOf(t *testing.T, s *sqlite.Store) (id string) {
	t.Helper()
	for c, err := range s.Targets(t.Context()) {
		must(t, err)
		id = c.History
		if c.FirstComplete.IsZero() || c.FirstComplete.After(c.LastSeen) {
			t.Errorf("first complete %s, last %s", c.FirstComplete, c.LastSeen)
		}
	}
	return id
}

// A database that had a history and is now empty or missing is not taken for a new one: an error is logged, the remains
// are kept, and the new history has another id. So does a database that was put in its place.
func TestLostHistory(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage func(t *testing.T, path string)
		logs   string
		aside  string // pattern of a file that is kept
		same   bool   // the history did not change
	}{
		{"nothing", func(*testing.T, string) {}, "", "", true},
		{
			"empty", func(t *testing.T, path string) { must(t, os.Truncate(path, 0)) }, "store database empty",
			"collector.db.empty-*", false,
		},
		{"missing", func(t *testing.T, path string) { must(t, os.Remove(path)) }, "store database missing", "", false},
		{"missing, with its log", func(t *testing.T, path string) {
			must(t, os.Rename(path, path+"-wal"))
		}, "store database empty", "collector.db.empty-*-wal", false},
		{"no database", func(t *testing.T, path string) {
			must(t, os.WriteFile(path, bytes.Repeat([]byte("x"), 9000), 0o600))
		}, "store database damaged", "collector.db.damaged-*", false},
		{"another database", func(t *testing.T, path string) {
			other := filepath.Join(t.TempDir(), "collector.db")
			s, err := sqlite.Open(t.Context(), sqlite.Options{Path: other})
			must(t, err)
			must(t, s.Close())
			must(t, os.Rename(other, path))
		}, "store has another history", "", false},
		{
			"an empty id", func(t *testing.T, path string) { must(t, os.Truncate(path+".id", 0)) }, "history id file damaged",
			"collector.db.id.damaged", true,
		},
		{"no id, as of an earlier version", func(t *testing.T, path string) { must(t, os.Remove(path+".id")) }, "", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log bytes.Buffer
			o := sqlite.Options{Path: filepath.Join(t.TempDir(), "collector.db"), Log: slog.New(slog.NewTextHandler(&log, nil))}
			s, err := sqlite.Open(t.Context(), o)
			must(t, err)
			must(t, list(t, s, "i-1"))
			before := historyOf(t, s)
			must(t, s.Close())
			c.damage(t, o.Path)
			for range 2 { // it is logged once
				s, err = sqlite.Open(t.Context(), o)
				must(t, err)
				must(t, list(t, s, "i-1"))
				if after := historyOf(t, s); after == "" || (after == before) != c.same {
					t.Errorf("history %q, was %q", after, before)
				}
				must(t, s.Close())
			}
			if c.logs == "" && log.Len() > 0 || c.logs != "" && strings.Count(log.String(), "level=") != 1 ||
				!strings.Contains(log.String(), c.logs) {
				t.Errorf("want %q:\n%s", c.logs, log.String())
			}
			if c.aside != "" {
				if found, _ := filepath.Glob(filepath.Join(filepath.Dir(o.Path), c.aside)); len(found) != 1 {
					t.Errorf("kept: %v", found)
				}
			}
		})
	}
}

// A file that vanishes or is replaced while the store is open is an error, at the next write and before it. Putting the
// file back ends the error.
func TestFilesReplacedWhileOpen(t *testing.T) {
	for _, c := range []struct {
		name    string
		file    string // "": the directory
		replace bool
	}{
		{"the directory is gone", "", false}, {"the directory was created again", "", true},
		{"the database is gone", "collector.db", false}, {"the database is another file", "collector.db", true},
		{"the lock is gone", "collector.db.lock", false}, {"the lock is another file", "collector.db.lock", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "data")
			must(t, os.Mkdir(dir, 0o700))
			s, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(dir, "collector.db")})
			must(t, err)
			defer s.Close()
			must(t, list(t, s, "i-1"))
			must(t, s.Err())
			idle := inventory.New(s, inventory.Options{}) // as /-/ready asks when nothing is written
			must(t, idle.Health().Err)
			path := filepath.Join(dir, c.file)
			must(t, os.Rename(path, path+".away"))
			if c.replace {
				if c.file == "" {
					must(t, os.Mkdir(path, 0o700))
				} else {
					must(t, os.WriteFile(path, nil, 0o600))
				}
			}
			for what, err := range map[string]error{
				"asked": s.Err(), "idle": idle.Health().Err, "write": list(t, s, "i-1", "i-2"),
			} {
				if !errors.Is(err, sqlite.ErrReplaced) || record.HintOf(err) == "" {
					t.Errorf("%s: %v", what, err)
				}
			}
			must(t, os.RemoveAll(path))
			must(t, os.Rename(path+".away", path))
			must(t, s.Err())
			must(t, idle.Health().Err)
			must(t, list(t, s, "i-1", "i-2"))
		})
	}
}

// A removed log is an error until a restart, and none of its content is lost.
func TestWALRemoved(t *testing.T) {
	o := sqlite.Options{Path: filepath.Join(t.TempDir(), "collector.db")}
	s, err := sqlite.Open(t.Context(), o)
	must(t, err)
	must(t, list(t, s, "i-1"))
	must(t, os.Remove(o.Path+"-wal"))
	for range 2 {
		if err := list(t, s, "i-1", "i-2"); !errors.Is(err, sqlite.ErrReplaced) {
			t.Errorf("%v", err)
		}
		must(t, os.WriteFile(o.Path+"-wal", nil, 0o600)) // as a reader creates one
	}
	must(t, s.Close())
	s, err = sqlite.Open(t.Context(), o)
	must(t, err)
	if got := inventorytest.IDs(t, s, inventory.Query{}); got != "i-1" {
		t.Errorf("after a restart: %q", got)
	}
	must(t, list(t, s, "i-1", "i-2"))
	must(t, s.Close())
}

// A reader gets an error for an empty file.
func TestReaderOfEmptyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	must(t, os.WriteFile(path, nil, 0o600))
	if _, err := sqlite.OpenReader(t.Context(), path); err == nil || !strings.Contains(err.Error(), "is empty") ||
		record.HintOf(err) == "" {
		t.Errorf("%v, %s", err, record.HintOf(err))
	}
}
