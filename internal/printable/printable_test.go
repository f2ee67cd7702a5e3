package printable

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		"":                       "",
		"web-1 (blue) \\ \"x\"":  "web-1 (blue) \\ \"x\"",
		"大阪　東京 Ünïcödé é":        "大阪　東京 Ünïcödé é",
		"❤️ 👍🏽 → █":              "❤️ 👍🏽 → █",
		"a\x1b[31mred":           `a\x1b[31mred`,
		"\x1b]8;;http://x\a":     `\x1b]8;;http://x\x07`,
		"\x00\b\v\f\r\n\t\x7f":   `\x00\x08\x0b\x0c\r\n\t\x7f`,
		"c1 \u009b31m \u009d0;x": `c1 \u009b31m \u009d0;x`,
		"\u0080\u0085\u009f":     `\u0080\u0085\u009f`,
		"\u061c\u200e\u200f":     `\u061c\u200e\u200f`,
		"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069": `\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069`,
		"\u2028\u2029": `\u2028\u2029`,
		"\u200b\u200c\u200d\u2060\u2064\ufeff\u00ad\u034f": `\u200b\u200c\u200d\u2060\u2064\ufeff\u00ad\u034f`,
		"\u115f\u1160\u3164\uffa0\u17b4\u180e\ufff9":       `\u115f\u1160\u3164\uffa0\u17b4\u180e\ufff9`,
		"\U000e0001\U000e0041\U000e0100":                   `\U000e0001\U000e0041\U000e0100`,
		"\ue000\U0010ffff\ufdd0":                           `\ue000\U0010ffff\ufdd0`,
		"bad \x9b31m \xff\xc3( \xed\xa0\x80 \xf0\x9f":      `bad \x9b31m \xff\xc3( \xed\xa0\x80 \xf0\x9f`,
		"\xc0\x9b \xe0\x80\x9b":                            `\xc0\x9b \xe0\x80\x9b`, // overlong: some terminals decode it
		"replaced \ufffd":                                  "replaced \ufffd",
	} {
		if got := Text(in); got != want {
			t.Errorf("Text(%q) is %q, want %q", in, got, want)
		}
	}
	if got := Lines("a\tb\r\n\x1b\n"); got != "a\tb\\r\n\\x1b\n" {
		t.Errorf("Lines: %q", got)
	}
}

// No character that can confuse terminals or readers is shown as it is.
func TestEveryCharacter(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		hidden := unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.Bidi_Control) || !unicode.IsGraphic(r)
		if hidden && Text(string(r)) == string(r) {
			t.Errorf("%U is shown", r)
		}
		visible := unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) &&
			!unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
		if visible && Text(string(r)) != string(r) {
			t.Errorf("%U is not shown", r)
		}
	}
}

func FuzzWriter(f *testing.F) {
	f.Add("web\x1b[2J \u202e \xf0\x9f\x91\x8d \xf0\x9f", 3)
	f.Fuzz(func(t *testing.T, s string, cut int) {
		var text, asJSON bytes.Buffer
		quoted, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		for w, in := range map[*Writer]string{NewWriter(&text): s, NewJSONWriter(&asJSON): string(quoted)} {
			at := min(max(cut, 0), len(in))
			for _, part := range []string{in[:at], in[at:]} {
				if n, err := io.WriteString(w, part); n != len(part) || err != nil {
					t.Fatal(n, err)
				}
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if text.String() != Lines(s) || !utf8.Valid(text.Bytes()) {
			t.Errorf("%q in two writes is %q, in one %q", s, text.String(), Lines(s))
		}
		var back, want string
		err = errors.Join(json.Unmarshal(asJSON.Bytes(), &back), json.Unmarshal(quoted, &want))
		if err != nil || back != want {
			t.Errorf("JSON of %q is %q, and read again %q: %v", s, asJSON.String(), back, err)
		}
		if strings.ContainsFunc(asJSON.String(), func(r rune) bool { return !IsPrintable(r) }) {
			t.Errorf("JSON of %q is %q", s, asJSON.String())
		}
	})
}

func TestWriterOfWriter(t *testing.T) {
	var out bytes.Buffer
	_, err := io.WriteString(NewJSONWriter(NewWriter(&out)), "\"\u009b\"\n")
	if err != nil || out.String() != "\"\\u009b\"\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
	w := NewWriter(&out)
	if Unwrap(w) != io.Writer(&out) || Unwrap(&out) != io.Writer(&out) {
		t.Error("Unwrap did not return the target")
	}
	broken := NewWriter(failing{})
	if _, err := io.WriteString(broken, "x"); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a broken target: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
