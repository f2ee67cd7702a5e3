package live

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/cmd/collector/internal/live/livetest"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

// exampleBoard has an account in each state, as of a minute after start, and an organization with a warning.
func exampleBoard(start time.Time) *board.Board {
	b := board.New()
	conf, err := runner.NewConfiguration(runner.Configuration{Tasks: []*runner.Task{{Name: "organization:key"}}})
	if err != nil {
		panic(err)
	}
	b.Observe(runner.Configured{Configuration: conf, Kinds: map[string][]string{
		"prod": nil, "sandbox": nil, "legacy": nil, "new-team": nil, "fresh": nil, "later": nil, "organization:key": nil,
	}})
	end := func(account string, records int, reasons ...record.Reason) {
		run := "run-" + account
		b.Observe(runner.RunStarted{Account: account, Run: run, Tick: start})
		for i, reason := range reasons {
			o := record.Outcome{
				Target: record.Target{Account: account, Region: "us-east-1", Kind: fmt.Sprint("ec2_kind", i)}, Run: run,
				State: record.OK, Records: records, Ended: start.Add(48 * time.Second),
			}
			if reason != "" {
				o.State, o.Reason, o.Hint, o.Records = record.Denied, reason, "Allow it: "+account+" is denied.", 0
			}
			b.Observe(runner.TargetEnded{Outcome: o})
		}
		status := record.Success
		if reasons[0] != "" {
			status = record.RunPartial
		}
		b.Observe(runner.RunEnded{Account: account, Run: run, Status: status, Took: 48 * time.Second})
		b.Observe(runner.NextStart{Account: account, At: start.Add(69*time.Second + time.Millisecond)})
	}
	end("prod", 1200, "", "")
	end("sandbox", 7, record.AccessDenied, record.AccessDenied, "", record.Interrupted)
	end("legacy", 0, record.BadKey)
	end("new-team", 0, record.BadKey, record.BadKey)
	b.Observe(runner.SignedIn{Account: "prod", Identity: record.Identity{AccountID: "111111111111"}})
	b.Observe(runner.RunStarted{Account: "fresh", Run: "run-fresh", Tick: start})
	b.Observe(runner.TargetEnded{Outcome: record.Outcome{
		Target: record.Target{Account: "fresh", Region: "us-east-1", Kind: "ec2_vpc"}, Run: "run-fresh",
		State: record.OK, Records: 5,
	}})
	b.Observe(runner.RunStarted{Account: "organization:key", Run: "run-o", Tick: start})
	members := &accounts.List{Inactive: []config.Member{{ID: "161616161616", Name: "old-shop", State: "SUSPENDED"}}}
	b.Observe(runner.TaskEnded{
		Outcome: record.Outcome{Target: record.Target{Account: "organization:key"}, Run: "run-o", State: record.OK},
		Warning: members.Warning(),
	})
	b.Observe(runner.RunEnded{Account: "organization:key", Run: "run-o", Status: record.Success, Took: 57 * time.Second})
	return b
}

// exampleTable is the text of a table on a screen of this size.
func exampleTable(t *testing.T, width, height int) []string {
	t.Helper()
	var lines []string
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		board := exampleBoard(start)
		time.Sleep(time.Minute)
		purpose := map[string]string{"sandbox": "a policy denies EC2 in eu-*", "legacy": "its key was deleted"}
		s := Summarize(board, purpose, time.Now())
		table := Table{
			Title: []string{"Demo for 1m 0s: 1207 resources. Ctrl-C ends it.", "Ctrl-C ends it."},
			Links: []string{"page      http://127.0.0.1:9420/", "log       /tmp/collector-demo-1/collector.log"},
			More:  []string{"query     collector list instance"},
			Rows:  s.Rows, Problems: s.Problems,
		}
		for _, line := range fit(table.Frame(width, height), width, height) {
			lines = append(lines, strings.TrimRight(line.String(), " "))
		}
	})
	return lines
}

func TestDemoTable(t *testing.T) {
	for _, c := range []struct {
		name          string
		width, height int
		want          string
	}{
		{"wide", 200, 50, `
Demo for 1m 0s: 1207 resources. Ctrl-C ends it.
page      http://127.0.0.1:9420/
log       /tmp/collector-demo-1/collector.log
query     collector list instance

ACCOUNT           STATE       RESOURCES  LAST RUN  NEXT RUN  TARGETS    IDENTITY
fresh             > running           5  running   -         1 of 1 ok  -
later             - waiting           -  -         -         -          -
legacy            ✗ failed            0  12s ago   in 9s     0 of 1 ok  -
new-team          ✗ failed            0  12s ago   in 9s     0 of 2 ok  -
prod              ✓ ok             2400  12s ago   in 9s     2 of 2 ok  111111111111
sandbox           ! partial           7  12s ago   in 9s     2 of 4 ok  -
organization:key  ✓ ok                -  3s ago    -         -          -

✗ legacy, new-team: bad_key, 3 targets
    Allow it: legacy is denied.
! sandbox: access_denied, 2 targets; on purpose: a policy denies EC2 in eu-*
    Allow it: sandbox is denied.
- organization:key: not collected: 161616161616 (old-shop) is SUSPENDED
`}, {"usual", 80, 17, `
Demo for 1m 0s: 1207 resources. Ctrl-C ends it.
page      http://127.0.0.1:9420/
log       /tmp/collector-demo-1/collector.log

ACCOUNT           STATE       RESOURCES  LAST RUN  NEXT RUN  TARGETS
fresh             > running           5  running   -         1 of 1 ok
later             - waiting           -  -         -         -
legacy            ✗ failed            0  12s ago   in 9s     0 of 1 ok
new-team          ✗ failed            0  12s ago   in 9s     0 of 2 ok
prod              ✓ ok             2400  12s ago   in 9s     2 of 2 ok
sandbox           ! partial           7  12s ago   in 9s     2 of 4 ok
organization:key  ✓ ok                -  3s ago    -         -

✗ legacy, new-team: bad_key, 3 targets
! sandbox: access_denied, 2 targets; on purpose: a policy denies EC2 in eu-*
- organization:key: not collected: 161616161616 (old-shop) is SUSPENDED
`}, {"narrow and low", 40, 12, `
Ctrl-C ends it.
page      http://127.0.0.1:9420/
log       /tmp/collector-demo-1/collect
or.log
ACCOUNT           STATE       LAST RUN
fresh             > running   running
legacy            ✗ failed    12s ago
new-team          ✗ failed    12s ago
sandbox           ! partial   12s ago
and 3 more: 2 ok, 1 waiting
and 3 more problems; see the page
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := exampleTable(t, c.width, c.height)
			if diff := cmp.Diff(strings.Split(strings.TrimSpace(c.want), "\n"), got); diff != "" {
				t.Errorf("-want +got:\n%s\n%s", diff, strings.Join(got, "\n"))
			}
		})
	}
}

// Nothing is cut off at the bottom on any screen with room for the first lines and a row.
func TestDemoTableFitsEveryScreen(t *testing.T) {
	for width := 20; width <= 200; width += 12 {
		for height := 12; height <= 40; height++ {
			lines := exampleTable(t, width, height)
			if len(lines) >= height {
				t.Errorf("%dx%d: %d lines", width, height, len(lines))
			}
			text := strings.Join(lines, "\n")
			problem := regexp.MustCompile(`SUSPENDED$|more problems|…$`)
			if !problem.MatchString(lines[len(lines)-1]) {
				t.Errorf("%dx%d does not end with the Problems:\n%s", width, height, text)
			}
			if !strings.Contains(text, "✗ failed") && width >= 40 {
				t.Errorf("%dx%d hides what failed:\n%s", width, height, text)
			}
		}
	}
}

// A table that has the screen to itself repairs itself after resizes and typed keys, keeps what is printed above it and
// what was there before, and leaves nothing.
func TestWholeScreenView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := livetest.NewScreen(80, 24)
		_, _ = io.WriteString(s, "$ before\n$ collector demo\n")
		start := time.Now()
		l := Start(s, s.Size, func(now time.Time, width, height int) []Line {
			frame := []Line{Plain(fmt.Sprintf("top of the table %d", now.Sub(start)/time.Second))}
			for i := range 20 {
				frame = append(frame, Line{{fmt.Sprintf("row %02d ", i), ""}, {strings.Repeat("本", width/2), red}})
			}
			return frame
		}, true)
		for i, size := range [][2]int{{80, 24}, {40, 10}, {120, 40}, {120, 5}, {30, 3}, {200, 50}} {
			s.Resize(size[0], size[1])
			time.Sleep(redrawEvery + time.Millisecond)
			synctest.Wait()
			for _, typed := range []string{"q", "\n", "\n\n\n", "^[[A"} {
				_, _ = io.WriteString(s, typed)
				time.Sleep(1100 * time.Millisecond) // the table changes each second
				synctest.Wait()
				text := strings.Join(s.Visible(), "\n")
				if n := strings.Count(text, "top of the table"); n != 1 || !strings.Contains(text, "row") {
					t.Errorf("%v after %q: %d tables:\n%s", size, typed, n, text)
				}
			}
			_, _ = io.WriteString(l, fmt.Sprintf("a record %d\n", i))
		}
		l.Stop()
		l.Stop()
		_, _ = io.WriteString(l, "The demo ran.\n")
		var kept []string
		for _, line := range s.Lines() {
			if line != "" && !regexp.MustCompile(`^row|top of the table|^本`).MatchString(line) {
				kept = append(kept, line)
			}
		}
		want := []string{"$ before", "$ collector demo"}
		for i := range 6 {
			want = append(want, fmt.Sprintf("a record %d", i))
		}
		if want = append(want, "The demo ran."); !cmp.Equal(want, kept) {
			t.Errorf("the terminal keeps\n%s", strings.Join(kept, "\n"))
		}
		if text := strings.Join(s.Visible(), "\n"); strings.Contains(text, "row") {
			t.Errorf("left behind:\n%s", text)
		}
		rest := livetest.DrawPattern.ReplaceAll(bytes.ReplaceAll([]byte(s.Sent()), []byte("\n"), []byte("\r\n")), nil)
		if at := bytes.IndexByte(rest, '\x1b'); at >= 0 {
			t.Errorf("it sends %q", rest[at:min(len(rest), at+30)])
		}
	})
}
