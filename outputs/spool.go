package outputs

import (
	"fmt"
)

// Spool holds the options of a spool on disk, for an output whose receiver may be down.
type Spool struct {
	MaxBytes SpoolSize `yaml:"max_bytes" doc:"Maximum size on disk, compressed to about a tenth. Default: 1GiB."`
	WhenFull string    `yaml:"when_full" enum:"drop_oldest,block" doc:"drop_oldest (the default) drops and counts the oldest records. block loses nothing: all collecting waits until the receiver takes some."`
}

const (
	whenFullDropOldest = "drop_oldest"
	WhenFullBlock      = "block"

	minSpoolBytes     = 1 << 20 // a few pages
	defaultSpoolBytes = 1 << 30
)

// SpoolSize is a size of at least 1MiB.
type SpoolSize Bytes

// UnmarshalText parses a whole number and a unit.
func (s *SpoolSize) UnmarshalText(text []byte) error {
	b := (*Bytes)(s)
	if err := b.UnmarshalText(text); err != nil {
		return err
	}
	if *b < minSpoolBytes {
		return fmt.Errorf("%s is less than 1MiB, the smallest spool", b)
	}
	return nil
}

// MarshalText returns a text that UnmarshalText accepts.
func (s SpoolSize) MarshalText() ([]byte, error) { return Bytes(s).MarshalText() }

func (s SpoolSize) String() string { return Bytes(s).String() }

// WithDefaults returns the options with defaults for those that are not set.
func (s *Spool) WithDefaults() Spool {
	out := Spool{MaxBytes: defaultSpoolBytes, WhenFull: whenFullDropOldest}
	if s != nil && s.MaxBytes != 0 {
		out.MaxBytes = s.MaxBytes
	}
	if s != nil && s.WhenFull != "" {
		out.WhenFull = s.WhenFull
	}
	return out
}
