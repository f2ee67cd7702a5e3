package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/live"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

// hostile has what a terminal interprets or hides, as far as AWS's XML can carry it: a C1 sequence, an override, three
// kinds of line breaks with a line that looks like ours, a zero-width space, a tag character, DEL.
const hostile = "\u009b31m\u202e\u2066\u2028\u0085\u200b\U000e0041\u007f\r\nhint: run evil"

// escapedHostile is how people see it.
var escapedHostile = printable.Text(hostile)

// hostileAWS appends it to every tag, name and error message of the fake AWS.
func hostileAWS(next http.Handler) http.Handler {
	asJSON, _ := json.Marshal(hostile + "\x1b[2J")
	inXML := strings.NewReplacer("\r", "&#13;", "\n", "&#10;").Replace(hostile)
	rewrite := []struct {
		re *regexp.Regexp
		to string
	}{
		{regexp.MustCompile(`<(value|message|Message)>([^<]*)</`), "<$1>${2}" + inXML + "</"},
		{regexp.MustCompile(`"(Name|message|Message)":\s*"([^"]*)"`), `"$1":"${2}` + strings.Trim(string(asJSON), `"`) + `"`},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := httptest.NewRecorder()
		next.ServeHTTP(got, r)
		body := got.Body.Bytes()
		if got.Header().Get("Content-Encoding") == "gzip" {
			if z, err := gzip.NewReader(got.Body); err == nil {
				body, _ = io.ReadAll(z)
			}
			got.Header().Del("Content-Encoding")
		}
		for _, rule := range rewrite {
			body = rule.re.ReplaceAll(body, []byte(rule.to))
		}
		for k, v := range got.Header() {
			w.Header()[k] = v
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(got.Code)
		_, _ = w.Write(body)
	})
}

// hostileScene is a configuration with a store that was filled from a hostile AWS.
type hostileScene struct {
	t      *testing.T
	scene  *awsfake.Simulation
	dir    string
	file   string // of another program, with hostile text
	config string
	url    string
	id     string // of an instance
}

func newHostileScene(t *testing.T) *hostileScene {
	scene := awsfake.Demo(awsfake.Options{Seed: 3})
	aws := httptest.NewServer(hostileAWS(scene.AWS))
	t.Cleanup(aws.Close)
	h := &hostileScene{t: t, scene: scene, dir: t.TempDir(), url: aws.URL}
	h.config = filepath.Join(h.dir, "config.yaml")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": h.url, "AWS_EC2_METADATA_DISABLED": "true", "HOME": h.dir,
	} {
		t.Setenv(name, value) // the SDK reads the environment itself
	}
	tag := strconv.QuoteToASCII("x\x1b[31m" + hostile) // also valid YAML
	text := fmt.Sprintf(
		"data_dir: %[1]s/data\nlimits: {attempts: 1}\n"+
			"collector_configs: {regions: [us-east-1, eu-west-1], kinds: [ec2_instance, ec2_volume]}\n"+
			"outputs: [{type: file, path: %[1]s/records.jsonl}]\naccounts:\n",
		h.dir,
	)
	for _, i := range []int{0, 8, 9} { // an account that works, one with a denied region, one that is refused
		a := scene.Accounts[i]
		text += fmt.Sprintf(
			"  - {name: %s, ak_id: %s, ak_secret: %q, extra_tags: {\"team\": %s}}\n", a.Name, a.Key.ID, a.Key.Secret,
			tag,
		)
	}
	company := scene.Organization
	text += fmt.Sprintf(
		"organizations:\n  - {via: {ak_id: %s, ak_secret: %q}, role: %s, extra_tags: {account_name: \"{{.Name}}\"}}\n",
		company.Key.ID, company.Key.Secret, company.Role,
	)
	write(t, h.config, text)
	return h
}

// run runs a command line and returns its output.
func (h *hostileScene) run(args ...string) (stdout, stderr string) {
	h.t.Helper()
	var out, errs bytes.Buffer
	err := run(h.t.Context(), append(args, "--config", h.config), func(string) string { return "" }, &out, &errs)
	exitCode(err, &errs)
	return out.String(), errs.String()
}

// hostileRun is the id of a run whose texts are hostile. It sorts after all others: old runs are deleted.
const hostileRun = "7ZHOSTXXXXXXXXXXXXXXXXXXXX"

// storeRun stores a run and a sign-in that failed with texts of AWS. No account has such a name, but a store may.
func (h *hostileScene) storeRun() {
	h.t.Helper()
	s, err := sqlite.Open(h.t.Context(), sqlite.Options{Path: store.Path(filepath.Join(h.dir, "data"))})
	if err != nil {
		h.t.Fatal(err)
	}
	cause := inventory.Cause{State: record.Denied, Error: "denied" + hostile, Hint: "Ask" + hostile, Targets: 1}
	now := time.Now()
	err = errors.Join(
		s.EndRun(h.t.Context(), inventory.Run{
			ID: hostileRun, Account: "x" + hostile, Tick: now, Started: now, Ended: now, Status: record.RunFailed, Ticks: 1,
			Causes: []inventory.Cause{cause},
		}),
		s.PutSignIn(h.t.Context(), inventory.SignIn{
			Account: h.scene.Accounts[0].Name, Checked: now, ARN: "arn" + hostile, Error: "refused" + hostile, Hint: hostile,
		}),
		s.Close(),
	)
	if err != nil {
		h.t.Fatal(err)
	}
}

// requireHarmless fails on characters that a terminal interprets, and on a line that begins with text of AWS.
func requireHarmless(t *testing.T, what, text string) {
	t.Helper()
	if safe := printable.Lines(text); safe != text || !utf8.ValidString(text) {
		for n, line := range strings.Split(text, "\n") {
			if printable.Lines(line) != line {
				t.Fatalf("%s: line %d reaches the terminal as %q", what, n+1, line)
			}
		}
	}
	if regexp.MustCompile(`(?m)^\s*hint: run evil`).MatchString(text) {
		t.Errorf("%s: text of AWS begins a line:\n%s", what, text)
	}
}

// hostileCase is a command line; seen means that its output must have the hostile text, escaped.
type hostileCase struct {
	args []string
	seen bool
}

func newHostileCases(seen bool, lines ...string) (out []hostileCase) {
	for _, l := range lines {
		out = append(out, hostileCase{strings.Fields(l), seen})
	}
	return out
}

// hostileCases has the arguments for each command, besides the wrong flag and the wrong argument that every command
// gets. ID stands for an instance, FILE for a file. A command without any shows no text from elsewhere.
func hostileCases() map[string][]hostileCase {
	all := func(command string) []hostileCase {
		return newHostileCases(true, command, command+" -o json", command+" -o jsonl", command+" -o csv")
	}
	return map[string][]hostileCase{
		"collector": {},
		"collector run": slices.Concat(
			newHostileCases(true, "run --once"),
			newHostileCases(false, "run --plan", "run --plan -o json", "run --dry-run --account nosuch"),
		),
		"collector demo":     newHostileCases(false, "demo --every -1s"), // and TestHostileDemo
		"collector validate": newHostileCases(false, "validate"),         // and TestHostileConfig
		"collector check":    slices.Concat(all("check")),
		"collector accept":   newHostileCases(false, "accept", "accept nobody"),
		"collector policy":   newHostileCases(false, "policy", "policy --format terraform"),
		"collector kinds":    newHostileCases(false, "kinds"),
		"collector schema":   newHostileCases(false, "schema"),
		"collector list": slices.Concat(
			all("list"),
			all("list instance --columns id,name,tags,tags.Name,extra_tags.team,data"),
		),
		"collector find":    all("find ID"),
		"collector query":   newHostileCases(false, "query", "query nothing"),
		"collector get":     all("get ID"),
		"collector history": newHostileCases(true, "history ID -o json", "history ID -o jsonl"),
		"collector diff": newHostileCases(
			true, "diff --from 1d", "diff --from 1d -o json", "diff --from 1d -o jsonl", "diff --from 1d -o csv",
		),
		"collector changes":               all("changes --since 1d"),
		"collector status":                all("status"),
		"collector runs":                  slices.Concat(all("runs"), all("runs "+hostileRun)),
		"collector sql":                   {},
		"collector db":                    {},
		"collector db check":              newHostileCases(false, "db check"),
		"collector db vacuum":             newHostileCases(false, "db vacuum"),
		"collector db export":             newHostileCases(true, "db export", "db export -o json", "db export -o csv"),
		"collector login":                 newHostileCases(false, "login nobody", "login legacy"),
		"collector start":                 newHostileCases(false, "start nobody --server http://127.0.0.1:1"),
		"collector cancel":                newHostileCases(false, "cancel nobody --server http://127.0.0.1:1"),
		"collector pause":                 newHostileCases(false, "pause nobody --server http://127.0.0.1:1"),
		"collector resume":                newHostileCases(false, "resume nobody --server http://127.0.0.1:1"),
		"collector acknowledge":           newHostileCases(false, "acknowledge a --reason x --server http://127.0.0.1:1"),
		"collector explain":               newHostileCases(false, "explain nobody"), // and TestHostileConfig
		"collector init":                  newHostileCases(false, "init"),
		"collector import":                {},
		"collector import aws-config":     newHostileCases(false, "import aws-config FILE"),
		"collector import cloudquery":     newHostileCases(false, "import cloudquery FILE"),
		"collector import ec2-sd":         newHostileCases(false, "import ec2-sd FILE"),
		"collector import guance":         newHostileCases(false, "import guance FILE"),
		"collector import yace":           newHostileCases(false, "import yace FILE"),
		"collector db backup":             newHostileCases(false, "db backup FILE", "db backup FILE.copy"),
		"collector db restore":            newHostileCases(false, "db restore FILE"),
		"collector completion":            {},
		"collector completion bash":       newHostileCases(false, "completion bash"),
		"collector completion fish":       newHostileCases(false, "completion fish"),
		"collector completion powershell": newHostileCases(false, "completion powershell"),
		"collector completion zsh":        newHostileCases(false, "completion zsh"),
		"collector healthcheck":           newHostileCases(false, "healthcheck --listen 127.0.0.1:1"),
		"collector version":               newHostileCases(false, "version"),
		"collector manual":                newHostileCases(false, "manual"),
	}
}

// Every command is run with hostile text; a new command fails here until it has a case. People never see control
// characters; programs get the exact text.
func TestHostileNames(t *testing.T) {
	h := newHostileScene(t)
	known := hostileCases()
	out, errs := h.run("run", "--once") // fills the store
	requireHarmless(t, "run --once", out)
	requireHarmless(t, "run --once", errs)
	if !strings.Contains(errs, escapedHostile) {
		t.Fatalf("the store has no hostile text:\n%s", errs)
	}
	ids, _ := h.run("list", "instance", "--columns", "id", "-o", "csv")
	h.id = strings.Split(ids, "\n")[1]
	h.storeRun()
	h.file = filepath.Join(h.dir, "file")
	write(t, h.file, fmt.Sprintf("[profile %s]\nregion = %[1]s\njobs: [%[1]q]\n", hostile))
	known["collector sql"] = nil
	for _, format := range []string{"table", "json", "jsonl", "csv"} {
		known["collector sql"] = append(
			known["collector sql"],
			hostileCase{
				[]string{
					"sql",
					`SELECT id, name, tags, extra_tags, 'x' || char(10) || char(27) AS "c` + hostile + `" FROM resources`,
					"-o", format,
				},
				true,
			},
			hostileCase{[]string{"sql", "SELECT * FROM targets", "-o", format}, true},
		)
	}
	seen := map[string]bool{}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		seen[path] = true
		command := strings.Fields(path)[1:]
		list, ok := known[path]
		if !ok {
			t.Errorf("%s has no case with hostile text: add it to hostileCases", path)
		}
		for _, args := range [][]string{
			{"--no-such-" + hostile}, {"no-such-" + hostile + "\x1b\xff", "a", "b"}, {"--log-level", hostile}, {"-o", hostile},
			{"--help"},
		} {
			if args[0] == "--log-level" && path != "collector run" {
				continue
			}
			stdout, stderr := h.run(append(slices.Clone(command), args...)...)
			requireHarmless(t, fmt.Sprintf("%s %q", path, args), stdout)
			requireHarmless(t, fmt.Sprintf("%s %q", path, args), stderr)
		}
		for _, c := range list {
			h.check(t, c)
		}
		for _, sub := range cmd.Commands() {
			if !sub.IsAdditionalHelpTopicCommand() {
				walk(sub)
			}
		}
	}
	walk(newCLI("", io.Discard, io.Discard).root(nil))
	for path := range known {
		if !seen[path] {
			t.Errorf("%s is no command", path)
		}
	}
}

func (h *hostileScene) check(t *testing.T, c hostileCase) {
	t.Helper()
	what := strings.Join(c.args, " ")
	args := slices.Clone(c.args)
	for i := range args {
		args[i] = strings.NewReplacer("ID", h.id, "FILE", h.file).Replace(args[i])
	}
	if args[0] == "sql" {
		args = c.args
	}
	stdout, stderr := h.run(args...)
	requireHarmless(t, what, stderr)
	format := "table"
	if i := slices.Index(args, "-o"); i >= 0 {
		format = args[i+1]
	} else if slices.Contains(args, "export") {
		format = "jsonl"
	}
	switch {
	case slices.Contains([]string{"policy", "schema"}, args[0]): // documents without text from elsewhere
	case format == "table":
		requireHarmless(t, what, stdout)
		if c.seen && !strings.Contains(stdout+stderr, escapedHostile) {
			t.Errorf("%s does not show the text:\n%s\n%s", what, stdout, stderr)
		}
	default:
		if c.seen && !strings.Contains(decodeOutput(t, what, format, stdout), hostile) {
			t.Errorf("%s does not hold the exact text:\n%.3000q", what, stdout)
		}
	}
}

// decodeOutput returns all texts of an output for programs.
func decodeOutput(t *testing.T, what, format, text string) string {
	t.Helper()
	var all strings.Builder
	if format == "csv" {
		rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		for _, r := range rows {
			for _, cell := range r { // encoding/csv reads \r\n as \n
				all.WriteString(strings.ReplaceAll(cell, "\x7f\nhint", "\x7f\r\nhint") + "\x00")
			}
		}
	}
	var texts func(v any)
	texts = func(v any) {
		switch v := v.(type) {
		case string:
			all.WriteString(v + "\x00")
		case []any:
			for _, e := range v {
				texts(e)
			}
		case map[string]any:
			for k, e := range v {
				all.WriteString(k + "\x00")
				texts(e)
			}
		}
	}
	if format != "csv" {
		for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
			var v any
			if err := d.Decode(&v); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			texts(v)
		}
	}
	return all.String()
}

// JSON on a terminal has the same meaning, without control characters.
func TestHostileJSONOnATerminal(t *testing.T) {
	var out bytes.Buffer
	w := printable.NewJSONWriter(&out)
	if err := printer.JSON(w, []any{map[string]string{"name": hostile + "\x1b[2J"}}); err != nil {
		t.Fatal(err)
	}
	requireHarmless(t, "JSON", out.String())
	if got := decodeOutput(t, "JSON", "json", out.String()); !strings.Contains(got, hostile+"\x1b[2J") {
		t.Errorf("%q", got)
	}
}

// Errors and warnings about a configuration do not begin new lines with its text.
func TestHostileConfig(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir) // the path of an output is the hostile name
	name := strconv.QuoteToASCII(hostile)
	for what, text := range map[string]string{
		"unknown key": fmt.Sprintf("accounts: [{name: prod}]\n%s: 1\n", name),
		"bad values": fmt.Sprintf(
			"accounts: [{name: %[1]s, ak_id: %[1]s, partition: %[1]s, "+
				"collector_configs: {regions: [%[1]s], kinds: [%[1]s]}}]\nschedule: %[1]s\n",
			name,
		),
		"profile": fmt.Sprintf(
			"accounts: [{name: prod, profile: %s}]\ndata_dir: %s\noutputs: [{type: file, path: %[1]s}]\n", name, dir,
		),
		"hosts":   fmt.Sprintf("accounts: [{name: prod}]\nweb: {hosts: [%s]}\n", name),
		"no YAML": "accounts: [\u009b31m\n\u202e: {",
	} {
		h := &hostileScene{t: t, dir: dir, config: filepath.Join(dir, "bad\u202e.yaml")}
		write(t, h.config, text)
		for _, args := range [][]string{{"validate"}, {"validate", "--strict"}, {"run", "--once"}, {"check"}, {"list"}} {
			out, errs := h.run(args...)
			requireHarmless(t, fmt.Sprint(what, args), out)
			requireHarmless(t, fmt.Sprint(what, args), errs)
		}
	}
}

func TestHostileDemo(t *testing.T) {
	scene := awsfake.Demo(awsfake.Options{Seed: 3})
	scene.Accounts[0].Name += hostile
	scene.Accounts[0].Problem = "it is " + hostile
	var out bytes.Buffer
	c := newCLI("", printable.NewWriter(&out), printable.NewWriter(&out))
	d := &demo{
		cli: c, scene: scene, receiver: &receiver{}, dir: "/tmp/" + hostile, board: board.New(),
		onPurpose: map[string]string{scene.Accounts[0].Name: scene.Accounts[0].Problem},
	}
	d.printIntroduction()
	requireHarmless(t, "demo", out.String())
	if !strings.Contains(out.String(), escapedHostile) {
		t.Errorf("it is not shown:\n%s", out.String())
	}

	name := scene.Accounts[0].Name
	d.board.Observe(runner.Configured{Kinds: map[string][]string{name: {"ec2_volume"}}})
	d.board.Observe(runner.RunStarted{Account: name, Run: "run-1", Tick: time.Time{}})
	d.board.Observe(
		runner.RegionsPlanned{Account: name, Regions: []string{"us-east-1"}, Warning: errors.New("warning " + hostile)},
	)
	d.board.Observe(runner.SignedIn{Account: name, Identity: record.Identity{AccountID: "2" + hostile}})
	d.board.Observe(runner.TargetEnded{Outcome: record.Outcome{
		Target: record.Target{Account: name, Region: "us-east-1", Kind: "ec2_volume"}, Run: "run-1",
		State: record.Denied, Reason: record.AccessDenied, Error: hostile, Hint: "hint " + hostile,
	}})
	var table strings.Builder
	for _, line := range d.frame(t.Context(), time.Now(), 2000, 100) {
		table.WriteString(line.String() + "\n")
	}
	requireHarmless(t, "demo's table", table.String())
	if n := strings.Count(table.String(), escapedHostile); n < 8 { // log, files, row, problem twice, hint, warning twice
		t.Errorf("it is shown %d times:\n%s", n, table.String())
	}
}

// The live view sends its own sequences, and escapes the texts that it shows.
func TestHostileLive(t *testing.T) {
	board := board.New()
	name := "prod" + hostile
	board.Observe(runner.Configured{Kinds: map[string][]string{name: {"ec2_volume"}}})
	board.Observe(runner.RunStarted{Account: name, Run: "run-1", Tick: time.Time{}})
	board.Observe(runner.SignedIn{Account: name, Identity: record.Identity{AccountID: "2" + hostile}})
	board.Observe(
		runner.TargetStarted{
			Target: record.Target{Account: name, Region: "us-east-1" + hostile, Kind: "ec2_volume"},
			Run:    "run-1",
		},
	)
	var lines []string
	for _, line := range live.Progress(board, time.Now(), 10) {
		lines = append(lines, line.String())
	}
	view := strings.Join(lines, "\n")
	requireHarmless(t, "live", view)
	if strings.Count(view, escapedHostile) < 3 {
		t.Errorf("it is not shown: %q", view)
	}
}

// Log records are escaped, on a terminal and in a file.
func TestHostileLog(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		c := &cli{logLevel: "info", logFormat: format}
		log, err := c.logger(printable.NewWriter(&out))
		if err != nil {
			t.Fatal(err)
		}
		log.With("account"+hostile, hostile+"\x1b[2J").
			Warn("targets failed"+hostile, "error", fmt.Errorf("denied: %s", hostile), "del", "\x7f", "raw", "\xff")
		requireHarmless(t, format, out.String())
		if strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: %q", format, out.String())
		}
		if format == "json" && !strings.Contains(decodeOutput(t, "log", "json", out.String()), hostile+"\x1b[2J") {
			t.Errorf("the log in JSON is not exact: %q", out.String())
		}
	}
}
