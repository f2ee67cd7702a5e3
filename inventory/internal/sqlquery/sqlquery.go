// Package sqlquery builds the conditions of statements for every database of the inventory. A database differs in its
// [Dialect]; the statements around the conditions are its own, because their plans are. Begin at [New].
package sqlquery

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A Dialect is what differs between databases.
type Dialect struct {
	Placeholder string                            // what a parameter's number follows: "?" or "$"
	Glob        func(column, param string) string // the condition that a column matches a pattern
	Pattern     func(glob string) string          // a glob (*, ? and classes) as a pattern of the database
	// Search is the condition that a live version v, or any version, has a text. param adds a parameter. nil: the database
	// searches without one.
	Search func(text string, live bool, param func(any) string) string
}

// A Builder collects conditions and their parameters. Values are parameters, never part of the statement.
type Builder struct {
	dialect Dialect
	terms   []string
	params  []any
}

// New returns a builder without conditions.
func New(d Dialect) *Builder { return &Builder{dialect: d} }

// Param adds a parameter and returns how the statement refers to it.
func (b *Builder) Param(v any) string {
	b.params = append(b.params, v)
	return b.dialect.Placeholder + strconv.Itoa(len(b.params))
}

// Params are the parameters of the statement.
func (b *Builder) Params() []any { return b.params }

// Add adds a condition. All conditions must hold.
func (b *Builder) Add(condition string) { b.terms = append(b.terms, condition) }

// Where is the WHERE clause; "" without conditions.
func (b *Builder) Where() string {
	if len(b.terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(b.terms, " AND ")
}

// In adds that a column has one of some values. Without values it adds nothing.
func (b *Builder) In(column string, values []string) {
	if len(values) == 0 {
		return
	}
	params := make([]string, len(values))
	for i, v := range values {
		params[i] = b.Param(v)
	}
	b.Add(column + " IN (" + strings.Join(params, ", ") + ")")
}

// Globs adds that one of some columns matches one of the patterns. A pattern that begins with ! excludes.
func (b *Builder) Globs(patterns []string, columns ...string) {
	var include []string
	for _, p := range patterns {
		glob, exclude := strings.CutPrefix(p, "!")
		param := b.Param(b.dialect.Pattern(glob))
		var one []string
		for _, c := range columns {
			one = append(one, b.dialect.Glob(c, param))
		}
		if term := strings.Join(one, " OR "); exclude {
			b.Add("NOT (" + term + ")")
		} else {
			include = append(include, term)
		}
	}
	if len(include) > 0 {
		b.Add("(" + strings.Join(include, " OR ") + ")")
	}
}

// Resources adds the conditions of a query on scopes s and on the ids of v.
func (b *Builder) Resources(q inventory.Query, v string) {
	b.Scopes(q)
	if q.ID != "" {
		b.In(v+".id", []string{q.ID})
	}
}

// Scopes adds the conditions of a query on scopes s.
func (b *Builder) Scopes(q inventory.Query) {
	b.Globs(q.Kinds, "s.kind")
	b.Globs(q.Accounts, "s.account", "s.account_id")
	b.Globs(q.Regions, "s.region")
}

// Versions adds the conditions of a query on scopes s and versions v, with what its Where requires of columns.
func (b *Builder) Versions(q inventory.Query) {
	b.Resources(q, "v")
	for _, c := range [...]struct{ field, column string }{
		{"id", "v.id"}, {"name", "v.name"}, {"state", "v.state"}, {"type", "v.type"},
		{"kind", "s.kind"}, {"region", "s.region"}, {"account", "s.account"}, {"account_id", "s.account_id"},
	} {
		if vs := q.Where.RequiredValues(c.field); vs != nil {
			b.In(c.column, vs)
		}
	}
}

// Search adds the condition of a query's search text, on scopes s and versions v.
func (b *Builder) Search(q inventory.Query) {
	if q.Search == "" {
		return
	}
	b.Add(b.dialect.Search(SearchedText(q), q.At.IsZero(), b.Param))
}

// SearchedText is the search text of a query without control characters: no database takes all of these, and lines part
// what is searched.
func SearchedText(q inventory.Query) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, q.Search)
}

// Containing is the pattern of LIKE, with the escape character \, for what contains a text.
func Containing(text string) string {
	return "%" + strings.NewReplacer(`\`, `\\`, "%", `\%`, "_", `\_`).Replace(text) + "%"
}

// KeyOrder is the order of resources by their keys, of scopes s and the ids of v.
func KeyOrder(v string) string {
	return "s.kind, s.account, s.region, " + v + ".id, s.account_id, s.partition"
}

// After adds that a resource follows a key, of scopes s and the ids of v. nil adds nothing.
func (b *Builder) After(k *inventory.Key, v string) {
	if k == nil {
		return
	}
	var params []string
	for _, part := range []string{k.Kind, k.Account, k.Region, k.ID, k.AccountID, k.Partition} {
		params = append(params, b.Param(part))
	}
	b.Add("(" + KeyOrder(v) + ") > (" + strings.Join(params, ", ") + ")")
}

// Limit is the LIMIT clause of a query; "" if its Where may leave out rows, which the caller then counts.
func (b *Builder) Limit(q inventory.Query) string {
	if q.Limit == 0 || q.Where != nil {
		return ""
	}
	return " LIMIT " + b.Param(q.Limit)
}

// Runs adds the conditions of a query on runs r.
func (b *Builder) Runs(q inventory.RunQuery) {
	b.In("r.run", q.IDs)
	b.Globs(q.Accounts, "r.account")
	b.In("r.status", textsOf(q.Statuses))
	hasEnded := func(s record.Status) bool { return s != record.RunRunning }
	if len(q.Statuses) > 0 && !slices.ContainsFunc(q.Statuses, hasEnded) {
		b.Add("r.ended IS NULL") // for the index of running runs: there may be millions of others
	}
	if !q.Since.IsZero() {
		b.Add("r.run >= " + b.Param(inventory.FirstRunID(q.Since)))
	}
	if q.Before != "" {
		b.Add("r.run < " + b.Param(q.Before))
	}
}

func textsOf(statuses []record.Status) []string {
	texts := make([]string, len(statuses))
	for i, s := range statuses {
		texts[i] = string(s)
	}
	return texts
}
