package river

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/aws-collector/collector/inventory/postgres/postgrestest"
)

// All tests of the package share a server; each has a schema of its own.
var (
	cluster = &postgrestest.Shared{Settings: []string{"fsync=off"}}
	schemas atomic.Int64
)

func TestMain(m *testing.M) {
	code := m.Run()
	if err := cluster.Remove(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// database makes a schema with River's tables, and returns connections that find them.
func database(t *testing.T) (db *pgxpool.Pool, schema string) {
	t.Helper()
	conf, err := pgxpool.ParseConfig(cluster.Server(t).DSN())
	if err != nil {
		t.Fatal(err)
	}
	schema = fmt.Sprintf("river_%d", schemas.Add(1))
	conf.ConnConfig.RuntimeParams["search_path"] = schema
	if db, err = pgxpool.NewWithConfig(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if _, err := db.Exec(t.Context(), "CREATE SCHEMA "+schema); err != nil {
		t.Fatal(err)
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(db), &rivermigrate.Config{
		Schema: schema, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := migrator.Migrate(t.Context(), rivermigrate.DirectionUp, nil); err != nil {
		t.Fatal(err)
	}
	return db, schema
}

type lateArgs struct{}

func (lateArgs) Kind() string { return "late" }

// A lateWorker hands each attempt to the test, and returns what the test says.
type lateWorker struct {
	river.WorkerDefaults[lateArgs]
	attempts chan attempt
}

type attempt struct {
	job *river.Job[lateArgs]
	end chan func(ctx context.Context) error
}

func (w *lateWorker) Work(ctx context.Context, job *river.Job[lateArgs]) error {
	a := attempt{job, make(chan func(context.Context) error)}
	w.attempts <- a
	return (<-a.end)(ctx)
}

// A queue is River with one kind of job.
type queue struct {
	*testing.T
	db       *pgxpool.Pool
	client   *river.Client[pgx.Tx]
	attempts chan attempt
	id       int64
}

// newQueue starts River with one job.
func newQueue(t *testing.T) *queue {
	db, schema := database(t)
	w := &lateWorker{attempts: make(chan attempt)}
	workers := river.NewWorkers()
	river.AddWorker(workers, w)
	client, err := river.NewClient(riverpgxv5.New(db), &river.Config{
		Schema: schema, Workers: workers, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 3}},
		FetchPollInterval: 20 * time.Millisecond, FetchCooldown: 10 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler), JobTimeout: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	inserted, err := client.Insert(t.Context(), lateArgs{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	return &queue{t, db, client, w.attempts, inserted.Job.ID}
}

// stop waits for River; no attempt may be left.
func (q *queue) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := q.client.Stop(ctx); err != nil {
		q.Error(err)
	}
}

// rescue makes the job available while its worker lives, as a rescue does that comes too early.
func (q *queue) rescue() {
	q.Helper()
	if _, err := q.db.Exec(q.Context(), "UPDATE river_job SET state = 'available' WHERE id = $1", q.id); err != nil {
		q.Fatal(err)
	}
}

// state is River's of the job.
func (q *queue) state() (state string) {
	q.Helper()
	if err := q.db.QueryRow(q.Context(), "SELECT state FROM river_job WHERE id = $1", q.id).Scan(&state); err != nil {
		q.Fatal(err)
	}
	return state
}

// becomes waits until River has written what it writes in the background; a state that stays is looked at for a while.
func (q *queue) becomes(want string) bool {
	q.Helper()
	for range 60 {
		if got := q.state(); (got == want) != (want == "running") {
			return got == want
		}
		time.Sleep(10 * time.Millisecond)
	}
	return q.state() == want
}

func (q *queue) in(f func(pgx.Tx) error) error {
	return pgx.BeginFunc(context.Background(), q.db, f)
}

// What River does when a late attempt returns while the next one runs. If a later version of River makes this fail, the
// rules of Fetch may have become unnecessary, or insufficient.
func TestRiverAndALateAttempt(t *testing.T) {
	for name, c := range map[string]struct {
		late func(q *queue, job *river.Job[lateArgs]) func(context.Context) error
		want string // the job's state while its second attempt runs
	}{
		"success completes the other attempt": {
			func(*queue, *river.Job[lateArgs]) func(context.Context) error {
				return func(context.Context) error { return nil }
			}, "completed",
		},
		"an error gives the other attempt's job away": {
			func(*queue, *river.Job[lateArgs]) func(context.Context) error {
				return func(context.Context) error { return errors.New("late") }
			}, "available",
		},
		"a snooze gives the other attempt's job away": {
			func(*queue, *river.Job[lateArgs]) func(context.Context) error {
				return func(context.Context) error { return river.JobSnooze(time.Hour) }
			}, "scheduled",
		},
		"JobCompleteTx is not a fence": {
			func(q *queue, job *river.Job[lateArgs]) func(context.Context) error {
				return func(ctx context.Context) error {
					err := q.in(func(tx pgx.Tx) error {
						_, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
						return err
					})
					return Silent(err)
				}
			}, "completed",
		},
		"an error that lists no job writes nothing": {
			func(*queue, *river.Job[lateArgs]) func(context.Context) error {
				return func(context.Context) error { return Silent(errors.New("late")) }
			}, "running",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q := newQueue(t)
			defer q.stop()
			first := <-q.attempts
			q.rescue()
			second := <-q.attempts
			first.end <- c.late(q, first.job)
			if !q.becomes(c.want) {
				t.Errorf("the job is %s, want %s", q.state(), c.want)
			}
			if c.want == "available" { // a third attempt runs beside the second
				third := <-q.attempts
				third.end <- func(context.Context) error { return nil }
			}
			second.end <- func(context.Context) error { return nil }
		})
	}
}

// A late worker can end nothing, and the one that has the job can.
func TestFetch(t *testing.T) {
	ends := map[string]func(Fetch, pgx.Tx) error{
		"lock":      func(f Fetch, tx pgx.Tx) error { return f.Lock(context.Background(), tx) },
		"complete":  func(f Fetch, tx pgx.Tx) error { return f.Complete(context.Background(), tx) },
		"give back": func(f Fetch, tx pgx.Tx) error { return f.GiveBack(context.Background(), tx, 50*time.Millisecond) },
	}
	q := newQueue(t)
	defer q.stop()
	first := <-q.attempts
	q.rescue()
	second := <-q.attempts
	for name, end := range ends {
		if err := q.in(func(tx pgx.Tx) error { return end(FetchOf(first.job.JobRow), tx) }); !errors.Is(err, ErrLate) {
			t.Errorf("%s by a late worker: %v", name, err)
		}
		if got := q.state(); got != "running" {
			t.Fatalf("%s by a late worker: the job is %s", name, got)
		}
	}
	first.end <- func(context.Context) error { return Silent(nil) }
	given := time.Now()
	if err := q.in(func(tx pgx.Tx) error { return ends["give back"](FetchOf(second.job.JobRow), tx) }); err != nil {
		t.Fatal(err)
	}
	second.end <- func(context.Context) error { return Silent(nil) }
	third := <-q.attempts
	if waited := time.Since(given); waited < 50*time.Millisecond {
		t.Errorf("the job came back after %s", waited)
	}
	if err := q.in(func(tx pgx.Tx) error {
		f := FetchOf(third.job.JobRow)
		return errors.Join(f.Lock(context.Background(), tx), f.Complete(context.Background(), tx))
	}); err != nil {
		t.Fatal(err)
	}
	third.end <- func(context.Context) error { return nil }
	if got := q.state(); got != "completed" {
		t.Errorf("the job is %s", got)
	}
	err := q.in(func(tx pgx.Tx) error { return ends["complete"](FetchOf(third.job.JobRow), tx) })
	if !errors.Is(err, ErrLate) {
		t.Errorf("completed twice: %v", err)
	}
}

// A locked job can neither be rescued nor fetched before the transaction ends.
func TestLockedJobIsNotRescued(t *testing.T) {
	q := newQueue(t)
	defer q.stop()
	a := <-q.attempts
	err := q.in(func(tx pgx.Tx) error {
		if err := FetchOf(a.job.JobRow).Lock(q.Context(), tx); err != nil {
			return err
		}
		return q.in(func(other pgx.Tx) error {
			if _, err := other.Exec(q.Context(), "SET LOCAL lock_timeout = '50ms'"); err != nil {
				return err
			}
			_, err := other.Exec(q.Context(), "UPDATE river_job SET state = 'available' WHERE id = $1", q.id)
			return err
		})
	})
	if err == nil || q.state() != "running" {
		t.Errorf("a locked job was changed: %v, %s", err, q.state())
	}
	a.end <- func(context.Context) error { return nil }
}

// What a person cancels on River's page is cancelled by River, whatever the worker returns.
func TestCancelledByAPerson(t *testing.T) {
	q := newQueue(t)
	defer q.stop()
	a := <-q.attempts
	if _, err := q.client.JobCancel(t.Context(), a.job.ID); err != nil {
		t.Fatal(err)
	}
	a.end <- func(ctx context.Context) error {
		<-ctx.Done()
		return Silent(nil)
	}
	if !q.becomes("cancelled") {
		t.Errorf("the job is %s", q.state())
	}
}

// River's number of attempts comes again after a snooze; the instant of a fetch does not.
func TestAttemptIsNoKey(t *testing.T) {
	q := newQueue(t)
	defer q.stop()
	first := <-q.attempts
	first.end <- func(context.Context) error { return river.JobSnooze(time.Millisecond) }
	second := <-q.attempts
	if first.job.Attempt != second.job.Attempt {
		t.Errorf("attempts %d and %d: a snooze does not take the attempt back any more", first.job.Attempt,
			second.job.Attempt)
	}
	if a, b := FetchOf(first.job.JobRow), FetchOf(second.job.JobRow); a == b || a.At.Equal(b.At) {
		t.Errorf("the fetches %+v and %+v are one", a, b)
	}
	second.end <- func(context.Context) error { return nil }
}
