package config

import (
	"bytes"
	"strconv"
)

// Limits on a configuration, so that no file takes long or needs much memory. Ten thousand accounts with all the keys
// that people use stay below each limit.
const (
	MaxFile = 16 << 20 // bytes of the file: about 30,000 accounts

	// maxTokens limits keys, items, commas and comments. Each makes one or two nodes of about 200 bytes, or as much memory
	// for a comment, because the library keeps every comment.
	maxTokens = 600_000

	maxScalar   = 64 << 10 // bytes of a value, as written and with its references resolved
	maxItems    = 50_000   // items of a list, keys of a map
	maxPatterns = 1000     // patterns of a list of kinds or regions, schedules, outputs

	// maxDirectives limits lines that begin with "%": the library compares each one with all before it.
	maxDirectives = 100

	// maxProblems limits the list of mistakes.
	maxProblems = 10_000
)

// maxVisits limits how often aliases may repeat nodes: enough for a shared mapping of some keys in each of many blocks.
func maxVisits(tokens int) int { return min(1_600_000, 50_000+20*tokens) }

// countTokens returns at least half the number of the text's nodes and comments. It counts the characters that begin
// them, and so also those in comments and in quoted values.
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
			atEnd := i+1 == len(b) || bytes.IndexByte([]byte(" \t\r\n"), b[i+1]) >= 0
			afterQuote := c == ':' && i > 0 && (b[i-1] == '"' || b[i-1] == '\'')
			if atEnd || afterQuote {
				n++
			}
		}
	}
	return n
}

// tokenLimitLine returns the line at which the text exceeds maxTokens, or 0.
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

// directiveLimitLine returns the line at which the text exceeds maxDirectives, or 0.
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

// checkLength reports a list or map that is too long.
func (d *decoder) checkLength(n int, f field, at position) bool {
	most := maxItems
	if f.names != "" || f.key == "schedules" || f.key == "outputs" {
		most = maxPatterns
	}
	if n <= most {
		return true
	}
	d.report(at, "has "+strconv.Itoa(n)+" items, but the maximum is "+strconv.Itoa(most),
		"check that it is the right file")
	return false
}
