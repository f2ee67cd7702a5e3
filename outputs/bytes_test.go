package outputs

import (
	"testing"
)

func TestBytes(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1024": 1024, "256MiB": 256 << 20, "1 GiB": 1 << 30, "500MB": 500e6, "7B": 7, "3kB": 3000,
	} {
		var b Bytes
		if err := b.UnmarshalText([]byte(in)); err != nil || int64(b) != want {
			t.Errorf("%q is %d, %v; want %d", in, b, err, want)
		}
		var again Bytes
		if err := again.UnmarshalText([]byte(b.String())); err != nil || again != b {
			t.Errorf("%q is written %q, which reads as %d", in, b, again)
		}
	}
	for _, in := range []string{"", "x", "-1", "1.5GiB", "GiB", "99999999TiB", "1 PB"} {
		var b Bytes
		if err := b.UnmarshalText([]byte(in)); err == nil {
			t.Errorf("%q is taken as %d", in, b)
		}
	}
}
