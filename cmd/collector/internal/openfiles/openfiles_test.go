package openfiles

import "testing"

func TestCallsWithin(t *testing.T) {
	for _, c := range []struct{ limit, calls, outputs, want int }{
		{1 << 20, 256, 1, 256},
		{1024, 256, 3, 256},
		{314, 256, 1, 256},
		{313, 256, 1, 255},
		{256, 256, 2, 188},
		{64, 256, 1, 6},
		{20, 256, 1, 4},
		{20, 2, 1, 2},
	} {
		if got := callsWithin(c.limit, c.calls, c.outputs); got != c.want {
			t.Errorf("%d calls within %d files with %d outputs: %d, want %d", c.calls, c.limit, c.outputs, got, c.want)
		}
	}
}
