package live

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"

	"github.com/aws-collector/collector/internal/printable"
)

// A Table is what the demo shows on a terminal: a row an account, the problems, and where everything is.
type Table struct {
	Title    []string // the longest that fits is shown
	Links    []string // "page      http://…": the first lines, always shown, on two lines if they are long
	More     []string // further lines like them, where there is room
	Rows     []Row
	Problems []Problem
}

// A Row is the row of an account, as text.
type Row struct {
	account, state, resources, last, next, targets, identity string
}

// A Problem is a cause, for all targets that failed for it.
type Problem struct {
	state, text, hint string
}

// accountStates are the states of an account, with a symbol that tells them apart without color.
var accountStates = map[string]struct{ symbol, color string }{
	"ok": {"✓", green}, "partial": {"!", yellow}, "failed": {"✗", red}, "running": {">", ""}, "waiting": {"-", ""},
}

func stateOf(state string) Part {
	s := accountStates[state]
	return Part{s.symbol + " " + state, s.color}
}

// Frame lays the table out for a screen. The links, the rows and a line for each problem come first; what else is
// known is shown where there is room.
func (t *Table) Frame(width, height int) []Line {
	links, more := wrapped(t.Links, width-1), wrapped(t.More, width-1)
	room := height - 1 - 1 - len(links) - 1 // the cursor, the title and the column heads
	rows, problems := len(t.Rows), len(t.Problems)
	if room < rows+problems {
		problems = min(problems, max(1, room/4))
		rows = min(rows, max(room-problems, 1))
	}
	room -= rows + problems
	spare := func(lines int) bool { // whether these extra lines fit
		if lines > 0 && room >= lines {
			room -= lines
			return true
		}
		return false
	}
	gaps, hints := spare(2), spare(problems)
	if spare(len(more)) {
		links = append(links, more...)
	}
	fitting := slices.IndexFunc(t.Title, func(s string) bool { return columnsOf(s) < width })
	frame := []Line{Plain(t.Title[max(fitting, 0)])}
	if fitting < 0 {
		frame[0] = Plain(t.Title[len(t.Title)-1])
	}
	for _, line := range links {
		frame = append(frame, Plain(line))
	}
	if gaps {
		frame = append(frame, nil)
	}
	frame = append(frame, t.table(rows, width-1)...)
	if gaps {
		frame = append(frame, nil)
	}
	for i, p := range t.Problems[:problems] {
		if left := len(t.Problems) - i; i == problems-1 && left > 1 {
			frame = append(frame, Plain(fmt.Sprintf("and %d more problems; see the page", left)))
			break
		}
		symbol := accountStates[p.state]
		frame = append(frame, Line{{symbol.symbol, symbol.color}, {" " + ellipsis(p.text, width-5), ""}})
		if hints && p.hint != "" {
			frame = append(frame, Plain("    "+ellipsis(p.hint, width-6)))
		}
	}
	return frame
}

// tableColumns are the columns, and in which order they are left out on a narrow screen: the highest first.
var tableColumns = []struct {
	head  string
	right bool
	order int
	cell  func(Row) string
}{
	{"ACCOUNT", false, 0, func(r Row) string { return r.account }},
	{"STATE", false, 0, func(r Row) string { return r.state }},
	{"RESOURCES", true, 2, func(r Row) string { return r.resources }},
	{"LAST RUN", false, 0, func(r Row) string { return r.last }},
	{"NEXT RUN", false, 1, func(r Row) string { return r.next }},
	{"TARGETS", false, 3, func(r Row) string { return r.targets }},
	{"IDENTITY", false, 4, func(r Row) string { return r.identity }},
}

// table is the head and the rows, of which n lines fit.
func (t *Table) table(n, columns int) []Line {
	widths := make([]int, len(tableColumns))
	for i, c := range tableColumns {
		widths[i] = len(c.head)
		for _, r := range t.Rows {
			widths[i] = max(widths[i], runewidth.StringWidth(c.cell(r)))
		}
	}
	widths[1] += 3 // the symbol, and that it may be wider
	shown := func(order int) (all int) {
		for i, c := range tableColumns {
			if c.order <= order {
				all += widths[i] + 2
			}
		}
		return all - 2
	}
	order := len(tableColumns)
	for order > 0 && shown(order) > columns {
		order--
	}
	widths[0] = max(1, min(widths[0], widths[0]+columns-shown(order))) // a long name is cut

	line := func(cell func(i int) Part) Line {
		var l Line
		for i, c := range tableColumns {
			if c.order > order {
				continue
			}
			part := cell(i)
			part.text = ellipsis(part.text, max(widths[i], columnsOf(c.head)))
			space := strings.Repeat(" ", max(0, widths[i]-runewidth.StringWidth(part.text)))
			if c.right {
				l = append(l, Part{space, ""}, part, Part{"  ", ""})
			} else {
				l = append(l, part, Part{space + "  ", ""})
			}
		}
		return l
	}
	lines := []Line{line(func(i int) Part { return Part{tableColumns[i].head, ""} })}
	visible, hidden := t.visibleRows(n)
	for _, r := range visible {
		lines = append(lines, line(func(i int) Part {
			if i == 1 {
				return stateOf(r.state)
			}
			return Part{tableColumns[i].cell(r), ""}
		}))
	}
	if len(hidden) > 0 {
		lines = append(lines, Plain(fmt.Sprintf("and %d more: %s", len(hidden), countStates(hidden))))
	}
	return lines
}

// visibleRows chooses the rows if not all fit: those in trouble first. The order stays.
func (t *Table) visibleRows(n int) (visible, hidden []Row) {
	if n >= len(t.Rows) {
		return t.Rows, nil
	}
	urgency := []string{"failed", "partial", "running", "waiting", "ok"}
	indexes := make([]int, len(t.Rows))
	for i := range indexes {
		indexes[i] = i
	}
	slices.SortStableFunc(indexes, func(a, b int) int {
		return cmp.Compare(slices.Index(urgency, t.Rows[a].state), slices.Index(urgency, t.Rows[b].state))
	})
	chosen := indexes[:max(0, n-1)] // the last line counts the others
	for i, r := range t.Rows {
		if slices.Contains(chosen, i) {
			visible = append(visible, r)
		} else {
			hidden = append(hidden, r)
		}
	}
	return visible, hidden
}

// wrapped breaks long lines, so that no address is cut.
func wrapped(lines []string, columns int) []string {
	var all []string
	for _, text := range lines {
		for rest := []rune(printable.Text(text)); len(rest) > 0; {
			head := truncateToWidth(string(rest), max(columns, 2))
			all, rest = append(all, head), rest[utf8.RuneCountInString(head):]
		}
	}
	return all
}

// countStates returns "3 ok, 1 failed".
func countStates(rows []Row) string {
	counts := map[string]int{}
	for _, r := range rows {
		counts[r.state]++
	}
	var parts []string
	for _, state := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%d %s", counts[state], state))
	}
	return strings.Join(parts, ", ")
}

// ellipsis cuts a text that is too long, visibly.
func ellipsis(text string, columns int) string {
	if columnsOf(text) <= columns {
		return text
	}
	return strings.TrimRight(truncateToWidth(text, max(0, columns-2)), " ") + "…"
}
