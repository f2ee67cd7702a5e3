package yamldoc

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws-collector/collector/secret"
)

// A value from the environment or a file may be a secret, whatever its key is: `path: /x/${env:TOKEN}`. The messages of
// this package do not repeat such a value. Messages of the options of a [Typed] may repeat it, whole or in part, or in
// another spelling. concealedValues holds what must not appear in the messages about one of them.
type concealedValues struct {
	values   []concealedValue
	byPath   map[string][]int  // indexes of values, by each path above them
	texts    []string          // secrets, and each value of a reference
	replacer *strings.Replacer // for texts; nil: not made yet
}

// A concealedValue is a value that is or contains a reference.
type concealedValue struct{ references, text string }

// reasonHidden replaces a message that cannot be shown.
const reasonHidden = "check the value: the reason is not shown, because it may repeat the value"

// add stores a value. A secret is hidden as a whole; of other values only the references are hidden, and hide was
// called for each when it was read. The rest, such as the other elements of a path, helps the user.
func (c *concealedValues) add(at Position, text string, whole bool) {
	if at.References != "" {
		if c.byPath == nil {
			c.byPath = map[string][]int{}
		}
		for i := range len(at.Path) + 1 {
			if i == len(at.Path) || at.Path[i] == '.' || at.Path[i] == '[' {
				c.byPath[at.Path[:i]] = append(c.byPath[at.Path[:i]], len(c.values))
			}
		}
		c.values = append(c.values, concealedValue{at.References, strings.ToLower(text)})
	}
	if whole {
		c.hide(text)
	}
}

// hide removes a text from messages. Very short texts are not hidden, because they occur everywhere.
func (c *concealedValues) hide(text string) {
	if text = strings.TrimSpace(text); len(text) >= minConcealedLength {
		c.texts, c.replacer = append(c.texts, text), nil
	}
}

const minConcealedLength = 4

// references returns the references at and below a path, or "".
func (c *concealedValues) references(path string) string {
	const most = 3
	var all []string
	for _, i := range c.byPath[path] {
		if from := c.values[i].references; !slices.Contains(all, from) {
			if all = append(all, from); len(all) == most {
				break
			}
		}
	}
	return strings.Join(all, " and ")
}

// minLeakLength is the length of a common substring that makes a message unsafe.
const minLeakLength = 3

// mayRepeat reports whether a message may repeat a part of the values at and below a path.
func (c *concealedValues) mayRepeat(path, message string) bool {
	if c == nil || len(c.byPath[path]) == 0 {
		return false
	}
	message = strings.ToLower(message)
	runs := map[string]bool{}
	for i := 0; i+minLeakLength <= len(message); i++ {
		runs[message[i:i+minLeakLength]] = true
	}
	for _, i := range c.byPath[path] {
		text := c.values[i].text
		if len(text) < minLeakLength && strings.Contains(message, text) {
			return true
		}
		for i := 0; i+minLeakLength <= len(text); i++ {
			if runs[text[i:i+minLeakLength]] {
				return true
			}
		}
	}
	return false
}

// redact removes every hidden text from a message of another package.
func (c *concealedValues) redact(s string) string {
	if c == nil || len(c.texts) == 0 {
		return s
	}
	if c.replacer == nil {
		c.replacer = NewRedactor(c.texts)
	}
	return c.replacer.Replace(s)
}

// NewRedactor returns a replacer that removes texts from messages, in each spelling that an error or a URL may use.
func NewRedactor(texts []string) *strings.Replacer {
	longest := slices.Clone(texts)
	slices.SortStableFunc(longest, func(a, b string) int { return len(b) - len(a) }) // one text may contain another
	var pairs []string
	for _, text := range longest {
		quoted := strconv.Quote(text)
		for _, form := range []string{text, quoted[1 : len(quoted)-1], url.QueryEscape(text), url.PathEscape(text)} {
			pairs = append(pairs, form, secret.Mask)
		}
	}
	return strings.NewReplacer(pairs...)
}

// secrets returns the hidden texts.
func (c *concealedValues) secrets() []secret.String {
	slices.Sort(c.texts)
	var all []secret.String
	for _, text := range slices.Compact(c.texts) {
		all = append(all, secret.New(text))
	}
	return all
}
