package config

import (
	"strings"
	"unicode/utf8"
)

// Match returns the names that the patterns select, in the order of names. A pattern is a name or a glob: "*" is any
// text, "?" is one character. A pattern with "!" in front excludes names. The order of patterns does not matter. If
// there are only excluding patterns, or none, every name is selected that is not excluded.
func Match(patterns, names []string) []string {
	var out []string
	for _, n := range names {
		if Matches(patterns, n) {
			out = append(out, n)
		}
	}
	return out
}

// Matches reports whether the patterns select the name, see [Match].
func Matches(patterns []string, name string) bool {
	named, taken := false, false
	for _, p := range patterns {
		if not, ok := strings.CutPrefix(p, "!"); ok {
			if glob(not, name) {
				return false
			}
			continue
		}
		named = true
		taken = taken || glob(p, name)
	}
	return taken || !named
}

// isGlob reports whether a pattern has a wildcard.
func isGlob(pattern string) bool { return strings.ContainsAny(pattern, "*?") }

// glob backtracks only over the last star, so no pattern is slow.
func glob(pattern, name string) bool {
	if !isGlob(pattern) {
		return pattern == name
	}
	if !isASCII(pattern) || !isASCII(name) {
		return matchGlob([]rune(pattern), []rune(name))
	}
	return matchGlob([]byte(pattern), []byte(name))
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func matchGlob[C byte | rune](p, n []C) bool {
	star, resume := -1, 0
	i, j := 0, 0
	for j < len(n) {
		switch {
		case i < len(p) && p[i] == '*':
			star, resume = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == n[j]):
			i++
			j++
		case star >= 0:
			resume++
			i, j = star+1, resume
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
