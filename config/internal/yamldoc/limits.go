package yamldoc

import (
	"bytes"
	"slices"
	"strconv"
)

// Limits on a configuration, so that no file takes long or needs much memory. Ten thousand accounts with all the keys
// that people use stay below each limit.
const (
	MaxFile = 16 << 20 // bytes of the file: about 30,000 accounts

	// MaxTokens limits keys, items, commas and comments. Each makes one or two nodes of about 200 bytes, or as much memory
	// for a comment, because the library keeps every comment.
	MaxTokens = 600_000

	MaxScalar   = 64 << 10 // bytes of a value, as written and with its references resolved
	MaxItems    = 50_000   // items of a list, keys of a map
	MaxPatterns = 1000     // patterns in a list of names, items of a short list

	// MaxDirectives limits lines that begin with "%": the library compares each one with all before it.
	MaxDirectives = 100

	// MaxProblems limits the list of mistakes.
	MaxProblems = 10_000
)

// maxVisits limits how often aliases may repeat nodes: enough for a shared mapping of some keys in each of many blocks.
func maxVisits(tokens int) int { return min(1_600_000, 50_000+20*tokens) }

// CountTokens returns at least half the number of the text's nodes and comments. It counts the characters that begin
// them, and so also those in comments and in quoted values.
func CountTokens(b []byte) int {
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

// tokenLimitLine returns the line at which the text exceeds MaxTokens, or 0.
func tokenLimitLine(b []byte) (line int) {
	if CountTokens(b) <= MaxTokens {
		return 0
	}
	line = 1
	n := 0
	for text := range bytes.Lines(b) {
		if n += CountTokens(text); n > MaxTokens {
			break
		}
		line++
	}
	return line
}

// directiveLimitLine returns the line at which the text exceeds MaxDirectives, or 0.
func directiveLimitLine(b []byte) (line int) {
	at, n := 0, 0
	for text := range bytes.Lines(b) {
		if at++; text[0] == '%' {
			if n++; n > MaxDirectives {
				return at
			}
		}
	}
	return 0
}

// checkLength reports a list or map that is too long.
func (d *Decoder) checkLength(n int, f Field, at Position) bool {
	most := MaxItems
	if f.Names != "" || slices.Contains(d.rules.ShortLists, f.Key) {
		most = MaxPatterns
	}
	if n <= most {
		return true
	}
	d.Report(at, "has "+strconv.Itoa(n)+" items, but the maximum is "+strconv.Itoa(most),
		"check that it is the right file")
	return false
}
