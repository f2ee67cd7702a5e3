package inventory

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
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
	Missed                    string        // why it never began: a Missed constant of package runner; "" if it began
	Ticks                     int           // the ticks that the row stands for: more than 1 after a downtime
	Targets                   map[record.State]int
	Failed                    int // of Targets: those that failed and were not expected to
	Records, Calls, Throttles int
	Causes                    []Cause
	Process                   Process
}

// A Process is the collector process that did the run.
type Process struct {
	Replica string // the name of its host
	Version string
}

// Took is how long a run that ended took. That of an interrupted run is not known: it ended at some time before the
// next start.
func (r Run) Took() time.Duration {
	if r.Status == record.RunInterrupted || r.Started.IsZero() {
		return 0
	}
	return max(r.Ended.Sub(r.Started), 0)
}

// EndedAlike reports whether all targets of the run ended with one cause, as those of an account that could not be
// opened do.
func (r Run) EndedAlike() bool {
	n := 0
	for _, k := range r.Targets {
		n += k
	}
	return len(r.Causes) == 1 && r.Causes[0].Targets == n
}

// MaxCauses limits the causes of a run.
const MaxCauses = 20

// OtherCauses is the state of a run's last cause, if the run has more than MaxCauses: the rest, as one.
const OtherCauses record.State = "other"

// A Cause is why targets of a run were not ok: one for all that ended alike, because an account that denies every kind
// in every region would otherwise fill the store with copies of one sentence.
type Cause struct {
	State        record.State
	Reason       record.Reason
	Error, Hint  string // of one of the targets
	Region, Kind string // of the same target
	Targets      int
}

// CauseOf is the cause of one outcome, without what makes each error different.
func CauseOf(o record.Outcome) Cause {
	return Cause{
		State: o.State, Reason: o.Reason, Error: general(o.Error), Hint: general(o.Hint),
		Region: o.Region, Kind: o.Kind, Targets: 1,
	}
}

// general is a text without what differs each time: request ids, AWS's encoded messages, times, durations and the
// ports of connections. The store keeps one copy of a text, however often it comes.
func general(text string) string {
	for _, r := range variable {
		text = r.pattern.ReplaceAllString(text, r.with)
	}
	return text
}

var variable = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(` \(request [^)]*\)`), ""},
	{regexp.MustCompile(`(Encoded authorization failure message:) \S+`), "$1 …"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*`), "…"},
	{regexp.MustCompile(`(\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]+\]):\d+->`), ""},
	{regexp.MustCompile(`\b(\d+h)?(\d+m)?\d+\.\d+s\b`), "…"},
}

// AddCause counts a cause of a run.
func AddCause(causes []Cause, c Cause) []Cause {
	for i := range causes {
		if causes[i].alike(c) {
			causes[i].Targets += c.Targets
			return causes
		}
	}
	return append(causes, c)
}

func (c Cause) alike(o Cause) bool {
	return c.State == o.State && c.Reason == o.Reason &&
		(c.Hint == o.Hint || HintPattern(c.Hint) == HintPattern(o.Hint)) &&
		ErrorPattern(c.Reason, c.Error) == ErrorPattern(o.Reason, o.Error)
}

// ErrorPattern is an error without the names of the target and of resources, if different errors share the reason and
// the hint; else "".
func ErrorPattern(reason record.Reason, text string) string {
	switch reason {
	case record.Other, record.ServiceError, record.BadRequest:
		return nameWithDigit.ReplaceAllString(targetOfError.ReplaceAllString(general(text), ""), "…")
	}
	return ""
}

var (
	targetOfError = regexp.MustCompile(`^list \S+ in \S+: `)
	nameWithDigit = regexp.MustCompile(`\S*\d\S*`)
)

// HintPattern is a hint without the names of actions, which differ between kinds that are denied alike, and without
// ARNs, which differ between accounts that lack the same role.
func HintPattern(hint string) string {
	return arn.ReplaceAllString(actionName.ReplaceAllString(hint, "$1:…"), "arn:…")
}

var (
	actionName = regexp.MustCompile(`\b([a-z][a-z0-9]+):[A-Z][A-Za-z]+`)
	arn        = regexp.MustCompile(`\barn:[^\s,;]+`)
)

// LimitCauses sorts causes, those of most targets first, and counts what is over MaxCauses in the last one.
func LimitCauses(causes []Cause) []Cause {
	slices.SortStableFunc(causes, func(a, b Cause) int {
		return cmp.Or(
			cmp.Compare(b.Targets, a.Targets), cmp.Compare(a.State, b.State),
			cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Hint, b.Hint),
		)
	})
	if len(causes) <= MaxCauses {
		return causes
	}
	other := Cause{State: OtherCauses}
	for _, c := range causes[MaxCauses-1:] {
		other.Targets += c.Targets
	}
	return append(causes[:MaxCauses-1:MaxCauses-1], other)
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
	Before   string    // only runs with a lower id; "": all
	Limit    int
}

// A SignIn is how an account signed in last. It holds no secret. If the last attempt failed, all but Checked, Error and
// Hint is of the last one that succeeded.
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
	// LastRuns yields the last run of each of these accounts that began and has ended.
	LastRuns(ctx context.Context, accounts []string) iter.Seq2[Run, error]
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
	// InterruptRuns ends the runs that a dead process left running, and returns their number. If only one process writes,
	// every running run from before its start is one. If several write, it ends none: their engine knows which ones are
	// dead.
	InterruptRuns(ctx context.Context, start time.Time) (int, error)
	// PutSignIn replaces the sign-in of an account. One with an error replaces only Checked, Error and Hint.
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
	s.Error, s.Hint = general(s.Error), general(s.Hint)
	return i.writeRun(ctx, "a sign-in", func() error { return i.driver.PutSignIn(ctx, s) })
}

// InterruptRuns ends the runs that a dead process left running.
func (i *Inventory) InterruptRuns(ctx context.Context, start time.Time) (n int, err error) {
	err = i.writeRun(ctx, "interrupted runs", func() (err error) {
		n, err = i.driver.InterruptRuns(ctx, start)
		return err
	})
	return n, err
}

func (i *Inventory) writeRun(ctx context.Context, what string, write func() error) error {
	err := write()
	switch {
	case err == nil:
		i.health.writeSucceeded()
		return nil
	case errors.Is(err, context.Canceled):
		return err
	}
	err = fmt.Errorf("store: write %s: %w", what, err)
	i.health.runWriteFailed(err)
	return err
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

func (w *watchdog) InterruptRuns(ctx context.Context, start time.Time) (int, error) {
	var n int
	err := w.call(ctx, true, func(ctx context.Context) error {
		ended, err := w.Driver.InterruptRuns(ctx, start)
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

func (w *watchdog) LastRuns(ctx context.Context, accounts []string) iter.Seq2[Run, error] {
	return readRows(ctx, w, func(ctx context.Context) iter.Seq2[Run, error] { return w.Driver.LastRuns(ctx, accounts) })
}

func (w *watchdog) SignIns(ctx context.Context) iter.Seq2[SignIn, error] {
	return readRows(ctx, w, w.Driver.SignIns)
}
