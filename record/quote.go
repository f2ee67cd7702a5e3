package record

import (
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendQuote appends s as a JSON string (RFC 8259, section 7). As in encoding/json, invalid UTF-8 becomes U+FFFD.
// Unlike encoding/json, it does not escape <, > and &, which have no meaning in JSON.
func AppendQuote[S ~string | ~[]byte](b []byte, s S) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[from:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			from = i
			continue
		}
		r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		if r == utf8.RuneError && n == 1 {
			b = append(append(b, s[from:i]...), "\ufffd"...)
			from = i + 1
		}
		i += n
	}
	return append(append(b, s[from:]...), '"')
}

// ErrNotJSONString means that the bytes passed to Unquote are not a JSON string.
var ErrNotJSONString = errors.New("not a JSON string")

// Unquote reads a JSON string, such as a View's ID and Name.
func Unquote(q []byte) (string, error) {
	if len(q) < 2 || q[0] != '"' || q[len(q)-1] != '"' {
		return "", ErrNotJSONString
	}
	q = q[1 : len(q)-1]
	plain := 0
	for plain < len(q) && q[plain] != '\\' {
		if q[plain] == '"' || q[plain] < ' ' {
			return "", ErrNotJSONString
		}
		plain++
	}
	if plain == len(q) {
		return string(q), nil
	}
	b := append(make([]byte, 0, len(q)), q[:plain]...)
	for i := plain; i < len(q); i++ {
		c := q[i]
		if c == '"' || c < ' ' {
			return "", ErrNotJSONString
		}
		if c != '\\' {
			b = append(b, c)
			continue
		}
		if i++; i == len(q) {
			return "", ErrNotJSONString
		}
		switch q[i] {
		case '"', '\\', '/':
			b = append(b, q[i])
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			r, ok := hex4(q[i+1:])
			if !ok {
				return "", ErrNotJSONString
			}
			i += 4
			if utf16.IsSurrogate(r) {
				second := rune(utf8.RuneError)
				if i+2 < len(q) && q[i+1] == '\\' && q[i+2] == 'u' {
					second, _ = hex4(q[i+3:])
				}
				if r = utf16.DecodeRune(r, second); r != utf8.RuneError {
					i += 6
				}
			}
			b = utf8.AppendRune(b, r)
		default:
			return "", ErrNotJSONString
		}
	}
	return string(b), nil
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
