package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

// An account is an account of the configuration, or an organization, whose runs list members.
type account struct {
	Account      string            `json:"account"`
	AccountID    string            `json:"account_id"`
	Partition    string            `json:"partition"`
	Organization bool              `json:"organization"`
	Tags         map[string]string `json:"extra_tags"`
	Kinds        int               `json:"kinds"` // configured
	Regions      []string          `json:"regions"`
	Disabled     []string          `json:"disabled_regions"` // configured and not enabled
	Warning      string            `json:"warning"`          // a problem with finding the regions
	SignIn       *signIn           `json:"sign_in"`          // null: it never tried to sign in
	Next         *time.Time        `json:"next_run"`
	Paused       *runner.Directive `json:"paused"` // null: its schedule applies
	Running      []query.RunLine   `json:"running"`
	Last         *query.RunLine    `json:"last_run"`
	Missed       map[string]int    `json:"missed"`      // ticks without a run since the start, by reason
	Undelivered  map[string]int    `json:"undelivered"` // targets for which an output or the store failed, by its name
}

// A signIn is how an account signed in last.
type signIn struct {
	ARN     string     `json:"arn"`
	Path    string     `json:"path"`
	Expires *time.Time `json:"expires"` // when a person must renew the session; null: never
	Checked *time.Time `json:"checked"`
	Error   string     `json:"error"` // of the last attempt; "" if it succeeded
	Hint    string     `json:"hint"`
}

// accountDetails are an account, what it cannot list and its last runs.
type accountDetails struct {
	account
	Problems []query.CoverageLine `json:"problems"`
	Runs     []query.RunLine      `json:"runs"`
}

// detailedRuns is the number of runs of one account.
const detailedRuns = 20

func (a *API) accounts(w http.ResponseWriter, r *request) error {
	signIns, err := a.signIns(r.Context())
	if err != nil {
		return err
	}
	tags := a.o.Accounts().Tags
	var all []account
	for info := range a.o.Board.Accounts() {
		if line := newAccount(info, signIns, tags, r.question.Now); query.MatchesAccount(
			r.question.Accounts, line.Account, line.AccountID,
		) {
			all = append(all, line)
		}
	}
	return writeJSON(w, pageOf(r, all, func(a account) []string { return []string{a.Account} }))
}

func (a *API) signIns(ctx context.Context) (map[string]inventory.SignIn, error) {
	all := map[string]inventory.SignIn{}
	for in, err := range a.source.SignIns(ctx) {
		if err != nil {
			return nil, err
		}
		all[in.Account] = in
	}
	return all, nil
}

func newAccount(
	info board.AccountInfo, signIns map[string]inventory.SignIn, tags map[string]map[string]string, now time.Time,
) account {
	line := account{
		Account: info.Name, AccountID: info.Identity.AccountID, Partition: info.Identity.Partition,
		Organization: info.Task, Tags: orEmpty(tags[info.Name]), Kinds: len(info.Kinds),
		Regions: orNone(info.Regions), Disabled: orNone(info.Disabled),
		Next: query.NullIfZero(info.Next), Paused: info.Paused,
		Running: []query.RunLine{}, Missed: orEmpty(info.Missed), Undelivered: orEmpty(info.Undelivered),
	}
	if info.Warning != nil {
		line.Warning = info.Warning.Error()
	}
	if in, ok := signIns[info.Name]; ok {
		line.SignIn = &signIn{
			ARN: in.ARN, Path: in.Path, Expires: query.NullIfZero(in.Expires), Checked: query.NullIfZero(in.Checked),
			Error: in.Error, Hint: in.Hint,
		}
		if line.AccountID == "" {
			line.AccountID, line.Partition = in.AccountID, in.Partition
		}
	}
	for _, run := range info.Running {
		line.Running = append(line.Running, query.NewRunLine(query.RunOf(info.Name, run), now))
	}
	if info.Last.Run != "" {
		last := query.NewRunLine(query.RunOf(info.Name, info.Last), now)
		line.Last = &last
	}
	return line
}

func orEmpty[V any](m map[string]V) map[string]V {
	if m == nil {
		return map[string]V{}
	}
	return m
}

func orNone(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func (a *API) account(w http.ResponseWriter, r *request) error {
	name := r.PathValue("name")
	info, ok := a.o.Board.Account(name)
	if !ok {
		return problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("no account has the name %.200q", name),
			Hint: "See " + Prefix + "accounts for all accounts."}
	}
	signIns, err := a.signIns(r.Context())
	if err != nil {
		return err
	}
	accounts := a.o.Accounts()
	out := accountDetails{
		account:  newAccount(info, signIns, accounts.Tags, r.question.Now),
		Problems: []query.CoverageLine{}, Runs: []query.RunLine{},
	}
	lines, _, err := a.coverageLines(r.Context())
	if err != nil {
		return err
	}
	for i := range lines {
		if lines[i].Account == name && lines[i].IsProblem() {
			out.Problems = append(out.Problems, lines[i])
		}
	}
	runs := inventory.RunQuery{Accounts: []string{name}, Limit: detailedRuns}
	for run, err := range a.source.Runs(r.Context(), runs) {
		if err != nil {
			return err
		}
		out.Runs = append(out.Runs, query.NewRunLine(run, r.question.Now))
	}
	return writeJSON(w, out)
}

func (a *API) runs(w http.ResponseWriter, r *request) error {
	runs, err := r.question.Runs(r.Context(), a.source)
	if err != nil {
		return err
	}
	if key, err := r.key(1); err != nil {
		return err
	} else if key != nil {
		runs.Before = key[0]
	}
	runs.Limit++
	var lines []query.RunLine
	for run, err := range a.source.Runs(r.Context(), runs) {
		if err != nil {
			return err
		}
		lines = append(lines, query.NewRunLine(run, r.question.Now))
	}
	return writeJSON(w, newSet(r, lines, func(l query.RunLine) cursor { return cursor{Key: []string{l.Run}} }))
}

func (a *API) run(w http.ResponseWriter, r *request) error {
	id := r.PathValue("run")
	for run, err := range a.source.Runs(r.Context(), inventory.RunQuery{IDs: []string{id}}) {
		if err != nil {
			return err
		}
		return writeJSON(w, query.NewRunLine(run, r.question.Now))
	}
	if a.o.Acts != nil {
		if waiting, ok := a.o.Acts.Waiting(id); ok {
			return writeJSON(w, query.NewRunLine(waiting, r.question.Now))
		}
	}
	return problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("no run with the id %.100q is stored", id),
		Hint: "See " + Prefix + "runs for the stored runs."}
}

// kinds serves the catalogue, which a client may keep.
func (a *API) kinds(w http.ResponseWriter, r *request) error {
	writeCacheable(w, r, query.JSONLine(catalogue{a.o.Kinds}))
	return nil
}

type catalogue struct {
	Items []query.KindLine `json:"items"`
}

// A Status is the state of the program.
type Status struct {
	Version  string         `json:"version"`
	Started  time.Time      `json:"started"`
	Ready    bool           `json:"ready"`
	NotReady []string       `json:"not_ready"` // why it is not
	Engine   EngineStatus   `json:"engine"`
	Store    StoreStatus    `json:"store"`
	Outputs  []OutputStatus `json:"outputs"`
}

// An EngineStatus is what starts runs, and the work in progress.
type EngineStatus struct {
	Type     string `json:"type"`
	Accounts int    `json:"accounts"`
	Running  int    `json:"running"`  // runs
	Listings int    `json:"listings"` // targets that are being listed
}

// A StoreStatus says whether store writes work.
type StoreStatus struct {
	Type      string     `json:"type"` // sqlite, postgres or none
	Error     string     `json:"error"`
	Hint      string     `json:"hint"`
	Since     *time.Time `json:"since"`      // when writes began to fail
	NotStored int        `json:"not_stored"` // ends of targets that were not stored since the start
}

// An OutputStatus is the state of an output.
type OutputStatus struct {
	Name    string       `json:"name"`
	Type    string       `json:"type"`
	Up      bool         `json:"up"`
	Ready   bool         `json:"ready"` // it loses no record and delays nobody
	Error   string       `json:"error"`
	Hint    string       `json:"hint"`
	Since   *time.Time   `json:"since"` // when it began to work, or to fail
	Records int          `json:"records"`
	Lost    int          `json:"lost"`
	Errors  int          `json:"errors"`
	Spool   *SpoolStatus `json:"spool"` // null: it has none
}

// A SpoolStatus is what waits for a receiver.
type SpoolStatus struct {
	Records     int        `json:"records"`
	Bytes       int64      `json:"bytes"`
	Oldest      *time.Time `json:"oldest"`
	Full        bool       `json:"full"`
	Dropped     int        `json:"dropped"`
	DeadLetters int        `json:"dead_letters"`
	Retries     int        `json:"retries"`
}

// status serves what the program says of itself, and the work that the board shows.
func (a *API) status(w http.ResponseWriter, _ *request) error {
	s := a.o.Status()
	if s.NotReady == nil {
		s.NotReady = []string{}
	}
	if s.Outputs == nil {
		s.Outputs = []OutputStatus{}
	}
	s.Ready, s.Engine.Listings = len(s.NotReady) == 0, len(a.o.Board.Listings())
	for info := range a.o.Board.Accounts() {
		s.Engine.Running += len(info.Running)
		if !info.Task {
			s.Engine.Accounts++
		}
	}
	return writeJSON(w, s)
}
