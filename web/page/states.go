package page

import (
	"html/template"
	"slices"
	"strings"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// A tone says who must act. It is also the class of a state's colour.
type tone string

const (
	toneOK   tone = "ok"   // complete
	toneWait tone = "wait" // the next run tries again
	toneAct  tone = "act"  // a person must act
	toneIdle tone = "idle" // no failure, or not listed yet
)

// A stateInfo is how the page shows a state: in words, in the colour of its tone, and by a shape of its own, so that
// states can be told apart in grey. The shape is an SVG path relative to the cell's corner, in a box of 12 by 12.
type stateInfo struct {
	state record.State
	words string
	tone  tone
	shape string
}

// Words returns the state for people.
func (s stateInfo) Words() string { return s.words }

// Tone returns the class of the state's colour.
func (s stateInfo) Tone() tone { return s.tone }

// Code returns the state as the API, the command line and the metrics have it.
func (s stateInfo) Code() string { return string(s.state) }

const square = "m1 0h10a1 1 0 0 1 1 1v10a1 1 0 0 1 -1 1h-10a1 1 0 0 1 -1 -1v-10a1 1 0 0 1 1 -1z"

// stateTable has every state, the worst first: by who must act first, so a kind that is denied outshines a partial one.
var stateTable = []stateInfo{
	{record.AuthFailed, "Sign-in failed", toneAct, square + "m2.2 2l2.8 2.8 2.8 -2.8 1.2 1.2 -2.8 2.8 2.8 2.8 -1.2 1.2 " +
		"-2.8 -2.8 -2.8 2.8 -1.2 -1.2 2.8 -2.8 -2.8 -2.8z"},
	{record.Error, "Error", toneAct, square + "m4 2h2v4.6h-2z m0 6h2v2h-2z"},
	{record.Denied, "Access denied", toneAct, square + "m1.2 5h7.6v2h-7.6z"},
	{record.Partial, "Partial", toneWait, square + "m2.2 1.7h7.1v7.1z"},
	{record.Timeout, "Timed out", toneWait, square + "m4 2h2v3.4h3v2h-5z"},
	{record.Throttled, "Throttled", toneWait, square + "m2.3 3h2v6h-2z m4 0h2v6h-2z"},
	{record.Unconfirmed, "Unconfirmed", toneWait, square + "m2.2 2.2h5.6v2h-5.6z m0 3.6h2.6v2h-2.6z"},
	{query.NeverListed, "Not listed yet", toneIdle, "m0 0h4v1.5h-2.5v2.5h-1.5z m8 0h4v4h-1.5v-2.5h-2.5z " +
		"m-8 8h1.5v2.5h2.5v1.5h-4z m12 0v4h-4v-1.5h2.5v-2.5z m-7 -3h2v2h-2z"},
	{record.Skipped, "Skipped", toneIdle, "m3 5.2h6v1.6h-6z"},
	{record.RegionDisabled, "Region not enabled", toneIdle, "m5 5h2v2h-2z"},
	{record.RegionUnavailable, "Service not in the region", toneIdle, "m3 5h2v2h-2z m4 0h2v2h-2z"},
	{record.OK, "Complete", toneOK, "m3 2h6a1 1 0 0 1 1 1v6a1 1 0 0 1 -1 1h-6a1 1 0 0 1 -1 -1v-6a1 1 0 0 1 1 -1z"},
}

// rank is the place of a state in stateTable: 0 is the worst. A state that the table does not have is an error's equal.
func rank(s record.State) int {
	if i := slices.IndexFunc(stateTable, func(info stateInfo) bool { return info.state == s }); i >= 0 {
		return i
	}
	return rank(record.Error)
}

func infoOf(s record.State) stateInfo { return stateTable[rank(s)] }

// shownOutcome is the state as which the page draws an outcome. A denial that expect_denied names is not a failure. A
// disabled region is one if the account could list no region.
func shownOutcome(o *record.Outcome) record.State { return shown(o.State, o.Failed(), o.Expected) }

// shownState is the state as which the page draws an account and region.
func shownState(l *query.CoverageLine) record.State {
	return shown(l.State, l.Targets.Failed > 0, l.Targets.Failed == 0 && l.State.Failed() && l.State != query.NeverListed)
}

func shown(s record.State, failed, expected bool) record.State {
	switch {
	case expected:
		return record.Skipped
	case failed && !s.Failed():
		return record.Error
	}
	return infoOf(s).state
}

// glyphs are the shapes as symbols that the drawings of a page refer to.
func glyphs() template.HTML {
	var b strings.Builder
	for _, s := range stateTable {
		b.WriteString(`<symbol id="g-` + s.Code() + `" viewBox="0 0 12 12"><path fill-rule="evenodd" d="M0 0` + s.shape +
			`"/></symbol>`)
	}
	return template.HTML(b.String()) //nolint:gosec // a table of this file
}

// An ageBar shows how old the last complete listing is, below the cell.
type ageBar struct {
	words string
	shape string
}

// The bars, by age. A bar is drawn only for what is overdue by its own schedule.
var (
	neverComplete = ageBar{"never", "m0 14h2v2h-2z m5 0h2v2h-2z m5 0h2v2h-2z"}
	ageBars       = [...]ageBar{
		{"over 1 h", "m0 14h4v2h-4z"}, {"over 6 h", "m0 14h8v2h-8z"}, {"over 1 d", "m0 14h12v2h-12z"},
	}
)

// reasonWords are titles of causes, where the state alone does not say enough.
var reasonWords = map[record.Reason]string{
	record.NoCredentials:  "no source has credentials",
	record.BadKey:         "AWS does not know the access key",
	record.BadSignature:   "the secret does not belong to the access key",
	record.ClockSkew:      "the clock of this machine is wrong",
	record.Expired:        "the session has expired",
	record.AssumeDenied:   "the role may not be assumed",
	record.MFAInvalid:     "the one-time code was refused",
	record.MFASerial:      "the MFA device is not the user's",
	record.MFANeeded:      "no MFA code is available",
	record.BadDuration:    "the session is longer than the role allows",
	record.SSOLogin:       "the SSO token is missing or has expired",
	record.WrongAccount:   "the block signed in to an unexpected AWS account",
	record.SameAccount:    "another block already signed in to this account",
	record.RoleRequired:   "the block requires a role, but signed in without one",
	record.BadPolicy:      "STS refuses the session's policy or tags",
	record.DisabledRegion: "no region is enabled for the account",
	record.Inactive:       "the account may not use EC2",
	record.Unsupported:    "the region does not have the API",
	record.Network:        "AWS cannot be reached",
	record.BadAnswer:      "the response is not one of AWS",
	record.Panicked:       "an internal error",
	record.Stuck:          "the listing did not stop after its deadline",
	record.Interrupted:    "the program stopped, or a newer run began",
	record.ParentFailed:   "the parent kind could not be listed",
	record.MaxGone:        "far more resources are missing than usual",
}
