package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/policy"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/runner/runlog"
)

// Thresholds for warnings.
const (
	clockWarning  = time.Minute   // AWS refuses requests when the difference is five minutes
	expiryWarning = 2 * time.Hour // the remaining time of an MFA session; after it, someone must enter a new code
	keyWarning    = 90 * 24 * time.Hour
)

// The statuses of a region.
const (
	regionEnabled    = "enabled"
	regionNotOptedIn = "not_opted_in"
	regionUnknown    = "unknown" // neither the list of regions nor the check could tell
)

// regions returns the region names in order, and the status of each.
func (ac *Account) regions() (names []string, status map[string]string) {
	status = map[string]string{}
	for _, r := range ac.plan.Disabled {
		status[r] = regionNotOptedIn
	}
	for _, r := range ac.plan.Regions {
		status[r] = regionEnabled
		if ac.plan.Warning != nil {
			status[r] = regionUnknown
		}
	}
	for _, t := range ac.results {
		switch {
		case t.Region == record.GlobalRegion:
		case t.Reason == record.DisabledRegion:
			status[t.Region] = regionNotOptedIn
		case t.State == record.OK:
			status[t.Region] = regionEnabled
		}
	}
	return slices.Sorted(maps.Keys(status)), status
}

// missingActions are the actions that an Allow statement would grant, possibly with ec2:DescribeRegions. What a service
// control policy or an explicit denial denies is not among them: an Allow would not help.
func (ac *Account) missingActions() []string {
	var actions []string
	if ac.action != "" {
		actions = append(actions, ac.action)
	}
	for _, t := range ac.results {
		if t.MissingAction != "" && !t.Expected {
			actions = append(actions, t.MissingAction)
		}
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}

// warnings are about things that still work, and may soon fail.
func (ac *Account) warnings(now time.Time) []string {
	var out []string
	switch as := new(accounts.InactiveError); {
	case errors.As(ac.plan.Warning, &as):
		out = append(out, as.Error())
	case ac.plan.Warning != nil:
		out = append(out, ac.plan.Warning.Error()+"; the check used the regions that this version knows")
	}
	if ac.clock != nil && ac.clock.Abs() >= clockWarning {
		side := "ahead of"
		if *ac.clock < 0 {
			side = "behind"
		}
		out = append(out, fmt.Sprintf("the clock of this machine is %s %s the clock of AWS; "+
			"configure NTP: AWS refuses requests when the difference is five minutes",
			ac.clock.Abs().Round(10*time.Second), side)) // rounded, because the header has whole seconds and is delayed
	}
	if ac.key != nil && now.Sub(ac.key.Created) > keyWarning {
		out = append(out, fmt.Sprintf("access key %s is %d days old; create a new key, use it in the configuration "+
			"and delete the old one. The role of an EC2 instance or ECS task needs no key",
			ac.key.Key, int(now.Sub(ac.key.Created)/(24*time.Hour))))
	}
	if ac.session != nil && slices.ContainsFunc(ac.session.Path(), isMFAStep) {
		if at, ok := ac.session.Expires(); ok && at.Sub(now) < expiryWarning {
			out = append(out, fmt.Sprintf("the MFA session ends in %s, at %s; then it needs a new code",
				at.Sub(now).Round(time.Minute), at.UTC().Format(time.RFC3339)))
		}
	}
	return out
}

func isMFAStep(step string) bool { return strings.HasPrefix(step, "mfa ") }

// kindCounts returns the number of kinds that may be listed, and of kinds that were checked. A kind that is denied in
// one region is not allowed. Kinds that a region does not have are not counted.
func (ac *Account) kindCounts() (allowed, tried int) {
	ok := map[string]bool{}
	for _, t := range ac.results {
		if t.State.Absent() {
			continue
		}
		previous, seen := ok[t.Kind]
		ok[t.Kind] = t.State == record.OK && (previous || !seen)
	}
	for _, isAllowed := range ok {
		if isAllowed {
			allowed++
		}
	}
	return allowed, len(ok)
}

// Print prints a row for each account. JSON contains all results; below the table, problems are explained.
func Print(w io.Writer, all []*Account, format string) error {
	now := time.Now()
	l := printer.Table{Columns: []string{
		"account", "status", "account_id", "partition", "regions", "kinds", "expires", "arn", "path",
	}}
	if format == "csv" {
		l.Columns = append(l.Columns, "missing", "error", "hint")
	}
	for _, ac := range all {
		if format == "json" || format == "jsonl" {
			l.Rows = append(l.Rows, ac.asJSON(now))
		} else {
			l.Rows = append(l.Rows, ac.row(now, format))
		}
	}
	if err := l.Print(w, format); err != nil || format != "table" {
		return err
	}
	var b strings.Builder
	warned := map[string][]string{} // accounts by warning: many accounts with one old key get one warning
	for _, ac := range all {
		for _, text := range ac.warnings(now) {
			warned[text] = append(warned[text], ac.account.Name)
		}
	}
	for _, ac := range all {
		ac.explain(&b, now, warned)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// savedIdentity is the account that the last run found behind the block, or nil.
func (ac *Account) savedIdentity() *identity.BlockIdentity {
	c := ac.AWS.Identities.Lookup(ac.block.Name, ac.block.Fingerprint)
	if c == nil || !c.Saved() {
		return nil
	}
	return c
}

// row has the columns of the account.
func (ac *Account) row(now time.Time, format string) map[string]any {
	r := map[string]any{
		"account": ac.account.Name, "status": ac.status(), "missing": strings.Join(ac.missingActions(), " "),
	}
	if c := ac.savedIdentity(); c != nil {
		r["account_id"], r["partition"] = c.AccountID, c.Partition
	}
	if ac.session != nil {
		id := ac.session.Identity
		r["account_id"], r["partition"], r["arn"] = id.AccountID, id.Partition, id.ARN
		r["path"] = strings.Join(ac.session.Path(), " → ")
		if at, ok := ac.session.Expires(); !ok {
			r["expires"] = "never"
		} else if format == "table" {
			r["expires"] = "in " + printer.HoursAndMinutes(at.Sub(now))
		} else {
			r["expires"] = at.UTC().Format(time.RFC3339)
		}
	}
	if ac.err != nil {
		r["error"], r["hint"] = ac.err.Error(), record.HintOf(ac.err)
	} else if !ac.organization { // an organization has no regions and kinds
		names, status := ac.regions()
		enabled := 0
		for _, n := range names {
			if status[n] == regionEnabled {
				enabled++
			}
		}
		allowed, tried := ac.kindCounts()
		r["regions"], r["kinds"] = fraction(enabled, len(names)), fraction(allowed, tried)
	}
	if format == "table" {
		for _, c := range []string{"account_id", "partition", "regions", "kinds", "expires", "arn", "path"} {
			if r[c] == nil {
				r[c] = "-"
			}
		}
	}
	return r
}

func fraction(n, total int) string {
	if n == total {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d of %d", n, total)
}

// joinNames lists names in a message, at most four.
func joinNames(names []string) string {
	if n := len(names); n > 4 {
		return fmt.Sprintf("%s and %d others", strings.Join(names[:3], ", "), n-3)
	}
	return strings.Join(names, ", ")
}

type checkedRegion struct {
	Region string `json:"region"`
	Status string `json:"status"`
}

type checkedKind struct {
	Region   string        `json:"region"`
	Kind     string        `json:"kind"`
	Action   string        `json:"action"`
	State    record.State  `json:"state"`
	Expected bool          `json:"expected,omitempty"` // expect_denied names it
	Reason   record.Reason `json:"reason,omitempty"`
	Error    string        `json:"error,omitempty"`
	Hint     string        `json:"hint,omitempty"`
}

// asJSON has all results of the account.
func (ac *Account) asJSON(now time.Time) map[string]any {
	r := map[string]any{
		"account": ac.account.Name, "status": ac.status(), "account_id": "", "partition": "", "arn": "",
		"path": []string{}, "expires": nil, "saved_identity": identityJSON(ac.savedIdentity()), "clock_ahead_seconds": nil,
		"key_created": nil, "key_error": "", "regions": []checkedRegion{}, "tried": []checkedKind{},
		"warnings": append([]string{}, ac.warnings(now)...),
	}
	if ac.session != nil {
		id := ac.session.Identity
		r["account_id"], r["partition"], r["arn"], r["path"] = id.AccountID, id.Partition, id.ARN, ac.session.Path()
		if at, ok := ac.session.Expires(); ok {
			r["expires"] = at.UTC().Format(time.RFC3339)
		}
	}
	if ac.key != nil {
		r["key_created"] = ac.key.Created.UTC().Format(time.RFC3339)
	}
	if ac.keyErr != nil {
		r["key_error"] = ac.keyErr.Error()
	}
	if ac.clock != nil {
		r["clock_ahead_seconds"] = ac.clock.Seconds()
	}
	if ac.err != nil {
		r["reason"], r["error"], r["hint"] = record.ReasonOf(ac.err), ac.err.Error(), record.HintOf(ac.err)
		return r
	}
	names, status := ac.regions()
	regions := []checkedRegion{}
	for _, n := range names {
		regions = append(regions, checkedRegion{n, status[n]})
	}
	tried := []checkedKind{}
	for _, t := range ac.results {
		tried = append(tried, checkedKind{
			t.Region, t.Kind, t.Action, t.State, t.Expected, t.Reason, t.Error, t.Hint,
		})
	}
	r["regions"], r["tried"] = regions, tried
	if missing := ac.missingActions(); len(missing) > 0 {
		r["grant"] = policy.AllowStatement("CollectorList", missing)
	}
	return r
}

// explain prints what is wrong with the account and how to fix it. For an account without problems it prints nothing.
func (ac *Account) explain(w io.Writer, now time.Time, warned map[string][]string) {
	name := ac.account.Name
	for _, text := range ac.warnings(now) {
		switch names := warned[text]; {
		case len(names) > 1 && names[0] == name:
			_ = printer.Fprintf(w, "\n%s: warning: %s\n", joinNames(names), text)
		case len(names) == 1:
			_ = printer.Fprintf(w, "\n%s: warning: %s\n", name, text)
		}
	}
	if ac.err == nil {
		names, status := ac.regions()
		var off []string
		for _, r := range names {
			if status[r] == regionNotOptedIn {
				off = append(off, r)
			}
		}
		if len(off) > 0 {
			_ = printer.Fprintf(w, "\n%s: not enabled for the account: %s\n", name, strings.Join(off, ", "))
		}
	}
	missing := ac.missingActions()
	failures := runlog.Failures{}
	if ac.err != nil {
		// With AccountUnusable, a state counts that is not a failure for a single region.
		failures.Add(record.Outcome{
			State: record.StateOf(ac.err, 0), AccountUnusable: true,
			Reason: record.ReasonOf(ac.err), Error: ac.err.Error(), Hint: record.HintOf(ac.err),
		})
	}
	unusable := ac.err == nil && ac.unusable()
	if unusable {
		for _, region := range ac.plan.Disabled {
			err := runner.NotEnabledError(region)
			failures.Add(record.Outcome{
				Target: record.Target{Account: name, Region: region}, State: record.StateOf(err, 0), AccountUnusable: true,
				Reason: record.ReasonOf(err), Error: err.Error(), Hint: record.HintOf(err),
			})
		}
	}
	for _, t := range ac.results {
		if ac.err != nil {
			break
		}
		o := t.Outcome
		o.AccountUnusable = unusable
		if t.MissingAction != "" {
			o.Hint = "Attach the policy below to " + ac.session.Identity.ARN + "."
		}
		failures.Add(o)
	}
	printer.Failures(w, board.AccountInfo{Name: name}, failures.Sorted())
	if ac.err == nil && len(missing) > 0 {
		text, err := json.MarshalIndent(policy.AllowStatement("CollectorList", missing), "  ", "  ")
		if err == nil { // it contains only strings
			fmt.Fprintf(w, "  %s\n", text)
		}
	}
}

// identityJSON is the identity of a block in the JSON output of check.
func identityJSON(c *identity.BlockIdentity) map[string]any {
	if c == nil {
		return nil
	}
	format := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	m := map[string]any{"account_id": c.AccountID, "partition": c.Partition, "since": format(c.Since)}
	if r := c.Refused; r != nil {
		m["refused"] = map[string]any{
			"account_id": r.AccountID, "partition": r.Partition, "arn": r.ARN, "at": format(r.At),
		}
	}
	return m
}
