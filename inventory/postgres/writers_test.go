package postgres

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/record"
)

// Several writers of one schema: the lock, the fences, and what they stage. Their instants are in instant_test.go.

// newSharedSchema returns options for an unused schema that several processes write.
func newSharedSchema(t testing.TB) Options {
	o := newSchema(t)
	o.Shared = true
	return o
}

func regionTarget(region string) record.Target {
	return record.Target{Account: "prod", Region: region, Kind: "ec2_instance"}
}

// listRegion is one complete listing of a region's target.
func listRegion(t *testing.T, inv *inventory.Inventory, region, run string, items ...inventorytest.Item) error {
	t.Helper()
	_, identity := inventorytest.Target()
	target := regionTarget(region)
	v, err := inv.Begin(t.Context(), target, identity, run)
	if err == nil {
		err = v.Page(t.Context(), inventorytest.Page(target, identity, run, items...))
	}
	if err == nil {
		err = v.End(t.Context(), record.Outcome{Target: target, Run: run, State: record.OK, Started: time.Now()})
	}
	return err
}

// Writers that share and a writer alone exclude each other, and the error names who has the schema.
func TestModesDoNotMix(t *testing.T) {
	t.Parallel()
	o := newSharedSchema(t)
	alone := o
	alone.Shared = false
	refused := func(o Options, text string, names int) {
		t.Helper()
		_, err := Open(t.Context(), o)
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), text) || record.HintOf(err) == "" ||
			strings.Count(err.Error(), "collector (process ") != names {
			t.Errorf("it says %v (%s)", err, record.HintOf(err))
		}
	}
	first, second := openStore(t, o), openStore(t, o)
	refused(alone, "which share it", 2)
	for i, s := range []*Store{first, second} {
		inv := inventory.New(s, inventory.Options{})
		if err := listRegion(t, inv, fmt.Sprint("r-", i), "one", inventorytest.Item{ID: fmt.Sprint("i-", i)}); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	third := openStore(t, alone)
	refused(o, "which writes alone", 1)
	if got := inventorytest.IDs(t, third, inventory.Query{}); got != "i-0 i-1" {
		t.Errorf("there is %q", got)
	}
}

// Processes that share fence each other by epochs alone: one that lost its lock joins again, and its open update stays
// valid. A writer alone, or a migration, fences all of them.
func TestSharedWriterThatLostItsLock(t *testing.T) {
	t.Parallel()
	o := newSharedSchema(t)
	first, second := openStore(t, o), openStore(t, o)
	conn := adminConn(t, o)
	inv := inventory.New(first, inventory.Options{MaxBuffered: 1})
	target, identity := inventorytest.Target()
	v, err := inv.Begin(t.Context(), target, identity, "one")
	if err == nil {
		err = v.Page(t.Context(), inventorytest.Page(target, identity, "one", inventorytest.Item{ID: "i-1"}))
	}
	if err != nil {
		t.Fatal(err)
	}
	class, object := first.c.lockKey()
	exec(t, conn, `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = $1
		AND objid::bigint = $2`, int64(class), int64(object))
	third := openStore(t, o) // it does not sweep what others have staged
	if err := v.End(
		t.Context(), record.Outcome{Target: target, Run: "one", State: record.OK, Started: time.Now()},
	); err != nil {
		t.Errorf("an open update: %v", err)
	}
	for i, s := range []*Store{first, second, third} {
		eventually(t, "it writes", func() bool {
			return listRegion(t, inventory.New(s, inventory.Options{}), fmt.Sprint("r-", i), "two",
				inventorytest.Item{ID: fmt.Sprint("i-", i)}) == nil
		})
	}
	if v, err = inv.Begin(t.Context(), target, identity, "three"); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "UPDATE clock SET writer = writer + 1, shared = -1") // as a writer alone does, or a migration
	if err := v.End(
		t.Context(), record.Outcome{Target: target, Run: "three", State: record.OK, Started: time.Now()},
	); !errors.Is(err, ErrInUse) {
		t.Errorf("the end of a former writer's target: %v", err)
	}
	if _, err := second.Begin(t.Context(), target, inventory.Scope{
		Partition: "aws", AccountID: identity.AccountID, Region: target.Region, Kind: target.Kind,
	}, "four"); !errors.Is(err, ErrInUse) {
		t.Errorf("begin of a former writer: %v", err)
	}
}

// A writer alone waits until no commit of a former writer is under way: a commit has the gate, and reads the number
// that is valid until it ends.
func TestNewWriterWaitsForCommits(t *testing.T) {
	t.Parallel()
	o := newSchema(t)
	s := openStore(t, o)
	_, begin, err := s.writeAllowed()
	if err != nil {
		t.Fatal(err)
	}
	conn := adminConn(t, o)
	exec(t, conn, begin)
	before := count(t, conn, "SELECT writer FROM clock")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	opened := make(chan error, 1)
	go func() {
		next, err := Open(t.Context(), o)
		if err == nil {
			err = next.Close()
		}
		opened <- err
	}()
	select {
	case err := <-opened:
		t.Errorf("it did not wait: %v", err)
		opened <- err
	case <-time.After(time.Second):
	}
	if n := count(t, conn, "SELECT writer FROM clock"); n != before {
		t.Errorf("the number of the writers is %d during a commit of %d", n, before)
	}
	exec(t, conn, "COMMIT")
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// undoMigration6 makes the tables of version 5 again.
const undoMigration6 = `UPDATE store SET version = 5;
	ALTER TABLE clock DROP COLUMN shared, DROP COLUMN number, DROP COLUMN horizon, DROP COLUMN published;
	ALTER TABLE scope DROP COLUMN last;
	DROP SEQUENCE commit_number; DROP FUNCTION server_time(); DROP FUNCTION take_instant(bigint, bigint)`

// A process that shares the schema and finds older tables waits until nobody writes, and migrates alone.
func TestMigrationWaitsForOthers(t *testing.T) {
	t.Parallel()
	o := newSharedSchema(t)
	older := openStore(t, o)
	if err := older.Close(); err != nil {
		t.Fatal(err)
	}
	conn := adminConn(t, o)
	exec(t, conn, undoMigration6)
	class, object := older.c.lockKey()
	exec(t, conn, "SELECT pg_advisory_lock_shared($1, $2)", class, object) // as a process of the older version
	s := openStore(t, o)
	if err := s.Err(); !errors.Is(err, errWaiting) || !errors.Is(err, ErrInUse) || record.HintOf(err) == "" {
		t.Errorf("beside an older writer: %v", err)
	}
	if _, err := s.Begin(t.Context(), regionTarget("r"), inventory.Scope{}, "one"); err == nil {
		t.Error("it writes tables of an older version")
	}
	if n := count(t, conn, "SELECT version FROM store"); n != 5 {
		t.Errorf("the tables are of version %d already", n)
	}
	exec(t, conn, "SELECT pg_advisory_unlock_shared($1, $2)", class, object)
	eventually(t, "it migrates and writes", func() bool { return s.Err() == nil })
	openStore(t, o) // the lock is shared again
	if err := listRegion(
		t, inventory.New(s, inventory.Options{}), "r", "one", inventorytest.Item{ID: "i-1"},
	); err != nil {
		t.Error(err)
	}
}

// During another's migration, a process that shares waits and does not give up.
func TestWaitsForMigrationOfAnother(t *testing.T) {
	t.Parallel()
	o := newSharedSchema(t)
	conn := adminConn(t, Options{DSN: o.DSN, Schema: "public"})
	c, err := newConnector(o.DSN, o.Schema)
	if err != nil {
		t.Fatal(err)
	}
	class, object := c.lockKey()
	exec(t, conn, "SELECT pg_advisory_lock($1, $2), pg_advisory_lock_shared($3, $2)", class, object, class+migrationClass)
	s := openStore(t, o)
	if err := s.Err(); !errors.Is(err, errWaiting) || !strings.Contains(err.Error(), "is migrated by ") {
		t.Errorf("during the migration: %v", err)
	}
	exec(t, conn, "SELECT pg_advisory_unlock_all()")
	eventually(t, "it writes", func() bool { return s.Err() == nil })
}

// What an update has staged is swept once its scope has a later epoch, by whoever comes, and never before.
func TestStagedRowsBelongToEpochs(t *testing.T) {
	t.Parallel()
	o := newSharedSchema(t)
	conn := adminConn(t, o)
	first, second := openStore(t, o), openStore(t, o)
	_, identity := inventorytest.Target()
	stage := func(s *Store, region string) inventory.ScopeWriter {
		t.Helper()
		inv := inventory.New(s, inventory.Options{MaxBuffered: 1})
		v, err := inv.Begin(t.Context(), regionTarget(region), identity, "run")
		if err == nil {
			err = v.Page(t.Context(), inventorytest.Page(
				regionTarget(region), identity, "run", inventorytest.Item{ID: region, Pad: strings.Repeat("x", 300_000)}))
		}
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	staged := func() string {
		t.Helper()
		rows, err := conn.Query(t.Context(), "SELECT id FROM staged ORDER BY id")
		if err != nil {
			t.Fatal(err)
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(ids, " ")
	}
	want := func(when, ids string) {
		t.Helper()
		if got := staged(); got != ids {
			t.Errorf("%s: staged are %q, want %q", when, got, ids)
		}
	}
	o2 := record.Outcome{Run: "run", State: record.OK, Started: time.Now()}
	late, kept := stage(first, "a"), stage(first, "b")
	again := stage(second, "a")
	want("begun again by another", "a b")
	o2.Target = regionTarget("a")
	if err := late.End(t.Context(), o2); !errors.Is(err, inventory.ErrFenced) {
		t.Errorf("the end of the first: %v", err)
	}
	if err := again.End(t.Context(), o2); err != nil {
		t.Errorf("the end of the second: %v", err)
	}
	want("after its end", "b")

	openStore(t, o)
	want("after another has joined", "b")
	exec(t, conn, "UPDATE scope SET epoch = nextval('epoch') WHERE region = 'a'")
	exec(t, conn, `INSERT INTO staged SELECT scope, (epoch << 24) - 5, 0, 'late', '', '', '', '', '{}' FROM scope
		WHERE region = 'a'`) // of an earlier epoch
	openStore(t, o)
	want("after another has joined, outdated rows", "b")
	o2.Target = regionTarget("b")
	if err := kept.End(t.Context(), o2); err != nil {
		t.Errorf("an update that lasted meanwhile: %v", err)
	}

	stage(first, "c")
	if err := second.Retire(t.Context(), regionTarget("c"), identity, inventory.RegionRemoved); err != nil {
		t.Error(err)
	}
	want("retired", "")
	stage(first, "d")
	exec(t, conn, "UPDATE scope SET epoch = nextval('epoch') WHERE region = 'd'")
	want("begun again", "d")
	if err := Vacuum(t.Context(), o); err != nil {
		t.Error(err)
	}
	want("after a vacuum", "")
	checkConsistent(t, first.Reader)
}

// Two and four processes write the same targets at once, also while the server's clock steps. Followers see each change
// exactly once and in order; every update that was committed is there once, and no other.
func TestSeveralWritersAtOnce(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stores int
		steps  bool
	}{"two": {2, false}, "four": {4, false}, "four, and the clock steps": {4, true}} {
		t.Run(name, func(t *testing.T) {
			h := newHammer(t, c.stores)
			if c.steps {
				h.stepClock(t)
			}
			h.run(t)
			h.check(t)
		})
	}
}

// A hammer is several stores with updates of a few targets, and followers of their changes.
type hammer struct {
	o      Options
	stores []*Store
	reader *Reader // of a process that only reads

	writers, followers sync.WaitGroup
	stop               chan struct{} // ends the followers
	seen               [][]string    // by each follower

	mu        sync.Mutex
	committed map[string]bool // updates by what they wrote; false: fenced
}

func newHammer(t *testing.T, stores int) *hammer {
	t.Helper()
	h := &hammer{o: newSharedSchema(t), stop: make(chan struct{}), committed: map[string]bool{}}
	for range stores {
		h.stores = append(h.stores, openStore(t, h.o))
	}
	r, err := OpenReader(t.Context(), h.o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	h.reader = r
	return h
}

// stepClock sets the server's clock of the schema back and forth until the writers are done.
func (h *hammer) stepClock(t *testing.T) {
	t.Helper()
	conn := adminConn(t, h.o)
	exec(t, conn, "CREATE TABLE step (us bigint); INSERT INTO step VALUES (0)")
	exec(t, conn, `CREATE OR REPLACE FUNCTION server_time() RETURNS bigint LANGUAGE sql VOLATILE AS $$
		SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint + (SELECT us FROM step) $$`)
	h.followers.Go(func() {
		for {
			select {
			case <-h.stop:
				return
			case <-time.After(20 * time.Millisecond):
				exec(t, conn, "UPDATE step SET us = $1", (rand.Int64N(20)-10)*200_000)
			}
		}
	})
}

func (h *hammer) run(t *testing.T) {
	h.seen = make([][]string, len(h.stores)+1)
	for i, r := range append([]inventory.Reader{h.reader}, readersOf(h.stores)...) {
		h.followers.Go(func() { h.follow(t, r, &h.seen[i]) })
	}
	for i, s := range h.stores {
		inv := inventory.New(s, inventory.Options{MaxBuffered: 1 + i%2<<20}) // every second one stages
		for worker := range 3 {
			h.writers.Go(func() { h.write(t, s, inv, fmt.Sprintf("%d-%d", i, worker)) })
		}
	}
	h.writers.Wait()
	for _, s := range h.stores { // so that the reader sees the last commits, too
		if _, err := s.publish(t.Context()); err != nil {
			t.Error(err)
		}
	}
	close(h.stop)
	h.followers.Wait()
}

func readersOf(stores []*Store) (out []inventory.Reader) {
	for _, s := range stores {
		out = append(out, s)
	}
	return out
}

// follow reads the changes after the last one that it has seen, until the end and once more.
func (h *hammer) follow(t *testing.T, r inventory.Reader, seen *[]string) {
	var after time.Time
	for last := false; ; {
		at := after
		for c, err := range r.Changes(t.Context(), inventory.Query{}, after) {
			if err != nil {
				t.Error(err)
				return
			}
			if c.At.Before(at) {
				t.Errorf("%s after %s", c.At, at)
			}
			at = c.At
			*seen = append(*seen, changeText(c))
		}
		after = at
		if last {
			return
		}
		select {
		case <-h.stop:
			last = true
		case <-time.After(time.Millisecond):
		}
	}
}

func changeText(c inventory.Change) string {
	return fmt.Sprint(c.At.UnixMicro(), " ", c.Op, " ", c.Resource().Region, " ", c.Resource().ID, " ", c.Resource().State)
}

// write lists and retires a few targets, each of which others list, too. Every resource's state names the update.
func (h *hammer) write(t *testing.T, s *Store, inv *inventory.Inventory, name string) {
	_, identity := inventorytest.Target()
	for round := range 25 {
		region := fmt.Sprint("r-", rand.IntN(4))
		if rand.IntN(10) == 0 {
			if err := s.Retire(t.Context(), regionTarget(region), identity, inventory.RegionRemoved); err != nil {
				t.Error(err)
			}
			continue
		}
		run := fmt.Sprint(name, ".", round)
		items := []inventorytest.Item{{ID: "all", State: run}, {ID: "some-" + fmt.Sprint(rand.IntN(3)), State: run}}
		err := listRegion(t, inv, region, run, items...)
		if err != nil && !errors.Is(err, inventory.ErrFenced) {
			t.Error(err)
			return
		}
		h.mu.Lock()
		h.committed[run] = err == nil
		h.mu.Unlock()
	}
}

func (h *hammer) check(t *testing.T) {
	t.Helper()
	var all []string
	written := map[string]int{}
	instants := map[time.Time]string{}
	for c, err := range h.stores[0].Changes(t.Context(), inventory.Query{}, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, changeText(c))
		if region := c.Resource().Region; instants[c.At] == "" {
			instants[c.At] = region
		} else if instants[c.At] != region {
			t.Errorf("%s and %s share the instant %s", region, instants[c.At], c.At)
		}
		if c.After != nil && c.After.ID == "all" {
			written[c.After.State]++
		}
	}
	for i, seen := range h.seen {
		if got, want := strings.Join(seen, "\n"), strings.Join(all, "\n"); got != want {
			t.Errorf("follower %d saw %d changes, not the %d that were made", i, len(seen), len(all))
		}
	}
	done := 0
	for run, committed := range h.committed {
		if n := written[run]; committed && n != 1 || !committed && n != 0 {
			t.Errorf("update %s (committed: %t) is there %d times", run, committed, n)
		}
		if committed {
			done++
		}
	}
	conn := adminConn(t, h.o)
	stored := count(t, conn, "SELECT count(*) + count(*) FILTER (WHERE ended IS NOT NULL) FROM version")
	if stored != len(all) || done < 20 {
		t.Errorf("the store has %d changes, its readers saw %d; %d updates were committed", stored, len(all), done)
	}
	if err := Vacuum(t.Context(), h.o); err != nil { // it sweeps what the last updates staged that were fenced
		t.Error(err)
	}
	if n := count(t, conn, "SELECT count(*) FROM staged"); n > 0 {
		t.Errorf("%d rows are staged still", n)
	}
	checkConsistent(t, h.reader)
	t.Logf("%d changes, %d updates committed, %d fenced", len(all), done, len(h.committed)-done)
}
