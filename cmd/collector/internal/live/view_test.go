package live

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aws-collector/collector/cmd/collector/internal/live/livetest"
)

// The view stays below the log. After it has stopped, the terminal shows what it would without a view: for any size and
// names, also if the view was taller than the screen.
func TestLiveViewLeavesNoFrame(t *testing.T) {
	names := []string{
		"prod", "本番アカウント", "équipe-Ω", "👩‍👩‍👧‍👦☎️", "e\u0301e\u0301e\u0301", "a\x1b[2Jb\r\u202e\u009b",
		strings.Repeat("long-", 30),
	}
	for _, size := range [][2]int{{80, 24}, {200, 50}, {40, 10}, {21, 5}, {100, 4}, {12, 3}, {80, 2}, {5, 1}, {1, 1}} {
		for _, accounts := range []int{1, 3, 30, 500} {
			t.Run(fmt.Sprintf("%dx%d with %d", size[0], size[1], accounts), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s, plain := livetest.NewScreen(size[0], size[1]), livetest.NewScreen(size[0], size[1])
					var now []accountProgress
					var mu sync.Mutex
					l := Start(s, s.Size, func(at time.Time, _, height int) []Line {
						mu.Lock()
						defer mu.Unlock()
						return progressFrame(now, at, height)
					}, false)
					seen := false
					for i := range 12 {
						mu.Lock()
						now = nil
						for a := range accounts * min(i, 1) * (11 - i) / 10 { // fewer and fewer at the end
							now = append(
								now,
								accountProgress{account: fmt.Sprintf("%s-%d", names[a%len(names)], a), identity: "111111111111",
									current: []string{
										"us-east-1 ec2_instance",
									}, done: i + 1, total: 12, records: i * 1000, failed: a % 2, started: time.Now().Add(-time.Minute)},
							)
						}
						mu.Unlock()
						time.Sleep(redrawEvery + time.Millisecond)
						synctest.Wait()
						if shown := s.Lines(); livetest.FramePattern.MatchString(strings.Join(shown, "\n")) {
							seen = true
							if n := len(shown); n > 0 && !livetest.FramePattern.MatchString(shown[n-1]) {
								t.Errorf("below the view: %q", shown[n-1])
							}
						}
						for _, text := range []string{
							fmt.Sprintf("line %d\n", i), strings.Repeat("x", size[0]) + "\n", strings.Repeat("long ", i*20) + "\n本番\n",
							"half", " a line\n",
						} {
							_, _ = io.WriteString(l, text)
							_, _ = io.WriteString(plain, text)
						}
					}
					l.Stop()
					l.Stop()
					const table = "ACCOUNT  STATUS\nprod     success\n"
					for _, w := range []io.Writer{l, plain} {
						_, _ = io.WriteString(w, table)
					}
					if diff := cmp.Diff(plain.Lines(), s.Lines()); diff != "" {
						t.Errorf("a terminal with a view (+) shows something else than one without (-):\n%s", diff)
					}
					if size[0] >= 80 && size[1] > 3 && !seen {
						t.Error("no view was drawn, so this test proves nothing")
					}
				})
			})
		}
	}
}

// The view sends only text, cursor up, and erase to the end: no query that a terminal answers, no mode that a kill
// would leave on.
func TestLiveViewSendsNoQuery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := livetest.NewScreen(80, 24)
		l := Start(s, s.Size, func(at time.Time, _, height int) []Line {
			rows := []accountProgress{{account: "pr\x1b]11;?\x07od", total: 3, started: at.Add(-time.Minute)}}
			return progressFrame(rows, at, height)
		}, false)
		time.Sleep(3 * time.Second)
		_, _ = io.WriteString(l, "a line\n")
		l.Stop()
		sent := regexp.MustCompile(`\r\x1b\[\d+A\x1b\[J`).ReplaceAllString(s.Sent(), "")
		if strings.ContainsFunc(sent, func(r rune) bool { return r < ' ' && r != '\n' }) {
			t.Errorf("it sends %q", sent)
		}
		if n := strings.Count(s.Sent(), "["); n > 40 {
			t.Errorf("%d frames and escapes in three seconds in which little changed", n)
		}
	})
}

// After a resize, the terminal shows one frame, and none at the end.
func TestLiveViewResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := livetest.NewScreen(80, 24)
		rows := make([]accountProgress, 5)
		for i := range rows {
			rows[i] = accountProgress{account: fmt.Sprintf("account-%d", i), identity: "111111111111", total: 12}
		}
		l := Start(s, s.Size, func(at time.Time, _, height int) []Line {
			return progressFrame(rows, at, height)
		}, false)
		for _, size := range [][2]int{{80, 24}, {120, 24}, {120, 40}, {120, 9}} {
			s.Resize(size[0], size[1])
			time.Sleep(redrawEvery + time.Millisecond)
			synctest.Wait()
			if n := len(livetest.FramePattern.FindAllString(strings.Join(s.Lines(), "\n"), -1)); n != len(rows) {
				t.Errorf("%dx%d: %d lines of the view, want %d:\n%s", size[0], size[1], n, len(rows), strings.Join(s.Lines(), "\n"))
			}
		}
		l.Stop()
		if left := s.Lines(); len(left) != 0 {
			t.Errorf("left behind: %q", left)
		}
	})
}

// A terminal that is made narrower wraps its lines: a frame then occupies more rows.
func TestRowsOnScreen(t *testing.T) {
	var frame []Line
	for _, text := range []string{strings.Repeat("x", 79), "", strings.Repeat("x", 20), strings.Repeat("本", 20)} {
		frame = append(frame, Plain(text))
	}
	for _, c := range []struct{ then, now, want int }{
		{80, 80, 4}, {80, 120, 4}, {80, 79, 4}, {80, 40, 5}, {80, 20, 8}, {80, 1, 140},
	} {
		if got := rowsOnScreen(frame, c.then, c.now); got != c.want {
			t.Errorf("%d columns, then %d: %d rows, want %d", c.then, c.now, got, c.want)
		}
	}
}

func TestTruncateToWidth(t *testing.T) {
	for _, c := range []struct {
		line    string
		columns int
		want    string
	}{
		{"prod", 10, "prod"}, {"prod", 4, "prod"}, {"prod", 3, "pro"}, {"prod", 0, ""}, {"本番", 4, "本番"}, {"本番", 3, "本"},
		{"é1", 2, "é"},
		{"a\tb\x1b[J\u202e\x7f\u0085", 20, "a?b?[J???"},
	} {
		if got := truncateToWidth(c.line, c.columns); got != c.want {
			t.Errorf("%q in %d columns: %q, want %q", c.line, c.columns, got, c.want)
		}
	}
}
