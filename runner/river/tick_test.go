package river

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/robfig/cron/v3"

	"github.com/aws-collector/collector/runner"
)

//go:embed tables.sql
var tables string

// A tickFixture is a schedule in a database whose clock the test sets.
type tickFixture struct {
	*testing.T
	db       *pgxpool.Pool
	schedule Schedule
	mu       sync.Mutex
	made     []Tick
}

// noon is where the clock begins.
var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func newTickFixture(t *testing.T, spec string, offset time.Duration) *tickFixture {
	db, _ := database(t)
	if _, err := db.Exec(t.Context(), tables); err != nil {
		t.Fatal(err)
	}
	schedule, err := cron.ParseStandard(spec)
	if err != nil {
		t.Fatal(err)
	}
	f := &tickFixture{T: t, db: db, schedule: Schedule{
		Account: "a", Tick: runner.Tick{Spec: spec, Schedule: schedule}, Offset: offset,
	}}
	f.setClock(noon.Add(30 * time.Second))
	for range 2 { // by two replicas
		if err := f.schedule.Register(t.Context(), db); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// setClock stops the database's clock at an instant.
func (f *tickFixture) setClock(at time.Time) {
	f.Helper()
	sql := fmt.Sprintf("CREATE OR REPLACE FUNCTION server_time() RETURNS bigint LANGUAGE sql AS 'SELECT %d::bigint'",
		at.UnixMicro())
	if _, err := f.db.Exec(f.Context(), sql); err != nil {
		f.Fatal(err)
	}
}

func (f *tickFixture) admit(_ context.Context, _ pgx.Tx, t Tick) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made = append(f.made, t)
	return nil
}

// try makes the tick that is due, and returns the wait.
func (f *tickFixture) try() time.Duration {
	f.Helper()
	wait, err := f.schedule.Make(f.Context(), f.db, f.admit)
	if err != nil {
		f.Error(err)
	}
	return wait
}

// want checks the last tick that was made, and how many there were.
func (f *tickFixture) want(n int, at time.Time, missed int) {
	f.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.made) != n {
		f.Fatalf("%d ticks, want %d: %v", len(f.made), n, f.made)
	}
	if n == 0 {
		return
	}
	if last := f.made[n-1]; !last.At.Equal(at) || last.Missed != missed || last.Account != "a" {
		f.Errorf("tick %s with %d missed, want %s with %d", last.At, last.Missed, at, missed)
	}
}

// Many replicas try at once: the tick is made once. Nobody makes it early, whatever a replica's own clock says.
func TestTickIsMadeOnce(t *testing.T) {
	f := newTickFixture(t, "*/15 * * * *", 0)
	everybody := func() {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { f.try() })
		}
		wg.Wait()
	}
	everybody()
	f.want(0, time.Time{}, 0)
	if wait := f.try(); wait != 14*time.Minute+30*time.Second {
		t.Errorf("wait %s", wait)
	}
	f.setClock(noon.Add(15*time.Minute - time.Millisecond))
	everybody()
	f.want(0, time.Time{}, 0)
	f.setClock(noon.Add(15 * time.Minute))
	everybody()
	f.want(1, noon.Add(15*time.Minute), 0)
	f.setClock(noon.Add(31 * time.Minute))
	everybody()
	f.want(2, noon.Add(30*time.Minute), 0)
}

// However long all were down, one tick is made, and those before it are counted.
func TestOneTickAfterALongTime(t *testing.T) {
	f := newTickFixture(t, "*/15 * * * *", 0)
	f.setClock(noon.Add(24*time.Hour + time.Minute))
	f.try()
	f.want(1, noon.Add(24*time.Hour), 95)
	f.try()
	f.want(1, noon.Add(24*time.Hour), 95)
	f.setClock(noon.Add(24*time.Hour + 16*time.Minute))
	f.try()
	f.want(2, noon.Add(24*time.Hour+15*time.Minute), 0)
	f.setClock(noon.AddDate(3, 0, 0)) // more than are counted
	f.try()
	if n := f.made[2].Missed; len(f.made) != 3 || n != maxMissedCounted {
		t.Errorf("%d ticks, the last with %d missed", len(f.made), n)
	}
	f.try()
	if len(f.made) != 3 {
		t.Errorf("the ticks that were not counted are made: %v", f.made[3:])
	}
}

// The jitter of an account delays its ticks, and does not change their instants.
func TestTickOffset(t *testing.T) {
	f := newTickFixture(t, "*/15 * * * *", 20*time.Second)
	f.setClock(noon.Add(15*time.Minute + 19*time.Second))
	if wait := f.try(); wait != time.Second {
		t.Errorf("wait %s", wait)
	}
	f.want(0, time.Time{}, 0)
	f.setClock(noon.Add(15*time.Minute + 20*time.Second))
	f.try()
	f.want(1, noon.Add(15*time.Minute), 0)
}

// What cannot be admitted was no tick: the next try makes it.
func TestTickThatFails(t *testing.T) {
	f := newTickFixture(t, "*/15 * * * *", 0)
	f.setClock(noon.Add(15 * time.Minute))
	full := errors.New("disk full")
	_, err := f.schedule.Make(t.Context(), f.db, func(ctx context.Context, tx pgx.Tx, _ Tick) error {
		_, err := tx.Exec(ctx, "INSERT INTO tick VALUES ('b', 'other', 0)")
		return errors.Join(err, full)
	})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), `account "a": tick of schedule "*/15 * * * *"`) {
		t.Error(err)
	}
	f.try()
	f.want(1, noon.Add(15*time.Minute), 0)
	var rows int
	if err := f.db.QueryRow(t.Context(), "SELECT count(*) FROM tick").Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows, %v: what failed was kept", rows, err)
	}
}

// A replica is frozen inside the transaction: the others do not wait for it, and when the server has ended its
// transaction, one of them makes the tick. When it wakes, it makes nothing.
func TestFrozenInTick(t *testing.T) {
	f := newTickFixture(t, "*/15 * * * *", 0)
	f.setClock(noon.Add(15 * time.Minute))
	conf := f.db.Config()
	conf.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = "300ms"
	db, err := pgxpool.NewWithConfig(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	frozen, wake, ended := make(chan bool), make(chan bool), make(chan error)
	go func() {
		_, err := f.schedule.Make(context.Background(), db, func(context.Context, pgx.Tx, Tick) error {
			close(frozen)
			<-wake
			return nil
		})
		ended <- err
	}()
	<-frozen
	if wait := f.try(); wait != retryTick {
		t.Errorf("wait %s beside a replica that makes the tick", wait)
	}
	f.want(0, time.Time{}, 0)
	for range 100 {
		if f.try(); len(f.made) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	f.want(1, noon.Add(15*time.Minute), 0)
	close(wake)
	if err := <-ended; err == nil {
		t.Error("the frozen replica committed")
	}
	f.try()
	f.want(1, noon.Add(15*time.Minute), 0)
}
