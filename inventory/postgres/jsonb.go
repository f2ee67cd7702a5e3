package postgres

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// toJSONB makes a JSON text acceptable to jsonb: \u0000 and unpaired surrogates become U+FFFD; altered reports whether
// there were any. jsonb also changes the order of members and the white space, which keeps the value equal.
func toJSONB(text []byte) (_ []byte, altered bool) {
	if !bytes.Contains(text, []byte(`\u`)) && utf8.Valid(text) {
		return text, false
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case c == '\\' && i+5 < len(text) && text[i+1] == 'u':
			n := 6
			switch r := parseHex(text[i+2 : i+6]); {
			case r == 0:
				out, altered = append(out, "\ufffd"...), true
			case !utf16.IsSurrogate(r):
				out = append(out, text[i:i+6]...)
			case i+11 < len(text) && text[i+6] == '\\' && text[i+7] == 'u' &&
				utf16.DecodeRune(r, parseHex(text[i+8:i+12])) != utf8.RuneError:
				n = 12
				out = append(out, text[i:i+12]...)
			default:
				out, altered = append(out, "\ufffd"...), true
			}
			i += n
		case c == '\\' && i+1 < len(text):
			out = append(out, c, text[i+1])
			i += 2
		case c < utf8.RuneSelf:
			out = append(out, c)
			i++
		default:
			r, n := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && n == 1 { // invalid UTF-8, which a text column could not hold either
				out = append(out, "\ufffd"...)
			} else {
				out = append(out, text[i:i+n]...)
			}
			i += n
		}
	}
	return out, altered
}

// parseHex returns the value of four hexadecimal digits, or -1.
func parseHex(b []byte) rune {
	n, err := strconv.ParseUint(string(b), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

// toText makes s acceptable to a text column.
func toText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\ufffd"), "\x00", "\ufffd")
}
