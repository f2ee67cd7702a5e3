package main

import (
	"bytes"
	"context"
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

	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/runner"
)

// A liveView draws a frame of lines on a terminal and redraws it when it changes. There are two: during runs, the
// progress of each account below the log; in the demo, a table that has the screen to itself.
//
// It sends no query to the terminal, reads no key and changes no mode. So a terminal that does not answer causes no
// delay, typed input stays for the next program, and a kill or a panic leaves nothing to restore. The kernel knows the
// size. All control sequences are known to every terminal since the VT100: cursor up, cursor home, erase to the end of
// the line or the screen, and colors. Each color ends in the line and the write in which it begins.
type liveView struct {
	terminal io.Writer
	size     func() (width, height int)
	render   renderFunc
	whole    bool // the frame begins at the top of the screen; what was there has scrolled off
	quit     chan struct{}
	done     chan struct{}
	once     sync.Once

	mu          sync.Mutex
	frame       []frameLine // the lines on the screen; the cursor is below them
	frameWidth  int         // size of the screen when they were drawn
	frameHeight int
	midLine     bool // the last text above did not end with a line break
	stopped     bool
}

// A renderFunc returns the frame for a screen of this size. fit cuts what does not fit.
type renderFunc func(now time.Time, width, height int) []frameLine

// A displayFunc returns the writers for log lines and records while the board is shown.
type displayFunc func(ctx context.Context, board *runner.Board) (log, stdout io.Writer, stop func())

// accountProgress is the progress of an account's run.
type accountProgress struct {
	account     string
	identity    string   // account id, once known
	current     []string // "eu-west-1 ec2_instance"
	done, total int      // targets
	records     int
	failed      int
	started     time.Time
}

// redrawEvery limits how often the view is drawn: people do not read faster.
const redrawEvery = 200 * time.Millisecond

// startLiveView draws on w until stop is called.
func startLiveView(w io.Writer, size func() (width, height int), render renderFunc, whole bool) *liveView {
	l := &liveView{
		terminal: w, size: size, render: render, whole: whole, quit: make(chan struct{}), done: make(chan struct{}),
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
func (l *liveView) redraw() {
	width, height := l.size()
	frame := fit(l.render(time.Now(), width, height), width, height)
	l.mu.Lock()
	defer l.mu.Unlock()
	same := width == l.frameWidth && slices.EqualFunc(frame, l.frame, slices.Equal[frameLine])
	if !l.midLine && (!same || l.whole && height != l.frameHeight) {
		_ = l.draw(nil, frame) // an error here must not stop collecting
	}
}

// Write prints whole lines above the view: log lines, and records if they go to the same terminal.
func (l *liveView) Write(b []byte) (int, error) {
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
func (l *liveView) draw(above []byte, frame []frameLine) error {
	width, height := l.size()
	frame = fit(frame, width, height) // the size may have changed
	var b bytes.Buffer
	if l.whole {
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
func (l *liveView) drawScreen(b *bytes.Buffer, above []byte, frame []frameLine, height int) {
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

// fit cuts a frame to a screen: a row stays free for the cursor, and a column because terminals wrap after the last.
func fit(frame []frameLine, width, height int) []frameLine {
	cut := slices.Clone(frame[:min(len(frame), max(0, height-1))])
	for i, line := range cut {
		cut[i] = line.truncate(width - 1)
	}
	return cut
}

// A frameLine is a line of a frame, in parts.
type frameLine []framePart

// A framePart is text with a color, which is the parameter of the control sequence, such as "31" for red; "": none.
type framePart struct{ text, color string }

const red, green, yellow = "31", "32", "33"

func plainLine(text string) frameLine { return frameLine{{text, ""}} }

func (l frameLine) String() string {
	var b strings.Builder
	for _, p := range l {
		b.WriteString(p.text)
	}
	return b.String()
}

func (l frameLine) write(b *bytes.Buffer) {
	for _, p := range l {
		if p.color == "" {
			b.WriteString(p.text)
		} else {
			b.WriteString("\x1b[" + p.color + "m" + p.text + "\x1b[0m")
		}
	}
}

// truncate cuts a line to a number of columns.
func (l frameLine) truncate(columns int) frameLine {
	var cut frameLine
	for _, p := range l {
		p.text = truncateToWidth(p.text, columns)
		columns -= columnsOf(p.text)
		cut = append(cut, p)
	}
	return cut
}

// rowsOnScreen is how many rows of the screen a frame occupies: one for each line, but a terminal that was made
// narrower since has wrapped them.
func rowsOnScreen(frame []frameLine, drawnWidth, width int) int {
	if width >= drawnWidth {
		return len(frame)
	}
	rows := 0
	for _, line := range frame {
		rows += max(1, (runewidth.StringWidth(line.String())+width-1)/width)
	}
	return rows
}

// stop erases the view. A second call does nothing.
func (l *liveView) stop() {
	l.once.Do(func() { close(l.quit) })
	<-l.done
}

const (
	barWidth = 12
	maxRows  = 20
)

// progressFrame shows as many accounts as fit on the terminal, the longest-running first, and a total of the others.
func progressFrame(rows []accountProgress, at time.Time, height int) []frameLine {
	fits := min(height-3, maxRows) // leaves lines for the total, the cursor, and one line of the log
	if len(rows) == 0 || fits < 1 {
		return nil
	}
	names := 0
	for _, r := range rows[:min(fits, len(rows))] {
		names = max(names, runewidth.StringWidth(r.account))
	}
	var frame []frameLine
	records, failed := 0, 0
	for i, r := range rows {
		records, failed = records+r.records, failed+r.failed
		if i < fits {
			frame = append(frame, plainLine(r.line(names, at)))
		}
	}
	if more := len(rows) - fits; more > 0 {
		total := fmt.Sprintf("and %d more accounts; %d records, %d targets failed so far", more, records, failed)
		frame = append(frame, plainLine(total))
	}
	return frame
}

// line formats the account's line. The bar is ASCII, which every terminal shows one column wide.
func (r accountProgress) line(names int, at time.Time) string {
	fill := 0
	if r.total > 0 {
		fill = min(r.done*barWidth/r.total, barWidth)
	}
	line := fmt.Sprintf("%s  %-12s [%s%s] %4d/%-4d %7d records", runewidth.FillRight(r.account, names), r.identity,
		strings.Repeat("#", fill), strings.Repeat(".", barWidth-fill), r.done, r.total, r.records)
	if r.failed > 0 {
		line += fmt.Sprintf("  %d failed", r.failed)
	}
	if !r.started.IsZero() {
		line += fmt.Sprintf("  %s", at.Sub(r.started).Round(time.Second))
	}
	if len(r.current) > 0 {
		line += "  " + strings.Join(r.current, ", ")
	}
	return line
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

// startDisplay returns the writers for log lines and records: above a live view on a terminal, else directly.
func (c *cli) startDisplay(ctx context.Context, board *runner.Board) (log, stdout io.Writer, stop func()) {
	if ctx.Err() != nil || !c.supportsLiveView(c.stderr) {
		return c.stderr, c.out("jsonl"), func() {}
	}
	screen := printable.Unwrap(c.stderr)
	l := startLiveView(screen, func() (int, int) { return terminalSize(screen) },
		func(now time.Time, _, height int) []frameLine {
			return progressFrame(boardProgress(board), now, height)
		}, false)
	if !isTerminal(printable.Unwrap(c.stdout)) {
		return l, c.out("jsonl"), l.stop
	}
	return l, printable.NewJSONWriter(l), l.stop
}

// terminalSize asks the kernel. It does not know the size of a serial terminal; most have 80 × 24.
func terminalSize(w io.Writer) (width, height int) {
	if f, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
			return width, height
		}
	}
	return 80, 24
}

// boardProgress returns the progress of each running account, the longest-running first.
func boardProgress(board *runner.Board) []accountProgress {
	listings := map[string][]string{}
	for _, l := range board.Listings() {
		if list := listings[l.Account]; len(list) < 3 {
			listings[l.Account] = append(list, printable.Text(strings.TrimSpace(l.Region+" "+l.Kind)))
		}
	}
	var rows []accountProgress
	for a := range board.Accounts() {
		if len(a.Running) == 0 {
			continue
		}
		r := a.Running[0]
		rows = append(rows, accountProgress{
			account: printable.Text(a.Name), identity: printable.Text(a.Identity.AccountID),
			current: listings[a.Name], started: r.Started,
			done: r.Targets, total: max(r.Targets, (len(a.Regions)+len(a.Disabled))*len(a.Kinds)),
			records: r.Records, failed: r.Failed,
		})
	}
	slices.SortStableFunc(rows, func(a, b accountProgress) int { return a.started.Compare(b.started) })
	return rows
}
