package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/outputs/file"
)

// The demo's configuration causes no warning, and its outputs keep their files small.
func TestDemoConfiguration(t *testing.T) {
	scene := awsfake.Demo(awsfake.Options{Seed: 1})
	d := &demo{
		cli:   newCLI("", io.Discard, io.Discard),
		scene: scene, receiver: &receiver{addr: "127.0.0.1:1"},
		options: demoOptions{every: time.Minute}, dir: filepath.Join(t.TempDir(), `a "b" \c`), pageURL: "http://127.0.0.1:2",
	}
	if err := d.makeDir(); err != nil {
		t.Fatal(err)
	}
	loaded, err := configOf(d.path("config.yaml")).Load(t.Context())
	if err != nil || len(loaded.Warnings) > 0 {
		t.Fatalf("%v, warnings %q", err, loaded.Warnings)
	}
	files, total := 0, int64(0)
	for _, o := range loaded.File.Outputs {
		f, ok := o.Options.(*file.Options)
		if !ok {
			continue
		}
		if files++; f.Rotate.MaxBytes == 0 || f.Rotate.Keep == 0 {
			t.Errorf("%s grows without a limit", f.Path)
		}
		total += int64(f.Rotate.MaxBytes) * int64(1+f.Rotate.Keep)
	}
	if files != 2 || total > 16<<20 {
		t.Errorf("%d files of at most %d bytes", files, total)
	}
	for _, o := range loaded.File.Accounts {
		if slices.Contains([]string{"payments", "audit"}, o.Name) && o.SerialNumber == "" {
			t.Errorf("%s uses no MFA", o.Name)
		}
	}
}

// The demo takes another port if the default one is in use, but not if a person chose it.
func TestDemoListener(t *testing.T) {
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	o := demoOptions{listen: used.Addr().String()}
	if l, err := o.openListener(t.Context()); err == nil {
		l.Close()
		t.Error("it listens at an address that is in use")
	}
	o.anyPort = true
	l, err := o.openListener(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

// Without a terminal, the demo prints lines: an introduction, the log without a warning about the configuration, and
// one line at its end. It removes its directory, or says what is there.
func TestDemoPrintsLines(t *testing.T) {
	for name, keep := range map[string]bool{"temporary": false, "a directory": true} {
		t.Run(name, func(t *testing.T) {
			temporary, kept := t.TempDir(), filepath.Join(t.TempDir(), "demo")
			t.Setenv("TMPDIR", temporary)
			args := []string{"demo", "--for", "3s", "--every", "30s", "--latency", "1ms", "--listen", "127.0.0.1:0"}
			if keep {
				args = append(args, "--dir", kept)
			}
			var stdout, stderr bytes.Buffer
			if err := run(t.Context(), args, func(string) string { return "" }, &stdout, &stderr); err != nil {
				t.Fatal(err)
			}
			text := stderr.String()
			lines := strings.Split(strings.TrimSpace(text), "\n")
			end := regexp.MustCompile(
				`^The demo ran for (\d+m )?\d+s: 1[04] accounts, \d+ resources, \d problems\. Records and database `)
			if last := lines[len(lines)-1]; !end.MatchString(last) || strings.Count(text, "The demo ran") != 1 {
				t.Errorf("it ends with %q", last)
			}
			if !strings.HasPrefix(text, "A fake AWS listens at http://127.0.0.1:") || !strings.Contains(text, "  web page ") {
				t.Errorf("it begins with %q", lines[0])
			}
			checkDemoLines(t, text)
			if strings.ContainsAny(text, "\x1b") || stdout.Len() > 0 {
				t.Errorf("controls or data: %q", stdout.String())
			}
			left, err := os.ReadDir(temporary)
			if err != nil || len(left) > 0 {
				t.Errorf("left in the temporary directory: %v, %v", left, err)
			}
			for _, file := range []string{"config.yaml", "records.jsonl", "changes.jsonl", "data/collector.db"} {
				if _, err := os.Stat(filepath.Join(kept, file)); keep == (err != nil) {
					t.Errorf("%s: %v", file, err)
				}
			}
		})
	}
}

// checkDemoLines finds lines that the demo must not print when it prints lines.
func checkDemoLines(t *testing.T, text string) {
	t.Helper()
	unwanted := []string{"configuration warning", "ACCOUNT "}
	if !strings.Contains(text, "drain_timeout of 25s is over") { // a slow machine with the race detector needs longer
		unwanted = append(unwanted, "reason=drain", "reason=interrupted")
	}
	for _, no := range unwanted {
		if strings.Contains(text, no) {
			t.Errorf("it prints %q:\n%s", no, text)
		}
	}
}
