package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
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

// The tests of this file that mostly wait run at the same time: each has a server or a schema of its own.

// ownServer starts a server that the test may freeze.
func ownServer(t *testing.T) *postgrestest.Server {
	t.Helper()
	s, err := postgrestest.Start("fsync=off")
	if errors.Is(err, postgrestest.ErrMissing) {
		t.Skipf("SKIPPED, NOT PASSED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A loggedStore is a store as the program uses it, with its log.
type loggedStore struct {
	*Store
	inv *inventory.Inventory

	mu  sync.Mutex
	log bytes.Buffer
}

func (s *loggedStore) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

func (s *loggedStore) logged(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.log.String(), what)
}

func openLogged(t *testing.T, o Options) *loggedStore {
	t.Helper()
	s := new(loggedStore)
	o.Log = slog.New(slog.NewTextHandler(s, nil))
	var err error
	if s.Store, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s.inv = inventory.New(s.Store, inventory.Options{Log: o.Log, MaxBuffered: 1, StallTimeout: 2 * time.Second})
	t.Cleanup(func() {
		if err := s.inv.Driver().Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func freeze(t *testing.T, s *postgrestest.Server, only ...int) (thaw func()) {
	t.Helper()
	continueAll, err := s.Freeze(only...)
	if err != nil {
		t.Fatal(err)
	}
	thaw = sync.OnceFunc(func() {
		if err := continueAll(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(thaw)
	return thaw
}

// A server that freezes during writes and reads is an outage of the store: all callers stop waiting together, later
// calls fail at once, one log line names the remedy, and the store recovers when the server continues.
func TestServerFreezes(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	s := openLogged(t, Options{DSN: server.DSN()})
	if err := inventorytest.List(t, s.inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
		t.Fatal(err)
	}
	target, identity := inventorytest.Target()
	v, err := s.inv.Begin(t.Context(), target, identity, "two") // open while the server freezes
	if err != nil {
		t.Fatal(err)
	}
	thaw := freeze(t, server)
	var wg sync.WaitGroup
	for range 20 { // more than there are connections
		wg.Go(func() {
			if _, err := s.inv.Begin(
				t.Context(), record.Target{Account: "x", Region: "r", Kind: "k"}, identity, "two",
			); err == nil || record.HintOf(err) == "" {
				t.Errorf("it began on a frozen server: %v", err)
			}
		})
	}
	wg.Go(func() {
		if _, err := s.inv.ActiveTargets(t.Context(), "prod"); err == nil {
			t.Error("a frozen server returned the targets")
		}
	})
	wg.Go(func() { // as a feed reads
		for _, err := range s.inv.Driver().Changes(t.Context(), inventory.Query{}, time.Time{}) {
			if err == nil {
				t.Error("a frozen server returned changes")
			}
		}
	})
	wg.Wait()
	err = v.Page(
		t.Context(),
		inventorytest.Page(target, identity, "two", inventorytest.Item{ID: "i-2", Pad: strings.Repeat("x", 300_000)}),
	)
	if err == nil || !strings.Contains(err.Error(), "no answer from Postgres at 127.0.0.1") {
		t.Errorf("a page: %v", err)
	}
	if err := v.End(
		t.Context(), record.Outcome{Target: target, Run: "two", State: record.OK, Started: time.Now()},
	); err == nil {
		t.Error("it ended on a frozen server")
	}
	if tr := s.inv.Health(); tr.Err == nil || tr.NotStored < 21 {
		t.Errorf("health: %v", tr)
	}
	thaw()
	eventually(t, "the store recovers", func() bool { return s.inv.Err() == nil })
	if err := inventorytest.List(t, s.inv, "three", inventorytest.Item{ID: "i-3"}); err != nil {
		t.Fatal(err)
	}
	if got := inventorytest.IDs(t, s, inventory.Query{}); got != "i-3" {
		t.Errorf("then there is %q", got)
	}
	if s.logged("store writes fail") != 1 || s.logged("store writes recovered") != 1 || s.logged("Check the server") == 0 {
		t.Error(s.log.String())
	}
	checkConsistent(t, s.Reader)
}

// If the backends of its connections freeze, the store continues with new connections.
func TestConnectionsFreeze(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	o := Options{DSN: server.DSN(), Schema: "some"}
	s := openLogged(t, o)
	if err := inventorytest.List(t, s.inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
		t.Fatal(err)
	}
	conn := adminConn(t, o)
	rows, err := conn.Query(
		t.Context(), "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'collector %' AND pid <> $1",
		s.lockPID(t, conn),
	)
	if err != nil {
		t.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil || len(pids) < 2 {
		t.Fatal(pids, err)
	}
	thaw := freeze(t, server, pids...)
	if err := inventorytest.List(t, s.inv, "two", inventorytest.Item{ID: "i-2"}); err == nil {
		t.Error("a connection that is frozen answered")
	}
	eventually(t, "it continues with new connections", func() bool {
		return inventorytest.List(t, s.inv, "three", inventorytest.Item{ID: "i-3"}) == nil
	})
	thaw()
	if err := inventorytest.List(t, s.inv, "four", inventorytest.Item{ID: "i-4"}); err != nil {
		t.Error(err)
	}
	checkConsistent(t, s.Reader)
}

// lockPID returns the backend that holds the writer's lock.
func (s *loggedStore) lockPID(t *testing.T, conn *pgx.Conn) int {
	t.Helper()
	class, object := s.c.lockKey()
	return count(
		t, conn, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = $1 AND objid::bigint = $2",
		int64(class), int64(object),
	)
}

// The program starts and ends although the server is frozen.
func TestFrozenServerAtStartAndEnd(t *testing.T) {
	t.Parallel()
	server := ownServer(t)
	thaw := freeze(t, server)
	s := openLogged(t, Options{DSN: server.DSN()})
	if err := s.Err(); err == nil || s.inv.Err() == nil || record.HintOf(err) == "" {
		t.Errorf("it says %v and %v", err, s.inv.Err())
	}
	thaw()
	eventually(
		t, "it works", func() bool { return inventorytest.List(t, s.inv, "one", inventorytest.Item{ID: "i-1"}) == nil },
	)

	other := openLogged(t, Options{DSN: server.DSN(), Schema: "other"})
	thaw = freeze(t, server)
	if err := other.inv.Driver().Close(); err != nil {
		t.Error(err)
	}
	thaw()
}

// A lock of another session on the tables, or on the gate of commits, stops writes, with a hint; reads continue.
func TestLockOfAnotherSession(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]string{
		"on a table":  "LOCK TABLE version IN SHARE MODE",
		"on the gate": "gate",
	} {
		t.Run(name, func(t *testing.T) {
			o := newSchema(t)
			s := openLogged(t, o)
			if err := inventorytest.List(t, s.inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
				t.Fatal(err)
			}
			conn := adminConn(t, o)
			exec(t, conn, "BEGIN")
			if lock == "gate" {
				lock = fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", s.c.lockTag()<<40)
			}
			exec(t, conn, lock)
			var wg sync.WaitGroup
			for range 6 {
				wg.Go(func() {
					if err := inventorytest.List(t, s.inv, "two", inventorytest.Item{ID: "i-2"}); err == nil {
						t.Error("it wrote through a lock")
					}
				})
			}
			wg.Wait()
			if err := s.inv.Err(); err == nil || !strings.Contains(record.HintOf(err), "pg_blocking_pids") {
				t.Errorf("it says %v (hint %q)", err, record.HintOf(err))
			}
			if got := inventorytest.IDs(t, s.inv.Driver(), inventory.Query{}); got != "i-1" {
				t.Errorf("meanwhile there is %q", got)
			}
			exec(t, conn, "ROLLBACK")
			eventually(t, "the store recovers", func() bool { return s.inv.Err() == nil })
			if err := inventorytest.List(t, s.inv, "three", inventorytest.Item{ID: "i-3"}); err != nil {
				t.Fatal(err)
			}
			checkConsistent(t, s.Reader)
		})
	}
}

// A lock on the clock's row stops no commit: only the changes wait.
func TestLockOnClock(t *testing.T) {
	t.Parallel()
	o := newSchema(t)
	s := openLogged(t, o)
	if err := inventorytest.List(t, s.inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
		t.Fatal(err)
	}
	conn := adminConn(t, o)
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM clock FOR UPDATE")
	for _, id := range []string{"i-2", "i-3"} {
		if err := inventorytest.List(t, s.inv, id, inventorytest.Item{ID: id}); err != nil || s.inv.Err() != nil {
			t.Errorf("while the clock is locked: %v, %v", err, s.inv.Err())
		}
	}
	exec(t, conn, "ROLLBACK")
	if got := followed(t, s, time.Time{}); got != "added i-1, gone i-1, added i-2, gone i-2, added i-3" {
		t.Errorf("then the changes are %s", got)
	}
}

// followed returns the changes after an instant.
func followed(t *testing.T, r inventory.Reader, after time.Time) string {
	t.Helper()
	var out []string
	for c, err := range r.Changes(t.Context(), inventory.Query{}, after) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c.Op+" "+c.Resource().ID)
	}
	return strings.Join(out, ", ")
}

// A lock on the row of one target affects only that target.
func TestLockOnOneTarget(t *testing.T) {
	o := newSchema(t)
	s := openLogged(t, o)
	if err := inventorytest.List(t, s.inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
		t.Fatal(err)
	}
	conn := adminConn(t, o)
	exec(t, conn, "BEGIN")
	exec(t, conn, "SELECT FROM scope FOR UPDATE")
	if err := inventorytest.List(t, s.inv, "two", inventorytest.Item{ID: "i-2"}); err == nil {
		t.Error("it wrote through a lock")
	}
	_, identity := inventorytest.Target()
	other := record.Target{Account: "prod", Region: "elsewhere", Kind: "ec2_instance"}
	v, err := s.inv.Begin(t.Context(), other, identity, "two")
	if err == nil {
		err = v.End(t.Context(), record.Outcome{Target: other, Run: "two", State: record.OK, Started: time.Now()})
	}
	if err != nil || s.inv.Err() != nil {
		t.Errorf("another target: %v, %v", err, s.inv.Err())
	}
}

// A statement that the server executes is not cut off, and neither are those that wait for it.
func TestLargeCommitIsNotCutOff(t *testing.T) {
	o := newSchema(t)
	s := openLogged(t, o)
	conn := adminConn(t, o)
	exec(
		t, conn,
		`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3.5); RETURN NEW; END $$`,
	)
	exec(t, conn, "CREATE TRIGGER slow BEFORE INSERT ON version FOR EACH ROW EXECUTE FUNCTION slow()")
	_, identity := inventorytest.Target()
	var wg sync.WaitGroup
	for n := range 3 { // the last one waits for twice lock_timeout
		wg.Go(func() {
			target := record.Target{Account: "prod", Region: "r" + strconv.Itoa(n), Kind: "ec2_instance"}
			v, err := s.inv.Begin(t.Context(), target, identity, "one")
			if err == nil {
				err = v.Page(
					t.Context(), inventorytest.Page(target, identity, "one", inventorytest.Item{ID: "i-" + strconv.Itoa(n)}),
				)
			}
			if err == nil {
				err = v.End(t.Context(), record.Outcome{Target: target, Run: "one", State: record.OK, Started: time.Now()})
			}
			if err != nil {
				t.Errorf("target %d: %v", n, err)
			}
		})
	}
	wg.Wait()
	if tr := s.inv.Health(); tr.Err != nil || tr.NotStored > 0 || s.logged("store writes fail") > 0 {
		t.Errorf("health: %v", tr)
	}
	checkConsistent(t, s.Reader)
}

// The network forgets connections without telling either side. The store continues with new ones, whether or not the
// ping's connection was forgotten.
func TestForgottenConnections(t *testing.T) {
	t.Parallel()
	const lock, pulse = 0, 1 // in the order in which they are opened
	for name, keep := range map[string][]int{"all": nil, "all but the pulse": {lock, pulse}} {
		t.Run(name, func(t *testing.T) {
			o := newSchema(t)
			net := forward(t, cluster.Server(t).Port())
			o.DSN += " port=" + strconv.Itoa(net.port())
			s := openLogged(t, o)
			if err := inventorytest.List(t, s.inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
				t.Fatal(err)
			}
			net.forget(keep)
			eventually(t, "it continues with new connections", func() bool {
				return inventorytest.List(t, s.inv, "two", inventorytest.Item{ID: "i-2"}) == nil
			})
		})
	}
}

// A forwarder is a network between the store and the server.
type forwarder struct {
	l  net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	pairs []*proxiedConn
}

type proxiedConn struct {
	in, out net.Conn
	mu      sync.Mutex
	lost    bool
}

func forward(t *testing.T, port int) *forwarder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &forwarder{l: l}
	f.wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := new(net.Dialer).DialContext(context.Background(), "tcp", "127.0.0.1:"+strconv.Itoa(port))
			if err != nil {
				_ = in.Close()
				continue
			}
			p := &proxiedConn{in: in, out: out}
			f.mu.Lock()
			f.pairs = append(f.pairs, p)
			f.mu.Unlock()
			f.wg.Go(func() { p.copy(in, out) })
			f.wg.Go(func() { p.copy(out, in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		f.mu.Lock()
		for _, p := range f.pairs {
			_, _ = p.in.Close(), p.out.Close()
		}
		f.mu.Unlock()
		f.wg.Wait()
	})
	return f
}

func (f *forwarder) port() int { return f.l.Addr().(*net.TCPAddr).Port }

// forget drops all further data on the present connections, except some.
func (f *forwarder) forget(keep []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for n, p := range f.pairs {
		p.mu.Lock()
		p.lost = !slices.Contains(keep, n)
		p.mu.Unlock()
	}
}

func (p *proxiedConn) copy(from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		lost := p.lost
		p.mu.Unlock()
		if n > 0 && !lost {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = errors.Join(err, werr)
			}
		}
		if err != nil {
			if !lost {
				_, _ = p.in.Close(), p.out.Close()
			}
			return
		}
	}
}

// A server that restarts, at the start or during a run, is an outage of the store: open updates are not stored, later
// ones are, and nothing else has to be restarted.
func TestServerRestarts(t *testing.T) {
	t.Parallel()
	server, err := postgrestest.Start()
	if errors.Is(err, postgrestest.ErrMissing) {
		t.Skipf("SKIPPED, NOT PASSED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Remove(); err != nil {
			t.Error(err)
		}
	}()
	s := openStore(t, Options{DSN: server.DSN()})
	inv := inventory.New(s, inventory.Options{MaxBuffered: 1})
	t.Cleanup(func() { _ = inv.Driver().Close() })
	if err := inventorytest.List(t, inv, "one", inventorytest.Item{ID: "i-1"}); err != nil {
		t.Fatal(err)
	}
	target, identity := inventorytest.Target()
	for n, end := range []func() error{server.Stop, server.Crash} {
		v, err := inv.Begin(t.Context(), target, identity, "two")
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"i-8", "i-9"} {
			if err := v.Page(
				t.Context(),
				inventorytest.Page(target, identity, "two", inventorytest.Item{ID: id, Pad: strings.Repeat("x", 300_000)}),
			); err != nil {
				t.Fatal(err)
			}
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := v.End(
			t.Context(), record.Outcome{Target: target, Run: "two", State: record.OK, Started: time.Now()},
		); err == nil || inv.Err() == nil {
			t.Error("it ended without a server")
		}
		if _, err := inv.Begin(t.Context(), target, identity, "three"); err == nil || record.HintOf(err) == "" {
			t.Errorf("it began without a server: %v", err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf("i-after-%d", n)
		eventually(t, "the store recovers", func() bool {
			return inventorytest.List(t, inv, "four", inventorytest.Item{ID: id}) == nil
		})
		eventually(t, "it holds the lock again", func() bool {
			other, err := Open(t.Context(), Options{DSN: server.DSN()})
			if err == nil { // it was quicker than the previous writer: release the lock at once
				_ = other.Close()
			}
			return errors.Is(err, ErrInUse) && s.Err() == nil
		})
		if got := inventorytest.IDs(t, s, inventory.Query{}); got != id || inv.Err() != nil || s.Err() != nil {
			t.Errorf("then there is %q; %v, %v", got, inv.Err(), s.Err())
		}
		checkConsistent(t, s.Reader)
	}
}

// The program starts although the server is down.
func TestServerStartsLater(t *testing.T) {
	t.Parallel()
	server, err := postgrestest.Start("fsync=off")
	if errors.Is(err, postgrestest.ErrMissing) {
		t.Skipf("SKIPPED, NOT PASSED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Remove(); err != nil {
			t.Error(err)
		}
	}()
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	s := openStore(t, Options{DSN: server.DSN()})
	inv := inventory.New(s, inventory.Options{})
	t.Cleanup(func() { _ = inv.Driver().Close() })
	if err := s.Err(); err == nil || record.HintOf(err) == "" || record.ReasonOf(err) != record.Network {
		t.Errorf("error without a hint: %v", err)
	}
	if err := inventorytest.List(t, inv, "one", inventorytest.Item{ID: "i-1"}); err == nil {
		t.Error("it stored without a server")
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(
		t, "it works", func() bool { return inventorytest.List(t, inv, "two", inventorytest.Item{ID: "i-2"}) == nil },
	)
	if got := inventorytest.IDs(t, s, inventory.Query{}); got != "i-2" || s.Err() != nil {
		t.Errorf("then there is %q, %v", got, s.Err())
	}
}
