package postgres

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
)

// setClock makes the schema's clock differ from the server's.
func setClock(t *testing.T, conn *pgx.Conn, by time.Duration) {
	t.Helper()
	exec(t, conn, fmt.Sprintf(`CREATE OR REPLACE FUNCTION server_time() RETURNS bigint LANGUAGE sql VOLATILE AS $$
		SELECT (extract(epoch FROM clock_timestamp()) * 1e6)::bigint + %d $$`, by.Microseconds()))
}

// If the clock steps back, a commit is after everything that was read, also a commit of another scope, and is seen at
// once. So are those that follow before the clock has caught up.
func TestChangesWhenTheClockStepsBack(t *testing.T) {
	t.Parallel()
	o := newSharedSchema(t)
	first, second := openStore(t, o), openStore(t, o)
	conn := adminConn(t, o)
	var after time.Time
	want := ""
	for i, step := range []time.Duration{0, -time.Hour, -time.Hour, -2 * time.Hour, time.Hour, 0, 0} {
		setClock(t, conn, step)
		s := []*Store{first, second}[i%2]
		id := fmt.Sprint("i-", i)
		if err := listRegion(t, inventory.New(s, inventory.Options{}), id, "one", inventorytest.Item{ID: id}); err != nil {
			t.Fatal(err)
		}
		if got := followed(t, []*Store{second, first}[i/2%2], after); got != "added "+id {
			t.Fatalf("after the step by %s: %q", step, got)
		}
		for c, err := range first.Changes(t.Context(), inventory.Query{}, after) {
			if err != nil {
				t.Fatal(err)
			}
			after = c.At
		}
		want += ", added " + id
	}
	if got := followed(t, first, time.Time{}); got != strings.TrimPrefix(want, ", ") {
		t.Errorf("all: %s", got)
	}
	if n := count(t, conn, "SELECT count(DISTINCT valid_from) FROM version"); n != 7 {
		t.Errorf("%d instants of 7 commits", n)
	}
	checkConsistent(t, first.Reader)
}

// A commit that is later than the clock, which has stepped back before it was published, is seen soon.
func TestClockStepsBackBeforePublication(t *testing.T) {
	t.Parallel()
	o := newSharedSchema(t)
	first, second := openStore(t, o), openStore(t, o)
	conn := adminConn(t, o)
	setClock(t, conn, time.Hour)
	err := listRegion(t, inventory.New(first, inventory.Options{}), "r", "one", inventorytest.Item{ID: "i-1"})
	setClock(t, conn, 0)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "another process sees it", func() bool { return followed(t, second, time.Time{}) == "added i-1" })
}

// While the clock is behind, instants go on by the number of commits: no two are equal.
func TestInstantsDifferWhileTheClockIsBehind(t *testing.T) {
	t.Parallel()
	o := newSharedSchema(t)
	s := openStore(t, o)
	conn := adminConn(t, o)
	exec(t, conn, "UPDATE clock SET last = $1, horizon = $1", time.Now().Add(time.Hour).UnixMicro())
	const taken = "SELECT count(DISTINCT take_instant($1, NULL)) FROM generate_series(1, $2)"
	if n := count(t, conn, taken, s.c.lockTag(), 2000); n != 2000 {
		t.Errorf("%d instants of 2000 commits", n)
	}
	before := count(t, conn, "SELECT last FROM clock")
	if all, err := s.publish(t.Context()); err != nil || !all {
		t.Errorf("published: %t, %v", all, err)
	}
	if n := count(t, conn, "SELECT last FROM clock") - before; n < 2000 || n > 3000 {
		t.Errorf("the floor rose by %d", n)
	}
	if n := count(t, conn, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"); n > 0 {
		t.Errorf("%d locks are left", n)
	}
}

// A reader of another process, which cannot publish, sees a change soon after its commit.
func TestReaderSeesChangesSoon(t *testing.T) {
	t.Parallel()
	o := newSchema(t)
	s := openStore(t, o)
	r, err := OpenReader(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for i := range 3 {
		if err := inventorytest.List(
			t, inventory.New(s, inventory.Options{}), "run", inventorytest.Item{ID: "i-1", State: fmt.Sprint(i)},
		); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		eventually(t, "it sees the change", func() bool {
			return strings.Count(followed(t, r, time.Time{}), "i-1") == i+1
		})
		if took := time.Since(start); took > 4*publishDelay {
			t.Logf("it took %s", took) // other tests load the machine
		}
	}
}

// A backend that is frozen in the middle of a commit holds back no other commit. The changes wait at it, and go on
// where they stopped, in order and without a gap.
func TestCommitFreezes(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	o := Options{DSN: server.DSN(), Schema: "some", Shared: true}
	first, second := openStore(t, o), openStore(t, o)
	conn := adminConn(t, o)
	exec(t, conn, `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$`)
	exec(t, conn, `CREATE TRIGGER slow BEFORE UPDATE OF ended ON scope FOR EACH ROW WHEN (NEW.region = 'frozen')
		EXECUTE FUNCTION slow()`)
	list := func(s *Store, region string) error {
		return listRegion(t, inventory.New(s, inventory.Options{}), region, "one", inventorytest.Item{ID: "i-" + region})
	}
	if err := list(second, "before"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(150 * time.Millisecond) // the frozen commit is of a later unit
	ended := make(chan error)
	go func() { ended <- list(first, "frozen") }()
	pid := 0
	eventually(t, "the commit is under way", func() bool {
		return conn.QueryRow(t.Context(), "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'").Scan(&pid) == nil
	})
	thaw := freeze(t, server, pid)
	time.Sleep(150 * time.Millisecond) // later commits are of a later unit
	for i := range 3 {
		start := time.Now()
		if err := list(second, fmt.Sprint("after-", i)); err != nil {
			t.Errorf("another commit: %v", err)
		} else if took := time.Since(start); took > 4*time.Second {
			t.Errorf("another commit took %s", took)
		}
	}
	seen := followed(t, second, time.Time{})
	if seen != "added i-before" {
		t.Errorf("while the commit is frozen, the changes are %q", seen)
	}
	var last time.Time
	for c, err := range second.Changes(t.Context(), inventory.Query{}, last) {
		if err != nil {
			t.Fatal(err)
		}
		last = c.At
	}
	thaw()
	if err := <-ended; err != nil {
		t.Errorf("the frozen commit: %v", err)
	}
	if got := followed(t, second, last); got != "added i-frozen, added i-after-0, added i-after-1, added i-after-2" {
		t.Errorf("then the changes go on with %q", got)
	}
}

// A client that is frozen in the middle of a commit holds back the changes until its transaction times out, and nothing
// else.
func TestClientFreezesInCommit(t *testing.T) {
	t.Parallel()
	o := newSharedSchema(t)
	s := openStore(t, o)
	_, begin, err := s.writeAllowed()
	if err != nil {
		t.Fatal(err)
	}
	limit := ""
	if err := s.writePool.QueryRow(
		t.Context(), "SELECT current_setting('idle_in_transaction_session_timeout')",
	).Scan(&limit); err != nil || limit != idleTimeout {
		t.Errorf("the time-out of a transaction is %q, %v", limit, err)
	}
	frozen := adminConn(t, o)
	exec(t, frozen, begin)
	exec(t, frozen, "SET LOCAL idle_in_transaction_session_timeout = '1s'")
	exec(t, frozen, "SELECT take_instant($1, NULL)", s.c.lockTag())
	time.Sleep(150 * time.Millisecond) // the next commit is of a later unit
	if err := listRegion(
		t, inventory.New(s, inventory.Options{}), "r", "one", inventorytest.Item{ID: "i-1"},
	); err != nil {
		t.Error(err)
	}
	if got := followed(t, s, time.Time{}); got != "" {
		t.Errorf("beside a commit that is frozen, the changes are %q", got)
	}
	eventually(t, "the changes go on", func() bool { return followed(t, s, time.Time{}) == "added i-1" })
}

// A program of before version 6 of the tables may write again: it takes instants by locking the clock's row, and knows
// no horizon. Readers see its changes at once, and a later writer's instants are after them.
func TestOlderProgramWrites(t *testing.T) {
	t.Parallel()
	o := newSchema(t)
	s := openStore(t, o)
	if err := inventorytest.List(
		t, inventory.New(s, inventory.Options{}), "one", inventorytest.Item{ID: "i-1", State: "a"},
	); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	conn := adminConn(t, o)
	setClock(t, conn, -time.Hour)       // also of the later writer
	for _, statement := range []string{ // as the older program claims and commits
		"UPDATE clock SET writer = writer + 1",
		"BEGIN",
		"UPDATE scope SET epoch = nextval('epoch')",
		`UPDATE clock SET last = greatest(last + 1, (extract(epoch FROM clock_timestamp()) * 1e6)::bigint)`,
		"UPDATE version SET valid_to = (SELECT last FROM clock)",
		`INSERT INTO version (version, scope, id, sum, sum_version, name, state, type, tags, run, first_seen, state_since,
			valid_from) SELECT s.epoch << 24, v.scope, id, repeat('x', 16)::bytea, sum_version, name, 'b', type, tags, 'two',
			first_seen, clock.last, clock.last FROM version v JOIN scope s USING (scope), clock`,
		"INSERT INTO body SELECT (SELECT epoch << 24 FROM scope), data, exact FROM body",
		"UPDATE scope SET ended = clock.last FROM clock",
		"COMMIT",
	} {
		exec(t, conn, statement)
	}
	if got := followed(t, r, time.Time{}); got != "added i-1, changed i-1" {
		t.Errorf("the changes are %s", got)
	}
	s = openStore(t, o)
	if err := inventorytest.List(
		t, inventory.New(s, inventory.Options{}), "three", inventorytest.Item{ID: "i-1", State: "c"},
	); err != nil {
		t.Fatal(err)
	}
	if got := followed(t, s, time.Time{}); got != "added i-1, changed i-1, changed i-1" {
		t.Errorf("then the changes are %s", got)
	}
	checkConsistent(t, s.Reader)
}
