// Package secret holds the String type, which never prints its value. It is a leaf package, because config, auth and
// outputs all hold secrets.
package secret

import (
	"fmt"
	"log/slog"
)

// Mask is the printed form of a secret that is set, in every format.
const Mask = "[redacted]"

// A String is a secret. It prints as [redacted] in every format, also nested and unexported; only [String.Reveal]
// returns the value. The value is behind a pointer, because reflection formats unexported fields without calling their
// methods: it then prints an address.
type String struct{ value *string }

// New wraps s.
func New(s string) String { return String{&s} }

// Reveal returns the secret itself. Each call is a point where the secret can leave the program, so keep the calls few.
func (s String) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether the secret is unset or "".
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

// UnmarshalText stores the bytes unchanged. JSON and YAML decoders call it.
func (s *String) UnmarshalText(b []byte) error {
	*s = New(string(b))
	return nil
}
