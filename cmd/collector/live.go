package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/mattn/go-runewidth"
	"golang.org/x/term"

	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/runner"
)

// A live view is a handful of lines at the bottom of a terminal while runs go on: accounts × regions, what is being
// listed, what has failed. It reads the board and changes nothing; log lines pass above it.
type live struct {
	program *tea.Program
	under   io.Writer // the terminal itself, for what comes when the view is gone
	done    chan struct{}
	once    sync.Once
}

// A progress is what the view shows of an account whose run goes on.
type progress struct {
	account   string
	identity  string   // account id, once it is known
	now       []string // "eu-west-1 ec2_instance"
	done, all int      // targets
	records   int
	failed    int
	started   time.Time
}

// startLive draws on w until stop. snapshot is asked a few times a second.
func startLive(w io.Writer, snapshot func() []progress) *live {
	l := &live{under: w, done: make(chan struct{})}
	l.program = tea.NewProgram(liveModel{snapshot: snapshot}, tea.WithOutput(w), tea.WithInput(nil), tea.WithoutSignalHandler(), tea.WithFPS(10))
	go func() {
		defer close(l.done)
		_, _ = l.program.Run() // a view that cannot be drawn is no reason to stop collecting
	}()
	return l
}

// Write puts a log line above the view.
func (l *live) Write(b []byte) (int, error) {
	select {
	case <-l.done:
		return l.under.Write(b)
	default:
	}
	line := strings.TrimRight(string(b), "\n")
	if f, ok := l.under.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 1 {
			line = runewidth.Wrap(line, width-1) // a line that the terminal itself wraps would leave rests of the view beside it
		}
	}
	l.program.Println(line)
	return len(b), nil
}

// stop wipes the view and gives the terminal back. Safe twice.
func (l *live) stop() {
	l.once.Do(l.program.Quit)
	<-l.done
}

type frame time.Time

func tick() tea.Cmd {
	return tea.Tick(200*time.Millisecond, func(t time.Time) tea.Msg { return frame(t) })
}

type liveModel struct {
	snapshot      func() []progress
	rows          []progress
	at            time.Time
	width, height int
	quit          bool
}

func (m liveModel) Init() tea.Cmd { return tick() }

func (m liveModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.QuitMsg:
		m.quit = true
	case frame:
		m.rows, m.at = m.snapshot(), time.Time(msg)
		return m, tick()
	}
	return m, nil
}

const barWidth = 12

// View is as many accounts as the terminal has room for, the longest-running first, and a line that sums up the rest.
func (m liveModel) View() string {
	if m.quit || len(m.rows) == 0 {
		return ""
	}
	width, room := m.width, m.height-3
	if width <= 0 {
		width = 80
	}
	room = min(max(room, 1), 20)
	names := 0
	for _, r := range m.rows[:min(room, len(m.rows))] {
		names = max(names, runewidth.StringWidth(r.account))
	}
	var b strings.Builder
	records, failed := 0, 0
	for i, r := range m.rows {
		records, failed = records+r.records, failed+r.failed
		if i >= room {
			continue
		}
		fill := 0
		if r.all > 0 {
			fill = r.done * barWidth / r.all
		}
		line := fmt.Sprintf("%s  %-12s %s%s %4d/%-4d %7d records", runewidth.FillRight(r.account, names), r.identity,
			strings.Repeat("█", fill), strings.Repeat("░", barWidth-fill), r.done, r.all, r.records)
		if r.failed > 0 {
			line += fmt.Sprintf("  %d failed", r.failed)
		}
		if !r.started.IsZero() && !m.at.IsZero() {
			line += fmt.Sprintf("  %s", m.at.Sub(r.started).Round(time.Second))
		}
		if len(r.now) > 0 {
			line += "  " + strings.Join(r.now, ", ")
		}
		b.WriteString(runewidth.Truncate(line, width-1, "…") + "\n")
	}
	if more := len(m.rows) - room; more > 0 {
		fmt.Fprintf(&b, "and %d more accounts; %d records, %d targets failed so far\n", more, records, failed)
	}
	return b.String()
}

// display is where log lines go: above a live view on a terminal, straight through elsewhere.
func (c *cli) display(ctx context.Context, board *runner.Board) (w io.Writer, stop func()) {
	if ctx.Err() != nil || !c.terminal(c.stderr) {
		return c.stderr, func() {}
	}
	l := startLive(printable.Under(c.stderr), func() []progress { return progressOf(board) })
	return l, l.stop
}

// progressOf is what the view shows: every account with a run under way, the longest-running first.
func progressOf(board *runner.Board) []progress {
	now := map[string][]string{}
	for _, l := range board.Listings() {
		if n := now[l.Account]; len(n) < 3 {
			now[l.Account] = append(n, printable.Text(strings.TrimSpace(l.Region+" "+l.Kind)))
		}
	}
	var rows []progress
	for a := range board.Accounts() {
		if len(a.Running) == 0 {
			continue
		}
		r := a.Running[0]
		rows = append(rows, progress{
			account: printable.Text(a.Name), identity: printable.Text(a.Identity.AccountID), now: now[a.Name], started: r.Started,
			done: r.Targets, all: max(r.Targets, (len(a.Regions)+len(a.Disabled))*len(a.Kinds)), records: r.Records, failed: r.Failed,
		})
	}
	slices.SortStableFunc(rows, func(a, b progress) int { return a.started.Compare(b.started) })
	return rows
}
