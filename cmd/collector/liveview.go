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

// liveView draws some lines at the bottom of a terminal during runs: each account's progress, current listings and
// failures. It reads the status board; log lines appear above it.
//
// It sends no query to the terminal, reads no key and changes no mode. So a terminal that does not answer causes no
// delay, typed input stays for the next program, and a kill leaves nothing to restore. The kernel knows the size. All
// control sequences are known to every terminal since the VT100: cursor up, and erase to the end of the screen.
type liveView struct {
	terminal io.Writer
	size     func() (width, height int)
	snapshot func() []accountProgress
	quit     chan struct{}
	done     chan struct{}
	once     sync.Once

	mu         sync.Mutex
	frame      []string // the lines on the screen; the cursor is below them
	frameWidth int      // width of the screen when they were drawn
	midLine    bool     // the last text above did not end with a line break
	stopped    bool
}

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
func startLiveView(w io.Writer, size func() (width, height int), snapshot func() []accountProgress) *liveView {
	l := &liveView{terminal: w, size: size, snapshot: snapshot, quit: make(chan struct{}), done: make(chan struct{})}
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
	rows := l.snapshot()
	l.mu.Lock()
	defer l.mu.Unlock()
	width, height := l.size()
	frame := renderFrame(rows, time.Now(), width, height)
	if !l.midLine && (width != l.frameWidth || !slices.Equal(frame, l.frame)) {
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
func (l *liveView) draw(above []byte, frame []string) error {
	var b bytes.Buffer
	width, height := l.size()
	if up := frameRows(l.frame, l.frameWidth, width); up > 0 {
		fmt.Fprintf(&b, "\r\x1b[%dA\x1b[J", up)
	}
	b.Write(above)
	frame = frame[:min(len(frame), height-1)]
	for i, line := range frame {
		frame[i] = truncateToWidth(line, width-1) // the width may have changed
		b.WriteString(frame[i] + "\n")
	}
	l.frame, l.frameWidth = frame, width
	if b.Len() == 0 {
		return nil
	}
	_, err := l.terminal.Write(b.Bytes())
	return err
}

// frameRows is how many rows of the screen a frame occupies: one for each line, but a terminal that was made narrower
// since has wrapped them.
func frameRows(frame []string, drawnWidth, width int) int {
	if width >= drawnWidth {
		return len(frame)
	}
	rows := 0
	for _, line := range frame {
		rows += max(1, (runewidth.StringWidth(line)+width-1)/width)
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

// renderFrame shows as many accounts as fit on the terminal, the longest-running first, and a total of the others.
func renderFrame(rows []accountProgress, at time.Time, width, height int) []string {
	fits := min(height-3, maxRows) // leaves lines for the total, the cursor, and one line of the log
	if len(rows) == 0 || fits < 1 {
		return nil
	}
	names := 0
	for _, r := range rows[:min(fits, len(rows))] {
		names = max(names, runewidth.StringWidth(r.account))
	}
	var frame []string
	records, failed := 0, 0
	for i, r := range rows {
		records, failed = records+r.records, failed+r.failed
		if i < fits {
			frame = append(frame, truncateToWidth(r.line(names, at), width-1))
		}
	}
	if more := len(rows) - fits; more > 0 {
		total := fmt.Sprintf("and %d more accounts; %d records, %d targets failed so far", more, records, failed)
		frame = append(frame, truncateToWidth(total, width-1))
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

// truncateToWidth cuts a line to a number of columns. A line that the terminal wraps would leave parts of the view
// behind. Terminals differ in the width of other characters than ASCII, so each counts as two columns, the most that
// any uses.
func truncateToWidth(line string, columns int) string {
	var b strings.Builder
	used := 0
	for _, r := range line {
		if !unicode.IsPrint(r) {
			r = '?'
		}
		w := 1
		if r >= unicode.MaxASCII {
			w = 2
		}
		if used += w; used > columns {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}

// startDisplay returns the writers for log lines and records: above a live view on a terminal, else directly.
func (c *cli) startDisplay(ctx context.Context, board *runner.Board) (log, stdout io.Writer, stop func()) {
	if ctx.Err() != nil || !c.supportsLiveView(c.stderr) {
		return c.stderr, c.out("jsonl"), func() {}
	}
	screen := printable.Unwrap(c.stderr)
	l := startLiveView(screen,
		func() (int, int) { return terminalSize(screen) },
		func() []accountProgress { return boardProgress(board) })
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
