package config

import (
	"bytes"
	"strconv"
)

// What is read of a configuration is bounded, so that no file takes long or much memory, whatever stands in it. Ten thousand
// accounts with more than anybody writes stay below each bound.
const (
	MaxFile = 16 << 20 // bytes of the file: some 30,000 accounts

	// maxMarks is how many keys, items, commas and comments a file may have. Each makes a node or two of some 200 bytes, or
	// as much beside one: the library keeps every comment.
	maxMarks = 600_000

	maxScalar = 64 << 10 // bytes of a value, as it is written and with what its references lead to
	maxItems  = 50_000   // of a list, and keys of a map
	maxNames  = 1000     // patterns of a list of kinds or regions, of which there are far fewer; outputs

	// maxDirectives is how many lines may begin with "%": the library compares each with all before it.
	maxDirectives = 100

	// maxProblems bounds the list of mistakes, which nobody reads to its end.
	maxProblems = 10_000
)

// maxVisits is what aliases may blow a file up to: a shared block of some keys in each of many, and no more.
func maxVisits(marks int) int { return min(1_600_000, 50_000+20*marks) }

// marks is at least half the number of the text's nodes and comments, by the characters without which none begins. A text has
// more of them than nodes: in its comments, and in its quoted values.
func marks(b []byte) int {
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

// dense is the line in which the text has more marks than are read, or 0.
func dense(b []byte) (line int) {
	if marks(b) <= maxMarks {
		return 0
	}
	line = 1
	n := 0
	for text := range bytes.Lines(b) {
		if n += marks(text); n > maxMarks {
			break
		}
		line++
	}
	return line
}

// directed is the line of the directive that is one too many, or 0.
func directed(b []byte) (line int) {
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

// fits reports a list or map that is longer than what is read.
func (d *decoder) fits(n int, f field, at place) bool {
	most := maxItems
	if f.names != "" || f.key == "schedules" || f.key == "outputs" {
		most = maxNames
	}
	if n <= most {
		return true
	}
	d.report(at, "has "+strconv.Itoa(n)+" items, and "+strconv.Itoa(most)+" are the most", "is it the right file?")
	return false
}
