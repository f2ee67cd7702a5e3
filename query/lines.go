package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A ResourceLine is a version as JSON: the record as outputs get it, and what the store knows about the version.
type ResourceLine struct {
	*record.Record
	State      string     `json:"state,omitempty"`
	Type       string     `json:"type,omitempty"`
	FirstSeen  time.Time  `json:"first_seen"`
	StateSince time.Time  `json:"state_since"`
	ValidFrom  time.Time  `json:"valid_from"`
	ValidTo    *time.Time `json:"valid_to"`
	Ended      string     `json:"ended,omitempty"`
	LastSeen   *time.Time `json:"last_seen"`
}

// NewResourceLine returns r as JSON has it. It shares r's record.
func NewResourceLine(r *inventory.Resource) ResourceLine {
	return ResourceLine{
		Record: &r.Record, State: r.State, Type: r.Type, FirstSeen: r.FirstSeen, StateSince: r.StateSince,
		ValidFrom: r.ValidFrom, ValidTo: NullIfZero(r.ValidTo), Ended: r.Ended, LastSeen: NullIfZero(r.LastSeen),
	}
}

// NullIfZero returns t for JSON.
func NullIfZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// A VersionLine is a version of a history as JSON. Programs rely on its format.
type VersionLine struct {
	ID        string            `json:"id"`
	Kind      string            `json:"kind"`
	ValidFrom time.Time         `json:"valid_from"`
	ValidTo   *time.Time        `json:"valid_to"`
	Ended     *string           `json:"ended"`
	Changes   []inventory.Delta `json:"changes"`
	Record    *record.Record    `json:"record"`
	What      string            `json:"what"` // appeared, or changed if it follows another version
	State     string            `json:"state,omitempty"`
}

// NewVersionLine returns v as a line. previous is the version before it in the answer, or nil; the line has the changes
// if v follows it.
func NewVersionLine(previous, v *inventory.Resource) (l VersionLine, follows bool, err error) {
	l = VersionLine{
		ID: v.ID, Kind: v.Kind, What: "appeared", State: v.State, ValidFrom: v.ValidFrom, ValidTo: NullIfZero(v.ValidTo),
		Changes: []inventory.Delta{}, Record: &v.Record,
	}
	if v.Ended != "" {
		l.Ended = &v.Ended
	}
	if previous == nil || !isNextVersion(previous, v) {
		return l, false, nil
	}
	l.What = "changed"
	l.Changes, err = inventory.Deltas(previous.Data, v.Data)
	return l, true, err
}

// isNextVersion reports whether b follows a as its next version.
func isNextVersion(a, b *inventory.Resource) bool {
	return a.ID == b.ID && a.Kind == b.Kind && a.AccountID == b.AccountID && a.Partition == b.Partition &&
		a.Region == b.Region && a.FirstSeen.Equal(b.FirstSeen)
}

// A RunLine is a run as JSON. Programs rely on its format.
type RunLine struct {
	Run       string               `json:"run"`
	Account   string               `json:"account"`
	Tick      *time.Time           `json:"tick"`
	Started   *time.Time           `json:"started"`      // null: it never began
	Ended     *time.Time           `json:"ended"`        // null: it is running
	Took      *float64             `json:"took_seconds"` // so far, while it is running
	Status    record.Status        `json:"status"`
	Missed    string               `json:"missed"`
	Ticks     int                  `json:"ticks"`
	Targets   map[record.State]int `json:"targets"`
	Failed    int                  `json:"failed"` // of the targets: failed, and not expected to
	Records   int                  `json:"records"`
	Calls     int                  `json:"calls"`
	Throttles int                  `json:"throttles"`
	Causes    []CauseLine          `json:"causes"`
	Replica   string               `json:"replica"`
	Version   string               `json:"version"`
}

// A CauseLine is why targets of a run were not ok.
type CauseLine struct {
	State   record.State  `json:"state"`
	Reason  record.Reason `json:"reason"`
	Targets int           `json:"targets"`
	Region  string        `json:"region"`
	Kind    string        `json:"kind"`
	Error   string        `json:"error"`
	Hint    string        `json:"hint"`
}

// NewRunLine returns r as JSON has it.
func NewRunLine(r inventory.Run, now time.Time) RunLine {
	l := RunLine{
		Run: r.ID, Account: r.Account, Tick: NullIfZero(r.Tick), Started: NullIfZero(r.Started),
		Ended: NullIfZero(r.Ended), Status: r.Status, Missed: r.Missed, Ticks: r.Ticks, Targets: r.Targets,
		Failed: r.Failed, Records: r.Records, Calls: r.Calls, Throttles: r.Throttles, Causes: []CauseLine{},
		Replica: r.Process.Replica, Version: r.Process.Version,
	}
	if took, began := TookOf(r, now); began {
		seconds := took.Seconds()
		l.Took = &seconds
	}
	for _, c := range r.Causes {
		l.Causes = append(l.Causes, CauseLine{
			State: c.State, Reason: c.Reason, Targets: c.Targets, Region: c.Region, Kind: c.Kind, Error: c.Error, Hint: c.Hint,
		})
	}
	return l
}

// TookOf is how long a run took, or takes so far. That of a run that was interrupted is not known.
func TookOf(r inventory.Run, now time.Time) (took time.Duration, known bool) {
	switch {
	case r.Started.IsZero(), r.Status == record.RunInterrupted:
		return 0, false
	case r.Ended.IsZero():
		return max(now.Sub(r.Started), 0), true
	}
	return r.Took(), true
}

// Runs returns the question as the store takes it. Runs have the account's name only, so a pattern that matches the id
// of an account is completed by the name with which that account signed in last.
func (q *Question) Runs(ctx context.Context, r inventory.RunReader) (inventory.RunQuery, error) {
	out := inventory.RunQuery{
		Accounts: slices.Clone(q.Accounts), Statuses: q.Statuses, Since: q.Since, Limit: q.Limit,
	}
	if len(q.Accounts) == 0 {
		return out, nil
	}
	for s, err := range r.SignIns(ctx) {
		if err != nil {
			return out, err
		}
		for _, pattern := range q.Accounts { // also of accounts that are excluded: some have never signed in
			glob, excludes := strings.CutPrefix(pattern, "!")
			switch {
			case glob == "" || !config.Matches([]string{glob}, s.AccountID):
			case excludes:
				out.Accounts = append(out.Accounts, "!"+s.Account)
			default:
				out.Accounts = append(out.Accounts, s.Account)
			}
		}
	}
	return out, nil
}

// A Column is a field and the name under which the user asked for it.
type Column struct {
	Name  string
	Field inventory.Field
}

// ParseColumns parses the names of fields.
func ParseColumns(names []string) (cs []Column, err error) {
	var errs []error
	for _, n := range names {
		f, err := inventory.ParseField(n)
		errs = append(errs, err)
		cs = append(cs, Column{n, f})
	}
	return cs, errors.Join(errs...)
}

// AllFields has every field, for CSV.
func AllFields() []string {
	return append(slices.Clone(inventory.Fields[:]), "tags", "extra_tags", "data")
}

// NeedData reports whether a column is in the resource's data.
func NeedData(columns []Column) bool {
	return slices.ContainsFunc(columns, func(c Column) bool { return c.Field.NeedsData() })
}

// Row returns the values of columns, by name.
func Row(r *inventory.Resource, columns []Column) (map[string]any, error) {
	row := make(map[string]any, len(columns))
	for _, c := range columns {
		v, err := c.Field.Value(r)
		if err != nil {
			return nil, err
		}
		row[c.Name] = v
	}
	return row, nil
}

// CellText formats a value for a cell of a table.
func CellText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case time.Time:
		return v.Format(time.RFC3339)
	case json.Number:
		return v.String()
	}
	return strings.TrimSpace(string(JSONLine(v)))
}

// JSONLine encodes v as a line of JSON, without escapes for < and &.
func JSONLine(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte("null\n") // v was decoded from JSON
	}
	return b.Bytes()
}
