// Package river is what the engine on River and Postgres is made of. It is not complete: DESIGN.md says what the engine
// does, and here are the parts that stand: how a tick is made once, and who has one of River's jobs and ends it. Begin
// at [Schedule.Make] and [Fetch]. Their connections need an idle_in_transaction_session_timeout: a process that is
// frozen inside a transaction would keep its locks.
package river

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river/rivertype"
)

// ErrLate says that a job is no longer that of the worker: it was rescued, is done, or was taken from River.
var ErrLate = errors.New("the job belongs to another attempt")

// A Fetch is a job as River gave it to a worker. River compares only the state of a job when a worker returns, so a
// late worker would end the attempt of another one. Therefore workers end their attempts with Complete or GiveBack,
// and return [Silent]. River's number of attempts does not identify a fetch: a snooze and a stop take it back by
// one.
//
// The methods are for a transaction whose connection finds River's tables by its search_path.
type Fetch struct {
	ID int64
	At time.Time // as the database has it
}

// FetchOf returns the fetch of a job that a worker has got.
func FetchOf(job *rivertype.JobRow) Fetch {
	f := Fetch{ID: job.ID}
	if job.AttemptedAt != nil {
		f.At = *job.AttemptedAt
	}
	return f
}

// Lock verifies that the job is the worker's, and keeps it so until the end of the transaction. Else it returns
// ErrLate.
func (f Fetch) Lock(ctx context.Context, tx pgx.Tx) error {
	var one int
	err := tx.QueryRow(ctx, "SELECT 1 FROM river_job WHERE id = $1 AND attempted_at = $2 AND state = 'running' FOR UPDATE",
		f.ID, f.At).Scan(&one)
	if errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("job %d: %w", f.ID, ErrLate)
	}
	return err
}

// Complete ends the job. It returns ErrLate if the job is not the worker's.
func (f Fetch) Complete(ctx context.Context, tx pgx.Tx) error {
	return f.end(ctx, tx, "state = 'completed', finalized_at = now()")
}

// GiveBack makes the job available to any worker, after a while. It returns ErrLate if the job is not the worker's.
func (f Fetch) GiveBack(ctx context.Context, tx pgx.Tx, after time.Duration) error {
	return f.end(ctx, tx, "state = 'available', scheduled_at = now() + $3", after)
}

func (f Fetch) end(ctx context.Context, tx pgx.Tx, set string, args ...any) error {
	tag, err := tx.Exec(ctx,
		"UPDATE river_job SET "+set+" WHERE id = $1 AND attempted_at = $2 AND state = 'running'",
		append([]any{f.ID, f.At}, args...)...)
	if err == nil && tag.RowsAffected() == 0 {
		err = fmt.Errorf("job %d: %w", f.ID, ErrLate)
	}
	return err
}

// Silent makes River write nothing about an attempt. A worker returns it whatever happened, after it has ended the
// attempt itself. River reports the jobs that such an error lists, for the batches of River Pro, and this one lists
// none. River's documentation does not say so: the tests beside the pinned version do. Only if a person cancels the
// job on River's page, River writes that.
func Silent(err error) error {
	if err == nil {
		err = errors.New("the attempt was ended by its worker")
	}
	return silent{err}
}

type silent struct{ error }

func (s silent) Unwrap() error             { return s.error }
func (silent) Jobs() []*rivertype.JobRow   { return nil }
func (silent) ErrorsByID() map[int64]error { return nil }
