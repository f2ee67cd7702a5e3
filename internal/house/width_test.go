package house

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

const maxWidth = 120

// structTag is a field with a tag, which Go cannot break.
var structTag = regexp.MustCompile("^\\t[A-Z]\\w* .*`yaml:.*`$")

// Lines of code and of documents are short enough to be read beside a diff. A tab counts as one
// character. What cannot be wrapped is exempt: generated files, tables, recorded output, and a word that is too long
// by itself, such as a link.
func TestLinesAreShort(t *testing.T) {
	for path, text := range files(t) {
		// A migration that has run somewhere is not edited. In Chinese, a line break would be shown as a space.
		if strings.Contains(path, "testdata/") || strings.Contains(path, "/migrations/") || strings.Contains(path, "zh-CN") ||
			isGenerated(text) {
			continue
		}
		document := filepath.Ext(path) == ".md"
		switch filepath.Ext(path) {
		case ".go", ".md":
		default:
			continue
		}
		fenced := false
		lines(text, func(n int, line string) {
			if document && strings.HasPrefix(line, "```") {
				fenced = !fenced
			}
			if utf8.RuneCountInString(line) <= maxWidth || document && (fenced || strings.HasPrefix(line, "|")) {
				return
			}
			if longest(line) > maxWidth-20 || structTag.MatchString(line) {
				return
			}
			t.Errorf("%s:%d: %d characters; at most %d", path, n, utf8.RuneCountInString(line), maxWidth)
		})
	}
}

func isGenerated(text []byte) bool {
	head := strings.ToLower(string(text[:min(len(text), 200)]))
	return strings.Contains(head, "generated") && strings.Contains(head, "do not edit")
}

// longest is the length of the longest word.
func longest(line string) (n int) {
	for word := range strings.FieldsSeq(line) {
		n = max(n, utf8.RuneCountInString(word))
	}
	return n
}
