// Package act does what people ask of a running collector: start and cancel runs of an account, pause and resume it,
// check it, give it an MFA code, and acknowledge its failures. The API and the page call it with who asks; package web
// decides who may. Each act is logged.
package act

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

// An Engine is the part of a [runner.Engine] that people use.
type Engine interface {
	Start(ctx context.Context, account string) (run string, err error)
	Cancel(ctx context.Context, account string, cause error) (runs []string, err error)
}

// Options configure Acts.
type Options struct {
	Engine     Engine
	Board      *board.Board
	Directives *runner.Directives
	// Check checks the sign-in and the permissions of an account, as the command does, and returns its result as JSON.
	Check func(ctx context.Context, account string) (map[string]any, error)
	// Login begins an MFA session of an account with a code.
	Login func(ctx context.Context, account, code string) (Session, error)
	Log   *slog.Logger // nil: no log
}

// Acts are what people may do. They are safe for concurrent use.
type Acts struct {
	o Options

	mu       sync.Mutex
	checking map[string]bool // accounts that are being checked
	started  []inventory.Run // the last runs that somebody started, until they begin
}

// New returns Acts.
func New(o Options) *Acts {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Acts{o: o, checking: map[string]bool{}}
}

// A Started is a run that somebody started.
type Started struct {
	Run string `json:"run"`
}

// A Cancelled are the runs that somebody cancelled. They end soon.
type Cancelled struct {
	Runs []string `json:"runs"`
}

// A PauseState says whether an account is paused.
type PauseState struct {
	Account string            `json:"account"`
	Paused  *runner.Directive `json:"paused"` // null: its schedule applies
}

// A Session is an MFA session that somebody began.
type Session struct {
	Account string    `json:"account"`
	Device  string    `json:"device"`
	Expires time.Time `json:"expires"`
	ARN     string    `json:"arn"` // as whom the account signed in with it
}

// A Failure names what somebody acknowledges.
type Failure struct {
	Reason record.Reason `json:"reason"`
	Region string        `json:"region,omitempty"` // "": all
	Kind   string        `json:"kind,omitempty"`   // "": all
	Note   string        `json:"note,omitempty"`
}

// An Error is why an act was refused, with a status of HTTP.
type Error struct {
	Status int
	Hint   string
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

func refuse(status int, hint, format string, args ...any) error {
	return &Error{status, hint, fmt.Errorf(format, args...)}
}

// The limits of acts.
const (
	maxNote      = 200 // characters
	maxStarted   = 200 // runs that are known before they begin
	checkTimeout = 50 * time.Second
)

// Start starts a run of an account now, by its overlap rule. It does not matter whether the account is paused.
func (a *Acts) Start(ctx context.Context, who, account string) (s Started, err error) {
	defer func() { a.log("start", who, account, err, "run", s.Run) }()
	if err := a.known(account); err != nil {
		return Started{}, err
	}
	run, err := a.o.Engine.Start(ctx, account)
	if err != nil {
		return Started{}, engineError(err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.started) == maxStarted {
		a.started = a.started[1:]
	}
	a.started = append(a.started, inventory.Run{
		ID: run, Account: account, Tick: time.Now().UTC(), Ticks: 1, Status: record.RunRunning,
		Targets: map[record.State]int{},
	})
	return Started{run}, nil
}

// Waiting returns a run that somebody started, until the store has it. It is in progress, and has no start before it
// begins.
func (a *Acts) Waiting(run string) (inventory.Run, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.started, func(r inventory.Run) bool { return r.ID == run })
	if i < 0 {
		return inventory.Run{}, false
	}
	waiting := a.started[i]
	info, _ := a.o.Board.Account(waiting.Account)
	if info.Last.Run >= run { // it has ended, or a later one has: ids are in the order of time
		a.started = slices.Delete(a.started, i, i+1)
		return inventory.Run{}, false
	}
	for _, r := range info.Running {
		if r.Run == run {
			waiting.Started = r.Started
		}
	}
	return waiting, true
}

// Cancel cancels the runs of an account that are in progress or wait. Their targets end as interrupted.
func (a *Acts) Cancel(ctx context.Context, who, account string) (c Cancelled, err error) {
	defer func() { a.log("cancel", who, account, err, "runs", strings.Join(c.Runs, " ")) }()
	if err := a.known(account); err != nil {
		return Cancelled{}, err
	}
	runs, err := a.o.Engine.Cancel(ctx, account, &record.Fault{
		Reason: record.Interrupted, Err: fmt.Errorf("the run was cancelled by %s", who),
		Hint: "Start the account again, or wait for its next run.",
	})
	switch {
	case err != nil:
		return Cancelled{}, engineError(err)
	case len(runs) == 0:
		return Cancelled{}, refuse(http.StatusConflict, "", "account %q: no run is in progress", account)
	}
	return Cancelled{runs}, nil
}

func engineError(err error) error {
	switch {
	case errors.Is(err, runner.ErrUnknownAccount):
		return refuse(http.StatusNotFound, "", "%w", err)
	case errors.Is(err, runner.ErrBusy):
		return refuse(http.StatusConflict, "Wait for the end of the run, or cancel it.", "%w", err)
	case errors.Is(err, runner.ErrNotRunning):
		return refuse(http.StatusServiceUnavailable, "Try again when the collector has started.", "%w", err)
	}
	return err
}

// Pause pauses the schedule of an account until Resume, also over restarts.
func (a *Acts) Pause(who, account, note string) (s PauseState, err error) {
	defer func() { a.log("pause", who, account, err, "note", note) }()
	if err := errors.Join(a.known(account), checkNote(note)); err != nil {
		return PauseState{}, err
	}
	err = a.o.Directives.Pause(account, runner.Directive{By: who, At: time.Now().UTC(), Note: note})
	a.o.Board.Observe(runner.DirectivesChanged{Account: account})
	return PauseState{account, a.o.Directives.Paused(account)}, err
}

// Resume lets the schedule of an account apply again.
func (a *Acts) Resume(who, account string) (s PauseState, err error) {
	defer func() { a.log("resume", who, account, err) }()
	if err := a.known(account); err != nil {
		return PauseState{}, err
	}
	err = a.o.Directives.Resume(account)
	a.o.Board.Observe(runner.DirectivesChanged{Account: account})
	return PauseState{account, a.o.Directives.Paused(account)}, err
}

// Check signs in to an account and checks its permissions. One check of an account runs at a time.
func (a *Acts) Check(ctx context.Context, who, account string) (result map[string]any, err error) {
	defer func() { a.log("check", who, account, err, "status", result["status"]) }()
	if err := a.known(account); err != nil {
		return nil, err
	}
	a.mu.Lock()
	busy := a.checking[account]
	a.checking[account] = true
	a.mu.Unlock()
	if busy {
		return nil, refuse(http.StatusConflict, "Wait for its result.",
			"account %q: a check is already in progress", account)
	}
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.checking, account)
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, checkTimeout, &record.Fault{
		Reason: record.TimedOut, Err: fmt.Errorf("the check of the account took longer than %s", checkTimeout),
		Hint: "Run `collector check --account NAME`, which waits longer.",
	})
	defer cancel()
	return a.o.Check(ctx, account)
}

// MFA begins an MFA session of an account with a code, which is neither logged nor kept.
func (a *Acts) MFA(ctx context.Context, who, account, code string) (s Session, err error) {
	defer func() { a.log("mfa", who, account, err, "device", s.Device, "expires", s.Expires) }()
	if err := a.known(account); err != nil {
		return Session{}, err
	}
	if code = strings.TrimSpace(code); len(code) != 6 || strings.Trim(code, "0123456789") != "" {
		return Session{}, refuse(http.StatusBadRequest, "Send the code that the device shows now.",
			"a code has 6 digits, got %d characters", utf8.RuneCountInString(code))
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if s, err = a.o.Login(ctx, account, code); err != nil {
		return s, &Error{http.StatusUnprocessableEntity, record.HintOf(err), err}
	}
	return s, nil
}

// Acknowledge says that people know of a failure of an account, until it changes.
func (a *Acts) Acknowledge(who, account string, f Failure) (ack runner.Acknowledgement, err error) {
	defer func() {
		a.log("acknowledge", who, account, err, "region", f.Region, "kind", f.Kind, "reason", f.Reason, "note", f.Note)
	}()
	if err := errors.Join(a.known(account), checkNote(f.Note)); err != nil {
		return ack, err
	}
	ack = runner.Acknowledgement{
		Account: account, Region: f.Region, Kind: f.Kind, Reason: f.Reason,
		Directive: runner.Directive{By: who, At: time.Now().UTC(), Note: f.Note},
	}
	reasons := map[record.Reason]bool{}
	var failing []board.TargetInfo
	for t := range a.o.Board.TargetsOf(account) {
		if t.Failed() {
			failing = append(failing, t)
			reasons[t.Reason] = true
		}
	}
	short := func(t board.TargetInfo) bool { return t.Kind == "ec2_"+f.Kind }
	if slices.ContainsFunc(failing, short) { // people write kinds without the service
		ack.Kind = "ec2_" + f.Kind
	}
	stands := func(k *runner.Acknowledgement) bool {
		return slices.ContainsFunc(failing, func(t board.TargetInfo) bool { return k.Covers(&t.Outcome, t.LastSuccess) })
	}
	if !stands(&ack) {
		hint := "No listing of the account fails."
		if len(reasons) > 0 {
			var names []string
			for _, r := range slices.Sorted(maps.Keys(reasons)) {
				names = append(names, string(r))
			}
			hint = "Its listings fail with: " + strings.Join(names, ", ") + "."
		}
		return ack, refuse(http.StatusNotFound, hint,
			"account %q: no listing fails for this reason in this region and kind", account)
	}
	err = a.o.Directives.Acknowledge(ack, func(old *runner.Acknowledgement) bool { return !stands(old) })
	a.o.Board.Observe(runner.DirectivesChanged{Account: account})
	return ack, err
}

// known refuses an account that the configuration does not have.
func (a *Acts) known(account string) error {
	if _, ok := a.o.Board.Account(account); !ok {
		return refuse(http.StatusNotFound, "See the accounts of the coverage page, or of /api/v1/accounts.",
			"no account has the name %.200q", account)
	}
	return nil
}

func checkNote(note string) error {
	if n := utf8.RuneCountInString(note); n > maxNote || !utf8.ValidString(note) {
		return refuse(http.StatusBadRequest, fmt.Sprintf("Write at most %d characters.", maxNote),
			"the note has %d characters, or is not text in UTF-8", n)
	}
	return nil
}

// log logs an act with its result.
func (a *Acts) log(verb, who, account string, err error, attrs ...any) {
	attrs = append([]any{"act", verb, "by", who, "account", account}, attrs...)
	if err != nil {
		a.o.Log.Warn("act refused or failed", append(attrs, "error", err, "hint", HintOf(err))...)
		return
	}
	a.o.Log.Info("act done", attrs...)
}

// StatusOf returns the status of HTTP for the error of an act.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return http.StatusInternalServerError
}

// HintOf returns what to do about the error of an act.
func HintOf(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Hint != "" {
		return e.Hint
	}
	return record.HintOf(err)
}
