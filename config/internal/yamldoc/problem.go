package yamldoc

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A Problem is one mistake: its Position, what is wrong, and how to fix it. It never holds the value of a secret key,
// nor a value that came from the environment or a file.
type Problem struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"` // from 1; 0 if no line is known
	Column int    `json:"column,omitempty"`
	Path   string `json:"path,omitempty"` // accounts[2].collector_configs.regions[0]
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// Error returns the problem in one line: config.yaml:12: accounts[2].regons: unknown key; did you mean "regions"?
func (p Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		if p.File != "" {
			b.WriteByte(':')
		}
		b.WriteString(strconv.Itoa(p.Line))
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Text)
	if p.Remedy != "" {
		b.WriteString("; " + p.Remedy)
	}
	return b.String()
}

// Problems lists every mistake of a file, ordered by line.
type Problems []Problem

// Error returns one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find a [Problem].
func (p Problems) Unwrap() []error {
	errs := make([]error, len(p))
	for i := range p {
		errs[i] = p[i]
	}
	return errs
}

// sorted orders by position and removes duplicates: an anchor is decoded once for each alias.
func (p Problems) sorted() Problems {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Path, b.Path))
	})
	return slices.Compact(p)
}

// A secret may be in the wrong place, so what looks like one is not shown: runs of the characters of AWS's secrets and
// tokens, if they are as long as a secret, and the middle of key ids.
var (
	secretLike   = regexp.MustCompile(`[A-Za-z0-9/+=]{40,}`)
	keyIDPattern = regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{8,}([A-Z0-9]{4})\b`)
	plainKeyForm = Pattern{regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`), 1, 32}
	shownKeyForm = Pattern{regexp.MustCompile(`^[\pL\pN_ .:@*?!-]+$`), 1, 32}
)

// A Pattern is a regular expression with a length limit. A repetition such as {9,256} in the expression would be
// compiled into 256 copies.
type Pattern struct {
	Expr     *regexp.Regexp
	Min, Max int // characters
}

// MatchString is like [regexp.Regexp.MatchString].
func (f Pattern) MatchString(s string) bool {
	n := utf8.RuneCountInString(s)
	return f.Min <= n && n <= f.Max && f.Expr.MatchString(s)
}

// QuoteSafe returns s for a message: quoted, shortened, without what looks like a secret.
func QuoteSafe(s string) string {
	if len(s) >= 16 { // both patterns need 16 bytes or more
		s = secretLike.ReplaceAllString(s, "[redacted]")
		s = keyIDPattern.ReplaceAllString(s, "$1…$2")
	}
	if r := []rune(s); len(r) > 128 {
		s = string(r[:125]) + "..."
	}
	return strconv.Quote(s)
}

// quoteSafeKey is QuoteSafe for text in the place of a key. A pasted secret is often there.
func quoteSafeKey(s string) (quoted string, ok bool) {
	if !shownKeyForm.MatchString(s) {
		return "", false
	}
	return QuoteSafe(s), true
}

// joinPath appends a known key to a path.
func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// JoinKey appends any key to a path.
func JoinKey(path, key string) string {
	switch quoted, ok := quoteSafeKey(key); {
	case !ok:
		return path + "[?]"
	case !plainKeyForm.MatchString(key) || keyIDPattern.MatchString(key):
		return path + "[" + quoted + "]"
	}
	return joinPath(path, key)
}

func indexPath(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
