// Package secret holds the one type that redacts. It is a leaf, because config, auth and outputs all hold secrets.
package secret

import (
	"fmt"
	"log/slog"
)

// Mask is what a set secret prints as, in every format.
const Mask = "[redacted]"

// A String is a secret. It prints as [redacted] in every format, nested and unexported too; only [String.Reveal] gives
// its bytes. The value sits behind a pointer: formatting by reflection of an unexported field, which calls no method,
// meets an address instead of the text.
type String struct{ value *string }

// New wraps s.
func New(s string) String { return String{&s} }

// Reveal is the secret itself. Each caller is a place where it leaves the program: there are few, and they are easy to find.
func (s String) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether nothing was set, or only "".
func (s String) IsZero() bool { return s.value == nil || *s.value == "" }

func (s String) mask() string {
	if s.IsZero() {
		return ""
	}
	return Mask
}

func (s String) String() string               { return s.mask() }
func (s String) GoString() string             { return fmt.Sprintf("%q", s.mask()) }
func (s String) Format(f fmt.State, _ rune)   { fmt.Fprint(f, s.mask()) }
func (s String) LogValue() slog.Value         { return slog.StringValue(s.mask()) }
func (s String) MarshalText() ([]byte, error) { return []byte(s.mask()), nil }

// UnmarshalText takes the secret as it is; JSON and YAML decoders call it.
func (s *String) UnmarshalText(b []byte) error {
	*s = New(string(b))
	return nil
}
