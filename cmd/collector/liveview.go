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

// A live view is a handful of lines at the bottom of a terminal while runs go on: accounts × regions, what is being
// listed, what has failed. It reads the board and changes nothing; log lines pass above it.
//
// It asks the terminal nothing, reads no key and changes no mode: one that answers nothing delays nothing, what was typed
// ahead stays for who reads next, and a kill leaves nothing to be put right. Its size is the kernel's word, and all that
// it sends beside text is what every terminal since the VT100 knows: cursor up, and erase to the end of the screen.
type liveView struct {
	terminal io.Writer // the terminal itself
	size     func() (width, height int)
	snapshot func() []accountProgress
	quit     chan struct{}
	done     chan struct{}
	once     sync.Once

	mu         sync.Mutex
	frame      []string // on the screen, below the log; the cursor stands under it
	frameWidth int      // the screen, when that was drawn
	midLine    bool     // what was last written above ended within a line
	stopped    bool
}

// A progress is what the view shows of an account whose run goes on.
type accountProgress struct {
	account     string
	identity    string   // account id, once it is known
	current     []string // "eu-west-1 ec2_instance"
	done, total int      // targets
	records     int
	failed      int
	started     time.Time
}

// Nobody looks more often than this.
const redrawEvery = 200 * time.Millisecond

// startLiveView draws on w until stop. snapshot is asked a few times a second.
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

// redraw draws what has changed.
func (l *liveView) redraw() {
	rows := l.snapshot()
	l.mu.Lock()
	defer l.mu.Unlock()
	width, height := l.size()
	if frame := renderFrame(rows, time.Now(), width, height); !l.midLine && (width != l.frameWidth || !slices.Equal(frame, l.frame)) {
		_ = l.draw(nil, frame) // a view that cannot be drawn is no reason to stop collecting
	}
}

// Write puts whole lines above the view: the log's, and the records' if they go to the same terminal.
func (l *liveView) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || len(b) == 0 {
		return l.terminal.Write(b)
	}
	frame := l.frame
	if l.midLine = b[len(b)-1] != '\n'; l.midLine { // the next write goes on where this one ends
		frame = nil
	}
	if err := l.draw(b, frame); err != nil {
		return 0, err
	}
	return len(b), nil
}

// draw takes the frame away, writes what belongs above it, and draws another: in one write, so that nothing flickers. l.mu is held.
func (l *liveView) draw(above []byte, frame []string) error {
	var b bytes.Buffer
	width, height := l.size()
	if up := frameRows(l.frame, l.frameWidth, width); up > 0 {
		fmt.Fprintf(&b, "\r\x1b[%dA\x1b[J", up)
	}
	b.Write(above)
	frame = frame[:min(len(frame), height-1)]
	for i, line := range frame {
		frame[i] = truncateToWidth(line, width-1) // it may be another screen by now
		b.WriteString(frame[i] + "\n")
	}
	l.frame, l.frameWidth = frame, width
	if b.Len() == 0 {
		return nil
	}
	_, err := l.terminal.Write(b.Bytes())
	return err
}

// frameRows is how many rows of the screen a frame takes. No line was as wide as the screen, so each takes one; but a terminal that
// was made narrower has wrapped them since.
func frameRows(frame []string, then, now int) int {
	if now >= then {
		return len(frame)
	}
	rows := 0
	for _, line := range frame {
		rows += max(1, (runewidth.StringWidth(line)+now-1)/now)
	}
	return rows
}

// stop wipes the view and gives the terminal back. Safe twice.
func (l *liveView) stop() {
	l.once.Do(func() { close(l.quit) })
	<-l.done
}

const (
	barWidth = 12
	maxRows  = 20
)

// renderFrame is as many accounts as the terminal has room for, the longest-running first, and a line that sums up the rest.
func renderFrame(rows []accountProgress, at time.Time, width, height int) []string {
	room := min(height-3, maxRows) // the sum has a line of its own, the cursor too, and one of the log stays in sight
	if len(rows) == 0 || room < 1 {
		return nil
	}
	names := 0
	for _, r := range rows[:min(room, len(rows))] {
		names = max(names, runewidth.StringWidth(r.account))
	}
	var frame []string
	records, failed := 0, 0
	for i, r := range rows {
		records, failed = records+r.records, failed+r.failed
		if i < room {
			frame = append(frame, truncateToWidth(r.line(names, at), width-1))
		}
	}
	if more := len(rows) - room; more > 0 {
		frame = append(frame, truncateToWidth(fmt.Sprintf("and %d more accounts; %d records, %d targets failed so far", more, records, failed), width-1))
	}
	return frame
}

// line is an account's. The bar is of letters that every terminal has, and all take to be one column wide.
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

// truncateToWidth cuts a line to so many columns. A line that the terminal wraps would leave rests of the view behind, and terminals do not
// agree on how wide what is not ASCII is: two columns a letter is the most that any of them takes.
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

// startDisplay is where log lines, and records, go: above a live view on a terminal, straight through elsewhere.
func (c *cli) startDisplay(ctx context.Context, board *runner.Board) (log, stdout io.Writer, stop func()) {
	if ctx.Err() != nil || !c.supportsLiveView(c.stderr) {
		return c.stderr, c.out("jsonl"), func() {}
	}
	screen := printable.Unwrap(c.stderr)
	l := startLiveView(screen, func() (int, int) { return terminalSize(screen) }, func() []accountProgress { return boardProgress(board) })
	if !isTerminal(printable.Unwrap(c.stdout)) {
		return l, c.out("jsonl"), l.stop
	}
	return l, printable.NewJSONWriter(l), l.stop
}

// terminalSize is the size of the terminal, which the kernel knows: of one on a serial line it does not, and most are this large.
func terminalSize(w io.Writer) (width, height int) {
	if f, ok := w.(*os.File); ok {
		if width, height, err := term.GetSize(int(f.Fd())); err == nil && width > 0 && height > 0 {
			return width, height
		}
	}
	return 80, 24
}

// boardProgress is what the view shows: every account with a run under way, the longest-running first.
func boardProgress(board *runner.Board) []accountProgress {
	now := map[string][]string{}
	for _, l := range board.Listings() {
		if n := now[l.Account]; len(n) < 3 {
			now[l.Account] = append(n, printable.Text(strings.TrimSpace(l.Region+" "+l.Kind)))
		}
	}
	var rows []accountProgress
	for a := range board.Accounts() {
		if len(a.Running) == 0 {
			continue
		}
		r := a.Running[0]
		rows = append(rows, accountProgress{
			account: printable.Text(a.Name), identity: printable.Text(a.Identity.AccountID), current: now[a.Name], started: r.Started,
			done: r.Targets, total: max(r.Targets, (len(a.Regions)+len(a.Disabled))*len(a.Kinds)), records: r.Records, failed: r.Failed,
		})
	}
	slices.SortStableFunc(rows, func(a, b accountProgress) int { return a.started.Compare(b.started) })
	return rows
}
