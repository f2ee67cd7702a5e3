package house

import (
	"regexp"
	"strings"
	"testing"
)

// Every access key contains EXAMPLE, like AWS's documented examples.
func TestKeysAreExamples(t *testing.T) {
	key := regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{16}\b`)
	seen := 0
	for name, text := range files(t) {
		lines(text, func(n int, line string) {
			for _, id := range key.FindAllString(line, -1) {
				seen++
				if !strings.Contains(id, "EXAMPLE") {
					t.Errorf("%s:%d: %s…: access key id without EXAMPLE", name, n, id[:6])
				}
			}
		})
	}
	if seen == 0 {
		t.Error("no access key id found: the pattern is wrong")
	}
}

// No file contains paths of the machine that it was written on, or hosts of package registries, which readers choose
// for themselves. Each pattern is split in two parts so that it does not match itself.
func TestNoPrivatePaths(t *testing.T) {
	patterns := regexp.MustCompile(strings.Join([]string{
		`(?:^|[^\w.])/` + `work/`,
		`(?:^|[^\w.])/` + `home/\w+/`,
		`/` + `Users/\w+/`,
		`/` + `root/[^.]`, // the cache of root in an image is allowed
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

// No file contains the markers of an unresolved merge conflict.
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
