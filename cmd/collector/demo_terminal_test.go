//go:build unix

package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/creack/pty"

	"github.com/aws-collector/collector/cmd/collector/internal/live/livetest"
)

// demoSession runs the demo on a terminal until done says so, and then what the shell does after it.
type demoSession struct {
	width, height int
	env, flags    string
	script        string // after the demo
	on            func(tty *os.File, sent string)
}

// play returns what was sent, and the terminal that shows it.
func (d demoSession) play(t *testing.T, dir string) (sent string, shown *livetest.Screen) {
	t.Helper()
	script := "trap : INT TERM HUP; echo '$ before'; " +
		"$COLLECTOR demo --accounts 15 --days 0 --listen 127.0.0.1:0 --every 30s --latency 1ms " + d.flags + "; " + d.script
	temporary := filepath.Join(dir, "temporary")
	if err := os.Mkdir(temporary, 0o700); err != nil {
		t.Fatal(err)
	}
	env := append(strings.Fields(d.env), "TMPDIR="+temporary)
	sent = runTerminalSession(t, script, dir, env, "", d.width, d.height, func(tty io.Writer, all []byte) {
		if d.on != nil {
			d.on(tty.(*os.File), string(all))
		}
	})
	shown = livetest.NewScreen(d.width, d.height)
	_, _ = io.WriteString(shown, strings.ReplaceAll(sent, "\r\n", "\n"))
	return sent, shown
}

const ctrlC = "\x03"

// once does something when the demo has shown what a pattern matches.
func once(when *regexp.Regexp, do func(tty *os.File)) func(*os.File, string) {
	done := false
	return func(tty *os.File, sent string) {
		if !done && when.MatchString(sent) {
			done = true
			do(tty)
		}
	}
}

func press(key string) func(*os.File) {
	return func(tty *os.File) { _, _ = io.WriteString(tty, key) }
}

var (
	endLine   = regexp.MustCompile(`The demo ran for .*: 14 accounts, \d+ resources, \d problems\. `)
	allListed = regexp.MustCompile(`✗ failed(?s:.*)(✓ ok|more: \d+ ok)`)
)

// On a terminal of any size, the demo shows the table, and after Ctrl-C only what was there before it and one line.
func TestDemoOnTerminal(t *testing.T) {
	for _, d := range []demoSession{
		{width: 40, height: 15, env: "TERM=xterm"},
		{width: 80, height: 24, env: "TERM=xterm"},
		{width: 200, height: 50, env: "TERM=xterm NO_COLOR=1"},
	} {
		t.Run(fmt.Sprintf("%dx%d %s", d.width, d.height, d.env), func(t *testing.T) {
			t.Parallel()
			d.script = `echo "exit $?"; ls -A "$TMPDIR"; echo end`
			d.on = once(allListed, press(ctrlC))
			sent, shown := d.play(t, t.TempDir())
			if colored := strings.Contains(sent, "\x1b[3"); colored == strings.Contains(d.env, "NO_COLOR") {
				t.Errorf("colors: %v", colored)
			}
			text := strings.Join(shown.Visible(), "\n")
			if !endLine.MatchString(sent) || !strings.HasSuffix(text, "\nexit 0\nend") {
				t.Errorf("it ends with\n%s", text)
			}
			whole := strings.Join(shown.Lines(), "\n")
			for _, no := range []string{"ACCOUNT", "level=", "STATE", "drain", "interrupted"} {
				if strings.Contains(whole, no) {
					t.Errorf("%q is left on the terminal:\n%s", no, whole)
				}
			}
			for _, want := range []string{"$ before", "A fake AWS listens at", "The log is in"} {
				if !strings.Contains(whole, want) {
					t.Errorf("%q is lost:\n%s", want, whole)
				}
			}
		})
	}
}

// The table follows the size of the terminal, and the log is in the file that the first lines name.
func TestDemoResizes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sizes := []pty.Winsize{{Cols: 80, Rows: 30}, {Cols: 50, Rows: 12}, {Cols: 160, Rows: 45}}
	at := 0
	wanted := []*regexp.Regexp{ // the last frame of each size
		regexp.MustCompile(`TARGETS(?s:.*)sandbox: [^\x1b]+\x1b\[K\r\n    Change the (?s:.*)SUSPENDED`),
		regexp.MustCompile(`and \d+ more: \d+ ok(?s:.*)more problems; see the page`),
		regexp.MustCompile(`IDENTITY(?s:.*)444444444444(?s:.*)SUSPENDED`),
	}
	sent, _ := demoSession{
		width: 80, height: 30, env: "TERM=xterm", flags: "--dir kept", script: "echo end",
		on: func(tty *os.File, sent string) {
			frames := strings.Split(sent, "\x1b[H")
			if at < len(sizes) && wanted[at].MatchString(frames[len(frames)-1]) {
				if at++; at == len(sizes) {
					press(ctrlC)(tty)
				} else if err := pty.Setsize(tty, &sizes[at]); err != nil {
					t.Error(err)
				}
			}
		},
	}.play(t, dir)
	kept := filepath.Join(dir, "kept")
	if at < len(sizes) || !strings.Contains(sent, "are in "+kept+".") {
		t.Errorf("size %d was not shown, or the end does not say where the files are:\n%q", at, sent[max(0, len(sent)-3000):])
	}
	log := mustRead(t, filepath.Join(kept, "collector.log"))
	if !strings.Contains(sent, "The log is in "+filepath.Join(kept, "collector.log")) ||
		!strings.Contains(log, `msg="run ended" account=prod`) {
		t.Errorf("the log:\n%s", log)
	}
}

// With --plain and on a terminal that obeys nothing, the demo prints lines.
func TestDemoPlainOnTerminal(t *testing.T) {
	for name, d := range map[string]demoSession{
		"--plain": {env: "TERM=xterm", flags: "--plain"},
		"dumb":    {env: "TERM=dumb"},
		"no TERM": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d.width, d.height, d.script = 80, 24, `echo "exit $?"`
			d.on = once(regexp.MustCompile(`msg="run ended" account=prod`), press(ctrlC))
			sent, _ := d.play(t, t.TempDir())
			if strings.Contains(sent, "\x1b") || !endLine.MatchString(sent) || !strings.HasSuffix(sent, "\r\nexit 0\r\n") {
				t.Errorf("it sends %q", sent)
			}
			checkDemoLines(t, sent)
		})
	}
}

// Signals leave a terminal that works: SIGTERM ends the demo as Ctrl-C does, SIGHUP reloads its configuration, and a
// second Ctrl-C ends it at once, below the table.
func TestDemoSignals(t *testing.T) {
	for name, c := range map[string]struct{ kill, want string }{
		"TERM": {"kill -TERM $pid", "exit 0"},
		"HUP, then TERM": {
			"kill -HUP $pid; until grep -q reloaded kept/collector.log; do sleep 0.2; done; kill -TERM $pid", "exit 0",
		},
		"INT twice": {"while kill -INT $pid 2>/dev/null; do sleep 0.3; done", "exit [01]"},
		"KILL":      {"kill -KILL $pid", "exit 137"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			d := demoSession{width: 80, height: 24, env: "TERM=xterm"}
			d.flags = `--dir kept & pid=$!; read -r go && ` + c.kill + `; wait $pid`
			d.script = `echo "exit $?"; stty -a | tr ' ' '\n' | grep -x echo; printf '\033[0m'`
			d.on = once(allListed, press("go\n"))
			sent, shown := d.play(t, dir)
			if want := regexp.MustCompile(`\r\n` + c.want + `\r\necho\r\n\x1b\[0m$`); !want.MatchString(sent) {
				t.Errorf("it does not end with %q:\n%s", c.want, strings.Join(shown.Visible(), "\n"))
			}
			begun := len(regexp.MustCompile(`\x1b\[3\dm`).FindAllString(sent, -1))
			ended := strings.Count(sent, "\x1b[0m") - 1
			if begun == 0 || begun != ended {
				t.Errorf("%d colors begin, %d end", begun, ended)
			}
			rest := livetest.DrawPattern.ReplaceAllString(strings.TrimSuffix(sent, "\x1b[0m"), "")
			if strings.Contains(rest, "\x1b") {
				t.Errorf("it sends %q", rest)
			}
			log := mustRead(t, filepath.Join(dir, "kept", "collector.log"))
			if reloaded := strings.Contains(log, "configuration reloaded"); reloaded != strings.HasPrefix(name, "HUP") {
				t.Errorf("reloaded: %v\n%s", reloaded, log)
			}
		})
	}
}

// When its terminal is closed, the demo ends and removes its files: nobody sees it any more.
func TestDemoEndsWithTerminal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	demoSession{
		width: 80, height: 24, env: "TERM=xterm", script: `echo "exit $?" >after; ls -A "$TMPDIR" >>after`,
		on: once(allListed, func(tty *os.File) { _ = tty.Close() }),
	}.play(t, dir)
	if got := mustRead(t, filepath.Join(dir, "after")); got != "exit 0\n" {
		t.Errorf("after its end: %q", got)
	}
}
