package live

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/runner/board"
)

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

const (
	barWidth = 12
	maxRows  = 20
)

// progressFrame shows as many accounts as fit on the terminal, the longest-running first, and a total of the others.
func progressFrame(rows []accountProgress, at time.Time, height int) []Line {
	fits := min(height-3, maxRows) // leaves lines for the total, the cursor, and one line of the log
	if len(rows) == 0 || fits < 1 {
		return nil
	}
	names := 0
	for _, r := range rows[:min(fits, len(rows))] {
		names = max(names, runewidth.StringWidth(r.account))
	}
	var frame []Line
	records, failed := 0, 0
	for i, r := range rows {
		records, failed = records+r.records, failed+r.failed
		if i < fits {
			frame = append(frame, Plain(r.line(names, at)))
		}
	}
	if more := len(rows) - fits; more > 0 {
		total := fmt.Sprintf("and %d more accounts; %d records, %d targets failed so far", more, records, failed)
		frame = append(frame, Plain(total))
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

// Progress is a frame with the progress of each running account, the longest-running first.
func Progress(board *board.Board, now time.Time, height int) []Line {
	return progressFrame(boardProgress(board), now, height)
}

// boardProgress returns the progress of each running account, the longest-running first.
func boardProgress(board *board.Board) []accountProgress {
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
