package yamldoc

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// A Document is a parsed file.
type Document struct {
	name   string
	root   *yaml.Node
	tokens int // number of tokens in the text
}

// HasReferences reports whether a value of the document contains a reference.
func (doc *Document) HasReferences() bool { return hasReferences(doc.root) }

// hasReferences reports whether a node or one below it contains a reference.
func hasReferences(n *yaml.Node) bool {
	// The target of an alias is elsewhere in the tree.
	return strings.Contains(n.Value, "${") || slices.ContainsFunc(n.Content, hasReferences)
}

// unaliasedList returns the list of a key of the document if no alias refers to it, or nil.
func unaliasedList(root *yaml.Node, key string) *yaml.Node {
	if root.Kind != yaml.MappingNode || root.Anchor != "" {
		return nil
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if n := root.Content[i+1]; root.Content[i].Value == key && n.Kind == yaml.SequenceNode && n.Anchor == "" {
			return n
		}
	}
	return nil
}

// Parse reads the text of a file as one YAML document. emptyRemedy is the remedy for a file without content. The
// library's own decoding into types is not used: its errors quote values and stop early, and it is not strict below a
// type with its own UnmarshalYAML.
func Parse(b []byte, name, emptyRemedy string) (*Document, Problems) {
	bad := func(line, column int, text, remedy string) (*Document, Problems) {
		return nil, Problems{{File: name, Line: line, Column: column, Text: text, Remedy: remedy}}
	}
	if len(b) > MaxFile {
		return bad(0, 0, "the file is larger than "+strconv.Itoa(MaxFile>>20)+" MiB", "check that it is the right file")
	}
	if line := tokenLimitLine(b); line > 0 {
		return bad(line, 0, "the file exceeds "+strconv.Itoa(MaxTokens)+" keys, items and comments on this line",
			"check that it is the right file")
	}
	if line := directiveLimitLine(b); line > 0 {
		return bad(line, 1, "the file has more than "+strconv.Itoa(MaxDirectives)+" YAML directives",
			"check that it is the right file")
	}
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var doc, more yaml.Node
	switch err := dec.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return bad(0, 0, "the file is empty", emptyRemedy)
	case err != nil:
		return nil, Problems{syntaxProblem(err, b, name)}
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null" {
		return bad(0, 0, "the file is empty", emptyRemedy)
	}
	switch err := dec.Decode(&more); {
	case errors.Is(err, io.EOF):
		return &Document{name: name, root: root, tokens: CountTokens(b)}, nil
	case err != nil:
		return nil, Problems{syntaxProblem(err, b, name)}
	}
	return bad(more.Line, more.Column, "a second document begins here and would be ignored",
		`put everything into one document, without "---"`)
}

var (
	yamlError   = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?(.*)$`)
	parserError = regexp.MustCompile(`^(did not find expected (key|node content|'-' indicator|',' or|<)|` +
		`found (duplicate %|undefined tag|incompatible))`)
	bangInFlow = regexp.MustCompile(`[\[,]\s*!`)
)

// syntaxProblem translates the library's error. It leaves out what the error quotes of the file: for the library, an
// unquoted secret that begins with an asterisk is an unknown anchor.
func syntaxProblem(err error, b []byte, name string) Problem {
	p := Problem{File: name, Text: "is not valid YAML"}
	m := yamlError.FindStringSubmatch(err.Error())
	if m == nil {
		return p
	}
	p.Line, _ = strconv.Atoi(m[1]) // 0 if there is none
	what := m[2]
	if strings.HasPrefix(what, "unknown anchor") {
		p.Text = "a value that begins with * is an alias, but its anchor is not in the file"
		p.Remedy = `quote the value, as in "*"`
		if p.Line == 0 {
			p.Line = unknownAliasLine(what, b)
		}
		return p
	}
	lines := strings.SplitAfter(string(b), "\n")
	switch {
	case strings.HasSuffix(what, "expected key"), strings.HasSuffix(what, "'-' indicator"):
		p.Line = firstFailingLine(lines, what) // the library names the line where the block begins
	case strings.Contains(what, "UTF-8"):
		p.Line = 1 + bytes.Count(b[:invalidUTF8Offset(b)], []byte("\n"))
	case m[1] == "" && !strings.Contains(what, "control characters") || parserError.MatchString(what):
		p.Line++ // these errors count from 0
	}
	p.Text = "is not valid YAML: " + what
	if p.Line > 0 && p.Line <= len(lines) {
		p.Remedy = quotingRemedy(lines[p.Line-1])
	}
	return p
}

// invalidUTF8Offset returns the offset of the first byte that is not UTF-8.
func invalidUTF8Offset(b []byte) int {
	at := 0
	for at < len(b) {
		r, n := utf8.DecodeRune(b[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return at
}

// lookahead is the number of lines that the library may read beyond the one where it stops.
const lookahead = 16

// firstFailingLine returns the line at whose end the library first reports the error. The library reads no further than
// it must, so its reads show where to search.
func firstFailingLine(lines []string, what string) int {
	fails := func(r io.Reader) bool {
		var n yaml.Node
		err := yaml.NewDecoder(r).Decode(&n)
		return err != nil && strings.HasSuffix(err.Error(), what)
	}
	all := &lineReader{lines: lines}
	_ = fails(all) // the full text, to see how far the library reads
	end := min(all.next, len(lines))
	from := max(0, end-lookahead)
	failsWithin := func(i int) bool { return fails(&lineReader{lines: lines[:from+i+1]}) }
	return 1 + from + sort.Search(max(0, end-1-from), failsWithin)
}

// A lineReader returns one line for each read.
type lineReader struct {
	lines []string
	next  int
	rest  string
}

func (r *lineReader) Read(p []byte) (int, error) {
	if r.rest == "" {
		if r.next >= len(r.lines) {
			return 0, io.EOF
		}
		r.rest = r.lines[r.next]
		r.next++
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// quotingRemedy returns the likely fix for a line that is not valid YAML, or "".
func quotingRemedy(line string) string {
	value := strings.TrimPrefix(strings.TrimSpace(line), "-")
	if _, v, ok := strings.Cut(line, ":"); ok {
		value = v
	}
	value = strings.TrimLeft(value, " [")
	switch {
	case strings.HasPrefix(strings.TrimLeft(line, " "), "\t"):
		return "indent with spaces: YAML does not allow tabs"
	case strings.Contains(line, "${") && strings.ContainsAny(line, "{["):
		return `quote a reference between { } or [ ]: "${env:NAME}"`
	case value != "" && strings.Contains("*@%`", value[:1]):
		return `quote a value that begins with ` + value[:1] + `, as in "*" or "@hourly"`
	case strings.Count(line, ": ") > 1:
		return `quote a value that contains ": "`
	case bangInFlow.MatchString(line):
		return `quote a value that begins with !, as in "!ec2_image"`
	}
	return ""
}

// unknownAliasLine finds the line of an unknown alias, which the library does not report.
func unknownAliasLine(what string, b []byte) int {
	_, name, _ := strings.Cut(what, "'")
	name, _, _ = strings.Cut(name, "'")
	for i, line := range strings.Split(string(b), "\n") {
		if code, _, _ := strings.Cut(line, " #"); strings.Contains(code, "*"+name) {
			return i + 1
		}
	}
	return 0
}
