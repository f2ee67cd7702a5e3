package house

import (
	"regexp"
	"strings"
	"testing"
)

// Every access key is one of AWS's documented examples, or is plainly made after one.
func TestKeysAreExamples(t *testing.T) {
	key := regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`)
	seen := 0
	for name, text := range files(t) {
		lines(text, func(n int, line string) {
			for _, id := range key.FindAllString(line, -1) {
				seen++
				if !strings.Contains(id, "EXAMPLE") {
					t.Errorf("%s:%d: %s…: an access key id without EXAMPLE in it", name, n, id[:6])
				}
			}
		})
	}
	if seen == 0 {
		t.Error("no access key id was found at all: the pattern is wrong")
	}
}

// A file says nothing about the machine that it was written on, and nothing about where packages come from: that is the
// reader's own affair. Each pattern is in two parts so that it does not find itself.
func TestNoPrivatePaths(t *testing.T) {
	patterns := regexp.MustCompile(strings.Join([]string{
		`(?:^|[^\w.])/` + `work/`,
		`(?:^|[^\w.])/` + `home/\w+/`,
		`/` + `Users/\w+/`,
		`/` + `root/[^.]`, // root's cache in an image is well known
		`/tmp/` + `[a-z]+/\w`,
		`proxy\.` + `golang\.org`,
		`sum\.` + `golang\.org`,
		`\.` + `debian\.org`,
		`registry\.` + `npmjs\.org`,
	}, "|"))
	for name, text := range files(t) {
		lines(text, func(n int, line string) {
			if m := patterns.FindString(line); m != "" {
				t.Errorf("%s:%d: %q", name, n, strings.TrimSpace(m))
			}
		})
	}
}

// A conflict that was resolved by hand, and not quite.
func TestNoConflictMarkers(t *testing.T) {
	marker := regexp.MustCompile(`^(?:<{7} |>{7} |={7}$)`)
	for name, text := range files(t) {
		lines(text, func(n int, line string) {
			if marker.MatchString(line) {
				t.Errorf("%s:%d: %s", name, n, line)
			}
		})
	}
}
