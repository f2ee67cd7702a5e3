package page

import (
	"cmp"
	"html/template"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

// A cause is one reason for which listings fail, over all accounts: a broken key of a hub is one cause with 300
// accounts. Failures are grouped as the store groups those of a run.
type cause struct {
	inventory.Cause                 // Targets are all of them; the rest is of one
	accounts        map[string]bool // by name
	regions, kinds  map[string]bool
	resources       int                     // not confirmed: shown as their last complete listing had them
	oldest          time.Time               // the oldest of these last complete listings; zero: none was ever complete
	known           *runner.Acknowledgement // the last one; nil: nobody acknowledged it
}

// causeKey is what failures of one cause have in common.
type causeKey struct {
	state  record.State
	reason record.Reason
	hint   string
	error  string // "" unless errors of the reason differ
	known  bool   // it is acknowledged
}

type causes struct {
	byHint    map[causeKey]*cause // by the hint as it is: the texts are compared once for each
	byPattern map[causeKey]*cause
}

func newCauses() *causes {
	return &causes{byHint: map[causeKey]*cause{}, byPattern: map[causeKey]*cause{}}
}

func (cs *causes) add(t board.TargetInfo) {
	known := t.Acknowledged != nil
	key := causeKey{shownOutcome(&t.Outcome), t.Reason, t.Hint, inventory.ErrorPattern(t.Reason, t.Error), known}
	c := cs.byHint[key]
	if c == nil {
		example := inventory.CauseOf(t.Outcome)
		example.State, example.Targets = key.state, 0
		pattern := causeKey{key.state, key.reason, inventory.HintPattern(example.Hint), key.error, known}
		if c = cs.byPattern[pattern]; c == nil {
			c = &cause{Cause: example, accounts: map[string]bool{}, regions: map[string]bool{}, kinds: map[string]bool{}}
			cs.byPattern[pattern] = c
		}
		cs.byHint[key] = c
	}
	if c.Targets++; known && (c.known == nil || t.Acknowledged.At.After(c.known.At)) {
		c.known = t.Acknowledged
	}
	c.accounts[t.Account], c.regions[t.Region], c.kinds[kindName(t.Kind)] = true, true, true
	c.resources += t.Resources
	if !t.LastSuccess.IsZero() && (c.oldest.IsZero() || t.LastSuccess.Before(c.oldest)) {
		c.oldest = t.LastSuccess
	}
}

// sorted returns the causes: those that nobody acknowledged first, of them those that need a person, then by the
// resources that are not confirmed, then by age.
func (cs *causes) sorted() []*cause {
	return slices.SortedFunc(maps.Values(cs.byPattern), func(a, b *cause) int {
		calm := func(c *cause) int {
			switch {
			case c.known != nil:
				return 2
			case infoOf(c.State).tone == toneAct:
				return 0
			}
			return 1
		}
		return cmp.Or(
			cmp.Compare(calm(a), calm(b)), cmp.Compare(b.resources, a.resources), a.oldest.Compare(b.oldest),
			cmp.Compare(b.Targets, a.Targets), cmp.Compare(a.Hint, b.Hint),
		)
	})
}

// A causeView is a cause as the templates show it.
type causeView struct {
	State    stateInfo
	Title    string
	Action   string // the denied action; "" if the cause is another, or denies several
	Accounts []link
	More     int // accounts that are not named
	Effect   string
	Oldest   time.Time // zero: never complete
	Hint     string
	Error    string
	Tried    string // "us-east-1 volume": the target that the error is of
	OfRun    bool   // it is of one run, which knows nothing of the listings before

	Known       *runner.Acknowledgement // nil: nobody acknowledged it
	Acknowledge *acknowledgeForm        // nil: this client cannot
	EnterCode   string                  // the URL of the form for an MFA code; "": none helps, or this client cannot
}

// An acknowledgeForm says what a button acknowledges.
type acknowledgeForm struct {
	URL          string
	ID           int // among the forms of the view
	Reason       record.Reason
	Region, Kind string
}

// A causeFrame is a cause for its template, which needs the time, too.
type causeFrame struct {
	moment
	Cause causeView
}

// Cause returns what the template of a cause takes.
func (f frame) Cause(v causeView) causeFrame { return causeFrame{f.moment, v} }

type link struct{ Text, URL string }

// maxNamedAccounts is how many accounts a cause names.
const maxNamedAccounts = 6

var deniedAction = regexp.MustCompile(`\b[a-z0-9-]+:[A-Z][A-Za-z]+`)

func (c *cause) view(now time.Time) causeView {
	v := causeView{
		State: infoOf(c.State), Title: causeTitle(c.State, c.Reason), Hint: c.Hint, Error: c.Error, Oldest: c.oldest,
		Known:  c.known,
		Effect: c.effect(now), Tried: strings.TrimSpace(c.Region + " " + kindName(c.Kind)),
	}
	switch {
	case c.State == record.Denied && len(c.kinds) > 1:
		v.Hint = inventory.HintPattern(c.Hint) // each kind has another action
	case c.State == record.Denied:
		v.Action = deniedAction.FindString(c.Hint)
	}
	names := slices.Sorted(maps.Keys(c.accounts))
	v.More = max(len(names)-maxNamedAccounts, 0)
	for _, name := range names[:len(names)-v.More] {
		v.Accounts = append(v.Accounts, link{Text: name, URL: accountURL(name)})
	}
	return v
}

func causeTitle(s record.State, r record.Reason) string {
	if words := reasonWords[r]; words != "" {
		return infoOf(s).words + ": " + words
	}
	return infoOf(s).words
}

// effect says what is not seen, and as of when it is shown.
func (c *cause) effect(now time.Time) string {
	regions := slices.Sorted(maps.Keys(c.regions))
	text := list(slices.Sorted(maps.Keys(c.kinds)), 3, "kind")
	if len(regions) > 0 && regions[0] != "" {
		text += " in " + list(regions, 3, "region")
	}
	switch {
	case c.oldest.IsZero():
		text += ". Nothing has been seen there yet."
	case c.resources == 0:
		text += ". No resource was there at the last complete listing."
	default:
		text += ". " + count(c.resources, "resource") + " shown as of the last complete listing, the oldest of " +
			clock(now, c.oldest) + ". None is counted as gone."
	}
	return text
}

// code marks what a person types in a hint: the text between backquotes.
func code(hint string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(hint, "`") {
		text := template.HTMLEscapeString(part)
		if i%2 == 1 {
			text = "<code>" + text + "</code>"
		}
		b.WriteString(text)
	}
	return template.HTML(b.String()) //nolint:gosec // escaped above
}
