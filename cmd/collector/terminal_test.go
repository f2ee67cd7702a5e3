//go:build unix

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/live/livetest"
	"github.com/aws-collector/collector/internal/awsfake"
)

// runTerminalSession runs a shell script on a pseudo-terminal that answers no query; $COLLECTOR is the program. typed
// is input from before the start; on is called with the output as it arrives.
func runTerminalSession(
	t *testing.T, script, dir string, env []string, typed string, width, height int,
	on func(tty io.Writer, all []byte),
) string {
	t.Helper()
	program := quick.executable(t)
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skipf("SKIPPED, NOT PASSED: %v", err)
	}
	master, tty, err := pty.Open()
	if err != nil {
		t.Skipf("SKIPPED, NOT PASSED: no terminals here: %v", err)
	}
	defer master.Close()
	if err := pty.Setsize(master, &pty.Winsize{Cols: uint16(width), Rows: uint16(height)}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(master, typed); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // thirty programs, one after the other
	defer cancel()
	cmd := exec.CommandContext(ctx, sh, "-c", script)
	cmd.Dir = dir
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.Env = append(
		[]string{
			runAsProgram + "=1", "COLLECTOR=" + program, "HOME=" + dir, "PATH=" + os.Getenv("PATH"),
			"AWS_EC2_METADATA_DISABLED=true",
		},
		env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err = cmd.Start()
	tty.Close()
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for buffer := make([]byte, 64<<10); ; {
		n, err := master.Read(buffer)
		all.Write(buffer[:n])
		if on != nil {
			on(master, all.Bytes())
		}
		if err != nil { // Linux says EIO when the last one has closed it, others EOF
			break
		}
	}
	err = cmd.Wait()
	if exit := new(exec.ExitError); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%v, %v:\n%s", err, ctx.Err(), all.Bytes())
	}
	return all.String()
}

// commandPaths returns all subcommands, as they are typed.
func commandPaths(cmd *cobra.Command) []string {
	all := []string{strings.TrimSpace(strings.TrimPrefix(cmd.CommandPath(), "collector"))}
	for _, c := range cmd.Commands() {
		if c.IsAdditionalHelpTopicCommand() {
			continue
		}
		all = append(all, commandPaths(c)...)
	}
	return all
}

// No command sends a query to the terminal, and none consumes input that was typed before: it stays for the next
// program. A command with a live view may move the cursor and erase, nothing else.
func TestNoCommandQueriesTheTerminal(t *testing.T) {
	scene, s := startScene(t)
	root := newCLI("", io.Discard, io.Discard).root(nil)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	// The arguments with which each command does its work. The first command fills the store for the others.
	args := map[string][]string{
		"run":      {"run --once", "run --plan", "run --once --dry-run", "run --no-such-flag"},
		"":         {"", "--help", "--version", "nonsense"},
		"validate": {"validate", "validate -c nowhere.yaml"}, "check": {"check"},
		"policy": {"policy", "policy list"}, "kinds": {"kinds"},
		"schema": {"schema", "schema --kind ec2_volume"},
		"list":   {"list", "list instance -o csv", "list nothing"},
		"find":   {"find i-", "find"},
		"query":  {"query", "query nothing"},
		"get":    {"get i-1", "get"}, "history": {"history i-1"},
		"diff": {"diff --from 1h"}, "changes": {"changes --since 1h", "changes"},
		"status": {"status", "status --problems -o json"}, "runs": {"runs", "runs 01JDNONE"},
		"sql": {"sql 'select 1'", "sql nonsense"}, "db": {"db"},
		"db check": {"db check"}, "db vacuum": {"db vacuum"},
		"db export":         {"db export -o csv", "db export"},
		"login":             {"login prod", "login nobody"},
		"accept":            {"accept", "accept nobody"},
		"explain":           {"explain prod", "explain nobody"},
		"init":              {"init", "init -c new.yaml"},
		"db backup":         {"db backup copy.db", "db backup"},
		"db restore":        {"db restore copy.db", "db restore"},
		"import":            {"import", "import nothing"},
		"import aws-config": {"import aws-config nowhere", "import aws-config"},
		"import cloudquery": {"import cloudquery nowhere", "import cloudquery"},
		"import ec2-sd":     {"import ec2-sd nowhere", "import ec2-sd"},
		"import guance":     {"import guance nowhere", "import guance"},
		"import yace":       {"import yace nowhere", "import yace"},
		"start":             {"start prod --server http://127.0.0.1:1"},
		"cancel":            {"cancel prod --server http://127.0.0.1:1"},
		"pause":             {"pause prod --server http://127.0.0.1:1"},
		"resume":            {"resume prod --server http://127.0.0.1:1"},
		"acknowledge":       {"acknowledge prod --reason x --server http://127.0.0.1:1", "acknowledge prod"},
		"healthcheck":       {"healthcheck --listen 127.0.0.1:1"}, "version": {"version"},
		"demo": {
			"demo --for 1s --accounts 15 --days 0 --listen 127.0.0.1:0",
			"demo --plain --for 1s --accounts 15 --days 0 --listen 127.0.0.1:0",
		},
		"help": {"help", "help run"}, "completion": {"completion"},
		"completion bash": {"completion bash"}, "completion zsh": {"completion zsh"},
		"completion fish": {"completion fish"}, "completion powershell": {"completion powershell"},
		"manual": {"manual"},
	}
	lines := args["run"]
	for _, command := range commandPaths(root) {
		if args[command] == nil {
			t.Errorf("%q is a command that this test does not know: add its arguments", command)
		}
		if command != "" {
			lines = append(lines, command+" --help")
		}
		if command != "run" {
			lines = append(lines, args[command]...)
		}
	}
	lines = append(lines, "__complete list ''", "__complete ''")

	for name, c := range map[string]struct {
		env   []string
		views []string // the commands that draw a view
		lines []string
	}{
		"a terminal": {
			[]string{"TERM=xterm-256color", "COLORTERM=truecolor"},
			[]string{"run --once", "run --once --dry-run", "check", "demo"}, lines,
		},
		"dumb":     {[]string{"TERM=dumb"}, nil, withoutLiveView(lines)},
		"no color": {[]string{"TERM=xterm-256color", "NO_COLOR=1"}, []string{"demo"}, withoutLiveView(lines)},
		"no TERM":  {nil, nil, withoutLiveView(lines)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // commands mostly wait
			dir := t.TempDir()
			write(t, filepath.Join(dir, "config.yaml"), daemonConfig(dir, scene, ""))
			// The typed input has a number on each line, and after each command the shell reads one. If a command reads input,
			// the next number is missing.
			var script, typed strings.Builder
			for i, line := range c.lines {
				fmt.Fprintf(&typed, "%d\n", i)
				fmt.Fprintf(
					&script, "printf '\\n>>> '; \"$COLLECTOR\" %s\nIFS= read -r line; printf '\\n<<< %%s\\n' \"$line\"\n",
					line,
				)
			}
			out := runTerminalSession(
				t, script.String(), dir, append(c.env, "AWS_ENDPOINT_URL="+s.URL), typed.String(), 100, 30, nil,
			)
			outputs := strings.Split(out, "\n>>> ")[1:]
			if len(outputs) != len(c.lines) {
				t.Fatalf("%d commands printed something, of %d:\n%s", len(outputs), len(c.lines), out)
			}
			for i, line := range c.lines {
				text, typed, _ := strings.Cut(outputs[i], "\n<<< ")
				if got := strings.TrimSpace(typed); got != fmt.Sprint(i) {
					t.Errorf("collector %s: the next reader got %q of what was typed ahead, not %d", line, got, i)
				}
				if strings.Contains(text, "\x1b[3") && slices.Contains(c.env, "NO_COLOR=1") {
					t.Errorf("collector %s uses colors:\n%q", line, text)
				}
				draws := slices.ContainsFunc(
					c.views,
					func(v string) bool { return line == v || strings.HasPrefix(line, v+" --for") },
				)
				if rest := livetest.DrawPattern.ReplaceAllString(text, ""); draws && rest == text &&
					!strings.HasPrefix(line, "run") { // a short run may draw nothing
					t.Errorf("collector %s drew no view, so this test proves nothing", line)
				} else if draws {
					text = rest
				}
				if at := strings.IndexAny(text, "\x1b\u009b\u009d"); at >= 0 {
					t.Errorf("collector %s sends %q", line, text[at:min(at+40, len(text))])
				}
			}
		})
	}
}

// withoutLiveView returns the commands that would draw a view, and some others.
func withoutLiveView(lines []string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		return !slices.Contains([]string{"run --once", "check", "version", "list", "--help", "login prod"}, l) &&
			!strings.HasPrefix(l, "demo --for")
	})
}

// The terminal shows the table once, and nothing of the view: at the end of a run, after Ctrl-C, and with records on
// the same terminal.
func TestLiveViewIsErasedBeforeTable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ctrlC         bool
		outputs       string
		width, height int
	}{
		"to the end":  {false, "", 120, 40},
		"Ctrl-C":      {true, "", 120, 40},
		"small":       {false, "", 60, 6},
		"records too": {false, "outputs: [{type: stdout}]", 120, 40},
	} {
		t.Run(name, func(t *testing.T) {
			scene, s := startScene(t)
			dir := t.TempDir()
			config := regexp.MustCompile(`(?m)^outputs: .*$`).
				ReplaceAllStringFunc(daemonConfig(dir, scene, ""), func(old string) string {
					return cmp.Or(c.outputs, old)
				})
			write(t, filepath.Join(dir, "config.yaml"), config)
			fault, script, typed, want := awsfake.Fault{
				Kind:   awsfake.Delay,
				Delay:  time.Second,
				Action: "DescribeInstances",
			}, "read -r line; echo typed $line", "ahead\n", "exit 0\ntyped ahead"
			if c.ctrlC { // the kernel also discards typed input
				fault, script, typed, want = awsfake.Fault{Kind: awsfake.Hang, Action: "DescribeInstances"}, "", "", "\nexit 1"
			}
			scene.AWS.Inject(fault)
			seen := false
			out := runTerminalSession(
				t,
				"trap : INT; \"$COLLECTOR\" run --once; echo \"exit $?\"; "+script,
				dir,
				[]string{"TERM=xterm", "AWS_ENDPOINT_URL=" + s.URL},
				typed,
				c.width,
				c.height,
				func(keyboard io.Writer, all []byte) {
					if livetest.FramePattern.Match(all) {
						seen = true
						if c.ctrlC && !bytes.Contains(all, []byte("^C")) {
							_, _ = keyboard.Write([]byte{3})
						}
					}
				},
			)
			if !seen {
				t.Errorf("no view was drawn, so this test proves nothing:\n%s", out)
			}
			screen := livetest.NewScreen(c.width, c.height)
			_, _ = io.WriteString(screen, strings.ReplaceAll(out, "\r\n", "\n"))
			shown := screen.Lines()
			text := strings.Join(shown, "\n")
			if left := livetest.FramePattern.FindString(text); left != "" {
				t.Errorf("a frame is left: %q in\n%s", left, text)
			}
			if n := len(regexp.MustCompile(`(?m)^ACCOUNT +STATUS`).FindAllString(text, -1)); n != 1 {
				t.Errorf("the table is printed %d times:\n%s", n, text)
			}
			if !strings.HasSuffix(text, want) {
				t.Errorf("it does not end with %q:\n%s", want, text)
			}
		})
	}
}
