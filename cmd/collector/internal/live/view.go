// Package live draws what a terminal shows while the program runs: the progress of each account below the log, and the
// table of the demo. Begin at [Start].
package live

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// A View draws a frame of lines on a terminal and redraws it when it changes. There are two: during runs, the
// progress of each account below the log; in the demo, a table that has the screen to itself.
//
// It sends no query to the terminal, reads no key and changes no mode. So a terminal that does not answer causes no
// delay, typed input stays for the next program, and a kill or a panic leaves nothing to restore. The kernel knows the
// size. All control sequences are known to every terminal since the VT100: cursor up, cursor home, erase to the end of
// the line or the screen, and colors. Each color ends in the line and the write in which it begins.
type View struct {
	terminal   io.Writer
	size       func() (width, height int)
	render     RenderFunc
	fullScreen bool // the frame begins at the top of the screen; what was there has scrolled off
	quit       chan struct{}
	done       chan struct{}
	once       sync.Once

	mu          sync.Mutex
	frame       []Line // the lines on the screen; the cursor is below them
	frameWidth  int    // size of the screen when they were drawn
	frameHeight int
	midLine     bool // the last text above did not end with a line break
	stopped     bool
}

// A RenderFunc returns the frame for a screen of this size. fit cuts what does not fit.
type RenderFunc func(now time.Time, width, height int) []Line

// redrawEvery limits how often the view is drawn: people do not read faster.
const redrawEvery = 200 * time.Millisecond

// Start draws on w until Stop is called. With fullScreen, the frame has the screen to itself.
func Start(w io.Writer, size func() (width, height int), render RenderFunc, fullScreen bool) *View {
	l := &View{
		terminal: w, size: size, render: render, fullScreen: fullScreen, quit: make(chan struct{}), done: make(chan struct{}),
	}
	go func() {
		defer close(l.done)
		tick := time.NewTicker(redrawEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				l.redraw()
			case <-l.quit:
				l.mu.Lock()
				defer l.mu.Unlock()
				l.stopped = true
				_ = l.draw(nil, nil)
				return
			}
		}
	}()
	return l
}

// redraw draws the view if it has changed.
func (l *View) redraw() {
	width, height := l.size()
	frame := fit(l.render(time.Now(), width, height), width, height)
	l.mu.Lock()
	defer l.mu.Unlock()
	same := width == l.frameWidth && slices.EqualFunc(frame, l.frame, slices.Equal[Line])
	if !l.midLine && (!same || l.fullScreen && height != l.frameHeight) {
		_ = l.draw(nil, frame) // an error here must not stop collecting
	}
}

// Write prints whole lines above the view: log lines, and records if they go to the same terminal.
func (l *View) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || len(b) == 0 {
		return l.terminal.Write(b)
	}
	frame := l.frame
	if l.midLine = b[len(b)-1] != '\n'; l.midLine { // the next write continues this line
		frame = nil
	}
	if err := l.draw(b, frame); err != nil {
		return 0, err
	}
	return len(b), nil
}

// draw erases the frame, writes the text above, and draws a new frame, in one write to avoid flicker. The caller holds
// l.mu.
func (l *View) draw(above []byte, frame []Line) error {
	width, height := l.size()
	frame = fit(frame, width, height) // the size may have changed
	var b bytes.Buffer
	if l.fullScreen {
		l.drawScreen(&b, above, frame, height)
	} else {
		if up := rowsOnScreen(l.frame, l.frameWidth, width); up > 0 {
			fmt.Fprintf(&b, "\r\x1b[%dA\x1b[J", up)
		}
		b.Write(above)
		for _, line := range frame {
			line.write(&b)
			b.WriteByte('\n')
		}
	}
	l.frame, l.frameWidth, l.frameHeight = frame, width, height
	if b.Len() == 0 {
		return nil
	}
	_, err := l.terminal.Write(b.Bytes())
	return err
}

// drawScreen draws from the top of the screen. Unlike a frame below the log, such a frame repairs itself after a resize
// and after keys that scroll the screen. Nothing is lost: what stood on the screen scrolls off first.
func (l *View) drawScreen(b *bytes.Buffer, above []byte, frame []Line, height int) {
	const home, eraseLine, eraseBelow = "\x1b[H", "\x1b[K", "\x1b[J"
	if drawn := len(l.frame) > 0; drawn && len(above) == 0 && len(frame) > 0 {
		b.WriteString(home)
	} else {
		if drawn {
			b.WriteString(home + eraseBelow)
		}
		b.Write(above)
		if len(frame) > 0 {
			b.WriteString(strings.Repeat("\n", height-1) + home)
		}
	}
	for _, line := range frame {
		line.write(b)
		b.WriteString(eraseLine + "\n")
	}
	if len(frame) > 0 {
		b.WriteString(eraseBelow)
	}
}

// Uncolored removes the colors of a frame.
func Uncolored(frame []Line) []Line {
	for _, line := range frame {
		for i := range line {
			line[i].color = ""
		}
	}
	return frame
}

// fit cuts a frame to a screen: a row stays free for the cursor, and a column because terminals wrap after the last.
func fit(frame []Line, width, height int) []Line {
	cut := slices.Clone(frame[:min(len(frame), max(0, height-1))])
	for i, line := range cut {
		cut[i] = line.truncate(width - 1)
	}
	return cut
}

// A Line is a line of a frame, in parts.
type Line []Part

// A Part is text with a color, which is the parameter of the control sequence, such as "31" for red; "": none.
type Part struct{ text, color string }

const red, green, yellow = "31", "32", "33"

// Plain is a line without colors.
func Plain(text string) Line { return Line{{text, ""}} }

func (l Line) String() string {
	var b strings.Builder
	for _, p := range l {
		b.WriteString(p.text)
	}
	return b.String()
}

func (l Line) write(b *bytes.Buffer) {
	for _, p := range l {
		if p.color == "" {
			b.WriteString(p.text)
		} else {
			b.WriteString("\x1b[" + p.color + "m" + p.text + "\x1b[0m")
		}
	}
}

// truncate cuts a line to a number of columns.
func (l Line) truncate(columns int) Line {
	var cut Line
	for _, p := range l {
		p.text = truncateToWidth(p.text, columns)
		columns -= columnsOf(p.text)
		cut = append(cut, p)
	}
	return cut
}

// rowsOnScreen is how many rows of the screen a frame occupies: one for each line, but a terminal that was made
// narrower since has wrapped them.
func rowsOnScreen(frame []Line, drawnWidth, width int) int {
	if width >= drawnWidth {
		return len(frame)
	}
	rows := 0
	for _, line := range frame {
		rows += max(1, (runewidth.StringWidth(line.String())+width-1)/width)
	}
	return rows
}

// Stop erases the view. A second call does nothing.
func (l *View) Stop() {
	l.once.Do(func() { close(l.quit) })
	<-l.done
}

// truncateToWidth cuts a text to a number of columns. A line that the terminal wraps would leave parts of the view
// behind.
func truncateToWidth(text string, columns int) string {
	var b strings.Builder
	used := 0
	for _, r := range text {
		if !unicode.IsPrint(r) {
			r = '?'
		}
		if used += maxColumns(r); used > columns {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// maxColumns is the most columns that a terminal uses for a character. Terminals differ in the width of others than
// ASCII.
func maxColumns(r rune) int {
	if r < unicode.MaxASCII {
		return 1
	}
	return 2
}

func columnsOf(text string) int {
	n := 0
	for _, r := range text {
		n += maxColumns(r)
	}
	return n
}

// TerminalSize asks the kernel. It does not know the size of a serial terminal; most have 80 × 24.
func TerminalSize(w io.Writer) (width, height int) {
	if f, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
			return width, height
		}
	}
	return 80, 24
}
