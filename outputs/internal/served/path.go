package served

import (
	"strings"
)

// IsPlainPath reports whether s needs no escaping in a URL's path.
func IsPlainPath(s string) bool {
	for part := range strings.SplitSeq(s, "/") {
		if !IsPlainName(part) {
			return false
		}
	}
	return true
}

// IsPlainName reports whether s needs no escaping as one segment of a URL's path.
func IsPlainName(s string) bool {
	for _, c := range []byte(s) {
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
				return false
			}
		}
	}
	return strings.Trim(s, ".") != ""
}
