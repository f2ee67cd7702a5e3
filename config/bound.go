package config

import (
	"bytes"
	"strconv"
)

// What is read of a configuration is bounded, so that no file takes long or much memory, whatever stands in it. Ten thousand
// accounts with more than anybody writes stay below each bound.
const (
	MaxFile = 16 << 20 // bytes of the file: some 30,000 accounts

	// maxTokens is how many keys, items, commas and comments a file may have. Each makes a node or two of some 200 bytes, or
	// as much beside one: the library keeps every comment.
	maxTokens = 600_000

	maxScalar   = 64 << 10 // bytes of a value, as it is written and with what its references lead to
	maxItems    = 50_000   // of a list, and keys of a map
	maxPatterns = 1000     // patterns of a list of kinds or regions, of which there are far fewer; outputs

	// maxDirectives is how many lines may begin with "%": the library compares each with all before it.
	maxDirectives = 100

	// maxProblems bounds the list of mistakes, which nobody reads to its end.
	maxProblems = 10_000
)

// maxVisits is what aliases may blow a file up to: a shared block of some keys in each of many, and no more.
func maxVisits(marks int) int { return min(1_600_000, 50_000+20*marks) }

// countTokens is at least half the number of the text's nodes and comments, by the characters without which none begins. A text has
// more of them than nodes: in its comments, and in its quoted values.
func countTokens(b []byte) int {
	n := 0
	for i, c := range b {
		switch c {
		case ',', '[', '{':
			n++
		case '#':
			if i == 0 || bytes.IndexByte([]byte(" \t\r\n"), b[i-1]) >= 0 {
				n++
			}
		case '-', ':', '?':
			if i+1 == len(b) || bytes.IndexByte([]byte(" \t\r\n"), b[i+1]) >= 0 || c == ':' && i > 0 && (b[i-1] == '"' || b[i-1] == '\'') {
				n++
			}
		}
	}
	return n
}

// tokenLimitLine is the line in which the text has more marks than are read, or 0.
func tokenLimitLine(b []byte) (line int) {
	if countTokens(b) <= maxTokens {
		return 0
	}
	line = 1
	n := 0
	for text := range bytes.Lines(b) {
		if n += countTokens(text); n > maxTokens {
			break
		}
		line++
	}
	return line
}

// directiveLimitLine is the line of the directive that is one too many, or 0.
func directiveLimitLine(b []byte) (line int) {
	at, n := 0, 0
	for text := range bytes.Lines(b) {
		if at++; text[0] == '%' {
			if n++; n > maxDirectives {
				return at
			}
		}
	}
	return 0
}

// checkLength reports a list or map that is longer than what is read.
func (d *decoder) checkLength(n int, f field, at position) bool {
	most := maxItems
	if f.names != "" || f.key == "schedules" || f.key == "outputs" {
		most = maxPatterns
	}
	if n <= most {
		return true
	}
	d.report(at, "has "+strconv.Itoa(n)+" items, and "+strconv.Itoa(most)+" are the most", "is it the right file?")
	return false
}
