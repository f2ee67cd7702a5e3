package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// neverListed is the state of an account or region that the configuration names and the store does not have.
const neverListed record.State = "never_listed"

// regionStatus is an account and region, as the formats json and jsonl have it. Programs rely on its format.
type regionStatus struct {
	Account       string        `json:"account"`
	AccountID     string        `json:"account_id"`
	Region        string        `json:"region"` // "": the regions of the account are not known
	State         record.State  `json:"state"`  // the worst of its kinds
	Since         *time.Time    `json:"since"`  // when it entered its state; null: not known
	LastComplete  *time.Time    `json:"last_complete"`
	Age           *int64        `json:"age_seconds"`     // of last_complete
	NeverComplete int           `json:"never_complete"`  // kinds without any complete listing
	Overdue       int64         `json:"overdue_seconds"` // 0: it is not overdue
	Targets       targetCounts  `json:"targets"`
	Resources     int           `json:"resources"`
	Kind          string        `json:"kind"` // a kind in the worst state, whose reason, error and hint follow
	Reason        record.Reason `json:"reason"`
	Error         string        `json:"error"`
	Hint          string        `json:"hint"`
	SignIn        *failedSignIn `json:"sign_in,omitempty"` // of the account, if its last one failed
}

// failedSignIn is why an account could not sign in, and as what it signed in before.
type failedSignIn struct {
	ARN     string     `json:"arn"`
	Path    string     `json:"path"`
	Expires *time.Time `json:"expires"`
	Checked *time.Time `json:"checked"`
	Error   string     `json:"error"`
	Hint    string     `json:"hint"`
}

// isProblem reports whether a person should look at it.
func (r *regionStatus) isProblem() bool {
	return r.State == neverListed || r.Targets.Failed > 0 || r.NeverComplete > 0 || r.Overdue > 0 || r.SignIn != nil
}

func (c *cli) statusCommand() *cobra.Command {
	var q queryFlags
	var problems bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the state of every account and region, and what is overdue",
		Long: `Shows each account and region: the worst state of its kinds and since when, how long ago the kind that waits
longest was listed completely, for how long a kind is overdue by its own schedule, how many targets are ok and failed,
and why. Accounts and regions that the configuration names and no run has tried are never_listed. Accounts that the
configuration no longer names are shown until their resources have ended.

A region that is not enabled and a denial that expect_denied names are no failures and are never overdue. A kind is not
overdue while a run of its account is in progress, up to the account's timeout.

The formats json, jsonl and csv also have the error. The command makes no AWS calls, and it also works while a collector
runs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := validateFormat(q.format); err != nil {
				return err
			}
			return c.status(cmd.Context(), q, problems)
		},
	}
	q.addAccountFlags(cmd)
	q.addRegionFlag(cmd)
	cmd.Flags().BoolVar(&problems, "problems", false, "only what failed, is overdue or was never listed")
	return cmd
}

func (c *cli) status(ctx context.Context, q queryFlags, problems bool) error {
	p, err := c.locateStore(ctx)
	if err != nil {
		return err
	}
	return p.read(ctx, func(store inventory.Store) error {
		s := newStatusReport(q)
		if err := s.readRuns(ctx, store); err != nil {
			return err
		}
		if err := c.configureStatus(ctx, s, p.dataDir); err != nil {
			fmt.Fprintf(c.stderr, "warning: %s\n", errorText(err))
		}
		if err := s.readTargets(ctx, store); err != nil {
			return err
		}
		if err := s.addNeverListed(ctx, store); err != nil {
			return err
		}
		slices.SortStableFunc(s.rows, func(a, b regionStatus) int {
			return cmp.Or(
				cmp.Compare(a.Account, b.Account), cmp.Compare(a.AccountID, b.AccountID), cmp.Compare(a.Region, b.Region),
			)
		})
		all := len(s.rows)
		if problems {
			s.rows = slices.DeleteFunc(s.rows, func(r regionStatus) bool { return !r.isProblem() })
		}
		switch {
		case all == 0:
			fmt.Fprintln(c.stderr, "no account and region matches")
		case len(s.rows) == 0:
			fmt.Fprintf(c.stderr, "no problem in %d accounts and regions\n", all)
		}
		return s.print(c.out(q.format), q.format)
	})
}

// A statusReport makes the rows of the command from what the store and the configuration say.
type statusReport struct {
	now               time.Time
	accounts, regions []string // --account, --region

	configuration *runner.Configuration // nil: not known
	calendar      *runner.Calendar
	members       map[string]record.Identity // members of organizations, by name
	unlisted      []string                   // organizations whose members are not known
	running       map[string]bool            // accounts with a run in progress
	signIns       map[string]inventory.SignIn

	listed map[string]map[string]bool // regions in the store, by account
	rows   []regionStatus
}

func newStatusReport(q queryFlags) *statusReport {
	return &statusReport{
		now: q.now, accounts: q.accounts, regions: q.regions, calendar: runner.NewCalendar(nil),
		running: map[string]bool{}, signIns: map[string]inventory.SignIn{}, listed: map[string]map[string]bool{},
	}
}

// readRuns reads which accounts have a run in progress, and how each account signed in.
func (s *statusReport) readRuns(ctx context.Context, store inventory.Store) error {
	query := inventory.RunQuery{Statuses: []record.Status{record.RunRunning}}
	for r, err := range store.Runs(ctx, query) {
		if err != nil {
			return err
		}
		s.running[r.Account] = true
	}
	for in, err := range store.SignIns(ctx) {
		if err != nil {
			return err
		}
		s.signIns[in.Account] = in
	}
	return nil
}

// configureStatus reads the configuration, which has the schedules, and the members of organizations as the collector
// saved them. Its error is a warning: the command also answers where the secrets of the collector are not at hand.
func (c *cli) configureStatus(ctx context.Context, s *statusReport, dataDir string) error {
	unknown := func(err error) error {
		return fmt.Errorf("what is overdue or was never listed is not known: %w", err)
	}
	b, _, err := c.configText(ctx)
	if err != nil {
		return unknown(err)
	}
	f, err := config.Parse(b, c.configName(), knownNames())
	if err != nil {
		return unknown(err)
	}
	unresolved := f.Resolve(c.lookupEnv, referenceReader(ctx))
	members := accounts.NewDirectory(nil, accounts.MembersPath(dataDir), slog.New(slog.DiscardHandler))
	defer members.Close()
	identities := map[string]record.Identity{}
	for name, in := range s.signIns {
		if in.AccountID != "" {
			identities[name] = record.Identity{AccountID: in.AccountID, Partition: in.Partition}
		}
	}
	set := members.Resolve(f, identities)
	p := &program{cli: c, opt: runOptions{dryRun: true}, members: members}
	built, _, err := p.buildConfiguration(ctx, f, set)
	if err != nil {
		return unknown(errors.Join(unresolved, err))
	}
	s.configuration, s.calendar, s.members = built, runner.NewCalendar(built), set.Identities
	if unresolved != nil {
		return unresolvedWarning(f, unresolved)
	}
	s.unlisted = set.Unlisted
	return nil
}

// unresolvedWarning is the warning about references without a value, or nil if the names of all accounts are written in
// the file. Names that the program makes, and organizations, depend on how a block signs in.
func unresolvedWarning(f *config.File, err error) error {
	if len(f.FormerNames)+len(f.Organizations) == 0 {
		return nil
	}
	if ps := config.Problems(nil); errors.As(err, &ps) && len(ps) > 1 {
		err = fmt.Errorf("%w; and %d more", ps[0], len(ps)-1)
	}
	return fmt.Errorf("names and members may be wrong, because references have no value here: %w", err)
}

// readTargets adds the accounts and regions of the store. Its targets come ordered by account.
func (s *statusReport) readTargets(ctx context.Context, store inventory.Store) error {
	var account []inventory.Coverage
	for t, err := range store.Targets(ctx) {
		if err != nil {
			return err
		}
		if !t.Retired.IsZero() || t.State == "" { // its first listing has not ended
			continue
		}
		if len(account) > 0 && account[0].Account != t.Account {
			s.addAccount(account)
			account = account[:0]
		}
		account = append(account, t)
	}
	s.addAccount(account)
	return nil
}

// addAccount adds the targets of an account's name. A block that moved to another AWS account has two for a while.
func (s *statusReport) addAccount(targets []inventory.Coverage) {
	ids := map[string]map[string][]inventory.Coverage{} // by account id and region
	for _, t := range targets {
		if ids[t.AccountID] == nil {
			ids[t.AccountID] = map[string][]inventory.Coverage{}
		}
		ids[t.AccountID][t.Region] = append(ids[t.AccountID][t.Region], t)
		if s.listed[t.Account] == nil {
			s.listed[t.Account] = map[string]bool{}
		}
		s.listed[t.Account][t.Region] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		markUnusable(ids[id])
		for _, region := range slices.Sorted(maps.Keys(ids[id])) {
			s.addRow(s.regionStatus(ids[id][region]))
		}
	}
}

// markUnusable makes the targets of an account failures if none of its regions can be listed, as the end of a run does:
// the store has only their states.
func markUnusable(regions map[string][]inventory.Coverage) {
	for _, targets := range regions {
		if slices.ContainsFunc(targets, func(t inventory.Coverage) bool { return provesUsable(t.Outcome) }) {
			return
		}
	}
	for _, targets := range regions {
		for i := range targets {
			targets[i].AccountUnusable = targets[i].State == record.RegionDisabled
		}
	}
}

// addRow adds a row that matches the flags. A row without a region is about all regions of its account.
func (s *statusReport) addRow(r regionStatus) {
	if !matchesAccount(s.accounts, r.Account, r.AccountID) || r.Region != "" && !config.Matches(s.regions, r.Region) {
		return
	}
	if in := s.signIns[r.Account]; in.Error != "" {
		r.SignIn = &failedSignIn{
			ARN: in.ARN, Path: in.Path, Expires: nullIfZero(in.Expires), Checked: nullIfZero(in.Checked),
			Error: in.Error, Hint: in.Hint,
		}
	}
	s.rows = append(s.rows, r)
}

// matchesAccount reports whether globs select an account by its name or its id. One that excludes it excludes both.
func matchesAccount(globs []string, name, id string) bool {
	var include, exclude []string
	for _, g := range globs {
		if strings.HasPrefix(g, "!") {
			exclude = append(exclude, g)
		} else {
			include = append(include, g)
		}
	}
	return config.Matches(exclude, name) && config.Matches(exclude, id) &&
		(config.Matches(include, name) || config.Matches(include, id))
}

// regionStatus sums up the targets of an account and region.
func (s *statusReport) regionStatus(targets []inventory.Coverage) regionStatus {
	worst := slices.MaxFunc(targets, func(a, b inventory.Coverage) int { return cmp.Compare(badness(a), badness(b)) })
	r := regionStatus{
		Account: worst.Account, AccountID: worst.AccountID, Region: worst.Region, State: worst.State,
		Since: nullIfZero(stateSince(targets, worst)),
	}
	if worst.State != record.OK {
		r.Kind, r.Reason, r.Error, r.Hint = worst.Kind, worst.Reason, worst.Error, worst.Hint
	}
	var oldest time.Time
	var overdue time.Duration
	for _, t := range targets {
		r.Resources += t.Resources
		switch {
		case t.State == record.OK:
			r.Targets.OK++
		case t.Failed():
			r.Targets.Failed++
		default:
			r.Targets.Other++
		}
		switch {
		case !t.CanComplete():
		case t.LastSeen.IsZero():
			r.NeverComplete++
		default:
			if oldest.IsZero() || t.LastSeen.Before(oldest) {
				oldest = t.LastSeen
			}
			overdue = max(overdue, s.overdue(t))
		}
	}
	if !oldest.IsZero() {
		age := int64(max(s.now.Sub(oldest), 0) / time.Second)
		r.LastComplete, r.Age = &oldest, &age
	}
	r.Overdue = int64((overdue + time.Second - 1) / time.Second)
	return r
}

// badness orders targets: failures, the later in [record.States] the worse; then what is ok, so that an expected denial
// does not hide it; then the others.
func badness(t inventory.Coverage) int {
	i := slices.Index(record.States[:], t.State)
	if t.Failed() {
		return len(record.States) + i
	}
	return -i
}

// stateSince is when a region entered the state of its worst target: when the first target failed so, or the last one
// became ok. Zero means that it is not known.
func stateSince(targets []inventory.Coverage, worst inventory.Coverage) time.Time {
	var entered []time.Time
	for _, t := range targets {
		if badness(t) == badness(worst) {
			entered = append(entered, t.StateSince)
		}
	}
	first, last := slices.MinFunc(entered, time.Time.Compare), slices.MaxFunc(entered, time.Time.Compare)
	if worst.State == record.OK && !first.IsZero() {
		return last
	}
	return first
}

// overdue is for how long a target should have been listed completely again, by the schedule of its kind.
func (s *statusReport) overdue(t inventory.Coverage) time.Duration {
	due := s.calendar.Due(t.Account, t.Kind, t.LastSeen)
	if due.IsZero() || !s.now.After(due) {
		return 0
	}
	late := s.now.Sub(due)
	if s.running[t.Account] && late < s.configuration.Account(t.Account).Timeout {
		return 0
	}
	return late
}

// addNeverListed adds the accounts and regions of the configuration that the store does not have.
func (s *statusReport) addNeverListed(ctx context.Context, store inventory.Store) error {
	var configured []*runner.Account
	if s.configuration != nil {
		configured = s.configuration.Accounts
	}
	lastRuns, err := s.lastRuns(ctx, store, configured)
	if err != nil {
		return err
	}
	for _, a := range configured {
		if isOrganization(a.Name) {
			continue // its runs list members
		}
		listed := s.listed[a.Name]
		row := s.unlistedRow(a.Name)
		if last, ok := lastRuns[a.Name]; ok && last.EndedAlike() {
			c := last.Causes[0] // all its targets ended so
			row.State, row.Kind, row.Reason, row.Error, row.Hint = c.State, c.Kind, c.Reason, c.Error, c.Hint
			row.Targets.Failed, row.NeverComplete = len(a.Kinds), len(a.Kinds)
		}
		if len(listed) == 0 && len(a.Regions) == 0 {
			s.addRow(row)
		}
		regional := slices.ContainsFunc(a.Kinds, func(k runner.Kind) bool { return !k.Global })
		for _, region := range a.Regions {
			if !listed[region] && (regional || len(listed) == 0) { // others are listed in the first region only
				row.Region = region
				s.addRow(row)
			}
		}
	}
	for _, label := range s.unlisted {
		s.addRow(s.unlistedRow(label))
	}
	return nil
}

func (s *statusReport) unlistedRow(account string) regionStatus {
	id := cmp.Or(s.members[account].AccountID, s.signIns[account].AccountID)
	return regionStatus{Account: account, AccountID: id, State: neverListed}
}

// lastRuns returns the last run of each account that has no targets in the store. An account that never signed in has
// none, because the store does not know its id; its runs say why.
func (s *statusReport) lastRuns(
	ctx context.Context, store inventory.Store, configured []*runner.Account,
) (map[string]inventory.Run, error) {
	var names []string
	for _, a := range configured {
		if len(s.listed[a.Name]) == 0 {
			names = append(names, a.Name)
		}
	}
	last := map[string]inventory.Run{}
	for r, err := range store.LastRuns(ctx, names) {
		if err != nil {
			return nil, err
		}
		last[r.Account] = r
	}
	return last, nil
}

func (s *statusReport) print(w io.Writer, format string) error {
	switch format {
	case "json":
		var array []any
		for _, r := range s.rows {
			array = append(array, r)
		}
		return printJSON(w, array)
	case "jsonl":
		for _, r := range s.rows {
			if _, err := w.Write(jsonLine(r)); err != nil {
				return err
			}
		}
		return nil
	}
	l := resultTable{columns: []string{
		"account", "region", "state", "since", "last_complete", "overdue", "ok", "failed", "reason", "hint",
	}}
	if format == "csv" {
		l.columns = []string{
			"account", "account_id", "region", "state", "since", "last_complete", "age_seconds", "never_complete",
			"overdue_seconds", "ok", "failed", "other", "resources", "kind", "reason", "error", "hint", "sign_in_error",
			"sign_in_hint",
		}
	}
	for _, r := range s.rows {
		row := r.row()
		if format == "table" {
			row["last_complete"] = r.lastComplete()
		}
		l.rows = append(l.rows, row)
	}
	if err := l.print(w, format); err != nil || format == "csv" {
		return err
	}
	return s.printSignIns(w)
}

// row is a row of a table or of CSV.
func (r *regionStatus) row() map[string]any {
	row := map[string]any{
		"account": r.Account, "account_id": r.AccountID, "region": r.Region, "state": string(r.State),
		"since": cellText(timeOrNil(r.Since)), "last_complete": cellText(timeOrNil(r.LastComplete)),
		"never_complete": r.NeverComplete, "overdue_seconds": r.Overdue, "ok": r.Targets.OK, "failed": r.Targets.Failed,
		"other": r.Targets.Other, "resources": r.Resources, "kind": r.Kind, "reason": string(r.Reason), "error": r.Error,
		"hint": r.Hint, "overdue": "",
	}
	if r.Age != nil {
		row["age_seconds"] = *r.Age
	}
	if r.Overdue > 0 {
		row["overdue"] = shortDuration(time.Duration(r.Overdue) * time.Second)
	}
	if r.SignIn != nil {
		row["sign_in_error"], row["sign_in_hint"] = r.SignIn.Error, r.SignIn.Hint
	}
	return row
}

// lastComplete says for people how long ago the region was listed completely.
func (r *regionStatus) lastComplete() string {
	if r.Age == nil {
		if r.NeverComplete > 0 || r.State == neverListed {
			return "never"
		}
		return ""
	}
	text := shortDuration(time.Duration(*r.Age)*time.Second) + " ago"
	if r.NeverComplete > 0 {
		text += fmt.Sprintf(", %d never", r.NeverComplete)
	}
	return text
}

// printSignIns prints why accounts could not sign in, once for each.
func (s *statusReport) printSignIns(w io.Writer) error {
	var errs []error
	last := ""
	for _, r := range s.rows {
		in := r.SignIn
		if in == nil || r.Account == last {
			continue
		}
		last = r.Account
		errs = append(errs, safeFprintf(w, "\n%s: sign-in failed", r.Account))
		if in.Checked != nil {
			errs = append(errs, safeFprintf(w, " at %s", cellText(*in.Checked)))
		}
		if identity := cmp.Or(in.ARN, r.AccountID); identity != "" {
			errs = append(errs, safeFprintf(w, ", last identity %s", identity))
		}
		if in.Expires != nil {
			errs = append(errs, safeFprintf(w, ", session expires %s", cellText(*in.Expires)))
		}
		errs = append(errs, safeFprintf(w, "\n  %s\n", in.Error))
		printHint(w, in.Hint)
	}
	return errors.Join(errs...)
}
