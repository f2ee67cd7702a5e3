package inventory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/aws-collector/collector/record"
)

// A Run is one account at one tick of its schedule, as the store keeps it: from its begin until Options.KeepRuns after
// its end.
type Run struct {
	ID, Account               string
	Tick                      time.Time
	Started                   time.Time     // zero: it never began
	Ended                     time.Time     // zero: it is running
	Status                    record.Status // [record.RunRunning] until it ended
	Missed                    string        // why it never began: overlap, downtime, suspended, drain; "" if it began
	Ticks                     int           // the ticks that the row stands for: more than 1 after a downtime
	Targets                   map[record.State]int
	Records, Calls, Throttles int
	Causes                    []Cause
	Process                   Process
}

// A Process is what ran it.
type Process struct {
	Replica string // the name of its host
	Version string
}

// MaxCauses limits the causes of a run.
const MaxCauses = 20

// A Cause is why targets of a run failed: one for all that failed alike, because an account that denies every kind in
// every region would otherwise fill the store with copies of one sentence.
type Cause struct {
	State        record.State
	Reason       record.Reason
	Error, Hint  string // of one of the targets
	Region, Kind string // of the same target
	Targets      int
}

// Decode sets Targets and Causes from JSON, as a driver reads them: {"state": number}, and a list of
// [state, reason, error, hint, region, kind, targets].
func (r *Run) Decode(targets, causes []byte) error {
	if err := json.Unmarshal(targets, &r.Targets); err != nil {
		return fmt.Errorf("targets: %w", err)
	}
	if len(causes) == 0 {
		return nil
	}
	var rows [][7]json.RawMessage
	if err := json.Unmarshal(causes, &rows); err != nil {
		return fmt.Errorf("causes: %w", err)
	}
	for _, row := range rows {
		var c Cause
		for i, into := range []any{&c.State, &c.Reason, &c.Error, &c.Hint, &c.Region, &c.Kind, &c.Targets} {
			if err := json.Unmarshal(row[i], into); err != nil {
				return fmt.Errorf("causes: %w", err)
			}
		}
		r.Causes = append(r.Causes, c)
	}
	return nil
}

// A RunQuery selects runs. Zero values select all.
type RunQuery struct {
	IDs      []string
	Accounts []string // names or globs
	Statuses []record.Status
	Since    time.Time // by the time of the run's id
	Limit    int
}

// A SignIn is how an account signed in last. It holds no secret.
type SignIn struct {
	Account, AccountID, Partition, ARN string
	Path                               string    // of the credentials, as the log has it
	Expires                            time.Time // when a person must renew the session; zero: never
	Checked                            time.Time
	Error, Hint                        string // of the last attempt; "" if it succeeded
}

// A RunReader answers questions about runs, also while another process writes.
type RunReader interface {
	// Runs yields runs, the latest first.
	Runs(ctx context.Context, q RunQuery) iter.Seq2[Run, error]
	// SignIns yields the last sign-in of each account, by name.
	SignIns(ctx context.Context) iter.Seq2[SignIn, error]
}

// A RunWriter stores runs and sign-ins.
type RunWriter interface {
	// StartRun stores a run that begins.
	StartRun(ctx context.Context, r Run) error
	// EndRun stores all of a run that ended, also if its begin was not stored. Repeated, it changes nothing. It deletes
	// some of the runs that are older than KeepRuns.
	EndRun(ctx context.Context, r Run) error
	// InterruptRuns ends the runs that a dead process left running, and returns their number. Only one process writes, so
	// every running run at its start is one.
	InterruptRuns(ctx context.Context) (int, error)
	// PutSignIn replaces the sign-in of an account.
	PutSignIn(ctx context.Context, s SignIn) error
}

// FirstRunID returns an id that sorts before those of all runs since t, because a run's id is a ULID.
func FirstRunID(t time.Time) string {
	var id ulid.ULID
	if t.UnixMilli() < 0 || id.SetTime(ulid.Timestamp(t)) != nil {
		return ""
	}
	return id.String()
}

// StartRun stores that a run begins.
func (i *Inventory) StartRun(ctx context.Context, r Run) error {
	return i.writeRun(ctx, "the begin of a run", func() error { return i.driver.StartRun(ctx, r) })
}

// EndRun stores a run that ended.
func (i *Inventory) EndRun(ctx context.Context, r Run) error {
	return i.writeRun(ctx, "a run", func() error { return i.driver.EndRun(ctx, r) })
}

// PutSignIn stores how an account signed in.
func (i *Inventory) PutSignIn(ctx context.Context, s SignIn) error {
	return i.writeRun(ctx, "a sign-in", func() error { return i.driver.PutSignIn(ctx, s) })
}

// InterruptRuns ends the runs that a dead process left running.
func (i *Inventory) InterruptRuns(ctx context.Context) (n int, err error) {
	err = i.writeRun(ctx, "interrupted runs", func() (err error) {
		n, err = i.driver.InterruptRuns(ctx)
		return err
	})
	return n, err
}

func (i *Inventory) writeRun(ctx context.Context, what string, write func() error) error {
	err := write()
	if err == nil {
		return nil // a target's end says that writes work
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	return i.observe(ctx, fmt.Errorf("store: write %s: %w", what, err), false)
}

func (w *watchdog) StartRun(ctx context.Context, r Run) error {
	return w.call(ctx, true, func(ctx context.Context) error { return w.Driver.StartRun(ctx, r) })
}

func (w *watchdog) EndRun(ctx context.Context, r Run) error {
	return w.call(ctx, true, func(ctx context.Context) error { return w.Driver.EndRun(ctx, r) })
}

func (w *watchdog) PutSignIn(ctx context.Context, s SignIn) error {
	return w.call(ctx, true, func(ctx context.Context) error { return w.Driver.PutSignIn(ctx, s) })
}

func (w *watchdog) InterruptRuns(ctx context.Context) (int, error) {
	var n int
	err := w.call(ctx, true, func(ctx context.Context) error {
		ended, err := w.Driver.InterruptRuns(ctx)
		n = ended
		return err
	})
	if err != nil {
		return 0, err // the call may still be running
	}
	return n, nil
}

func (w *watchdog) Runs(ctx context.Context, q RunQuery) iter.Seq2[Run, error] {
	return readRows(ctx, w, func(ctx context.Context) iter.Seq2[Run, error] { return w.Driver.Runs(ctx, q) })
}

func (w *watchdog) SignIns(ctx context.Context) iter.Seq2[SignIn, error] {
	return readRows(ctx, w, w.Driver.SignIns)
}
