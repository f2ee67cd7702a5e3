package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/record"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(lockEnv); path != "" {
		holdWriteLock(path)
	}
	if path := os.Getenv(killedEnv); path != "" {
		listUntilKilled(path)
	}
	goleak.VerifyTestMain(m)
}

func openAt(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Path: path, KeepRuns: 30 * day})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func oddPath(t *testing.T) string { return filepath.Join(t.TempDir(), "a %dir?", "collector.db") }

func mkdir(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestConformance(t *testing.T) {
	inventorytest.Run(t, inventorytest.Subject{Open: func(t *testing.T) (inventory.Driver, func() inventory.Driver) {
		path := mkdir(t, oddPath(t)) // characters with a meaning in a DSN
		s := openAt(t, path)
		return s, func() inventory.Driver {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openAt(t, path)
			return s
		}
	}})
}

func count(t *testing.T, db *sql.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func exec(t *testing.T, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func TestOneWriterManyReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	s := openAt(t, path)
	inv := inventory.New(s, inventory.Options{})
	if err := inventorytest.List(t, inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Options{Path: path})
	if !errors.Is(err, ErrInUse) || record.HintOf(err) == "" {
		t.Errorf("a second writer: %v", err)
	}
	r, err := OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for res, err := range r.Find(t.Context(), inventory.Query{}) { // the writer writes while a reader reads
		if err != nil {
			t.Fatal(err)
		}
		if err := inventorytest.List(t, inv, "two", inventorytest.Item{ID: "i-2"}); err != nil {
			t.Error(err)
		}
		if res.ID != "i-1" {
			t.Errorf("the reader sees %s", res.ID)
		}
	}
	if got := inventorytest.IDs(t, r, inventory.Query{}); got != "i-2" {
		t.Errorf("then it sees %q", got)
	}
}

// The writes of a batch appear together, or not at all.
func TestBatch(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "collector.db"))
	inv := inventory.New(s, inventory.Options{})
	if err := s.Batch(t.Context(), func() error {
		if err := inventorytest.List(t, inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
			return err
		}
		if got := inventorytest.IDs(t, s, inventory.Query{}); got != "" {
			t.Errorf("in the batch, a reader sees %q", got)
		}
		return s.EndRun(t.Context(), inventory.Run{ID: inventory.FirstRunID(time.Now()), Account: "prod"})
	}); err != nil {
		t.Fatal(err)
	}
	if got := inventorytest.IDs(t, s, inventory.Query{}); got != "i-1" {
		t.Errorf("after the batch, a reader sees %q", got)
	}
	if n := count(t, s.db, "SELECT count(*) FROM run"); n != 1 {
		t.Errorf("%d runs", n)
	}
	wrong := errors.New("wrong")
	if err := s.Batch(t.Context(), func() error {
		return errors.Join(inventorytest.List(t, inv, "two", inventorytest.Item{ID: "i-2"}), wrong)
	}); !errors.Is(err, wrong) {
		t.Error(err)
	}
	if got := inventorytest.IDs(t, s, inventory.Query{}); got != "i-1" {
		t.Errorf("after a batch with an error, a reader sees %q", got)
	}
	if err := inventorytest.List(t, inv, "three", inventorytest.Item{ID: "i-3"}); err != nil {
		t.Errorf("after the batches: %v", err)
	}
}

func TestReaderCannotWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	openAt(t, path)
	r, err := OpenReader(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, q := range []string{
		"DELETE FROM version", "SELECT 1; DELETE FROM version", "CREATE TABLE x (a)", "CREATE TEMP TABLE x (a)",
		"PRAGMA user_version = 9", "PRAGMA journal_mode = DELETE",
		"ATTACH '" + filepath.Join(t.TempDir(), "other.db") + "' AS other",
		"VACUUM INTO '" + filepath.Join(t.TempDir(), "copy.db") + "'",
	} {
		if err := r.Query(t.Context(), q, func([]string, []any) error { return nil }); err == nil {
			t.Errorf("%s: done", q)
		}
	}
}

func TestNoDatabaseYet(t *testing.T) {
	if _, err := OpenReader(t.Context(), filepath.Join(t.TempDir(), "collector.db")); !errors.Is(err, fs.ErrNotExist) ||
		record.HintOf(err) == "" {
		t.Error(err)
	}
}

func TestForeignAndNewerDatabasesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change string
		want   error
		text   string
	}{
		"newer": {
			"PRAGMA user_version = 99; UPDATE history SET min_compatible_version = 98", ErrNewer, "schema version 99",
		},
		"foreign": {"PRAGMA application_id = 7", nil, "another program"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "collector.db")
			s := openAt(t, path)
			exec(t, s.writeDB, c.change)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, errOpen := Open(t.Context(), Options{Path: path})
			_, errRead := OpenReader(t.Context(), path)
			for _, err := range []error{errOpen, errRead} {
				if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) ||
					record.HintOf(err) == "" {
					t.Errorf("%v", err)
				}
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
}

// Most programs do not mark their databases.
func TestUnmarkedForeignDatabaseIsRefused(t *testing.T) {
	for name, table := range map[string]string{
		"a table": "users (x)", "a table of our name": "version (x)", "like SQLite's own": "sqlitex (x)",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "collector.db")
			db, err := connect(path, "rwc")
			if err != nil {
				t.Fatal(err)
			}
			exec(t, db, "CREATE TABLE "+table)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, errOpen := Open(t.Context(), Options{Path: path})
			_, errRead := OpenReader(t.Context(), path)
			for _, err := range []error{errOpen, errRead} {
				if err == nil || !strings.Contains(err.Error(), "another program") || record.HintOf(err) == "" {
					t.Errorf("%v", err)
				}
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestDamagedDatabaseIsMovedAside(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"no database": func([]byte) []byte { return []byte(strings.Repeat("not a database. ", 1000)) },
		"schema": func(b []byte) []byte {
			copy(b[100:], strings.Repeat("\xff", 2000))
			return b
		},
		"cut short": func(b []byte) []byte { return b[:len(b)/4096/2*4096] },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "collector.db")
			s := openAt(t, path)
			if err := inventorytest.List(
				t, inventory.New(s, inventory.Options{}), "one", inventorytest.Item{ID: "i-1"},
			); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := OpenReader(t.Context(), path); !errors.Is(err, ErrCorrupt) {
				t.Errorf("a reader: %v", err)
			}
			s = openAt(t, path)
			if err := inventorytest.List(
				t, inventory.New(s, inventory.Options{}), "two", inventorytest.Item{ID: "i-2"},
			); err != nil {
				t.Fatal(err)
			}
			if got := inventorytest.IDs(t, s, inventory.Query{}); got != "i-2" {
				t.Errorf("the new one has %q", got)
			}
			if aside, err := filepath.Glob(path + ".damaged-*Z"); err != nil || len(aside) != 1 {
				t.Errorf("moved aside: %v %v", aside, err)
			}
		})
	}
}

// A full disk is an error of the store, which recovers by itself.
func TestFullDisk(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "collector.db"))
	inv := inventory.New(s, inventory.Options{})
	if err := inventorytest.List(t, inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
		t.Fatal(err)
	}
	exec(t, s.writeDB, "PRAGMA max_page_count = 1") // SQLite takes this as the current size: no further page
	var items []inventorytest.Item
	for range 3 {
		items = append(items, inventorytest.Item{ID: "i-" + strings.Repeat("9", len(items)+1), Pad: incompressible(300_000)})
	}
	err := inventorytest.List(t, inv, "two", items...)
	if err == nil || inv.Err() == nil || !strings.Contains(record.HintOf(inv.Err()), "disk is full") {
		t.Fatalf("a full disk: %v; health: %v", err, inv.Err())
	}
	if got := inventorytest.IDs(t, s, inventory.Query{}); got != "i-1" || inv.NotStored() != 1 {
		t.Errorf("half a target: %q; %d lost", got, inv.NotStored())
	}
	exec(t, s.writeDB, "PRAGMA max_page_count = 1000000")
	if err := inventorytest.List(t, inv, "three", items...); err != nil || inv.Err() != nil {
		t.Fatalf("it does not recover: %v, %v", err, inv.Err())
	}
	if got := inventorytest.IDs(t, s, inventory.Query{}); got != "i-9 i-99 i-999" {
		t.Errorf("after it: %q", got)
	}
	checkConsistent(t, s)
}

// incompressible returns text that does not compress.
func incompressible(n int) string {
	var b strings.Builder
	x := uint64(88172645463325252)
	for range n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b.WriteByte('!' + byte(x%90))
	}
	return b.String()
}

// The inventory reveals much about an account: no other user of the machine can read it.
func TestFileModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing there")
	}
	path := filepath.Join(t.TempDir(), "collector.db")
	s := openAt(t, path)
	if err := inventorytest.List(
		t, inventory.New(s, inventory.Options{}), "one", inventorytest.Item{ID: "i-1"},
	); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		if info, err := os.Stat(path + suffix); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", suffix, info.Mode(), err)
		}
	}
}

func TestReadOnly(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "collector.db"))
	inv := inventory.New(s, inventory.Options{})
	exec(t, s.writeDB, "PRAGMA query_only = 1")
	if err := inventorytest.List(t, inv, "one", inventorytest.Item{ID: "i-1"}); err == nil ||
		record.HintOf(inv.Err()) == "" {
		t.Fatalf("%v; %v", err, inv.Err())
	}
	exec(t, s.writeDB, "PRAGMA query_only = 0")
	if err := inventorytest.List(t, inv, "two", inventorytest.Item{ID: "i-1"}); err != nil || inv.Err() != nil {
		t.Fatalf("it does not recover: %v, %v", err, inv.Err())
	}
}

// When the canonical form of the hash changes, every hash is computed again and no resource counts as changed.
func TestNewHashVersionIsNoChange(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "collector.db"))
	inv := inventory.New(s, inventory.Options{})
	items := []inventorytest.Item{{ID: "i-1", State: "running"}, {ID: "i-2", State: "running"}}
	if err := inventorytest.List(t, inv, "one", items...); err != nil {
		t.Fatal(err)
	}
	validFrom := count(t, s.db, "SELECT max(valid_from) FROM version")
	exec(t, s.writeDB, "UPDATE version SET sum_version = 0, sum = zeroblob(16)")
	items[0].State = "stopped" // this change cannot be detected
	if err := inventorytest.List(t, inv, "two", items...); err != nil {
		t.Fatal(err)
	}
	if n := count(
		t, s.db, "SELECT count(*) FROM version WHERE valid_from = ? AND valid_to IS NULL AND sum_version = ?", validFrom,
		record.DigestVersion,
	); n != 2 {
		t.Errorf("%d versions continue, want 2", n)
	}
	for r, err := range s.Find(t.Context(), inventory.Query{ID: "i-1", Data: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.State != "stopped" || !strings.Contains(string(r.Data), `"Name":"stopped"`) {
			t.Errorf("%s %s", r.State, r.Data)
		}
	}
	if err := inventorytest.List(t, inv, "three", items...); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s.db, "SELECT count(*) FROM version"); n != 2 {
		t.Errorf("%d versions after it", n)
	}
	checkConsistent(t, s)
}

func TestKeep(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	s, err := Open(t.Context(), Options{Path: path, Keep: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inv := inventory.New(s, inventory.Options{})
	for _, state := range []string{"a", "b", "c", "d"} {
		if err := inventorytest.List(t, inv, state, inventorytest.Item{ID: "i-1", State: state}); err != nil {
			t.Fatal(err)
		}
	}
	exec(
		t, s.writeDB,
		"UPDATE version SET valid_to = valid_to - 7200000000, valid_from = valid_from - 7200000000 WHERE state IN ('a', 'b')",
	)
	exec(t, s.writeDB, "UPDATE version SET valid_from = 1 WHERE state = 'd'") // live versions are kept, however old
	if err := inventorytest.List(t, inv, "again", inventorytest.Item{ID: "i-1", State: "d"}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s.db, "SELECT count(*) FROM version"); n != 2 {
		t.Errorf("%d versions are left, want c and d", n)
	}
	checkConsistent(t, s)
}

// If the clock goes back, instants still grow: a version never ends before it begins.
func TestClockGoesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	s := openAt(t, path)
	inv := inventory.New(s, inventory.Options{})
	if err := inventorytest.List(t, inv, "one", inventorytest.Item{ID: "i-1", State: "a"}); err != nil {
		t.Fatal(err)
	}
	ahead := time.Now().Add(24 * time.Hour).UnixMicro()
	exec(t, s.writeDB, "UPDATE version SET valid_from = ?", ahead)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if err := inventorytest.List(
		t, inventory.New(s, inventory.Options{}), "two", inventorytest.Item{ID: "i-1", State: "b"},
	); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s.db, "SELECT count(*) FROM version WHERE valid_to > valid_from"); n != 1 {
		t.Error("the first version ends before it began")
	}
	if n := count(t, s.db, "SELECT count(*) FROM version WHERE valid_from > ?", ahead); n != 1 {
		t.Error("the second version begins before the first")
	}
}

// What is too much for memory is staged. The next update drops what an update without an end staged.
func TestStaged(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "collector.db"))
	inv := inventory.New(s, inventory.Options{MaxBuffered: 1})
	target, identity := inventorytest.Target()
	v, err := inv.Begin(t.Context(), target, identity, "one")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"i-1", "i-2", "i-3"} {
		if err := v.Page(
			t.Context(), inventorytest.Page(target, identity, "one", inventorytest.Item{ID: id, Pad: incompressible(300_000)}),
		); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, s.db, "SELECT count(*) FROM staged"); n != 3 {
		t.Errorf("%d of 3 rows are staged", n)
	}
	if err := inventorytest.List(t, inv, "two", inventorytest.Item{ID: "i-4"}); err != nil {
		t.Fatal(err)
	}
	checkConsistent(t, s)
}

// The documented views decode bodies.
func TestViews(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	s := openAt(t, path)
	if err := inventorytest.List(
		t, inventory.New(s, inventory.Options{}), "one",
		inventorytest.Item{ID: "i-1", State: "running", Tags: map[string]string{"team": "a"}},
	); err != nil {
		t.Fatal(err)
	}
	for _, view := range []string{"resources", "versions"} {
		if n := count(t, s.db, "SELECT count(*) FROM "+view+` WHERE state = 'running' AND tags ->> 'team' = 'a'
			AND data ->> '$.State.Code' = 16
			AND valid_from LIKE '20__-%T%Z' AND extra_tags ->> 'team' = 'platform'`); n != 1 {
			t.Errorf("%s: %d", view, n)
		}
	}
	if n := count(
		t, s.db, "SELECT count(*) FROM targets WHERE state = 'ok' AND retired IS NULL AND last_seen IS NOT NULL",
	); n != 1 {
		t.Errorf("targets: %d", n)
	}
}

func TestCancelledWriteDoesNotWait(t *testing.T) {
	s := openAt(t, filepath.Join(t.TempDir(), "collector.db"))
	if err := s.lockWriter(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer s.unlockWriter()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.write(ctx, func(*sql.Tx) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// checkConsistent checks what holds after every commit: each version has its body, each body has a version, and nothing
// is staged.
func checkConsistent(t *testing.T, s *Store) {
	t.Helper()
	for what, query := range map[string]string{
		"versions without a body":  "SELECT count(*) FROM version WHERE version >> 6 NOT IN (SELECT pack FROM body)",
		"bodies without a version": "SELECT count(*) FROM body WHERE pack NOT IN (SELECT version >> 6 FROM version)",
		"staged rows":              "SELECT count(*) FROM staged",
		"damaged pages":            "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
	} {
		if n := count(t, s.writeDB, query); n > 0 {
			t.Errorf("%d %s", n, what)
		}
	}
}

// The result of `db check` for a sound database and for damaged ones.
func TestCheck(t *testing.T) {
	for damage, want := range map[string]string{
		"": "",
		"DELETE FROM body WHERE pack = (SELECT max(pack) FROM body)":                                   "its body is missing",
		"UPDATE body SET data = x'00'":                                                                 "pack ",
		"UPDATE version SET version = version + 20 WHERE version = (SELECT max(version) FROM version)": "refers to line",
		"DELETE FROM scope": "its target is missing",
	} {
		s := openAt(t, filepath.Join(t.TempDir(), "collector.db"))
		inv := inventory.New(s, inventory.Options{})
		for _, state := range []string{"running", "stopped"} {
			var items []inventorytest.Item
			for i := range packRows + 8 {
				items = append(items, inventorytest.Item{ID: fmt.Sprintf("i-%02d", i), State: state})
			}
			if err := inventorytest.List(t, inv, state, items...); err != nil {
				t.Fatal(err)
			}
		}
		if damage != "" {
			exec(t, s.writeDB, "PRAGMA foreign_keys = OFF")
			exec(t, s.writeDB, damage)
		}
		sum, err := s.Check(t.Context())
		if err != nil || (len(sum.Damage) > 0) != (want != "") || !strings.Contains(strings.Join(sum.Damage, "\n"), want) {
			t.Errorf("%q: %v, %q; want %q", damage, err, sum.Damage, want)
		}
		if damage == "" && (sum.Resources != packRows+8 || sum.Versions != 2*(packRows+8)) {
			t.Errorf("%+v", sum)
		}
	}
}
