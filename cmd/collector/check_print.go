package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/policy"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// What is worth a warning though it works.
const (
	clockWarning  = time.Minute   // AWS refuses from five minutes on
	expiryWarning = 2 * time.Hour // before an MFA session ends; then a person must come, or a code from somewhere
	keyWarning    = 90 * 24 * time.Hour
)

// The statuses of a region.
const (
	regionEnabled    = "enabled"
	regionNotOptedIn = "not_opted_in"
	regionUnknown    = "unknown" // AWS did not say which regions the account has, and the try there did not tell either
)

func (u *accountCheck) regions() (names []string, status map[string]string) {
	status = map[string]string{}
	for _, r := range u.plan.Disabled {
		status[r] = regionNotOptedIn
	}
	for _, r := range u.plan.Regions {
		status[r] = regionEnabled
		if u.plan.Warning != nil {
			status[r] = regionUnknown
		}
	}
	for _, t := range u.results {
		switch {
		case t.Reason == record.DisabledRegion:
			status[t.Region] = regionNotOptedIn
		case t.State == record.OK:
			status[t.Region] = regionEnabled
		}
	}
	return slices.Sorted(maps.Keys(status)), status
}

// missingActions is the actions that an Allow would grant, ec2:DescribeRegions among them.
func (u *accountCheck) missingActions() []string {
	var actions []string
	if record.ReasonOf(u.plan.Warning) == record.AccessDenied {
		actions = append(actions, "ec2:DescribeRegions")
	}
	for _, t := range u.results {
		if t.Grant != "" && !t.Expected {
			actions = append(actions, t.Grant)
		}
	}
	slices.Sort(actions)
	return slices.Compact(actions)
}

// warnings is what works, and may not for long.
func (u *accountCheck) warnings(now time.Time) []string {
	var out []string
	switch as := new(inactiveMembersError); {
	case errors.As(u.plan.Warning, &as):
		out = append(out, as.Error())
	case u.plan.Warning != nil:
		out = append(out, u.plan.Warning.Error()+"; the regions are those that this version knows")
	}
	if u.clock != nil && u.clock.Abs() >= clockWarning {
		side := "ahead of"
		if *u.clock < 0 {
			side = "behind"
		}
		out = append(out, fmt.Sprintf("this machine's clock is %s %s AWS's: make NTP work before AWS refuses, which it does from five minutes on",
			u.clock.Abs().Round(10*time.Second), side)) // the header is in whole seconds, and was on its way
	}
	if u.key != nil && now.Sub(u.key.Created) > keyWarning {
		out = append(out, fmt.Sprintf("key %s is %d days old: make another, put it in its place and delete this one; an instance's or a task's role needs no key",
			u.key.Key, int(now.Sub(u.key.Created)/(24*time.Hour))))
	}
	if u.session != nil && slices.ContainsFunc(u.session.Path(), func(p string) bool { return strings.HasPrefix(p, "mfa ") }) {
		if at, ok := u.session.Expires(); ok && at.Sub(now) < expiryWarning {
			out = append(out, fmt.Sprintf("the MFA session ends in %s, at %s: a new code is needed then", at.Sub(now).Round(time.Minute), at.UTC().Format(time.RFC3339)))
		}
	}
	return out
}

// kindCounts is how many kinds may be listed, of how many that were tried: a kind that one region denies is not counted. Kinds that a
// region does not have are no part of it.
func (u *accountCheck) kindCounts() (allowed, tried int) {
	ok := map[string]bool{}
	for _, t := range u.results {
		if t.State == record.RegionDisabled {
			continue
		}
		before, seen := ok[t.Kind]
		ok[t.Kind] = t.State == record.OK && (before || !seen)
	}
	for _, good := range ok {
		if good {
			allowed++
		}
	}
	return allowed, len(ok)
}

// printCheckups writes a row an account. As JSON it has all that was found; as a table, what is wrong stands under it.
func printCheckups(w io.Writer, all []*accountCheck, format string) error {
	now := time.Now()
	l := resultTable{columns: []string{"account", "status", "account_id", "partition", "regions", "kinds", "expires", "arn", "path"}}
	if format == "csv" {
		l.columns = append(l.columns, "missing", "error", "hint")
	}
	for _, u := range all {
		if format == "json" || format == "jsonl" {
			l.rows = append(l.rows, u.asJSON(now))
		} else {
			l.rows = append(l.rows, u.row(now, format))
		}
	}
	if err := l.print(w, format); err != nil || format != "table" {
		return err
	}
	var b strings.Builder
	warned := map[string][]string{} // names, by what they are warned of: a thousand accounts behind one old key are one warning
	for _, u := range all {
		for _, text := range u.warnings(now) {
			warned[text] = append(warned[text], u.account.Name)
		}
	}
	for _, u := range all {
		u.explain(&b, now, warned)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// savedIdentity is the account that a run found behind the block; nil: none has.
func (u *accountCheck) savedIdentity() *auth.BlockIdentity {
	if u.program == nil || u.program.identities == nil {
		return nil
	}
	c := u.program.identities.Lookup(u.block.Name, u.block.Digest)
	if c == nil || !c.Saved() {
		return nil
	}
	return c
}

// row is the account in columns.
func (u *accountCheck) row(now time.Time, format string) map[string]any {
	r := map[string]any{"account": u.account.Name, "status": u.status(), "missing": strings.Join(u.missingActions(), " ")}
	if c := u.savedIdentity(); c != nil {
		r["account_id"], r["partition"] = c.AccountID, c.Partition
	}
	if u.session != nil {
		who := u.session.Identity
		r["account_id"], r["partition"], r["arn"], r["path"] = who.AccountID, who.Partition, who.ARN, strings.Join(u.session.Path(), " → ")
		if at, ok := u.session.Expires(); !ok {
			r["expires"] = "never"
		} else if format == "table" {
			r["expires"] = "in " + roundedDuration(at.Sub(now))
		} else {
			r["expires"] = at.UTC().Format(time.RFC3339)
		}
	}
	if u.err != nil {
		r["error"], r["hint"] = u.err.Error(), record.HintOf(u.err)
	} else if !u.organization { // which has none of either
		names, status := u.regions()
		enabled := 0
		for _, n := range names {
			if status[n] == regionEnabled {
				enabled++
			}
		}
		allowed, tried := u.kindCounts()
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

func fraction(n, all int) string {
	if n == all {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%d of %d", n, all)
}

// roundedDuration is a duration as a person would say it.
func roundedDuration(d time.Duration) string {
	s := d.Round(time.Minute).String()
	return strings.TrimSuffix(s, "0s")
}

// joinNames is names as a person would say them.
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

// asJSON is everything about the account, for programs.
func (u *accountCheck) asJSON(now time.Time) map[string]any {
	r := map[string]any{
		"account": u.account.Name, "status": u.status(), "account_id": "", "partition": "", "arn": "", "path": []string{}, "expires": nil,
		"claim": identityJSON(u.savedIdentity()), "clock_ahead_seconds": nil, "key_created": nil, "key_error": "", "regions": []checkedRegion{}, "tried": []checkedKind{}, "warnings": append([]string{}, u.warnings(now)...),
	}
	if u.session != nil {
		who := u.session.Identity
		r["account_id"], r["partition"], r["arn"], r["path"] = who.AccountID, who.Partition, who.ARN, u.session.Path()
		if at, ok := u.session.Expires(); ok {
			r["expires"] = at.UTC().Format(time.RFC3339)
		}
	}
	if u.key != nil {
		r["key_created"] = u.key.Created.UTC().Format(time.RFC3339)
	}
	if u.keyErr != nil {
		r["key_error"] = u.keyErr.Error()
	}
	if u.clock != nil {
		r["clock_ahead_seconds"] = u.clock.Seconds()
	}
	if u.err != nil {
		r["reason"], r["error"], r["hint"] = record.ReasonOf(u.err), u.err.Error(), record.HintOf(u.err)
		return r
	}
	names, status := u.regions()
	regions := []checkedRegion{}
	for _, n := range names {
		regions = append(regions, checkedRegion{n, status[n]})
	}
	tried := []checkedKind{}
	for _, t := range u.results {
		tried = append(tried, checkedKind{t.Region, t.Kind, actionOf(t.Kind), t.State, t.Expected, t.Reason, t.Error, t.Hint})
	}
	r["regions"], r["tried"] = regions, tried
	if missing := u.missingActions(); len(missing) > 0 {
		r["grant"] = policy.AllowStatement("CollectorList", missing)
	}
	return r
}

// explain says what is wrong with the account, and what to do about it; of one that is well it says nothing.
func (u *accountCheck) explain(w io.Writer, now time.Time, warned map[string][]string) {
	name := u.account.Name
	for _, text := range u.warnings(now) {
		switch names := warned[text]; {
		case len(names) > 1 && names[0] == name:
			_ = safeFprintf(w, "\n%s: warning: %s\n", joinNames(names), text)
		case len(names) == 1:
			_ = safeFprintf(w, "\n%s: warning: %s\n", name, text)
		}
	}
	if u.err == nil {
		names, status := u.regions()
		var off []string
		for _, r := range names {
			if status[r] == regionNotOptedIn {
				off = append(off, r)
			}
		}
		if len(off) > 0 {
			_ = safeFprintf(w, "\n%s: not enabled for the account: %s\n", name, strings.Join(off, ", "))
		}
	}
	missing := u.missingActions()
	failures := map[failureKey]*failure{}
	if u.err != nil {
		// Also of a kind that is harmless for a region.
		addFailure(failures, record.Outcome{State: record.StateOf(u.err, 0), AccountUnusable: true, Reason: record.ReasonOf(u.err), Error: u.err.Error(), Hint: record.HintOf(u.err)})
	}
	unusable := u.err == nil && u.unusable()
	if unusable {
		for _, region := range u.plan.Disabled {
			err := runner.NotEnabledError(region)
			addFailure(failures, record.Outcome{Target: record.Target{Account: name, Region: region}, State: record.StateOf(err, 0), AccountUnusable: true,
				Reason: record.ReasonOf(err), Error: err.Error(), Hint: record.HintOf(err)})
		}
	}
	for _, t := range u.results {
		if u.err != nil {
			break
		}
		o := t.Outcome
		o.AccountUnusable = unusable
		if t.Grant != "" {
			o.Hint = "give the statement below to " + u.session.Identity.ARN
		}
		addFailure(failures, o)
	}
	explainFailures(w, runner.AccountInfo{Name: name}, sortedFailures(failures))
	if u.err == nil && len(missing) > 0 {
		text, err := json.MarshalIndent(policy.AllowStatement("CollectorList", missing), "  ", "  ")
		if err == nil { // strings and nothing else
			fmt.Fprintf(w, "  %s\n", text)
		}
	}
}
