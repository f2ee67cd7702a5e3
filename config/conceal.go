package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/aws-collector/collector/secret"
)

// What came from the environment or a file may be a secret, whatever key it stands under: `path: /x/${env:TOKEN}`. The
// messages of this package do not repeat such a value. Those of an output's type may, whole or a piece of it, in another
// spelling. concealed is what an output's block must not show.
type concealedValues struct {
	values   []concealedValue
	byPath   map[string][]int  // of values, by each path above them
	texts    []string          // secrets, and each value of a reference by itself
	replacer *strings.Replacer // of texts; nil: not made yet
}

// A conceal is a value that was a reference, or had one in it.
type concealedValue struct{ references, text string }

// reasonHidden is why a message says no more.
const reasonHidden = "the reason is not shown, as it may repeat the value"

// add keeps a value: whole where it is a secret, else what it has of references, which hide was told of as they were read. The
// rest of a path, say, is what a person needs to see.
func (c *concealedValues) add(at position, text string, whole bool) {
	if at.references != "" {
		if c.byPath == nil {
			c.byPath = map[string][]int{}
		}
		for i := range len(at.path) + 1 {
			if i == len(at.path) || at.path[i] == '.' || at.path[i] == '[' {
				c.byPath[at.path[:i]] = append(c.byPath[at.path[:i]], len(c.values))
			}
		}
		c.values = append(c.values, concealedValue{at.references, strings.ToLower(text)})
	}
	if whole {
		c.hide(text)
	}
}

// hide keeps a text out of messages, but for those so short that they stand everywhere.
func (c *concealedValues) hide(text string) {
	if text = strings.TrimSpace(text); len(text) >= minConcealedLength {
		c.texts, c.replacer = append(c.texts, text), nil
	}
}

const minConcealedLength = 4

// references is the references at and below a path; "": none.
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

// minLeakLength is how many letters in a row a message and a value may not share.
const minLeakLength = 3

// mayRepeat reports whether a message may repeat a piece of the values at and below a path.
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

// redact cuts every hidden text out of what others say.
func (c *concealedValues) redact(s string) string {
	if c == nil || len(c.texts) == 0 {
		return s
	}
	if c.replacer == nil {
		c.replacer = NewRedactor(c.texts)
	}
	return c.replacer.Replace(s)
}

// NewRedactor takes texts out of messages, in each of the spellings in which they may stand in an error or a URL.
func NewRedactor(texts []string) *strings.Replacer {
	longest := slices.Clone(texts)
	slices.SortStableFunc(longest, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another
	var pairs []string
	for _, text := range longest {
		quoted := strconv.Quote(text)
		for _, form := range []string{text, quoted[1 : len(quoted)-1], url.QueryEscape(text), url.PathEscape(text)} {
			pairs = append(pairs, form, secret.Mask)
		}
	}
	return strings.NewReplacer(pairs...)
}

// secrets is the hidden texts.
func (c *concealedValues) secrets() []secret.String {
	slices.Sort(c.texts)
	var all []secret.String
	for _, text := range slices.Compact(c.texts) {
		all = append(all, secret.New(text))
	}
	return all
}
