package importers

import (
	"errors"
	"regexp"
	"strings"
)

// A pyValue is a value of a Python script: a string, a bool, nil, a [pyDict], a list of pyValues, or a pyExpression.
type pyValue struct {
	value any
	line  int
}

type (
	// A pyDict keeps the order of the script.
	pyDict   []pyMember
	pyMember struct {
		key   string
		value pyValue
		line  int
	}
	// A pyExpression is what only Python can compute.
	pyExpression struct{}
)

func (d pyDict) get(key string) (pyValue, bool) {
	for _, m := range d {
		if m.key == key {
			return m.value, true
		}
	}
	return pyValue{}, false
}

func (v pyValue) text() string {
	s, _ := v.value.(string)
	return s
}

func (v pyValue) isExpression() bool {
	_, ok := v.value.(pyExpression)
	return ok
}

func (v pyValue) texts() (all []string) {
	list, ok := v.value.([]pyValue)
	if !ok {
		list = []pyValue{v}
	}
	for _, item := range list {
		if s := item.text(); s != "" {
			all = append(all, s)
		}
	}
	return all
}

var pyAssignment = regexp.MustCompile(`(?m)^[ \t]*(\w+)[ \t]*=[ \t]*`)

// pyVariables returns the variables of a script to which it assigns literals, also those of variables before them. Of
// several assignments the last one counts.
func pyVariables(source string) map[string]pyValue {
	variables := map[string]pyValue{}
	end, budget := 0, maxParsed
	for _, m := range pyAssignment.FindAllStringSubmatchIndex(source, -1) {
		if m[0] < end { // a keyword argument or a line of a string, inside of the value before
			continue
		}
		p := &pyParser{source: source, at: m[1], variables: variables}
		v, err := p.parse(0)
		if budget -= p.at - m[1]; budget < 0 {
			break
		}
		if err != nil {
			continue
		}
		variables[source[m[2]:m[3]]] = v
		end = p.at
	}
	return variables
}

// A pyParser reads literals of Python.
type pyParser struct {
	source    string
	at        int
	variables map[string]pyValue
}

var (
	errSyntax = errors.New("not a literal")
	pyString  = regexp.MustCompile(`^((?i:[rbuf]{0,2}))("""|'''|"|')`)
	pyWord    = regexp.MustCompile(`^[\w.]+`)
	// What reads a variable of the environment: os.environ['X'], os.environ.get('X'), os.getenv('X'), DFF.ENV('X').
	pyEnvironment = regexp.MustCompile(`^(?:os\.)?(?:environ\[|environ\.get\(|getenv\(|DFF\.ENV\()\s*['"](\w+)['"][^\])]*[\])]`)
)

// maxParsed bounds the bytes that are parsed: what cannot be parsed is tried again from the next assignment.
const maxParsed = 4 << 20

// maxDepth bounds the nesting of literals.
const maxDepth = 50

func (p *pyParser) rest() string { return p.source[p.at:] }

// atString reports whether a string begins here. It is asked at nearly every byte, so it looks at the first one before
// it asks the regular expression.
func (p *pyParser) atString() bool {
	return p.at < len(p.source) && strings.IndexByte(`'"rbufRBUF`, p.source[p.at]) >= 0 && pyString.MatchString(p.rest())
}

// skip passes white space, comments and continued lines.
func (p *pyParser) skip() {
	for p.at < len(p.source) {
		switch c := p.source[p.at]; {
		case c == '#':
			i := strings.IndexByte(p.rest(), '\n')
			if i < 0 {
				i = len(p.rest())
			}
			p.at += i
		case strings.IndexByte(" \t\r\n\\", c) >= 0:
			p.at++
		default:
			return
		}
	}
}

func (p *pyParser) parse(depth int) (pyValue, error) {
	p.skip()
	v := pyValue{line: lineOf(p.source, p.at)}
	if depth > maxDepth || p.at == len(p.source) {
		return v, errSyntax
	}
	var err error
	switch c := p.source[p.at]; {
	case c == '{':
		v.value, err = p.dict(depth)
	case c == '[' || c == '(':
		v.value, err = p.list(depth, c == '(')
	case p.atString():
		isFormat := strings.ContainsAny(pyString.FindStringSubmatch(p.rest())[1], "fF")
		if v.value, err = p.text(); isFormat {
			v.value = pyExpression{}
		}
	default:
		v.value, err = p.word()
	}
	if err == nil && depth > 0 && p.skipOperation() {
		v.value = pyExpression{}
	}
	return v, err
}

// skipOperation passes what an expression has after its first operand, up to the end of the item. It reports whether
// there was something.
func (p *pyParser) skipOperation() (some bool) {
	for p.skip(); p.at < len(p.source) && strings.IndexByte(",:]})", p.source[p.at]) < 0; p.skip() {
		some = true
		switch c := p.source[p.at]; {
		case p.atString():
			if _, err := p.text(); err != nil {
				return true
			}
		case strings.IndexByte("([{", c) >= 0:
			p.at++
			if err := p.close(1); err != nil {
				return true
			}
		default:
			p.at++
		}
	}
	return some
}

func (p *pyParser) word() (any, error) {
	if m := pyEnvironment.FindStringSubmatch(p.rest()); m != nil {
		p.at += len(m[0])
		return "${env:" + m[1] + "}", nil
	}
	word := pyWord.FindString(p.rest())
	if word == "" {
		return nil, errSyntax
	}
	p.at += len(word)
	if p.at < len(p.source) && strings.IndexByte("([", p.source[p.at]) >= 0 { // a call
		p.at++
		return pyExpression{}, p.close(1)
	}
	switch word {
	case "True":
		return true, nil
	case "False":
		return false, nil
	case "None":
		return nil, nil
	}
	if v, ok := p.variables[word]; ok {
		return v.value, nil
	}
	if word[0] >= '0' && word[0] <= '9' {
		return word, nil
	}
	return pyExpression{}, nil
}

// close passes what follows until open brackets are closed.
func (p *pyParser) close(open int) error {
	for open > 0 {
		p.skip()
		if p.at == len(p.source) {
			return errSyntax
		}
		if p.atString() {
			if _, err := p.text(); err != nil {
				return err
			}
			continue
		}
		switch p.source[p.at] {
		case '(', '[', '{':
			open++
		case ')', ']', '}':
			open--
		}
		p.at++
	}
	return nil
}

// text reads string literals, which Python joins if one follows another. Escapes stay as they are but for quotes.
func (p *pyParser) text() (string, error) {
	var out strings.Builder
	for {
		m := pyString.FindStringSubmatch(p.rest())
		if m == nil {
			return out.String(), nil
		}
		p.at += len(m[0])
		quote := m[2]
		for {
			switch {
			case p.at >= len(p.source), len(quote) == 1 && p.source[p.at] == '\n':
				return "", errSyntax
			case strings.HasPrefix(p.rest(), quote):
			case p.source[p.at] == '\\' && p.at+1 < len(p.source):
				p.at++
				fallthrough
			default:
				out.WriteByte(p.source[p.at])
				p.at++
				continue
			}
			break
		}
		p.at += len(quote)
		before := p.at
		p.skip()
		if !p.atString() {
			p.at = before
			return out.String(), nil
		}
	}
}

func (p *pyParser) dict(depth int) (pyDict, error) {
	p.at++
	d := pyDict{}
	for {
		p.skip()
		switch {
		case p.at == len(p.source):
			return nil, errSyntax
		case p.source[p.at] == '}':
			p.at++
			return d, nil
		case p.source[p.at] == ',':
			p.at++
			continue
		}
		key, err := p.parse(depth + 1)
		if err != nil {
			return nil, err
		}
		p.skip()
		if p.at == len(p.source) || p.source[p.at] != ':' {
			return nil, errSyntax
		}
		p.at++
		value, err := p.parse(depth + 1)
		if err != nil {
			return nil, err
		}
		d = append(d, pyMember{key.text(), value, key.line})
	}
}

func (p *pyParser) list(depth int, tuple bool) (any, error) {
	p.at++
	list := []pyValue{}
	comma := false
	for {
		p.skip()
		switch {
		case p.at == len(p.source):
			return nil, errSyntax
		case p.source[p.at] == ']' || p.source[p.at] == ')':
			p.at++
			if tuple && len(list) == 1 && !comma { // only brackets
				return list[0].value, nil
			}
			return list, nil
		case p.source[p.at] == ',':
			p.at++
			comma = true
			continue
		}
		v, err := p.parse(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
}
