package sqlite_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/record"
)

// liveIDs reads a database as the commands do, and checks it.
func liveIDs(t *testing.T, path string) (ids []string) {
	t.Helper()
	r, err := sqlite.OpenReader(t.Context(), path)
	must(t, err)
	defer r.Close()
	for res, err := range r.Find(t.Context(), inventory.Query{}) {
		must(t, err)
		ids = append(ids, res.ID)
	}
	s, err := r.Check(t.Context())
	must(t, err)
	if len(s.Damage) > 0 {
		t.Errorf("%s is damaged: %q", path, s.Damage)
	}
	return ids
}

// A backup taken while the collector writes holds whole targets: each listing replaces one resource by another, so a
// reader of a torn copy would find two or none.
func TestBackupWhileWriting(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "collector.db")
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	must(t, err)
	must(t, list(t, s, "i-0"))
	stop, written := make(chan struct{}), make(chan int)
	go func() {
		for i := 1; ; i++ {
			if err := list(t, s, fmt.Sprintf("i-%d", i)); err != nil {
				t.Error(err)
			}
			select {
			case <-stop:
				written <- i
				return
			default:
			}
		}
	}()
	for i := range 5 {
		file := filepath.Join(dir, fmt.Sprintf("backup-%d.db", i))
		must(t, sqlite.Backup(t.Context(), path, file))
		if ids := liveIDs(t, file); len(ids) != 1 {
			t.Errorf("backup %d has %v", i, ids)
		}
		if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	close(stop)
	last := <-written
	must(t, s.Close())
	if ids := liveIDs(t, path); len(ids) != 1 || ids[0] != fmt.Sprintf("i-%d", last) {
		t.Errorf("after the backups: %v, want i-%d", ids, last)
	}
	wantNoCopies(t, dir)
}

func wantNoCopies(t *testing.T, dir string) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(dir, ".collector-copy-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A backup never replaces a file.
func TestBackupRefused(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "collector.db"), filepath.Join(dir, "backup.db")
	if err := sqlite.Backup(t.Context(), path, file); !errors.Is(err, fs.ErrNotExist) || record.HintOf(err) == "" {
		t.Errorf("without a database: %v", err)
	}
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	must(t, err)
	must(t, s.Close())
	must(t, os.WriteFile(file, []byte("mine"), 0o600))
	if err := sqlite.Backup(t.Context(), path, file); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("onto a file: %v", err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("the file is now %.20q, %v", b, err)
	}
	err = sqlite.Backup(t.Context(), path, filepath.Join(dir, "missing", "backup.db"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into a missing directory: %v", err)
	}
	wantNoCopies(t, dir)
}

// A restored database has the backup's resources and history, and the next start finds nothing odd. The database that
// was in place is kept, with the changes in its write-ahead log.
func TestRestore(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "collector.db"), filepath.Join(dir, "backup.db")
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	must(t, err)
	must(t, list(t, s, "i-1"))
	before := historyOf(t, s)
	must(t, sqlite.Backup(t.Context(), path, file))
	must(t, list(t, s, "i-2"))
	if _, err := sqlite.Restore(t.Context(), file, path); !errors.Is(err, sqlite.ErrInUse) {
		t.Fatalf("while it is written to: %v", err)
	}
	must(t, s.Close())

	done, err := sqlite.Restore(t.Context(), file, path)
	must(t, err)
	if done.OtherHistory || liveIDs(t, done.Previous)[0] != "i-2" || liveIDs(t, path)[0] != "i-1" {
		t.Errorf("%+v", done)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	var log bytes.Buffer
	s, err = sqlite.Open(t.Context(), sqlite.Options{Path: path, Log: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, err)
	must(t, list(t, s, "i-3"))
	if after := historyOf(t, s); after != before || log.Len() > 0 {
		t.Errorf("history %s, was %s; log: %s", after, before, log.String())
	}
	must(t, s.Close())
	wantNoCopies(t, dir)
}

// A lost database begins a new history. Restore brings the old one back, and reports that.
func TestRestoreOverAnotherHistory(t *testing.T) {
	dir := t.TempDir()
	path, file := filepath.Join(dir, "collector.db"), filepath.Join(dir, "backup.db")
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	must(t, err)
	must(t, list(t, s, "i-1"))
	before := historyOf(t, s)
	must(t, s.Close())
	must(t, sqlite.Backup(t.Context(), path, file)) // nothing runs: also then
	must(t, os.Remove(path))
	s, err = sqlite.Open(t.Context(), sqlite.Options{Path: path})
	must(t, err)
	must(t, s.Close())
	done, err := sqlite.Restore(t.Context(), file, path)
	must(t, err)
	if !done.OtherHistory {
		t.Errorf("%+v", done)
	}
	s, err = sqlite.Open(t.Context(), sqlite.Options{Path: path})
	must(t, err)
	if after := historyOf(t, s); after != before {
		t.Errorf("history %s, was %s", after, before)
	}
	must(t, s.Close())
}

// A file that is no sound database of this program, or one of a newer program, changes nothing.
func TestRestoreRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "collector.db")
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	must(t, err)
	must(t, list(t, s, "i-1"))
	must(t, s.Close())
	backup := filepath.Join(dir, "backup.db")
	must(t, sqlite.Backup(t.Context(), path, backup))
	sound, err := os.ReadFile(backup)
	must(t, err)
	for name, c := range map[string]struct {
		content []byte
		change  string
		want    string
	}{
		"text":      {[]byte(strings.Repeat("no database\n", 1000)), "", "damaged"},
		"empty":     {nil, "", "not a database of collector"},
		"cut short": {sound[:len(sound)/2], "", "damaged"},
		"foreign":   {sound, "PRAGMA application_id = 7", "belongs to another program"},
		"newer": {
			sound, "PRAGMA user_version = 99; UPDATE history SET min_compatible_version = 98", "schema version 99",
		},
		"an index that lacks entries": {
			sound, "PRAGMA writable_schema = 1; UPDATE sqlite_schema SET rootpage = 2 WHERE type = 'index'", "damaged",
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file.db")
			must(t, os.WriteFile(file, c.content, 0o600))
			if c.change != "" {
				db, err := sql.Open("sqlite", file)
				must(t, err)
				_, err = db.ExecContext(t.Context(), c.change)
				must(t, errors.Join(err, db.Close()))
			}
			if _, err := sqlite.Restore(t.Context(), file, path); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if ids := liveIDs(t, path); len(ids) != 1 {
				t.Errorf("the database in place has %v", ids)
			}
		})
	}
	for _, file := range []string{path, filepath.Join(dir, "missing.db")} {
		if _, err := sqlite.Restore(t.Context(), file, path); err == nil {
			t.Errorf("restored %s", file)
		}
	}
	wantNoCopies(t, dir)
	if left, _ := filepath.Glob(path + ".replaced-*"); len(left) > 0 {
		t.Errorf("moved aside for nothing: %v", left)
	}
}
