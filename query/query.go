// Package query has the questions that people and programs ask about the inventory, and the JSON of the answers. A flag
// of the command line and a parameter of a URL are the same [Parameter], so a question means the same in both. It reads
// the store through the interfaces of package inventory and prints nothing. Begin at [Parse] and [NewCoverage].
package query

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A Question is what the parameters ask. What a question does not have is zero.
type Question struct {
	inventory.Query           // which resources, also as a selection of accounts and regions
	Now             time.Time // what ages are relative to
	Fields          []Column  // empty: whole records
	From, To        time.Time // of a comparison
	Since           time.Time // of runs and of changes
	Statuses        []record.Status
	Problems        bool
	Details         bool   // of a stream: what commands print in addition
	GroupBy         string // account, region or tag:KEY
	Limit           int    // 0: not given, or all
	Sort            []SortKey
}

// A Parameter is a part of a question.
type Parameter struct {
	Name  string // in a URL
	Flag  string // of the command line; "": as Name
	Value string // what a value is: GLOB, TIME; "" for yes or no
	Usage string
	List  bool // several values, separated by commas or repeated

	set func(q *Question, values []string, o Options) error
}

// FlagName is the name of the flag, without hyphens.
func (p *Parameter) FlagName() string {
	if p.Flag != "" {
		return p.Flag
	}
	return p.Name
}

// timeForms says how an instant is written.
const timeForms = ": 2026-11-01, 2026-11-01T08:00Z, or 3d for three days ago"

// The parameters.
var (
	Kind = Parameter{
		Name: "kind", Value: "GLOB", List: true, Usage: "only kinds that match this `GLOB`; can be repeated", set: setKinds,
	}
	Account = Parameter{
		Name: "account", Value: "GLOB", List: true,
		Usage: "only accounts whose name or id matches this `GLOB`; can be repeated",
		set: func(q *Question, values []string, _ Options) error {
			q.Accounts = values
			return nil
		},
	}
	Region = Parameter{
		Name: "region", Value: "GLOB", List: true, Usage: "only regions that match this `GLOB`; can be repeated",
		set: func(q *Question, values []string, _ Options) error {
			q.Regions = values
			return nil
		},
	}
	Where = Parameter{
		Name: "where", Value: "CONDITION", Usage: "only resources that meet this `CONDITION`",
		set: func(q *Question, values []string, o Options) (err error) {
			q.Where, err = inventory.ParseWhere(values[0], o.Now)
			return err
		},
	}
	Search = Parameter{
		Name: "q", Flag: "search", Value: "TEXT",
		Usage: "only resources with this `TEXT` in an id, name, address, tag or account",
		set: func(q *Question, values []string, _ Options) error {
			q.Search = values[0]
			return nil
		},
	}
	At = Parameter{
		Name: "at", Value: "TIME", Usage: "show the state at this `TIME`" + timeForms,
		set: setTime(func(q *Question) *time.Time { return &q.At }),
	}
	Fields = Parameter{
		Name: "fields", Flag: "columns", Value: "FIELD,…", List: true, Usage: "the fields to show, as `FIELD,…`",
		set: func(q *Question, values []string, _ Options) (err error) {
			q.Fields, err = ParseColumns(values)
			return err
		},
	}
	From = Parameter{
		Name: "from", Value: "TIME", Usage: "the earlier `TIME`" + timeForms,
		set: setTime(func(q *Question) *time.Time { return &q.From }),
	}
	To = Parameter{
		Name: "to", Value: "TIME", Usage: "the later `TIME`; default: now",
		set: setTime(func(q *Question) *time.Time { return &q.To }),
	}
	RunsSince = Parameter{
		Name: "since", Value: "TIME", Usage: "only runs since this `TIME`" + timeForms,
		set: setTime(func(q *Question) *time.Time { return &q.Since }),
	}
	ChangesSince = Parameter{
		Name: "since", Value: "TIME", Usage: "show changes after this `TIME`" + timeForms,
		set: setTime(func(q *Question) *time.Time { return &q.Since }),
	}
	Status = Parameter{
		Name: "status", Value: "STATUS", List: true, Usage: "only runs with this `STATUS`; can be repeated", set: setStatuses,
	}
	Problems = Parameter{
		Name: "problems", Usage: "only what failed, is overdue or was never listed",
		set: setBool(func(q *Question) *bool { return &q.Problems }),
	}
	Details = Parameter{
		Name: "details", Usage: "changes also have the record, and the last line of NDJSON has notes: " +
			"why there are no rows, or which may be missing",
		set: setBool(func(q *Question) *bool { return &q.Details }),
	}
	GroupBy = Parameter{
		Name: "group_by", Value: "GROUP", Usage: "sum up by this `GROUP`: account, region or tag:KEY", set: setGroup,
	}
	Limit = Parameter{
		Name: "limit", Value: "NUMBER", Usage: "show at most this `NUMBER` of rows",
		set: func(q *Question, values []string, _ Options) (err error) {
			if q.Limit, err = strconv.Atoi(values[0]); err != nil || q.Limit < 0 {
				err = fmt.Errorf("%q is not a number from 0", values[0])
			}
			return err
		},
	}
)

// OfList are the parameters of a list of resources.
func OfList() []Parameter {
	return []Parameter{Kind, Account, Region, Search, Where, At, Fields, Sort, Limit}
}

// Saved returns the values of a saved question: those of its flags, without those that are given already.
func Saved(flags map[string]string, parameters []Parameter, given url.Values) url.Values {
	values := url.Values{}
	for i := range parameters {
		p := &parameters[i]
		if value, ok := flags[p.FlagName()]; ok && !given.Has(p.Name) {
			values.Set(p.Name, value)
		}
	}
	return values
}

// Options are what a question is parsed with.
type Options struct {
	Now   time.Time
	Kinds Catalogue
}

// An Error says which parameter is wrong, and why.
type Error struct {
	Parameter *Parameter
	Err       error
}

func (e *Error) Error() string { return e.Parameter.Name + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// FlagErrors names the parameters of an error of [Parse] as the command line does.
func FlagErrors(err error) error {
	var joined interface{ Unwrap() []error }
	if !errors.As(err, &joined) {
		return err
	}
	var errs []error
	for _, err := range joined.Unwrap() {
		var e *Error
		if errors.As(err, &e) {
			err = fmt.Errorf("--%s: %w", e.Parameter.FlagName(), e.Err)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Parse returns the question that values ask. It takes the parameters that a question may have and ignores others; its
// error joins an [Error] for each value that is wrong.
func Parse(values url.Values, parameters []Parameter, o Options) (Question, error) {
	q := Question{Now: o.Now}
	var errs []error
	for i := range parameters {
		p := &parameters[i]
		given, err := p.split(values[p.Name])
		if err == nil && len(given) > 0 {
			err = p.set(&q, given, o)
		}
		if err != nil {
			errs = append(errs, &Error{p, err})
		}
	}
	if to := q.To; len(errs) == 0 && !q.From.IsZero() {
		if to.IsZero() {
			to = o.Now
		}
		if !q.From.Before(to) {
			i := slices.IndexFunc(parameters, func(p Parameter) bool { return p.Name == From.Name })
			errs = append(errs, &Error{&parameters[i], fmt.Errorf(
				"%s is not before %s", q.From.Format(time.RFC3339), to.Format(time.RFC3339))})
		}
	}
	return q, errors.Join(errs...)
}

// maxValues limits the values of one parameter: each is compared with every row.
const maxValues = 300

// IsText reports whether a store can compare a text with its own.
func IsText(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// split returns the values of a parameter. An empty value counts as none.
func (p *Parameter) split(given []string) (values []string, err error) {
	for _, text := range given {
		if text == "" {
			continue
		}
		if !IsText(text) {
			return nil, fmt.Errorf("%.100q is not text in UTF-8", text)
		}
		if !p.List {
			values = append(values, text)
			continue
		}
		r := csv.NewReader(strings.NewReader(text)) // a value with a comma is quoted
		r.LazyQuotes = true
		parts, err := r.Read()
		if err != nil {
			return nil, fmt.Errorf("%q is not a list of values: %w", text, err)
		}
		for _, part := range parts {
			if part = strings.TrimSpace(part); part != "" {
				values = append(values, part)
			}
		}
	}
	if !p.List && len(values) > 1 {
		return nil, errors.New("is given more than once")
	}
	if len(values) > maxValues {
		return nil, fmt.Errorf("has %d values, more than %d: use a pattern such as prod-*", len(values), maxValues)
	}
	return values, nil
}

// clockDifference is how far clocks may differ: a client may ask for an instant that it got from another machine.
const clockDifference = 5 * time.Minute

func setTime(field func(*Question) *time.Time) func(*Question, []string, Options) error {
	return func(q *Question, values []string, o Options) error {
		at, err := inventory.ParseTime(values[0], o.Now)
		if err != nil {
			return fmt.Errorf("%q %w", values[0], err)
		}
		if at.After(o.Now.Add(clockDifference)) {
			return fmt.Errorf("%q lies ahead: it is %s now", values[0], o.Now.UTC().Format(time.RFC3339))
		}
		*field(q) = at
		return nil
	}
}

func setBool(field func(*Question) *bool) func(*Question, []string, Options) error {
	return func(q *Question, values []string, _ Options) (err error) {
		if *field(q), err = strconv.ParseBool(values[0]); err != nil {
			err = fmt.Errorf("%q is not true or false", values[0])
		}
		return err
	}
}

func setStatuses(q *Question, values []string, _ Options) error {
	var errs []error
	for _, s := range values {
		if !slices.Contains(record.Statuses[:], record.Status(s)) {
			errs = append(errs, fmt.Errorf("%q is not %s", s, joinStatuses()))
		}
		q.Statuses = append(q.Statuses, record.Status(s))
	}
	return errors.Join(errs...)
}

func joinStatuses() string {
	var names []string
	for _, s := range record.Statuses {
		names = append(names, string(s))
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// tagGroup begins the name of a group by the value of a tag.
const tagGroup = "tag:"

func setGroup(q *Question, values []string, _ Options) error {
	q.GroupBy = values[0]
	key, isTag := strings.CutPrefix(q.GroupBy, tagGroup)
	if isTag && key != "" || q.GroupBy == "account" || q.GroupBy == "region" {
		return nil
	}
	return fmt.Errorf("%q is not account, region or tag:KEY", values[0])
}

// Nearest returns the name that is most like text, or "" if none is.
func Nearest(text string, names []string) string {
	best, least := "", 3
	for _, name := range names {
		if d := distance(text, name); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete or replace to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
