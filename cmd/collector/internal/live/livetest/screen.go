// Package livetest simulates a terminal, for tests of what is drawn on one.
package livetest

import (
	"bytes"
	"regexp"
	"strings"
	"sync"

	"github.com/charmbracelet/x/vt"
)

// FramePattern matches a line of the live view.
var FramePattern = regexp.MustCompile(`\[[#.]{12}|and \d+ more accounts`)

// DrawPattern matches all control sequences of the live view, and, in the demo's, an end of a line and colored text.
var DrawPattern = regexp.MustCompile(
	`\r\x1b\[\d+A\x1b\[J|\r\x1b\[K|\x1b\[H(?:\x1b\[J)?|\x1b\[K\r\n(?:\x1b\[J)?|\x1b\[3[123]m[^\x1b]+\x1b\[0m`)

// A Screen simulates a terminal: what it shows, and what has scrolled off. It is safe for concurrent use.
type Screen struct {
	mu            sync.Mutex
	emulator      *vt.Emulator
	width, height int
	raw           bytes.Buffer
}

// NewScreen returns an empty terminal.
func NewScreen(width, height int) *Screen {
	s := &Screen{emulator: vt.NewEmulator(width, height), width: width, height: height}
	s.emulator.SetScrollbackSize(1 << 20)
	return s
}

// Size is its width and height.
func (s *Screen) Size() (int, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.width, s.height
}

// Write also does what the kernel does: a new line begins at the left.
func (s *Screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.raw.Write(b)
	_, err := s.emulator.Write(bytes.ReplaceAll(b, []byte("\n"), []byte("\r\n")))
	return len(b), err
}

// Resize is what a person does to a window.
func (s *Screen) Resize(width, height int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.width, s.height = width, height
	s.emulator.Resize(width, height)
}

// Lines returns all lines, from the first that was written to the line of the cursor.
func (s *Screen) Lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for y := range s.emulator.ScrollbackLen() {
		all = append(all, s.row(func(x int) string {
			if c := s.emulator.ScrollbackCellAt(x, y); c != nil {
				return c.Content
			}
			return ""
		}))
	}
	return trimmed(append(all, s.rows()...))
}

// Visible returns the lines on the screen.
func (s *Screen) Visible() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return trimmed(s.rows())
}

func (s *Screen) rows() (all []string) {
	for y := range s.height {
		all = append(all, s.row(func(x int) string {
			if c := s.emulator.CellAt(x, y); c != nil {
				return c.Content
			}
			return ""
		}))
	}
	return all
}

func (s *Screen) row(cell func(x int) string) string {
	var b strings.Builder
	for x := range s.width {
		b.WriteString(cell(x))
	}
	return strings.TrimRight(b.String(), " ")
}

func trimmed(lines []string) []string {
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// Sent is everything that was written to it.
func (s *Screen) Sent() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.String()
}
