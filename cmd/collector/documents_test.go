package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/aws-collector/collector/docs/docstest"
	"github.com/aws-collector/collector/internal/awsfake"
)

const repository = "../.."

// Programs of the documents' commands besides collector. A line that begins with another word is a mistake.
var otherPrograms = []string{
	"aws", "cat", "cd", "cp", "curl", "date", "docker", "export", "find", "git", "go", "grep", "helm", "install", "jq",
	"kill", "kubectl", "make", "mkdir", "openssl", "read", "sops", "source", "sudo", "sudoedit", "systemctl",
}

// Each command in a block or a code span of the documents is one that the program has, with flags that it has; in a
// block, its arguments are accepted, too. Each flag that stands alone in a code span is one of some command, unless the
// sentence is about another program.
func TestDocumentedCommandsExist(t *testing.T) {
	flags := map[string]bool{"--help": true}
	collectFlags(newCLI("", io.Discard, io.Discard).root(nil), flags)
	foreign := regexp.MustCompile(`^--(session-duration|mfa|role|data-binary|columns)\b`)
	checked := 0
	for _, page := range docstest.Pages(t, repository) {
		for _, b := range page.Blocks() {
			script := b.Text
			if b.Language == "console" {
				script = strings.Join(typed(b), "\n")
			} else if b.Language != "sh" {
				continue
			}
			for _, words := range docstest.Commands(script) {
				args, ours := ownArguments(words)
				switch {
				case ours:
					checked++
					if err := parseCommand(args, true); err != nil {
						t.Errorf("%s:%d: %q: %v", page.Path, b.Line, words, err)
					}
				case !slices.Contains(otherPrograms, words[0]):
					t.Errorf("%s:%d: %q: unknown program %s", page.Path, b.Line, words, words[0])
				}
			}
		}
		for _, span := range page.Spans() {
			flag, _, _ := strings.Cut(strings.Fields(span + " ")[0], "=")
			if strings.HasPrefix(flag, "--") && !flags[flag] && !foreign.MatchString(flag) {
				t.Errorf("%s: no command has the flag in %q", page.Path, span)
			}
			commands := docstest.Commands(span)
			if len(commands) == 0 {
				continue
			}
			if args, ours := ownArguments(commands[0]); ours && !strings.ContainsAny(span, "…{}") {
				checked++
				if err := parseCommand(args, false); err != nil {
					t.Errorf("%s: %q: %v", page.Path, span, err)
				}
			}
		}
	}
	if checked < 150 {
		t.Errorf("only %d commands were checked", checked)
	}
}

func collectFlags(cmd *cobra.Command, all map[string]bool) {
	for _, set := range []*pflag.FlagSet{cmd.LocalFlags(), cmd.PersistentFlags()} {
		set.VisitAll(func(f *pflag.Flag) { all["--"+f.Name] = true })
	}
	for _, sub := range cmd.Commands() {
		collectFlags(sub, all)
	}
}

// ownArguments returns the arguments of a command line that runs this program.
func ownArguments(words []string) (args []string, ours bool) {
	if words[0] == "sudo" {
		words = slices.DeleteFunc(slices.Clone(words[1:]), func(w string) bool { return w == "-u" })
		if len(words) > 1 && words[1] == "collector" {
			words = words[1:] // after the name of the user
		}
	}
	if len(words) > 2 && words[0] == "go" && words[1] == "run" && words[2] == "./cmd/collector" {
		return words[3:], true
	}
	return words[1:], slices.Contains([]string{"collector", "./collector", "NEW-VERSION"}, words[0])
}

// parseCommand parses a command line as the program does, and runs nothing. Without complete, arguments may be missing.
func parseCommand(args []string, complete bool) error {
	if len(args) == 0 {
		return nil // the name of the program
	}
	root := newCLI("", io.Discard, io.Discard).root(args)
	root.InitDefaultHelpCmd()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if cmd.Name() == "help" {
		if complete {
			_, _, err = root.Find(rest)
		}
		return err
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		if !complete && strings.HasPrefix(err.Error(), "flag needs an argument") {
			return nil
		}
		return err
	}
	if help, err := cmd.Flags().GetBool("help"); help || err != nil || !complete {
		return err
	}
	return errors.Join(cmd.ValidateArgs(cmd.Flags().Args()), cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups())
}

// typed returns the lines of a console that a person typed.
func typed(b docstest.Block) (all []string) {
	for line := range strings.Lines(b.Text) {
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			all = append(all, strings.TrimSuffix(command, "\n"))
		}
	}
	return all
}

// What a console of the documents shows is what the program prints, for accounts of the demo. The keys of an account
// are in NAME_AK_ID and NAME_AK_SECRET; a block with the name of a file is that file from there on. Times and
// run ids may differ, and a line "…" stands for any lines. UPDATE_DOCS=1 writes what is printed now.
func TestConsoles(t *testing.T) {
	seen := 0
	for _, page := range docstest.Pages(t, repository) {
		var c *console
		for _, b := range runnable(page) {
			if c == nil {
				c = startConsole(t)
			}
			if b.Language == "yaml" {
				write(t, filepath.Join(c.dir, b.Argument), b.Text)
				continue
			}
			seen++
			var shown strings.Builder
			for _, line := range typed(b) {
				fmt.Fprintf(&shown, "$ %s\n%s", line, c.run(t, line))
			}
			want := pattern(b.Text)
			if regexp.MustCompile(want).MatchString(flattened(shown.String())) {
				continue
			}
			t.Errorf("%s:%d: the program prints\n%s", page.Path, b.Line, shown.String())
			if os.Getenv("UPDATE_DOCS") != "" && !strings.Contains(b.Text, "\n…\n") {
				page.Replace(t, repository, b, shown.String())
				return // the lines of later blocks have moved
			}
		}
	}
	if seen == 0 {
		t.Error("the documents have no console")
	}
}

// runnable returns the consoles and files of a page, in the order in which they are used. A console before the first
// file shows what the others lead to.
func runnable(page docstest.Page) []docstest.Block {
	var before, all []docstest.Block
	for _, b := range page.Blocks() {
		switch {
		case b.Language == "yaml" && filepath.Ext(b.Argument) == ".yaml":
			all = append(all, b)
		case b.Language == "console" && len(all) == 0:
			before = append(before, b)
		case b.Language == "console":
			all = append(all, b)
		}
	}
	return append(all, before...)
}

var (
	space = regexp.MustCompile(`[ \t]+`)
	// What differs each time.
	volatile = regexp.MustCompile(strings.Join([]string{
		`\d{4}-\d\d-\d\dT[\d:.]+Z`,                        // a time
		`\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`, // a UUID
		`\b[0-9A-HJKMNP-TV-Z]{26}\b`,                      // a run
		`\b(?:\d+(?:\.\d+)?(?:ms|µs|h|m|s|d))+\b`,         // how long
	}, "|"))
)

// flattened replaces what differs each time, and runs of spaces: the columns of a table are as wide as such values.
func flattened(text string) string {
	return space.ReplaceAllString(volatile.ReplaceAllString(text, "~"), " ")
}

func pattern(text string) string {
	return "^" + strings.ReplaceAll(regexp.QuoteMeta(flattened(text)), "\n…\n", "\n(?:.*\n)*") + "$"
}

// A console is a folder and an environment in which the commands of a page run.
type console struct {
	dir string
	env []string
}

func startConsole(t *testing.T) *console {
	t.Helper()
	scene := awsfake.Demo(awsfake.Options{Seed: 1, NoGzip: true})
	s, err := scene.AWS.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c := &console{dir: t.TempDir()}
	c.env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, runAsProgram + "=1",
		"AWS_ENDPOINT_URL=" + s.URL, "AWS_EC2_METADATA_DISABLED=true",
	}
	for _, a := range scene.Accounts {
		name := strings.ToUpper(a.Name)
		c.env = append(c.env, name+"_AK_ID="+a.Key.ID, name+"_AK_SECRET="+a.Key.Secret)
	}
	return c
}

// run runs a command and returns what a terminal would show. A failure is what it shows.
func (c *console) run(t *testing.T, line string) string {
	t.Helper()
	commands := docstest.Commands(line)
	args, ours := ownArguments(commands[0])
	if len(commands) != 1 || !ours {
		t.Fatalf("%s: a console has one command of collector on each line", line)
	}
	cmd := exec.CommandContext(t.Context(), quick.executable(t), args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out)
}
