package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/inventory/postgres/postgrestest"
	"github.com/aws-collector/collector/record"
)

// eventually waits for the server or another goroutine.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("%s: not within 12 s", what)
}

func TestOneWriterManyReaders(t *testing.T) {
	o := newSchema(t)
	s := openStore(t, o)
	inv := inventory.New(s, inventory.Options{})
	if err := inventorytest.List(t, inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), o)
	if !errors.Is(err, ErrInUse) || record.HintOf(err) == "" || !strings.Contains(err.Error(), "collector (process ") {
		t.Errorf("a second writer: %v", err)
	}
	other := o
	other.Schema += "_other"
	openStore(t, other) // another schema is another store
	r, err := OpenReader(t.Context(), o)
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

// A process that lost the lock to another one without noticing changes nothing. It continues when the other process has
// ended.
func TestFormerWriterCannotWrite(t *testing.T) {
	o := newSchema(t)
	first := openStore(t, o)
	inv := inventory.New(first, inventory.Options{})
	target, identity := inventorytest.Target()
	v, err := inv.Begin(t.Context(), target, identity, "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Page(t.Context(), inventorytest.Page(target, identity, "one", inventorytest.Item{ID: "i-1"})); err != nil {
		t.Fatal(err)
	}
	conn := adminConn(t, o)
	class, object := first.c.lockKey()
	holder := count(
		t, conn, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = $1 AND objid::bigint = $2",
		class, object,
	)

	// The lock's connection ends while no other process wants the lock: the process takes it again, and its update remains
	// valid.
	exec(t, conn, "SELECT pg_terminate_backend($1)", holder)
	again := 0
	eventually(t, "the lock is taken again", func() bool {
		err := conn.QueryRow(
			t.Context(), "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = $1 AND objid::bigint = $2",
			class, object,
		).Scan(&again)
		if err != nil || again == holder {
			return false
		}
		// It has also registered: the last statement was the end of that transaction.
		return count(
			t, conn,
			"SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND state = 'idle' AND query IN ('commit', '-- ping')", again,
		) == 1
	})
	if err := v.End(
		t.Context(), record.Outcome{Target: target, Run: "one", State: record.OK, Started: time.Now()},
	); err != nil {
		t.Fatalf("its update: %v", err)
	}

	// The connection ends again, and another process takes the lock first.
	if v, err = inv.Begin(t.Context(), target, identity, "two"); err != nil {
		t.Fatal(err)
	}
	if err := v.Page(t.Context(), inventorytest.Page(target, identity, "two", inventorytest.Item{ID: "i-2"})); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "UPDATE clock SET writer = writer + 1") // as the other process does
	if err := v.End(
		t.Context(), record.Outcome{Target: target, Run: "two", State: record.OK, Started: time.Now()},
	); !errors.Is(err, ErrInUse) || inv.Err() == nil {
		t.Errorf("the end of a former writer's target: %v", err)
	}
	if _, err := inv.Begin(t.Context(), target, identity, "three"); !errors.Is(err, ErrInUse) {
		t.Errorf("begin of a former writer: %v", err)
	}
	if got := inventorytest.IDs(t, first, inventory.Query{}); got != "i-1" {
		t.Errorf("there is %q", got)
	}
	exec(t, conn, "SELECT pg_terminate_backend($1)", again)
	eventually(
		t, "it is the writer again",
		func() bool { return inventorytest.List(t, inv, "four", inventorytest.Item{ID: "i-4"}) == nil },
	)
	if got := inventorytest.IDs(t, first, inventory.Query{}); got != "i-4" || inv.Err() != nil {
		t.Errorf("then there is %q, %v", got, inv.Err())
	}
	checkConsistent(t, first.Reader)
}

func TestForeignAndNewerTablesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		before func(conn *pgx.Conn, o Options)
		want   error
		text   string
	}{
		"newer": {
			func(conn *pgx.Conn, o Options) {
				exec(t, conn, "UPDATE store SET version = 99, min_compatible_version = 98")
			}, ErrNewer,
			"version 99, this program supports up to 6",
		},
		"another's store": {
			func(conn *pgx.Conn, o Options) { exec(t, conn, "DROP TABLE store; CREATE TABLE store (id int)") }, ErrForeign,
			"it has a table store",
		},
		"another's tables": {
			func(conn *pgx.Conn, o Options) { exec(t, conn, "DROP TABLE store") }, ErrForeign, "it has a table body",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newSchema(t)
			if err := openStore(t, o).Close(); err != nil {
				t.Fatal(err)
			}
			c.before(adminConn(t, o), o)
			_, errOpen := Open(t.Context(), o)
			_, errRead := OpenReader(t.Context(), o)
			for _, err := range []error{errOpen, errRead} {
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) || record.HintOf(err) == "" {
					t.Errorf("%v", err)
				}
			}
		})
	}
}

func TestNoTablesYet(t *testing.T) {
	if _, err := OpenReader(t.Context(), newSchema(t)); !errors.Is(err, ErrEmpty) || record.HintOf(err) == "" {
		t.Error(err)
	}
}

// A role that cannot create a schema gets a hint for the administrator, and works after that.
func TestLimitedRole(t *testing.T) {
	o := newSchema(t)
	conn := adminConn(t, o)
	role := o.Schema + "_role"
	exec(t, conn, "CREATE ROLE "+role+" LOGIN PASSWORD 'x-EXAMPLE'")
	limited := o
	limited.DSN = cluster.Server(t).DSN("user="+role, "password=x-EXAMPLE")
	if _, err := Open(t.Context(), limited); err == nil || !strings.Contains(err.Error(), "permission denied") ||
		!strings.Contains(record.HintOf(err), "CREATE SCHEMA") {
		t.Errorf("without: %v", err)
	}
	exec(t, conn, "CREATE SCHEMA "+o.Schema+" AUTHORIZATION "+role)
	s := openStore(t, limited)
	if err := inventorytest.List(
		t, inventory.New(s, inventory.Options{}), "one", inventorytest.Item{ID: "i-1"},
	); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "CREATE ROLE "+role+"_ro LOGIN PASSWORD 'x-EXAMPLE'")
	exec(t, conn, "GRANT USAGE ON SCHEMA "+o.Schema+" TO "+role+"_ro")
	exec(t, conn, "GRANT SELECT ON ALL TABLES IN SCHEMA "+o.Schema+" TO "+role+"_ro")
	reader := o
	reader.DSN = cluster.Server(t).DSN("user="+role+"_ro", "password=x-EXAMPLE")
	r, err := OpenReader(t.Context(), reader)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got := inventorytest.IDs(t, r, inventory.Query{}); got != "i-1" {
		t.Errorf("the read-only role sees %q", got)
	}
	checkConsistent(t, r)
}

// No error shows the password, whatever is wrong with the rest of the connection string.
func TestErrorsHidePassword(t *testing.T) {
	s := cluster.Server(t)
	const canary = "c4nary-s3cret"
	at := fmt.Sprintf("127.0.0.1:%d", s.Port())
	var log strings.Builder
	for _, dsn := range []string{
		"postgres://collector:" + canary + "@" + at + "/postgres", // wrong password
		"postgres://nobody:" + canary + "@" + at + "/postgres",
		"postgres://collector:" + canary + "@" + at + "/nowhere",
		"postgres://collector:" + canary + "@nowhere.invalid/postgres?connect_timeout=1",
		"postgres://collector:" + canary + "@127.0.0.1:1/postgres",
		"postgres://collector:" + canary + "@" + at + "/postgres?sslmode=verify-full", // the server has no TLS
		"postgres://collector:" + canary + "@" + at + "/postgres?nonsense=1",
		"postgres://collector:a/" + canary + "@" + at + "/postgres",
		"postgres://collector:12/" + canary + "@" + at + "/postgres",
		"postgres://collector:12?" + canary + "@" + at + "/postgres",
		"postgres://collector:12#" + canary + "@" + at + "/postgres",
		"postgres://collector:a@" + canary + "@" + at + "/postgres?x=%zz",
		"postgres://collector:%" + canary + "@" + at + "/postgres",
		"host=127.0.0.1 user=collector password=a " + canary,
		"host=127.0.0.1 user=collector password='" + canary,
		"host=127.0.0.1 user=collector password=" + canary + " port=x",
		"collector:" + canary + "@" + at,
		canary,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		store, err := Open(ctx, Options{DSN: dsn, Schema: "never", Log: slog.New(slog.NewTextHandler(&log, nil))})
		cancel()
		_, errRead := OpenReader(t.Context(), Options{DSN: dsn, Schema: "never"})
		if store != nil {
			t.Errorf("%s: opens", dsn)
			_ = store.Close()
		}
		for _, err := range []error{err, errRead} {
			if err == nil {
				t.Errorf("%s: no error", dsn)
				continue
			}
			all := fmt.Sprintf("%v %+v %q", err, err, record.HintOf(err))
			if strings.Contains(all, canary) || strings.Contains(all, "s3cret") {
				t.Errorf("%s: %s", dsn, all)
			}
		}
	}
	if strings.Contains(log.String(), canary) {
		t.Errorf("the log: %s", log.String())
	}
}

// An error that needs a person is returned at once, with a hint.
func TestRefusedAtStart(t *testing.T) {
	s := cluster.Server(t)
	for name, c := range map[string]struct{ dsn, schema, text string }{
		"password": {dsn: s.DSN("password=wrong"), text: "password authentication failed"},
		"database": {dsn: s.DSN("dbname=nowhere"), text: `database "nowhere" does not exist`},
		"schema":   {dsn: s.DSN(), schema: "A; B", text: "is not a valid schema name"},
	} {
		start := time.Now()
		_, err := Open(t.Context(), Options{DSN: c.dsn, Schema: c.schema})
		if err == nil || !strings.Contains(err.Error(), c.text) || record.HintOf(err) == "" ||
			time.Since(start) > openTimeout/2 {
			t.Errorf("%s: %v after %s", name, err, time.Since(start))
		}
	}
	noTLS := fmt.Sprintf("postgres://%s:x@127.0.0.1:%d/postgres?sslmode=verify-full", postgrestest.User, s.Port())
	if _, err := Open(t.Context(), Options{DSN: noTLS}); err == nil ||
		!strings.Contains(err.Error(), "the server has no TLS") || record.HintOf(err) == "" {
		t.Errorf("TLS: %v", err)
	}
	conn := adminConn(t, Options{DSN: s.DSN()})
	exec(t, conn, "DROP DATABASE IF EXISTS latin") // left by an earlier run of the test on the same server
	exec(t, conn, "CREATE DATABASE latin ENCODING latin1 LOCALE 'C' TEMPLATE template0")
	if _, err := Open(t.Context(), Options{DSN: s.DSN("dbname=latin")}); err == nil ||
		!strings.Contains(err.Error(), "encoding is LATIN1") {
		t.Errorf("another encoding: %v", err)
	}
}

// A reader that follows the changes misses none: commits of many updates become visible in the order of their instants,
// and no two share one.
func TestChangesInOrder(t *testing.T) {
	s := openStore(t, newSchema(t))
	inv := inventory.New(s, inventory.Options{})
	_, identity := inventorytest.Target()
	const updates, rounds = 6, 12
	ctx, stop := context.WithCancel(t.Context())
	var followed []string
	var wg, follower sync.WaitGroup
	follower.Go(func() {
		after := time.Time{}
		for last := false; ; {
			for c, err := range s.Changes(t.Context(), inventory.Query{}, after) {
				if err != nil {
					t.Error(err)
					return
				}
				after = c.At
				followed = append(followed, fmt.Sprintf("%s %s %s", c.Op, c.Resource().ID, c.Resource().State))
			}
			if last {
				return
			}
			last = ctx.Err() != nil // once more, for changes after the last query
		}
	})
	for n := range updates {
		wg.Go(func() {
			target := record.Target{Account: "prod", Region: fmt.Sprintf("r-%d", n), Kind: "ec2_instance"}
			for round := range rounds {
				v, err := inv.Begin(t.Context(), target, identity, "run")
				if err == nil {
					err = v.Page(
						t.Context(),
						inventorytest.Page(
							target, identity, "run", inventorytest.Item{ID: fmt.Sprintf("i-%d", n), State: fmt.Sprint(round)},
						),
					)
				}
				if err == nil {
					err = v.End(t.Context(), record.Outcome{Target: target, Run: "run", State: record.OK, Started: time.Now()})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	stop()
	follower.Wait()
	if len(followed) != updates*rounds {
		t.Errorf("the follower saw %d of %d changes", len(followed), updates*rounds)
	}
	instants := map[time.Time]string{}
	for c, err := range s.Changes(t.Context(), inventory.Query{}, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := instants[c.At]; ok {
			t.Errorf("%s and %s share an instant", other, c.Resource().ID)
		}
		instants[c.At] = c.Resource().ID
	}
}

// If the clock goes back, instants still grow: a version never ends before it begins.
func TestClockGoesBack(t *testing.T) {
	o := newSchema(t)
	s := openStore(t, o)
	if err := inventorytest.List(
		t, inventory.New(s, inventory.Options{}), "one", inventorytest.Item{ID: "i-1", State: "a"},
	); err != nil {
		t.Fatal(err)
	}
	conn := adminConn(t, o)
	ahead := time.Now().Add(24 * time.Hour).UnixMicro()
	exec(t, conn, "UPDATE version SET valid_from = $1", ahead)
	exec(t, conn, "UPDATE clock SET last = $1", ahead)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	s = openStore(t, o)
	if err := inventorytest.List(
		t, inventory.New(s, inventory.Options{}), "two", inventorytest.Item{ID: "i-1", State: "b"},
	); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "SELECT count(*) FROM version WHERE valid_to > valid_from"); n != 1 {
		t.Error("the first version ends before it began")
	}
	if n := count(t, conn, "SELECT count(*) FROM version WHERE valid_from > $1", ahead); n != 1 {
		t.Error("the second version begins before the first")
	}
	if !strings.Contains(log.String(), "Check the server's clock") {
		t.Errorf("the log: %s", log.String())
	}
	checkConsistent(t, s.Reader)
}

// When the canonical form of the hash changes, every hash is computed again and no resource counts as changed.
func TestNewHashVersionIsNoChange(t *testing.T) {
	o := newSchema(t)
	s := openStore(t, o)
	conn := adminConn(t, o)
	inv := inventory.New(s, inventory.Options{})
	items := []inventorytest.Item{{ID: "i-1", State: "running"}, {ID: "i-2", State: "running"}}
	if err := inventorytest.List(t, inv, "one", items...); err != nil {
		t.Fatal(err)
	}
	was := count(t, conn, "SELECT max(valid_from) FROM version")
	exec(t, conn, `UPDATE version SET sum_version = 0, sum = decode(repeat('00', 16), 'hex')`)
	items[0].State = "stopped" // this change cannot be detected
	for _, run := range []string{"two", "three"} {
		if err := inventorytest.List(t, inv, run, items...); err != nil {
			t.Fatal(err)
		}
		if n := count(
			t, conn, "SELECT count(*) FROM version WHERE valid_from = $1 AND valid_to IS NULL AND sum_version = $2", was,
			record.DigestVersion,
		); n != 2 {
			t.Errorf("%s: %d versions continue, want 2", run, n)
		}
	}
	for r, err := range s.Find(t.Context(), inventory.Query{ID: "i-1", Data: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.State != "stopped" || !strings.Contains(string(r.Data), `"Name":"stopped"`) {
			t.Errorf("%s %s", r.State, r.Data)
		}
	}
	if n := count(t, conn, "SELECT count(*) FROM version"); n != 2 {
		t.Errorf("%d versions after it", n)
	}
	checkConsistent(t, s.Reader)
}

func TestKeepAndVacuum(t *testing.T) {
	o := newSchema(t)
	o.Keep = time.Hour
	s := openStore(t, o)
	conn := adminConn(t, o)
	inv := inventory.New(s, inventory.Options{})
	for _, state := range []string{"a", "b", "c", "d"} {
		if err := inventorytest.List(t, inv, state, inventorytest.Item{ID: "i-1", State: state}); err != nil {
			t.Fatal(err)
		}
	}
	exec(
		t, conn,
		"UPDATE version SET valid_to = valid_to - 7200000000, valid_from = valid_from - 7200000000 WHERE state IN ('a', 'b')",
	)
	exec(t, conn, "UPDATE version SET valid_from = valid_from - 1000 WHERE state = 'd'") // live versions are kept
	exec(t, conn, "UPDATE version SET valid_to = valid_to - 1000 WHERE state = 'c'")
	if err := inventorytest.List(t, inv, "again", inventorytest.Item{ID: "i-1", State: "d"}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "SELECT count(*) FROM version"); n != 2 {
		t.Errorf("%d versions are left, want c and d", n)
	}
	target, _ := inventorytest.Target()
	if err := inv.Retire(t.Context(), record.Identity{}, []record.Target{target}, inventory.RegionRemoved); err != nil {
		t.Fatal(err)
	}
	exec(t, conn, "UPDATE version SET valid_to = valid_to - 7200000000, valid_from = valid_from - 7200000000")
	exec(t, conn, "UPDATE scope SET retired = retired - 7200000000")
	if err := Vacuum(t.Context(), o); err != nil { // while the store is open
		t.Fatal(err)
	}
	if v, b, sc := count(
		t, conn, "SELECT count(*) FROM version",
	), count(t, conn, "SELECT count(*) FROM body"), count(t, conn, "SELECT count(*) FROM scope"); v+b+sc > 0 {
		t.Errorf("after it there are %d versions, %d bodies, %d scopes", v, b, sc)
	}
}

// What is too much for memory is staged. The next update drops what an update without an end staged.
func TestStaged(t *testing.T) {
	o := newSchema(t)
	s := openStore(t, o)
	conn := adminConn(t, o)
	inv := inventory.New(s, inventory.Options{MaxBuffered: 1})
	target, identity := inventorytest.Target()
	v, err := inv.Begin(t.Context(), target, identity, "one")
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"i-1", "i-2", "i-3"} {
		if err := v.Page(
			t.Context(),
			inventorytest.Page(target, identity, "one", inventorytest.Item{ID: id, Pad: strings.Repeat("x", 300_000)}),
		); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, conn, "SELECT count(*) FROM staged"); n != 3 {
		t.Errorf("%d of 3 rows are staged", n)
	}
	exec(t, conn, "DELETE FROM staged WHERE id = 'i-2'") // as a crash of the server may
	if err := v.End(
		t.Context(), record.Outcome{Target: target, Run: "one", State: record.OK, Started: time.Now()},
	); err == nil || !strings.Contains(err.Error(), "lost staged rows") {
		t.Errorf("rows that were lost: %v", err)
	}
	if err := inventorytest.List(t, inv, "two", inventorytest.Item{ID: "i-4"}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, conn, "SELECT count(*) FROM staged"); n != 0 || inventorytest.IDs(t, s, inventory.Query{}) != "i-4" {
		t.Errorf("%d rows are still staged; stored: %s", n, inventorytest.IDs(t, s, inventory.Query{}))
	}
	// the body of i-2, which this test orphaned
	exec(t, conn, "DELETE FROM body b WHERE NOT EXISTS (SELECT FROM version v WHERE v.version = b.version)")
	checkConsistent(t, s.Reader)
}

// A stored body is equal as JSON to the listed one. What jsonb cannot hold is also stored as text.
func TestBodiesAreEqualAsJSON(t *testing.T) {
	o := newSchema(t)
	s := openStore(t, o)
	conn := adminConn(t, o)
	update, err := s.Begin(
		t.Context(), record.Target{Account: "prod", Region: "r", Kind: "ec2_x"},
		inventory.Scope{Partition: "aws", AccountID: "111111111111", Region: "r", Kind: "ec2_x"}, "run",
	)
	if err != nil {
		t.Fatal(err)
	}
	bodies := map[string]string{
		"order":      `{"z":1,"a":{"long":1,"b":[3,1,2]},"m":null}`,
		"numbers":    `{"a":1.50,"b":-0,"c":12345678901234567890123,"d":1e3,"e":0.1}`,
		"text":       `{"a":"\u00e9 \ud83d\ude00 ünï \\u0000 \"q\" \n </x>"}`,
		"nul":        `{"a":"x\u0000y"}`,
		"half pair":  `{"a":"\ud83d","b":"\ude00x"}`,
		"nul in key": `{"\u0000":"a"}`,
	}
	for id, data := range bodies {
		row := inventory.Row{
			ID: id, Name: "a\x00b", State: "\xff", Tags: `{"t":"\u0000"}`, Sum: record.Digest{1}, Body: []byte(data),
		}
		update.Add([]inventory.Row{row})
		clear(row.Body) // it was borrowed
	}
	if err := update.Commit(
		t.Context(),
		inventory.Commit{Outcome: record.Outcome{State: record.OK, Started: time.Now(), Error: "a\x00b"}},
	); err != nil {
		t.Fatal(err)
	}
	for r, err := range s.Find(t.Context(), inventory.Query{Data: true}) {
		if err != nil {
			t.Fatal(err)
		}
		var got, want any
		if err := errors.Join(json.Unmarshal(r.Data, &got), json.Unmarshal([]byte(bodies[r.ID]), &want)); err != nil ||
			!reflect.DeepEqual(got, want) {
			t.Errorf("%s: %s, want %s (%v)", r.ID, r.Data, bodies[r.ID], err)
		}
		if r.Name != "a\ufffdb" || r.State != "\ufffd" || r.Tags["t"] != "\ufffd" {
			t.Errorf("%s: %q %q %q", r.ID, r.Name, r.State, r.Tags)
		}
	}
	if n := count(t, conn, "SELECT count(*) FROM body WHERE exact IS NOT NULL"); n != 3 {
		t.Errorf("%d bodies are kept as text, want 3", n)
	}
}
