package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/internal/printable"
)

// openTerminal opens a pseudo-terminal: what is written to one end can be read at the other.
func openTerminal(t *testing.T) (screen, end *os.File) {
	t.Helper()
	end, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("SKIPPED, NOT PASSED: no terminals here: %v", err)
	}
	t.Cleanup(func() { end.Close() })
	if err := unix.IoctlSetPointerInt(int(end.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(end.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	return screen, end
}

// A terminal never gets control characters, in any format, and JSON keeps its meaning. Without a terminal, data for
// programs is exact.
func TestHostileOnATerminal(t *testing.T) {
	for _, format := range []string{"table", "json", "jsonl", "csv"} {
		screen, end := openTerminal(t)
		c := &cli{stdout: printable.NewWriter(screen)}
		l := printer.Table{Columns: []string{"name"}, Rows: []map[string]any{{"name": hostile + "\x1b[2J"}, {"name": "end"}}}
		if err := l.Print(c.out(format), format); err != nil {
			t.Fatal(err)
		}
		if err := end.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Logf("the terminal has no deadlines: %v", err)
		}
		var got strings.Builder
		for b := make([]byte, 4096); !strings.Contains(got.String(), "end"); {
			n, err := end.Read(b)
			if err != nil {
				t.Fatalf("%s: %v after %q", format, err, got.String())
			}
			got.Write(b[:n])
		}
		text := strings.ReplaceAll(got.String(), "\r\n", "\n") // the terminal adds \r
		if printable.Lines(text) != text {
			t.Errorf("%s reaches the terminal as %q", format, text)
		}
		if format == "jsonl" &&
			!strings.Contains(decodeOutput(t, format, format, text[:strings.Index(text, "\n")]), hostile+"\x1b[2J") {
			t.Errorf("the JSON differs: %q", text)
		}
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		c.stdout = printable.NewWriter(w)
		if out := c.out(format); (out == any(w)) != (format != "table") {
			t.Errorf("%s to a pipe writes to %T", format, out)
		}
		r.Close()
		w.Close()
	}
}
