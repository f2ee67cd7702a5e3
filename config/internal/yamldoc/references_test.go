package yamldoc

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

const plantedValue = "planted-in-the-environment"

func TestParseReferences(t *testing.T) {
	for s, want := range map[string][]segment{
		"":                      {{"", ""}},
		"plain":                 {{"", "plain"}},
		"$":                     {{"", "$"}},
		"a$b$":                  {{"", "a$b$"}},
		"$$":                    {{"", "$"}},
		"$$$$":                  {{"", "$$"}},
		"$$${env:A}":            {{"", "$"}, {"env", "A"}},
		"$${env:A}":             {{"", "${env:A}"}},
		"${env:A}":              {{"env", "A"}},
		"${file:/a b}":          {{"file", "/a b"}},
		"x-${env:A}${env:B_1}y": {{"", "x-"}, {"env", "A"}, {"env", "B_1"}, {"", "y"}},
		"{env:A}":               {{"", "{env:A}"}},
	} {
		if got, err := parseReferences(s); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: got %q, %v, want %q", s, got, err, want)
		}
	}
	for _, s := range []string{
		"${", "${env:A", "${}", "${A}", "${env:}", "${env:a-b}", "${env:1}", "${env: A}", "${file:}", "${file:a}",
		"${file:./a}", "${ENV:A}", "x${secret:y}", "${env:A}${",
	} {
		if got, err := parseReferences(s); err == nil {
			t.Errorf("%q: got %q", s, got)
		}
	}
}

// Line breaks at the end of a file are removed; the value of a variable is not changed.
func TestFetch(t *testing.T) {
	f := &Fetcher{
		env:   func(string) (string, bool) { return " v\n", true },
		read:  func(path string) ([]byte, error) { return []byte(" a\nb \r\n\n"), nil },
		cache: map[segment]fetched{},
	}
	for p, want := range map[segment]string{{"env", "A"}: " v\n", {"file", "/a"}: " a\nb ", {"", "x"}: "x"} {
		if got, err := f.fetch(p); err != nil || got != want {
			t.Errorf("%v: got %q, %v, want %q", p, got, err, want)
		}
	}
	f = &Fetcher{
		read:  func(string) ([]byte, error) { return []byte("half of it"), errors.New("disk on fire") },
		cache: map[segment]fetched{},
	}
	if got, err := f.fetch(segment{"file", "/a"}); err == nil || got != "" || err.Error() != "${file:/a}: disk on fire" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Parsing and printing a text gives the same text; an escaped text is literal; an error does not repeat the text.
func FuzzReferences(f *testing.F) {
	for _, s := range []string{
		"", "$", "$$", "${env:A}", "a${file:/b}c", "$${env:A}", "${", "${env:", "$${", "${env:A}$$${file:/x}",
		"${env:\x00}", "${file:/\n}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, err := parseReferences(s + plantedValue); err != nil && strings.Contains(err.Error(), plantedValue) {
			t.Errorf("the error repeats the value: %v", err)
		}
		segments, err := parseReferences(s)
		if err == nil {
			var back strings.Builder
			for _, p := range segments {
				if p.scheme == "" {
					back.WriteString(strings.ReplaceAll(p.text, "$", "$$"))
					continue
				}
				back.WriteString(p.String())
			}
			again, err := parseReferences(back.String())
			if err != nil || !slices.Equal(again, segments) {
				t.Errorf("%q: %q becomes %q, %v", s, segments, again, err)
			}
		}
		literal, err := parseReferences(strings.ReplaceAll(s, "$", "$$"))
		if err != nil || len(literal) != 1 || literal[0] != (segment{"", s}) {
			t.Errorf("%q escaped is %q, %v", s, literal, err)
		}
	})
}
