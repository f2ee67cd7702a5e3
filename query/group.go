package query

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// A GroupLine sums up accounts and regions.
type GroupLine struct {
	Group        string       `json:"group"` // "": without the tag
	Accounts     int          `json:"accounts"`
	Regions      int          `json:"regions"`
	Problems     int          `json:"problems"` // accounts and regions that a person should look at
	State        record.State `json:"state"`    // the worst
	LastComplete *time.Time   `json:"last_complete"`
	Overdue      int64        `json:"overdue_seconds"`
	Targets      TargetCounts `json:"targets"`
	Resources    int          `json:"resources"`
}

// Group sums up lines by account, region or tag:KEY, in the order of the groups. tags are those of accounts, by name.
func Group(lines []CoverageLine, by string, tags map[string]map[string]string) []GroupLine {
	groups := map[string]*GroupLine{}
	accounts, regions := map[[2]string]bool{}, map[[2]string]bool{}
	for i := range lines {
		l := &lines[i]
		name := l.Account
		if key, isTag := strings.CutPrefix(by, tagGroup); isTag {
			name = tags[l.Account][key]
		} else if by == Region.Name {
			name = l.Region
		}
		g := groups[name]
		if g == nil {
			g = &GroupLine{Group: name, State: l.State}
			groups[name] = g
		}
		if lineBadness(l.State, l.Targets.Failed) > lineBadness(g.State, g.Targets.Failed) {
			g.State = l.State
		}
		if l.LastComplete != nil && (g.LastComplete == nil || l.LastComplete.Before(*g.LastComplete)) {
			g.LastComplete = l.LastComplete
		}
		if l.IsProblem() {
			g.Problems++
		}
		g.Overdue = max(g.Overdue, l.Overdue)
		g.Targets.OK, g.Targets.Failed = g.Targets.OK+l.Targets.OK, g.Targets.Failed+l.Targets.Failed
		g.Targets.Acknowledged += l.Targets.Acknowledged
		g.Targets.Other, g.Resources = g.Targets.Other+l.Targets.Other, g.Resources+l.Resources
		if k := [2]string{name, l.Account}; !accounts[k] {
			accounts[k] = true
			g.Accounts++
		}
		if k := [2]string{name, l.Region}; !regions[k] && l.Region != "" {
			regions[k] = true
			g.Regions++
		}
	}
	var out []GroupLine
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		out = append(out, *groups[name])
	}
	return out
}

// lineBadness orders the states of lines: failures, what was never listed, ok, and the others.
func lineBadness(s record.State, failed int) int {
	switch {
	case failed > 0 && s != record.OK:
		return 2*len(record.States) + severity(s)
	case s == NeverListed:
		return len(record.States)
	}
	return -slices.Index(record.States[:], s)
}

// Selects reports whether the question is about a target. A target without a region or kind stands for all of them.
func (q *Question) Selects(account, accountID, region, kind string) bool {
	if !MatchesAccount(q.Accounts, account, accountID) || region != "" && !config.Matches(q.Regions, region) ||
		kind != "" && !config.Matches(q.Kinds, kind) {
		return false
	}
	for column, value := range map[string]string{
		"account": account, "account_id": accountID, "region": region, "kind": kind,
	} {
		if required := q.Where.RequiredValues(column); value != "" && required != nil && !slices.Contains(required, value) {
			return false
		}
	}
	return true
}
