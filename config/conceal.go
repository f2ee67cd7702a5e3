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
	values []conceal
	texts  []string // secrets, and each value of a reference by itself
}

// A conceal is a value that was a reference, or had one in it.
type conceal struct {
	path, from string
	text       string
}

// notShown is why a message says no more.
const notShown = "the reason is not shown, as it may repeat the value"

func (c *concealed) add(at place, text string) {
	if at.from != "" {
		c.values = append(c.values, conceal{at.path, at.from, text})
	}
	c.hide(text)
}

// hide keeps a text out of messages, but for those so short that they stand everywhere.
func (c *concealed) hide(text string) {
	if text = strings.TrimSpace(text); len(text) >= minHidden {
		c.texts = append(c.texts, text)
	}
}

const minHidden = 4

// from is the references below a path; "": none.
func (c *concealed) from(path string) string {
	var all []string
	for _, v := range c.under(path) {
		if !slices.Contains(all, v.from) {
			all = append(all, v.from)
		}
	}
	return strings.Join(all, " and ")
}

func (c *concealed) under(path string) (below []conceal) {
	if c == nil {
		return nil
	}
	for _, v := range c.values {
		if rest, ok := strings.CutPrefix(v.path, path); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			below = append(below, v)
		}
	}
	return below
}

// run is how many letters in a row a message and a value may not share.
const run = 3

// quoted reports whether a message may repeat a piece of the values below a path.
func (c *concealed) quoted(path, message string) bool {
	message = strings.ToLower(message)
	for _, v := range c.under(path) {
		text := strings.ToLower(v.text)
		if strings.Contains(message, text) {
			return true
		}
		for i := 0; i+run <= len(text); i++ {
			if strings.Contains(message, text[i:i+run]) {
				return true
			}
		}
	}
	return false
}

// scrub cuts every hidden text out of what others say, in the spellings in which errors quote.
func (c *concealed) scrub(s string) string {
	if c == nil {
		return s
	}
	return Scrub(s, c.texts)
}

// Scrub is s without the texts, in each of the spellings in which they may stand in an error or a URL.
func Scrub(s string, texts []string) string {
	for _, h := range texts {
		quoted := strconv.Quote(h)
		for _, form := range []string{h, quoted[1 : len(quoted)-1], url.QueryEscape(h), url.PathEscape(h)} {
			s = strings.ReplaceAll(s, form, secret.Mask)
		}
	}
	return s
}

// secrets is the hidden texts, the longest first: one may be a part of another.
func (c *concealed) secrets() []secret.String {
	slices.SortStableFunc(c.texts, func(a, b string) int { return len(b) - len(a) })
	var all []secret.String
	for _, text := range slices.Compact(c.texts) {
		all = append(all, secret.New(text))
	}
	return all
}
