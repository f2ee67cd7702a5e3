package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
)

// The tests' role is the server's superuser: only Query itself prevents these statements.
func TestReaderCannotWrite(t *testing.T) {
	o := newSchema(t)
	s := openStore(t, o)
	if err := inventorytest.List(
		t, inventory.New(s, inventory.Options{}), "one", inventorytest.Item{ID: "i-1"},
	); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		"DELETE FROM version", "SELECT 1; DELETE FROM version", "SELECT 1; COMMIT; DELETE FROM version",
		"SELECT 1; COMMIT; BEGIN READ WRITE; DELETE FROM version; COMMIT", "COMMIT", "ROLLBACK; DELETE FROM version",
		"CREATE TABLE x (a int)", "CREATE TEMP TABLE x (a int)", "SELECT 1 INTO x",
		"WITH x AS (DELETE FROM version RETURNING 1) SELECT * FROM x",
		"SELECT nextval('epoch')", "SELECT * FROM clock FOR UPDATE", "SET default_transaction_read_only = off",
		"SET TRANSACTION READ WRITE",
		"SELECT set_config('transaction_read_only', 'off', false)", "COPY version TO '/tmp/x'",
		"COPY (SELECT 1) TO PROGRAM 'true'", "TRUNCATE version", "DO $$ BEGIN DELETE FROM version; END $$",
		"VACUUM", "LOCK TABLE version", "NOTIFY x", "DISCARD ALL", "",
	} {
		if err := s.Query(t.Context(), q, func([]string, []any) error { return nil }); err == nil {
			t.Errorf("%s: done", q)
		}
	}
	if got := inventorytest.IDs(t, s, inventory.Query{}); got != "i-1" {
		t.Errorf("after it: %q", got)
	}
	if err := inventorytest.List(
		t, inventory.New(s, inventory.Options{}), "two", inventorytest.Item{ID: "i-1", State: "b"},
	); err != nil {
		t.Errorf("the store after it: %v", err)
	}
}

func TestQueryCellTypes(t *testing.T) {
	s := openStore(t, newSchema(t))
	var got []string
	err := s.Query(t.Context(), `SELECT 1::int AS a, 2.50 AS b, 'NaN'::float8 AS c, true AS d, NULL AS e,
		'{"x": [1]}'::jsonb AS f, 'text' AS g, timestamptz '2026-01-01 00:00Z' AT TIME ZONE 'UTC' AS h -- the end`,
		func(columns []string, row []any) error {
			got = append(got, fmt.Sprint(columns))
			for _, c := range row {
				got = append(got, fmt.Sprintf("%T:%v", c, c))
			}
			return nil
		})
	want := `[a b c d e f g h] int64:1 json.Number:2.50 string:NaN bool:true <nil>:<nil> string:{"x": [1]} ` +
		"string:text string:2026-01-01 00:00:00"
	if err != nil || strings.Join(got, " ") != want {
		t.Errorf("got %s, %v", strings.Join(got, " "), err)
	}
	rows := 0
	if err := s.Query(
		t.Context(), "SELECT * FROM generate_series(1, 2500)", func([]string, []any) error {
			rows++
			return nil
		},
	); err != nil || rows != 2500 {
		t.Errorf("%d rows, %v", rows, err)
	}
	calls := 0
	if err := s.Query(t.Context(), "SELECT id FROM resources", func(c []string, row []any) error {
		calls++
		if len(c) != 1 || c[0] != "id" || row != nil {
			t.Errorf("%v %v", c, row)
		}
		return nil
	}); err != nil || calls != 1 {
		t.Errorf("no rows: %d calls, %v", calls, err)
	}
}

// Cancelling a query stops the server too, and the connection stays usable.
func TestCancelStopsServer(t *testing.T) {
	o := newSchema(t)
	s := openStore(t, o)
	conn := adminConn(t, o)
	running := func() int {
		return count(
			t, conn,
			`SELECT count(*) FROM pg_stat_activity
				WHERE query LIKE '%pg_sleep(' || $1 AND pid <> pg_backend_pid() AND state = 'active'`,
			"1234)%",
		)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- s.Query(ctx, "SELECT pg_sleep(1234)", func([]string, []any) error { return nil })
	}()
	// Declaring a cursor executes nothing: FETCH does, and the server shows its text.
	eventually(t, "it runs", func() bool {
		return count(t, conn, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == 1
	})
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("it says %v", err)
	}
	eventually(t, "the server stops", func() bool {
		return count(t, conn, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == 0
	})
	if n := running(); n > 0 {
		t.Errorf("%d run on", n)
	}
	if err := s.Query(t.Context(), "SELECT 1", func([]string, []any) error { return nil }); err != nil {
		t.Error(err)
	}
}

// A commit that is cancelled by its deadline leaves nothing behind, and returns the cause.
func TestCancelledCommit(t *testing.T) {
	o := newSchema(t)
	s := openStore(t, o)
	conn := adminConn(t, o)
	target, identity := inventorytest.Target()
	inv := inventory.New(s, inventory.Options{})
	if err := inventorytest.List(t, inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, fmt.Sprintf("BEGIN; SELECT pg_advisory_xact_lock(%d)", s.c.lockTag()<<40)) // another has the gate
	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errors.New("the run's time is over"))
	defer cancel()
	update, err := s.Begin(
		ctx, target,
		inventory.Scope{
			Partition: identity.Partition,
			AccountID: identity.AccountID,
			Region:    target.Region,
			Kind:      target.Kind,
		},
		"two",
	)
	if err != nil {
		t.Fatal(err)
	}
	if err := update.Commit(ctx, inventory.Commit{}); err == nil || err.Error() != "the run's time is over" {
		t.Errorf("it says %v", err)
	}
	exec(t, conn, "ROLLBACK")
	if err := inventorytest.List(t, inv, "three", inventorytest.Item{ID: "i-2"}); err != nil {
		t.Fatal(err)
	}
	checkConsistent(t, s.Reader)
}

// The documented views equal those of SQLite: the same columns in the same order, and the same format of instants.
func TestViews(t *testing.T) {
	o := newSchema(t)
	s := openStore(t, o)
	conn := adminConn(t, o)
	if err := inventorytest.List(
		t, inventory.New(s, inventory.Options{}), "one",
		inventorytest.Item{ID: "i-1", State: "running", Tags: map[string]string{"team": "a"}},
	); err != nil {
		t.Fatal(err)
	}
	const common = "kind id name state type account account_id partition region tags extra_tags run " +
		"first_seen state_since valid_from"
	for view, columns := range map[string]string{
		"resources": common + " last_seen data",
		"versions":  common + " valid_to ended last_seen data",
		"targets": "account account_id partition region kind state reason error hint records run " +
			"started ended last_seen retired why",
	} {
		var got string
		if err := conn.QueryRow(
			t.Context(),
			`SELECT string_agg(column_name, ' ' ORDER BY ordinal_position) FROM information_schema.columns
				WHERE table_schema = $1 AND table_name = $2`,
			o.Schema, view,
		).Scan(&got); err != nil || got != columns {
			t.Errorf("%s: %s %v", view, got, err)
		}
	}
	for _, view := range []string{"resources", "versions"} {
		if n := count(t, conn, "SELECT count(*) FROM "+view+` WHERE state = 'running' AND tags ->> 'team' = 'a'
			AND (data -> 'State' ->> 'Code')::int = 16
			AND valid_from ~ '^20..-..-..T..:..:..[.]...Z$' AND valid_from > ago('90m') AND valid_from > ago('1d12h')
			AND NOT valid_from < ago('7d') AND extra_tags @> '{"team": "platform"}'`); n != 1 {
			t.Errorf("%s: %d", view, n)
		}
	}
	if n := count(
		t, conn, "SELECT count(*) FROM targets WHERE state = 'ok' AND retired IS NULL AND last_seen IS NOT NULL",
	); n != 1 {
		t.Errorf("targets: %d", n)
	}
	if n := count(
		t, conn, "SELECT count(*) FROM resources r, json_each(r.data, '$.Tags') t WHERE t.value ->> 'Key' = 'team'",
	); n != 1 {
		t.Errorf("json_each: %d", n)
	}
}

// A check finds what no commit leaves behind.
func TestCheckFindsDamage(t *testing.T) {
	o := newSchema(t)
	s := openStore(t, o)
	conn := adminConn(t, o)
	inv := inventory.New(s, inventory.Options{})
	for _, state := range []string{"a", "b"} {
		if err := inventorytest.List(
			t, inv, "run", inventorytest.Item{ID: "i-1", State: state}, inventorytest.Item{ID: "i-2"},
		); err != nil {
			t.Fatal(err)
		}
	}
	sum, err := s.Check(t.Context())
	if err != nil || sum.Targets != 1 || sum.Resources != 2 || sum.Versions != 3 || sum.Bytes == 0 ||
		len(sum.Damage) > 0 || sum.Newest.Before(sum.Oldest) {
		t.Errorf("%+v %v", sum, err)
	}
	exec(t, conn, "DELETE FROM body WHERE version = (SELECT version FROM version WHERE id = 'i-2')")
	exec(t, conn, "UPDATE version SET valid_to = valid_to + 1 WHERE valid_to IS NOT NULL")
	sum, err = s.Check(t.Context())
	if got := strings.Join(sum.Damage, "; "); err != nil ||
		got != "i-2: its body is missing; i-1: two versions at one time; i-1: it changed after its target's last commit" {
		t.Errorf("%s %v", got, err)
	}
}

func TestGlobs(t *testing.T) {
	for glob, want := range map[string]string{
		"us-*": "^us-.*$", "a.b?": `^a\.b.$`, "[ab]x": "^[ab]x$", "[x": `^\[x$`, "a+(b)|c": `^a\+\(b\)\|c$`, "é*": "^é.*$",
	} {
		if got := regexpOf(glob); got != want {
			t.Errorf("%s: %s, want %s", glob, got, want)
		}
	}
}
