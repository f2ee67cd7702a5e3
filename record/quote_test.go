package record

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzQuote(f *testing.F) {
	for _, s := range []string{
		"", "plain", `"\`, "\x00\x1f\x7f\n\r\t", "ünï\u2028\u2029", "\xff\xfe", "a\xe2\x82", "\U0001f600", "<&>", "\ufffd",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q := AppendQuote(nil, s)
		if string(AppendQuote(nil, []byte(s))) != string(q) {
			t.Errorf("bytes and string differ: %q", s)
		}
		var back string
		if err := json.Unmarshal(q, &back); err != nil {
			t.Fatalf("%q: %s: %v", s, q, err)
		}
		if want := string([]rune(s)); back != want { // a rune of each wrong byte
			t.Errorf("%q became %q", s, back)
		}
		if u, err := Unquote(q); err != nil || u != back {
			t.Errorf("Unquote(%s) = %q, %v", q, u, err)
		}
	})
}

func FuzzUnquote(f *testing.F) {
	for _, s := range []string{
		`""`, `"a\u00e9\ud83d\ude00\/\b\f"`, `"\ud800"`, `"\ud800\u0041"`, `"\u12"`, `"\`, `"a"b"`, "\"\n\"", `"\x"`,
		`"\ud83d\ude00`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, q []byte) {
		got, err := Unquote(q)
		var want string
		if jerr := json.Unmarshal(q, &want); jerr == nil && len(q) > 0 && q[0] == '"' && q[len(q)-1] == '"' {
			same := strings.ToValidUTF8(got, "\ufffd") == strings.ToValidUTF8(want, "\ufffd")
			if err != nil || !same && !strings.Contains(want, "\ufffd") {
				t.Errorf("%s: %q, %v, want %q", q, got, err, want)
			}
		}
	})
}
