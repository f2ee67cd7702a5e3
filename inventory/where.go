package inventory

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Where is a condition on resources:
//
//	state=running and tags.team=platform
//	kind=ec2_volume and not (state=in-use or tags.keep)
//	type in (t2.micro, t2.small) and state_since older than 30d
//	data.IpPermissions.IpRanges.CidrIp = 0.0.0.0/0
//
// A comparison is a field ([ParseField]), an operator and a value: = and !=, ~ and !~ for globs (* and ?), < <= > >=
// and in (a, b). A field alone tests whether the resource has it. A field with several values satisfies a comparison if
// one value does; != and !~ negate = and ~, so they are true for a resource without the field. < <= > >= compare
// numbers as numbers, and instants with an instant or an age: state_since < 30d means before 30 days ago, which
// "older than" and "newer than" say in words; without a field they are about first_seen. "and" binds closer than "or",
// "not" closest. A value with spaces or any of ()=!~<>,'" must be quoted.
type Where struct {
	text string
	expr expr
	data bool
}

// ParseWhere parses a condition. Ages are relative to now. An error names the character.
func ParseWhere(s string, now time.Time) (*Where, error) {
	p := &parser{text: s, now: now}
	p.next()
	e := p.or(0)
	if p.err == nil && p.tok.kind != endToken {
		p.fail("expected and, or, or the end%s", p.sqlHint())
	}
	if p.err != nil {
		return nil, p.err
	}
	return &Where{text: s, expr: e, data: p.data}, nil
}

// String returns the condition as it was parsed.
func (w *Where) String() string {
	if w == nil {
		return ""
	}
	return w.text
}

// WhereTerms splits a condition into the terms that must all be true, each as it is written. A condition with
// alternatives is one term, in parentheses. A condition that [ParseWhere] refuses has no terms.
func WhereTerms(s string) (terms []string) {
	p := &parser{text: s}
	for p.next(); p.tok.kind != endToken; p.next() {
		begin := p.tok.at
		p.unary(0)
		terms = append(terms, strings.TrimSpace(s[begin:p.tok.at]))
		if !p.tok.is("and") {
			break
		}
	}
	switch {
	case p.err != nil:
		return nil
	case p.tok.is("or"):
		return []string{"(" + strings.TrimSpace(s) + ")"}
	}
	return terms
}

// QuoteWord writes a text as one word of a condition: a value, or a field with any tag key.
func QuoteWord(s string) string {
	plain := s != "" && !slices.Contains([]string{"and", "or", "not", "in"}, strings.ToLower(s)) &&
		!strings.ContainsAny(s, special+"'\" \t\r\n")
	if plain {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'"'"'`) + "'"
}

// Match reports whether r satisfies the condition. A nil Where matches everything.
func (w *Where) Match(r *Resource) (bool, error) {
	if w == nil {
		return true, nil
	}
	return w.expr.match(r)
}

// NeedsData reports whether Match reads the data.
func (w *Where) NeedsData() bool { return w != nil && w.data }

// RequiredValues returns the values of a column that a matching resource can have, or nil if the condition does not say
// so plainly. A driver may use it to read fewer rows, and must still call Match.
func (w *Where) RequiredValues(column string) []string {
	if w == nil {
		return nil
	}
	return requiredValues(w.expr, column)
}

func requiredValues(e expr, column string) []string {
	switch e := e.(type) {
	case and:
		for _, e := range e {
			if vs := requiredValues(e, column); vs != nil {
				return vs
			}
		}
	case comparison:
		if e.op == "=" && e.field.name == column {
			return e.values
		}
	}
	return nil
}

// Uses reports whether the condition uses one of these columns, and which.
func (w *Where) Uses(columns ...string) (string, bool) {
	if w == nil {
		return "", false
	}
	name := ""
	w.expr.fields(func(f Field) bool {
		if slices.Contains(columns, f.name) {
			name = f.name
		}
		return name == ""
	})
	return name, name != ""
}

// sqlHint says what to write in place of a word or sign of SQL or of a programming language.
func (p *parser) sqlHint() string {
	word := strings.ToLower(p.tok.text)
	switch {
	case p.tok.kind != wordToken || p.tok.quoted:
	case word == "like" || word == "ilike" || word == "glob" || word == "regexp":
		return "; write name~'web*' to compare with a pattern: * is any text, ? one character"
	case word == "is":
		return "; write a field alone, such as tags.owner, for those that have it, and not tags.owner for the others"
	case word == "between":
		return "; write two comparisons: state_since>=2026-11-01 and state_since<2026-12-01"
	case strings.HasPrefix(word, "&&"):
		return "; write and in place of &&"
	case strings.HasPrefix(word, "||"):
		return "; write or in place of ||"
	}
	return ""
}

type expr interface {
	match(r *Resource) (bool, error)
	fields(yield func(Field) bool) bool // false if yield returned false
}

type (
	and        []expr
	or         []expr
	not        struct{ expr }
	comparison struct {
		field  Field
		op     string   // = ~ < <= > >=; "" tests whether the field exists
		values []string // more than one only for =
		at     time.Time
	}
)

func (es and) fields(yield func(Field) bool) bool       { return eachField(es, yield) }
func (es or) fields(yield func(Field) bool) bool        { return eachField(es, yield) }
func (c comparison) fields(yield func(Field) bool) bool { return yield(c.field) }

func eachField(es []expr, yield func(Field) bool) bool {
	for _, e := range es {
		if !e.fields(yield) {
			return false
		}
	}
	return true
}

func (es and) match(r *Resource) (bool, error) {
	for _, e := range es {
		if ok, err := e.match(r); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func (es or) match(r *Resource) (bool, error) {
	for _, e := range es {
		if ok, err := e.match(r); err != nil || ok {
			return ok, err
		}
	}
	return false, nil
}

func (n not) match(r *Resource) (bool, error) {
	ok, err := n.expr.match(r)
	return !ok, err
}

func (c comparison) match(r *Resource) (bool, error) {
	found, err := c.field.scalars(r)
	if err != nil || c.op == "" {
		return len(found) > 0, err
	}
	for _, f := range found {
		for _, v := range c.values {
			if c.holds(f, v) {
				return true, nil
			}
		}
	}
	return false, nil
}

func (c comparison) holds(found any, want string) bool {
	t, isTime := found.(time.Time)
	s, _ := found.(string)
	if isTime {
		s = t.Format(time.RFC3339Nano)
	}
	switch c.op {
	case "=":
		return s == want || isTime && !c.at.IsZero() && t.Equal(c.at)
	case "~":
		ok, _ := path.Match(escapeSlash(want), escapeSlash(s)) // the pattern was checked when it was parsed
		return ok
	}
	var sign int
	x, errX := strconv.ParseFloat(s, 64)
	y, errY := strconv.ParseFloat(want, 64)
	switch {
	case errX == nil && errY == nil:
		sign = compare(x, y)
	case c.at.IsZero():
		sign = strings.Compare(s, want)
	default:
		if !isTime {
			var err error
			if t, err = time.Parse(time.RFC3339, s); err != nil {
				return false
			}
		}
		sign = t.Compare(c.at)
	}
	switch c.op {
	case "<":
		return sign < 0
	case "<=":
		return sign <= 0
	case ">":
		return sign > 0
	}
	return sign >= 0
}

func compare(x, y float64) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// escapeSlash hides slashes from path.Match, whose * stops at them: ARNs and CIDRs contain slashes.
func escapeSlash(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

type tokenKind int

const (
	endToken tokenKind = iota
	wordToken
	opToken // = != ~ !~ < <= > >= ( ) ,
)

type token struct {
	kind   tokenKind
	text   string
	quoted bool // partly quoted: then it is not a keyword
	at     int
}

func (t token) is(keyword string) bool {
	return t.kind == wordToken && !t.quoted && strings.EqualFold(t.text, keyword)
}
func (t token) op(s string) bool { return t.kind == opToken && t.text == s }

type parser struct {
	text string
	now  time.Time
	pos  int
	tok  token
	data bool
	err  error
}

const special = `()=!~<>,`

// maxDepth bounds the nesting of conditions, so that no text can exhaust the stack.
const maxDepth = 100

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("at character %d of %q: %s", p.tok.at+1, p.text, fmt.Sprintf(format, args...))
	}
	p.tok = token{at: len(p.text)}
	p.pos = len(p.text)
}

func (p *parser) next() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
	p.tok = token{at: p.pos}
	if p.pos == len(p.text) {
		return
	}
	if c := p.text[p.pos]; strings.IndexByte(special, c) >= 0 {
		n := 1
		if two := p.text[p.pos:min(p.pos+2, len(p.text))]; two == "!=" || two == "!~" || two == "<=" || two == ">=" ||
			two == "==" {
			n = 2
		}
		p.tok.kind, p.tok.text = opToken, p.text[p.pos:p.pos+n]
		p.pos += n
		return
	}
	p.tok.kind = wordToken
	var b strings.Builder
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		if strings.IndexByte(special+" \t\r\n", c) >= 0 {
			break
		}
		p.pos++
		if c != '\'' && c != '"' {
			b.WriteByte(c)
			continue
		}
		end := strings.IndexByte(p.text[p.pos:], c)
		if end < 0 {
			p.fail("the quote is not closed")
			return
		}
		b.WriteString(p.text[p.pos : p.pos+end])
		p.pos += end + 1
		p.tok.quoted = true
	}
	p.tok.text = b.String()
}

func (p *parser) or(depth int) expr {
	if depth > maxDepth {
		p.fail("nested too deeply")
		return or{}
	}
	all := or{p.and(depth)}
	for p.tok.is("or") {
		p.next()
		all = append(all, p.and(depth))
	}
	if len(all) == 1 {
		return all[0]
	}
	return all
}

func (p *parser) and(depth int) expr {
	all := and{p.unary(depth)}
	for p.tok.is("and") {
		p.next()
		all = append(all, p.unary(depth))
	}
	if len(all) == 1 {
		return all[0]
	}
	return all
}

func (p *parser) unary(depth int) expr {
	switch {
	case depth > maxDepth:
		p.fail("nested too deeply")
		return or{}
	case p.tok.is("not"):
		p.next()
		return not{p.unary(depth + 1)}
	case p.tok.op("("):
		p.next()
		e := p.or(depth + 1)
		if !p.tok.op(")") {
			p.fail("expected )")
		}
		p.next()
		return e
	}
	return p.comparison()
}

func (p *parser) comparison() expr {
	if p.tok.kind != wordToken || !p.tok.quoted && (p.tok.is("and") || p.tok.is("or") || p.tok.is("in")) {
		p.fail("expected a field, such as state or tags.team")
		return or{}
	}
	field := p.tok.text
	withoutField := p.ageOperator() != ""
	if withoutField {
		field = "first_seen"
	}
	f, err := ParseField(field)
	if err != nil {
		p.fail("%v", err)
		return or{}
	}
	p.data = p.data || f.NeedsData()
	if !withoutField {
		p.next()
	}
	c := comparison{field: f}
	if op := p.ageOperator(); op != "" {
		return p.age(c, op)
	}
	if p.tok.is("in") {
		p.next()
		c.op = "="
		c.values = p.list()
		return c
	}
	if p.tok.kind != opToken || strings.Contains("(),", p.tok.text) {
		return c
	}
	op := p.tok.text
	if op == "==" {
		op = "="
	}
	p.next()
	if p.tok.kind != wordToken {
		if op == "<" && p.tok.op(">") {
			p.fail("expected a value after <; write != for not equal")
			return c
		}
		p.fail("expected a value after %s; an empty one is ''", op)
		return c
	}
	value := p.tok
	var negate bool
	c.op, negate = strings.CutPrefix(op, "!")
	if op == "!" {
		p.tok = value
		p.fail("expected != or !~")
		return c
	}
	c.values = []string{value.text}
	if t, err := ParseTime(value.text, p.now); err == nil {
		c.at = t
	} else if c.op != "~" && (f.isInstant() || c.op != "=" && looksLikeDate(value.text)) {
		p.tok = value
		p.fail("%q %v", value.text, err) // no resource could satisfy it
		return c
	}
	if c.op == "~" {
		if _, err := path.Match(escapeSlash(value.text), ""); err != nil {
			p.tok = value
			p.fail("%v", errGlob)
		}
	}
	p.next()
	if negate {
		return not{c}
	}
	return c
}

// ageOperator returns the operator that the word "newer" or "older" means, or "".
func (p *parser) ageOperator() string {
	switch {
	case p.tok.is("newer"):
		return ">"
	case p.tok.is("older"):
		return "<"
	}
	return ""
}

// age parses what follows a field: newer than 7d.
func (p *parser) age(c comparison, op string) expr {
	word := p.tok.text
	if p.next(); !p.tok.is("than") {
		p.fail("expected than after %s", word)
		return c
	}
	if p.next(); p.tok.kind != wordToken {
		p.fail("expected an age or a time after than, such as 7d")
		return c
	}
	at, err := ParseTime(p.tok.text, p.now)
	if err != nil {
		p.fail("%q %v", p.tok.text, err)
		return c
	}
	c.op, c.values, c.at = op, []string{p.tok.text}, at
	p.next()
	return c
}

// looksLikeDate reports whether a text is written as a date, whether it exists or not.
func looksLikeDate(s string) bool {
	for i, form := range []byte(time.DateOnly) {
		switch {
		case i >= len(s), form == '-' && s[i] != '-', form != '-' && (s[i] < '0' || s[i] > '9'):
			return false
		}
	}
	rest := s[len(time.DateOnly):]
	return rest == "" || rest[0] == 'T'
}

var errGlob = errors.New("invalid glob: [ without ]")

func (p *parser) list() []string {
	if !p.tok.op("(") {
		p.fail("expected ( after in")
		return nil
	}
	values := []string{}
	for p.err == nil {
		p.next()
		if p.tok.kind != wordToken {
			p.fail("expected a value")
			return nil
		}
		values = append(values, p.tok.text)
		p.next()
		if p.tok.op(")") {
			p.next()
			break
		}
		if !p.tok.op(",") {
			p.fail("expected , or )")
		}
	}
	return values
}
