package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/config"
)

// Every command of docs/queries.md works on both databases. All return rows, except those that need a store older than
// a day.
func TestQueries(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { testQueries(t, "{type: sqlite}") })
	t.Run("postgres", func(t *testing.T) {
		testQueries(t, fmt.Sprintf("{type: postgres, dsn: %q, schema: queries}", cluster.Server(t).DSN()))
	})
}

func testQueries(t *testing.T, store string) {
	t.Helper()
	doc, err := os.ReadFile("../../docs/queries.md")
	if err != nil {
		t.Fatal(err)
	}
	scene, s := startScene(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	k := scene.Accounts[0].Key
	write(t, config, fmt.Sprintf(`
data_dir: %[1]s/data
collector_configs:
  regions: ["*"]
  kinds: [ec2_instance, ec2_volume, ec2_vpc, ec2_subnet, ec2_security_group, ec2_network_interface, ec2_address]
accounts: [{name: prod, ak_id: %[2]s, ak_secret: "%[3]s"}]
outputs: [{type: file, path: %[1]s/records.jsonl}]
store: %[4]s
`, dir, k.ID, k.Secret, store))
	env := []string{"AWS_ENDPOINT_URL=" + s.URL, "AWS_EC2_METADATA_DISABLED=true"}
	if _, stderr, code := runProcess(t, env, "run", "--once", "--config", config); code != exitDone {
		t.Fatalf("exit %d\n%s", code, stderr)
	}
	ask := func(args ...string) (string, error) {
		var stdout, stderr bytes.Buffer
		err := run(t.Context(), append(args, "--config", config), func(string) string { return "" }, &stdout, &stderr)
		return stdout.String(), err
	}
	storeFailures(t, config)
	first := func(args ...string) string {
		out, err := ask(append(args, "-o", "csv")...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if err != nil || len(lines) < 2 {
			t.Fatalf("%v: %v %s", args, err, out)
		}
		return lines[1]
	}
	named := strings.NewReplacer(
		"i-0123456789abcdef0",
		first("list", "instance", "--columns", "id"),
		"vpc-0123456789abcdef0",
		first("list", "vpc", "--columns", "id"),
		"203.0.113.10",
		first("list", "instance", "--where", "data.PublicIpAddress", "--columns", "data.PublicIpAddress"),
		// Some examples use resources that the simulated fleet lacks; they run with others.
		"22 BETWEEN",
		"443 BETWEEN",
		"not tags.team",
		"not tags.keep",
		"volume --where state=available",
		"volume --where state=in-use",
		"not data.AssociationId",
		"data.AssociationId",
	)
	empty := map[string]string{
		"state_since older than 30d": "nothing has been remembered for so long",
		"--at ":                      "nothing was remembered then",
		"ended IS NOT":               "nothing is gone yet",
		"FROM targets":               "no listing fails",
		"--problems":                 "nothing fails",
		"LaunchTime>7d":              "the scene's instances are older",
		"--file ":                    "what it finds is in the file",
	}
	t.Chdir(dir)
	n := 0
	for line := range strings.Lines(string(doc)) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "collector ")
		if !ok {
			continue
		}
		n++
		out, err := ask(splitWords(t, named.Replace(command))...)
		if err != nil {
			t.Errorf("%s: %v", command, err)
			continue
		}
		why := ""
		for part, reason := range empty {
			if strings.Contains(command, part) {
				why = reason
			}
		}
		rows := strings.Count(out, "\n")
		if strings.Contains(command, "jsonl") {
			rows++ // it has no header
		}
		if why == "" && rows < 2 {
			t.Errorf("%s: finds nothing:\n%s", command, out)
		}
	}
	for _, name := range []string{"inventory.parquet", "history.parquet"} {
		if st, err := os.Stat(name); err != nil || st.Size() < 10_000 {
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
	if n < 20 {
		t.Errorf("the page has %d commands", n)
	}
}

// storeFailures stores a failed run and a missed one, which no run of the scene is.
func storeFailures(t *testing.T, path string) {
	t.Helper()
	l, err := store.Locate(t.Context(), configOf(path))
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), &config.File{Store: l.Store, DataDir: l.DataDir}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range sampleRuns(time.Now())[1:] {
		err = errors.Join(err, s.Driver.EndRun(t.Context(), r))
	}
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
}

// printsTheSame tests that each question prints the same with --server as from the store, in every format. Nothing runs
// meanwhile, but ages grow, and the server keeps the coverage for a second: so a command may need further tries.
func (d *daemon) printsTheSame(env map[string]string) {
	d.t.Helper()
	local := func(args ...string) string {
		var stdout, stderr bytes.Buffer
		err := run(d.t.Context(), append(args, "--config", d.config), func(string) string { return "" }, &stdout, &stderr)
		code := exitCode(err, &stderr)
		return fmt.Sprint(code, "\n", stdout.String(), stderr.String())
	}
	lastLine := func(text string) string { return text[strings.LastIndexByte(strings.TrimSpace(text), '\n')+1:] }
	id := strings.TrimSpace(lastLine(local("list", "instance", "-q")))
	ran, _, _ := strings.Cut(lastLine(local("runs", "--status", "success", "-o", "csv")), ",")
	for command, formats := range map[string]string{
		"list": "table wide json jsonl csv yaml", "list instance --where state=running --sort -id --limit 3": "table json",
		"list --columns id,data.State,tags.Name": "jsonl csv", "list " + id: "yaml", "list --account nobody": "table json",
		"list --at 1000d": "json", "find i-": "table csv", "get " + id: "table json csv", "get i-none": "table jsonl",
		"history " + id: "table json jsonl csv", "history i-none": "json", "diff --from 1h": "table json jsonl csv",
		"changes --since 1h": "table json jsonl csv", "changes --kind ec2_image": "table", "runs": "table json jsonl csv",
		"runs --limit 1": "csv", "runs " + ran: "table json csv", "runs none": "table", "status": "table json jsonl csv",
		"status --problems": "table", "status --region mars-1": "json",
	} {
		for format := range strings.FieldsSeq(formats) {
			args := append(strings.Fields(command), "-o", format)
			var want, got string
			for until := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) {
				want = local(args...)
				output, code := d.tell(env, args...)
				if got = fmt.Sprint(code, "\n", output); got == want || time.Now().After(until) {
					break
				}
			}
			if got != want || len(want) < 4 {
				d.t.Errorf("%s -o %s: the store:\n%s\nthe server:\n%s", command, format, want, got)
			}
		}
	}
}

// splitWords splits a command line as a shell does, as far as docs/queries.md needs it.
func splitWords(t *testing.T, s string) (out []string) {
	t.Helper()
	var word strings.Builder
	var quote rune
	in := false
	for _, c := range s {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, in = c, true
		case quote == 0 && c == ' ':
			if in {
				out = append(out, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteRune(c)
			in = true
		}
	}
	if quote != 0 {
		t.Fatalf("%s: a quote has no end", s)
	}
	return append(out, word.String())
}
