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
type concealed struct {
	values   []conceal
	under    map[string][]int  // of values, by each path above them
	texts    []string          // secrets, and each value of a reference by itself
	replacer *strings.Replacer // of texts; nil: not made yet
}

// A conceal is a value that was a reference, or had one in it.
type conceal struct{ from, text string }

// notShown is why a message says no more.
const notShown = "the reason is not shown, as it may repeat the value"

// add keeps a value: whole where it is a secret, else what it has of references, which hide was told of as they were read. The
// rest of a path, say, is what a person needs to see.
func (c *concealed) add(at place, text string, whole bool) {
	if at.from != "" {
		if c.under == nil {
			c.under = map[string][]int{}
		}
		for i := range len(at.path) + 1 {
			if i == len(at.path) || at.path[i] == '.' || at.path[i] == '[' {
				c.under[at.path[:i]] = append(c.under[at.path[:i]], len(c.values))
			}
		}
		c.values = append(c.values, conceal{at.from, strings.ToLower(text)})
	}
	if whole {
		c.hide(text)
	}
}

// hide keeps a text out of messages, but for those so short that they stand everywhere.
func (c *concealed) hide(text string) {
	if text = strings.TrimSpace(text); len(text) >= minHidden {
		c.texts, c.replacer = append(c.texts, text), nil
	}
}

const minHidden = 4

// from is the references at and below a path; "": none.
func (c *concealed) from(path string) string {
	const most = 3
	var all []string
	for _, i := range c.under[path] {
		if from := c.values[i].from; !slices.Contains(all, from) {
			if all = append(all, from); len(all) == most {
				break
			}
		}
	}
	return strings.Join(all, " and ")
}

// run is how many letters in a row a message and a value may not share.
const run = 3

// quoted reports whether a message may repeat a piece of the values at and below a path.
func (c *concealed) quoted(path, message string) bool {
	if c == nil || len(c.under[path]) == 0 {
		return false
	}
	message = strings.ToLower(message)
	runs := map[string]bool{}
	for i := 0; i+run <= len(message); i++ {
		runs[message[i:i+run]] = true
	}
	for _, i := range c.under[path] {
		text := c.values[i].text
		if len(text) < run && strings.Contains(message, text) {
			return true
		}
		for i := 0; i+run <= len(text); i++ {
			if runs[text[i:i+run]] {
				return true
			}
		}
	}
	return false
}

// scrub cuts every hidden text out of what others say.
func (c *concealed) scrub(s string) string {
	if c == nil || len(c.texts) == 0 {
		return s
	}
	if c.replacer == nil {
		c.replacer = NewScrubber(c.texts)
	}
	return c.replacer.Replace(s)
}

// NewScrubber takes texts out of messages, in each of the spellings in which they may stand in an error or a URL.
func NewScrubber(texts []string) *strings.Replacer {
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
func (c *concealed) secrets() []secret.String {
	slices.Sort(c.texts)
	var all []secret.String
	for _, text := range slices.Compact(c.texts) {
		all = append(all, secret.New(text))
	}
	return all
}
