package process

import (
	"strings"
	"unicode"
)

// maxStderrLine is how many characters of a program's line are shown.
const maxStderrLine = 200

// firstLine is the first line that a program wrote to standard error, for people: printable and not long. It is
// withheld if it repeats a part of what the program wrote to standard output, or names a secret.
func firstLine(stderr, stdout string) string {
	line := ""
	for l := range strings.Lines(stderr) {
		if l = strings.TrimSpace(l); l != "" {
			line = l
			break
		}
	}
	if line == "" {
		return ""
	}
	lower := strings.ToLower(strings.ReplaceAll(line, "\x00", ""))
	for _, word := range []string{"secretaccesskey", "sessiontoken", "secret_access_key", "session_token",
		"accesstoken", "refreshtoken", "clientsecret"} {
		if strings.Contains(lower, word) {
			return "(withheld: it names a secret)"
		}
	}
	const run = 8 // characters in a row
	bare, printed := visibleText(line), visibleText(stdout)
	for i := 0; i+run <= len(bare); i++ {
		if strings.Contains(printed, bare[i:i+run]) {
			return "(withheld: it repeats a part of the output)"
		}
	}
	if bare != "" && len(bare) < run && strings.Contains(printed, bare) || len(stdout) >= maxCredentialsOutput {
		return "(withheld: it may repeat a part of the output)"
	}
	line = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '?'
		}
		return r
	}, line)
	if runes := []rune(line); len(runes) > maxStderrLine {
		line = string(runes[:maxStderrLine]) + "…"
	}
	return line
}

// visibleText removes spaces, unprintable characters and backslashes: UTF-16 is half zeros, and JSON may escape
// slashes.
func visibleText(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || unicode.IsSpace(r) || r == '\\' || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, s)
}

// stderrSuffix is the program's line on standard error, as the end of an error's text.
func stderrSuffix(stderr, stdout string) string {
	if line := firstLine(stderr, stdout); line != "" {
		return "; stderr: " + line
	}
	return ""
}
