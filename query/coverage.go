package query

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// NeverListed is the state of an account or region that the configuration names and that no run has tried.
const NeverListed record.State = "never_listed"

// A CoverageLine is an account and region as JSON. Programs rely on its format.
type CoverageLine struct {
	Account       string        `json:"account"`
	AccountID     string        `json:"account_id"`
	Region        string        `json:"region"` // "": the regions of the account are not known
	State         record.State  `json:"state"`  // the worst of its kinds
	Since         *time.Time    `json:"since"`  // when it entered its state; null: not known
	LastComplete  *time.Time    `json:"last_complete"`
	Age           *int64        `json:"age_seconds"`      // of last_complete
	NeverComplete int           `json:"never_complete"`   // kinds without any complete listing
	Overdue       int64         `json:"overdue_seconds"`  // 0: it is not overdue
	Paused        bool          `json:"paused,omitempty"` // a person paused the account, so nothing of it is due
	Targets       TargetCounts  `json:"targets"`
	Resources     int           `json:"resources"`
	Kind          string        `json:"kind"` // a kind in the worst state, whose reason, error and hint follow
	Reason        record.Reason `json:"reason"`
	Error         string        `json:"error"`
	Hint          string        `json:"hint"`
	// Failed has the targets that failed; it is empty if the account could not be opened.
	Failed []FailedTarget `json:"failed"`
	SignIn *FailedSignIn  `json:"sign_in,omitempty"` // of the account, if its last one failed
}

// A FailedTarget is a kind that could not be listed.
type FailedTarget struct {
	Kind   string        `json:"kind"`
	State  record.State  `json:"state"`
	Reason record.Reason `json:"reason"`
	Hint   string        `json:"hint"`
	Since  *time.Time    `json:"since"`
	// Acknowledged says who knows of the failure; absent: nobody.
	Acknowledged *runner.Acknowledgement `json:"acknowledged,omitempty"`

	// What the page groups failures by.
	Outcome      record.Outcome `json:"-"`
	LastComplete time.Time      `json:"-"` // zero: never
	Resources    int            `json:"-"` // of the last complete listing
}

// A FailedSignIn is why an account could not sign in, and as what it signed in before.
type FailedSignIn struct {
	ARN     string     `json:"arn"`
	Path    string     `json:"path"`
	Expires *time.Time `json:"expires"`
	Checked *time.Time `json:"checked"`
	Error   string     `json:"error"`
	Hint    string     `json:"hint"`
}

// TargetCounts is the number of targets by what their states mean.
type TargetCounts struct {
	OK     int `json:"ok"`
	Failed int `json:"failed"`
	Other  int `json:"other"` // no failure and not listed, such as an expected denial

	Acknowledged int `json:"acknowledged,omitempty"` // of the failed
}

// CountTargets counts the targets of a run.
func CountTargets(r inventory.Run) TargetCounts {
	n := TargetCounts{OK: r.Targets[record.OK], Failed: r.Failed, Other: -r.Targets[record.OK] - r.Failed}
	for _, targets := range r.Targets {
		n.Other += targets
	}
	return n
}

// IsProblem reports whether a person should look at it.
func (r *CoverageLine) IsProblem() bool {
	return r.State == NeverListed || r.Targets.Failed > 0 || r.NeverComplete > 0 || r.Overdue > 0 || r.SignIn != nil
}

// A Source has the last state of each target, ordered by account, and the runs and sign-ins.
type Source interface {
	Targets(ctx context.Context) iter.Seq2[inventory.Coverage, error]
	inventory.RunReader
}

// Accounts is what the configuration says about accounts.
type Accounts struct {
	Configuration *runner.Configuration      // nil: not known
	Members       map[string]record.Identity // members of organizations, by name
	Unlisted      []string                   // organizations whose members are not known
	Tags          map[string]map[string]string
}

// A Coverage computes the state of each account and region: the worst of its kinds, how long ago all were listed
// completely, what is overdue by the account's own schedules, and why.
type Coverage struct {
	SignIns map[string]inventory.SignIn // by account

	now        time.Time
	kinds      Catalogue
	source     Source
	accounts   Accounts
	calendar   *runner.Calendar
	directives *runner.Directives
	running    map[string]bool            // accounts with a run in progress
	listed     map[string]map[string]bool // regions in the store, by account
	lines      []CoverageLine
}

// NewCoverage reads which accounts have a run in progress, and how each account signed in.
func NewCoverage(ctx context.Context, source Source, now time.Time, kinds Catalogue) (*Coverage, error) {
	c := &Coverage{
		SignIns: map[string]inventory.SignIn{}, now: now, kinds: kinds, source: source,
		running: map[string]bool{}, listed: map[string]map[string]bool{},
	}
	for r, err := range source.Runs(ctx, inventory.RunQuery{Statuses: []record.Status{record.RunRunning}}) {
		if err != nil {
			return nil, err
		}
		c.running[r.Account] = true
	}
	for in, err := range source.SignIns(ctx) {
		if err != nil {
			return nil, err
		}
		c.SignIns[in.Account] = in
	}
	return c, nil
}

// Lines returns the accounts and regions, by account, account id and region.
func (c *Coverage) Lines(ctx context.Context, a Accounts) ([]CoverageLine, error) {
	c.accounts, c.calendar = a, runner.NewCalendar(a.Configuration)
	if a.Configuration != nil {
		c.directives = a.Configuration.Directives
	}
	if err := c.readTargets(ctx); err != nil {
		return nil, err
	}
	if err := c.addNeverListed(ctx); err != nil {
		return nil, err
	}
	slices.SortStableFunc(c.lines, func(a, b CoverageLine) int {
		return cmp.Or(
			cmp.Compare(a.Account, b.Account), cmp.Compare(a.AccountID, b.AccountID), cmp.Compare(a.Region, b.Region),
		)
	})
	return c.lines, nil
}

// Select returns the lines that the question selects. all is their number, problems or not. A line
// without a region is about all regions of its account.
func (q *Question) Select(lines []CoverageLine) (selected []CoverageLine, all int) {
	for i := range lines {
		l := &lines[i]
		if !MatchesAccount(q.Accounts, l.Account, l.AccountID) || l.Region != "" && !config.Matches(q.Regions, l.Region) {
			continue
		}
		if all++; !q.Problems || l.IsProblem() {
			selected = append(selected, *l)
		}
	}
	return selected, all
}

// readTargets adds the accounts and regions of the store. Its targets come ordered by account.
func (c *Coverage) readTargets(ctx context.Context) error {
	var account []inventory.Coverage
	for t, err := range c.source.Targets(ctx) {
		if err != nil {
			return err
		}
		if !t.Retired.IsZero() || t.State == "" { // its first listing has not ended
			continue
		}
		if len(account) > 0 && account[0].Account != t.Account {
			c.addAccount(account)
			account = account[:0]
		}
		account = append(account, t)
	}
	c.addAccount(account)
	return nil
}

// addAccount adds the targets of an account's name. A block that moved to another AWS account has two for a while.
func (c *Coverage) addAccount(targets []inventory.Coverage) {
	slices.SortStableFunc(targets, func(a, b inventory.Coverage) int {
		return cmp.Or(cmp.Compare(a.AccountID, b.AccountID), cmp.Compare(a.Region, b.Region))
	})
	for len(targets) > 0 {
		account := prefix(targets, func(a, b *inventory.Coverage) bool { return a.AccountID == b.AccountID })
		targets = targets[len(account):]
		c.markUnusable(account)
		for len(account) > 0 {
			region := prefix(account, func(a, b *inventory.Coverage) bool { return a.Region == b.Region })
			account = account[len(region):]
			c.addListed(region[0].Account, region[0].Region)
			c.addLine(c.line(region))
		}
	}
}

// prefix returns the first targets that are alike.
func prefix(targets []inventory.Coverage, alike func(a, b *inventory.Coverage) bool) []inventory.Coverage {
	n := 1
	for n < len(targets) && alike(&targets[0], &targets[n]) {
		n++
	}
	return targets[:n]
}

func (c *Coverage) addListed(account, region string) {
	if c.listed[account] == nil {
		c.listed[account] = map[string]bool{}
	}
	c.listed[account][region] = true
}

// markUnusable makes the targets of an account failures if none of its regions can be listed, as the end of a run does:
// the store has only their states.
func (c *Coverage) markUnusable(targets []inventory.Coverage) {
	if slices.ContainsFunc(targets, func(t inventory.Coverage) bool { return c.kinds.ProvesUsable(t.Outcome) }) {
		return
	}
	for i := range targets {
		targets[i].AccountUnusable = targets[i].State == record.RegionDisabled
	}
}

// ProvesUsable reports whether a target shows that a region of its account can be listed, or fails for itself. A kind
// that is the same in every region shows neither if it is ok.
func (c Catalogue) ProvesUsable(o record.Outcome) bool {
	return !o.State.Absent() && o.State != record.Skipped &&
		(o.State != record.OK || !c.isGlobal(o.Kind))
}

// addLine adds a line, with why its account could not sign in.
func (c *Coverage) addLine(r CoverageLine) {
	r.Paused = c.directives.Paused(r.Account) != nil
	if in := c.SignIns[r.Account]; in.Error != "" {
		r.SignIn = &FailedSignIn{
			ARN: in.ARN, Path: in.Path, Expires: NullIfZero(in.Expires), Checked: NullIfZero(in.Checked),
			Error: in.Error, Hint: in.Hint,
		}
	}
	if len(c.lines) == cap(c.lines) { // a line is large, and append copies all of them too often
		c.lines = slices.Grow(c.lines, max(len(c.lines), 64))
	}
	c.lines = append(c.lines, r)
}

// MatchesAccount reports whether globs select an account by its name or its id. One that excludes it excludes both.
func MatchesAccount(globs []string, name, id string) bool {
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

// line sums up the targets of an account and region.
func (c *Coverage) line(targets []inventory.Coverage) CoverageLine {
	worst := slices.MaxFunc(targets, func(a, b inventory.Coverage) int { return cmp.Compare(badness(a), badness(b)) })
	r := CoverageLine{
		Account: worst.Account, AccountID: worst.AccountID, Region: worst.Region, State: worst.State,
		Since: NullIfZero(stateSince(targets, worst)), Failed: []FailedTarget{},
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
			known := c.directives.Acknowledged(&t.Outcome, t.LastSeen)
			if known != nil {
				r.Targets.Acknowledged++
			}
			r.Failed = append(r.Failed, FailedTarget{
				Kind: t.Kind, State: t.State, Reason: t.Reason, Hint: t.Hint, Since: NullIfZero(t.StateSince), Acknowledged: known,
				Outcome: t.Outcome, LastComplete: t.LastSeen, Resources: t.Resources,
			})
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
			overdue = max(overdue, c.calendar.Overdue(t.Target, t.LastSeen, c.now, c.running[t.Account]))
		}
	}
	if !oldest.IsZero() {
		age := int64(max(c.now.Sub(oldest), 0) / time.Second)
		r.LastComplete, r.Age = &oldest, &age
	}
	r.Overdue = int64((overdue + time.Second - 1) / time.Second)
	return r
}

// badness orders targets: failures; then what is ok, so that an expected denial does not hide it; then the others.
func badness(t inventory.Coverage) int {
	if t.Failed() {
		return len(record.States) + severity(t.State)
	}
	return -slices.Index(record.States[:], t.State)
}

// failures are the states of failures by who must act: those that the next run may mend come first, those that a
// person must mend last.
var failures = [...]record.State{
	record.Unconfirmed, record.Throttled, record.Timeout, record.Partial, record.Denied, record.Error, record.AuthFailed,
}

// severity is the place of a failure among failures. That of another state, as of an account that can list no region,
// is an error's.
func severity(s record.State) int {
	if i := slices.Index(failures[:], s); i >= 0 {
		return i
	}
	return slices.Index(failures[:], record.Error)
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

// addNeverListed adds the accounts and regions of the configuration that the store does not have.
func (c *Coverage) addNeverListed(ctx context.Context) error {
	var configured []*runner.Account
	if c.accounts.Configuration != nil {
		configured = c.accounts.Configuration.Accounts
	}
	lastRuns, err := c.lastRuns(ctx, configured)
	if err != nil {
		return err
	}
	for _, a := range configured {
		listed := c.listed[a.Name]
		line := c.unlistedLine(a.Name)
		if last, ok := lastRuns[a.Name]; ok && last.EndedAlike() {
			cause := last.Causes[0] // all its targets ended so
			line.State, line.Kind, line.Reason = cause.State, cause.Kind, cause.Reason
			line.Error, line.Hint = cause.Error, cause.Hint
			line.Targets.Failed, line.NeverComplete = len(a.Kinds), len(a.Kinds)
			o := record.Outcome{
				Target: record.Target{Account: a.Name, Kind: cause.Kind}, State: cause.State, Reason: cause.Reason,
			}
			if c.directives.Acknowledged(&o, time.Time{}) != nil {
				line.Targets.Acknowledged = line.Targets.Failed
			}
		}
		if len(listed) == 0 && len(configuredRegions(a)) == 0 {
			c.addLine(line)
		}
		regional := slices.ContainsFunc(a.Kinds, func(k runner.Kind) bool { return !k.Global && !k.GlobalService })
		for _, region := range configuredRegions(a) {
			// A kind that is the same in every region is listed in the first one only.
			if !listed[region] && (regional || len(listed) == 0 || region == record.GlobalRegion) {
				line.Region = region
				c.addLine(line)
			}
		}
	}
	for _, label := range c.accounts.Unlisted {
		c.addLine(c.unlistedLine(label))
	}
	return nil
}

// configuredRegions returns the regions of an account that its configuration names, with that of the global services.
func configuredRegions(a *runner.Account) []string {
	isGlobal := func(k runner.Kind) bool { return k.GlobalService }
	switch regional := slices.DeleteFunc(slices.Clone(a.Kinds), isGlobal); {
	case len(regional) == len(a.Kinds):
		return a.Regions
	case len(regional) == 0:
		return []string{record.GlobalRegion}
	case len(a.Regions) == 0:
		return nil // the account's other regions are not known
	}
	return append(slices.Clone(a.Regions), record.GlobalRegion)
}

func (c *Coverage) unlistedLine(account string) CoverageLine {
	id := cmp.Or(c.accounts.Members[account].AccountID, c.SignIns[account].AccountID)
	return CoverageLine{Account: account, AccountID: id, State: NeverListed, Failed: []FailedTarget{}}
}

// lastRuns returns the last run of each account that has no targets in the store. An account that never signed in has
// none, because the store does not know its id; its runs say why.
func (c *Coverage) lastRuns(ctx context.Context, configured []*runner.Account) (map[string]inventory.Run, error) {
	var names []string
	for _, a := range configured {
		if len(c.listed[a.Name]) == 0 {
			names = append(names, a.Name)
		}
	}
	last := map[string]inventory.Run{}
	for r, err := range c.source.LastRuns(ctx, names) {
		if err != nil {
			return nil, err
		}
		last[r.Account] = r
	}
	return last, nil
}
