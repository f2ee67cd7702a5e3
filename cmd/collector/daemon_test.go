package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v2"

	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/outputs/all"
)

// daemon is the program as a process, with a schedule of one second.
type daemon struct {
	t      *testing.T
	cmd    *exec.Cmd
	url    string
	config string // path
	done   chan struct{}

	mu     sync.Mutex
	output bytes.Buffer
}

func daemonConfig(dir string, scene *awsfake.Simulation, more string) string {
	k := scene.Accounts[0].Key
	return fmt.Sprintf(`
schedule: "@every 1s"
jitter: 0s
drain_timeout: 2s
data_dir: %[1]s/data
collector_configs: {regions: [us-east-1]}
accounts:
  - {name: prod, ak_id: %[2]s, ak_secret: "%[3]s"}
%[4]s
outputs: [{type: file, path: %[1]s/records.jsonl}]
web: {listen: "127.0.0.1:0"}
`, dir, k.ID, k.Secret, more)
}

func startDaemon(t *testing.T, config, endpoint string, env ...string) *daemon {
	t.Helper()
	return startDaemonWith(t, config, endpoint, []string{"run", "--now"}, env...)
}

func startDaemonWith(t *testing.T, config, endpoint string, args []string, env ...string) *daemon {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	d := &daemon{t: t, config: config, done: make(chan struct{})}
	d.cmd = exec.CommandContext(ctx, exe, append(args, "--config", config)...)
	d.cmd.Env = append(
		env, runAsProgram+"=1", "AWS_ENDPOINT_URL="+endpoint, "AWS_EC2_METADATA_DISABLED=true", "HOME="+t.TempDir(),
	)
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address := make(chan string, 1)
	go func() {
		defer close(d.done)
		listening := regexp.MustCompile(`msg="Listening on" address=(\S+)`)
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			d.mu.Lock()
			d.output.WriteString(lines.Text() + "\n")
			d.mu.Unlock()
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				address <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-d.done
		_ = d.cmd.Wait()
		if t.Failed() {
			t.Logf("the log of the daemon:\n%s", d.log())
		}
	})
	select {
	case a := <-address:
		d.url = "http://" + a
	case <-d.done:
		t.Fatalf("the daemon ended:\n%s", d.log())
	case <-time.After(patience):
		t.Fatal("the daemon does not listen")
	}
	return d
}

func (d *daemon) log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.output.String()
}

// patience is how long a slow machine may need for what a test waits for, beside another test.
const patience = 2 * time.Minute

// waitUntil waits for a condition.
func (d *daemon) waitUntil(what string, is func() bool) {
	d.t.Helper()
	for deadline := time.Now().Add(patience); !is(); {
		if time.Now().After(deadline) {
			d.t.Fatalf("timed out waiting for: %s", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (d *daemon) logMatches(pattern string) func() bool {
	re := regexp.MustCompile(pattern)
	return func() bool { return re.MatchString(d.log()) }
}

func (d *daemon) get(path string) string {
	d.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := client.Get(d.url + path)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

func (d *daemon) hasMetric(line string) func() bool {
	return func() bool { return strings.Contains("\n"+d.get("/metrics"), "\n"+line+"\n") }
}

func (d *daemon) signal(s os.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) waitExit() int {
	d.t.Helper()
	select {
	case <-d.done:
	case <-time.After(patience):
		d.t.Fatal("the daemon does not end")
	}
	_ = d.cmd.Wait()
	return d.cmd.ProcessState.ExitCode()
}

func startScene(t *testing.T) (*awsfake.Simulation, *awsfake.Server) {
	t.Helper()
	scene := awsfake.Demo(awsfake.Options{Seed: 3})
	s, err := scene.AWS.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return scene, s
}

func noEnvironment(string) string { return "" }

// configOf is a configuration file in an empty environment.
func configOf(path string) *configfile.Source {
	return &configfile.Source{Path: path, Getenv: noEnvironment, Environ: func() []string { return nil }}
}

// newCLI returns the program's parts that commands share, in an empty environment.
func newCLI(config string, stdout, stderr io.Writer) *cli {
	return &cli{config: configOf(config), stdout: stdout, stderr: stderr, logLevel: "info", logFormat: "text"}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// An invalid file changes nothing and shows in the metric. A valid one is loaded, whether it is written in place,
// swapped as Kubernetes does, announced by SIGHUP or requested over HTTP. SIGTERM ends the daemon with exit code 0.
func TestReload(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	write(t, config, daemonConfig(dir, scene, ""))
	d := startDaemon(t, config, s.URL)
	d.waitUntil("two runs", d.hasMetric(`collector_runs_total{account="prod",status="success"} 2`))
	if got := d.get("/-/ready"); !strings.Contains(got, "ready") {
		t.Errorf("/-/ready: %q", got)
	}

	write(t, config, daemonConfig(dir, scene, "  - {name: prod}"))
	d.waitUntil("the refusal", d.hasMetric("collector_config_last_reload_successful 0"))
	if !strings.Contains(d.log(), "two accounts") && !strings.Contains(d.log(), "prod") {
		t.Error("the log does not have the error")
	}
	runs := strings.Count(d.log(), "run ended")
	d.waitUntil("more runs of the old configuration", func() bool { return strings.Count(d.log(), "run ended") > runs+1 })

	k := scene.Accounts[7].Key
	china := fmt.Sprintf(
		"  - {name: china, ak_id: %s, ak_secret: %q, collector_configs: {regions: [cn-north-1]}}", k.ID, k.Secret,
	)
	write(t, config, daemonConfig(dir, scene, china))
	d.waitUntil(
		"the new account's first run",
		d.hasMetric(`collector_targets{account="china",region="cn-north-1",state="ok"} 1`),
	)
	d.waitUntil("the reload to show", d.hasMetric("collector_config_last_reload_successful 1"))

	write(t, config, daemonConfig(dir, scene, ""))
	d.waitUntil("its series to go", func() bool { return !strings.Contains(d.get("/metrics"), `account="china"`) })

	reloads := strings.Count(d.log(), `msg="configuration reloaded"`)
	d.signal(syscall.SIGHUP)
	d.waitUntil("SIGHUP", func() bool { return strings.Count(d.log(), `msg="configuration reloaded"`) == reloads+1 })
	resp, err := http.Post(d.url+"/-/reload", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("POST /-/reload: %s", resp.Status)
	}
	d.waitUntil("POST", func() bool { return strings.Count(d.log(), `msg="configuration reloaded"`) == reloads+2 })
	http.DefaultClient.CloseIdleConnections()

	d.signal(syscall.SIGTERM)
	if code := d.waitExit(); code != exitDone {
		t.Errorf("exit %d after SIGTERM", code)
	}
}

// Another file of the directory that is written all the time does not delay the reload.
func TestReloadIgnoresOtherFiles(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	write(t, config, daemonConfig(dir, scene, ""))
	d := startDaemon(t, config, s.URL)
	d.waitUntil("a run", d.logMatches("run ended"))

	var busy sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer busy.Wait()
	defer cancel()
	busy.Go(func() {
		for ctx.Err() == nil {
			_ = os.WriteFile(filepath.Join(dir, "busy"), []byte("x"), 0o600)
			<-time.After(30 * time.Millisecond)
		}
	})
	k := scene.Accounts[0].Key
	write(t, config, daemonConfig(dir, scene, fmt.Sprintf(`  - {name: more, ak_id: %s, ak_secret: "%s"}`, k.ID, k.Secret)))
	d.waitUntil("the reload", d.logMatches(`msg="configuration reloaded" .*accounts=2`))
}

// Kubernetes mounts a ConfigMap as links: config.yaml → ..data/config.yaml, ..data → ..1; an update swaps ..data.
func TestReloadBySymlinkSwap(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	dir := t.TempDir()
	for i, more := range []string{"", "  - {name: second, profile: nobody}"} {
		v := filepath.Join(dir, fmt.Sprintf("..%d", i))
		if err := os.Mkdir(v, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(v, "config.yaml"), daemonConfig(dir, scene, more))
	}
	link := func(to, name string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Skipf("SKIPPED, NOT PASSED: no symbolic links here: %v", err)
		}
	}
	link("..0", "..data")
	link(filepath.Join("..data", "config.yaml"), "config.yaml")
	d := startDaemon(t, filepath.Join(dir, "config.yaml"), s.URL)
	link("..1", "..tmp")
	if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	d.waitUntil("the second account", d.logMatches(`run ended" account=second`))
}

// At SIGTERM, running targets may finish and no new run starts. A second signal ends the program at once. Two signals
// at the same time, as timeout(1) sends, count as one.
func TestStop(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	for _, c := range []struct {
		name  string
		twice bool
		drain string
		code  int
	}{{"once", false, "2s", exitDone}, {"twice", true, "1h", exitFailed}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			config := filepath.Join(dir, "config.yaml")
			write(t, config, strings.Replace(daemonConfig(dir, scene, ""), "drain_timeout: 2s", "drain_timeout: "+c.drain, 1))
			d := startDaemon(t, config, s.URL)
			d.waitUntil("a run", d.logMatches("run ended"))
			remove := scene.AWS.Inject(awsfake.Fault{Kind: awsfake.Hang, Action: "DescribeInstances"})
			defer remove()
			hanging := func() bool { return scene.AWS.Stats().InFlight > 0 }
			d.waitUntil("a listing that hangs", hanging)
			d.signal(syscall.SIGTERM)
			d.signal(syscall.SIGINT)
			for ended := !c.twice; !ended; {
				// Until the program counts it as a second signal; the program may have ended already.
				_ = d.cmd.Process.Signal(syscall.SIGINT)
				select {
				case <-d.done:
					ended = true
				case <-time.After(20 * time.Millisecond):
				}
			}
			if code := d.waitExit(); code != c.code {
				t.Errorf("exit %d, want %d", code, c.code)
			}
			if !c.twice && !d.logMatches(`targets failed.*prod`)() {
				t.Error("the canceled target was not logged")
			}
		})
	}
}

// This binary accepts the example configuration.
func TestExampleConfigLoads(t *testing.T) {
	text := mustRead(t, filepath.Join("..", "..", "config.example.yaml"))
	f, err := config.Parse([]byte(text), "config.example.yaml", configfile.KnownNames())
	if err != nil {
		t.Fatal(err)
	}
	env := func(name string) (string, bool) {
		switch {
		case strings.HasSuffix(name, "_ID"):
			return "AKIAIOSFODNN7EXAMPLE", true
		case strings.HasSuffix(name, "_CODE"):
			return "012345", true
		case strings.HasSuffix(name, "_SEED"):
			return "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", true // from the test vectors of RFC 6238
		case name == "SESSION_KEY":
			return strings.Repeat("00", 32), true
		}
		return "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", true
	}
	file := func(path string) ([]byte, error) {
		if strings.HasSuffix(path, ".json") {
			return []byte(`{"Version": "2012-10-17", "Statement": []}`), nil
		}
		return []byte("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"), nil
	}
	if err := f.Resolve(env, file); err != nil {
		t.Fatal(err)
	}
	for _, typ := range all.Types {
		if !slices.ContainsFunc(f.Outputs, func(o config.Output) bool { return o.Type == typ.Name }) {
			t.Errorf("it has no output of type %s", typ.Name)
		}
	}

	// An editor with the schema of this binary agrees.
	schema, err := config.Schema(configfile.KnownNames())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("config.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	var example any
	if err := yaml.Unmarshal([]byte(text), &example); err != nil {
		t.Fatal(err)
	}
	if err := s.Validate(withStringKeys(example)); err != nil {
		t.Error(err)
	}
}

// withStringKeys converts YAML maps for JSON.
func withStringKeys(v any) any {
	switch v := v.(type) {
	case map[any]any:
		m := map[string]any{}
		for k := range v {
			m[fmt.Sprint(k)] = withStringKeys(v[k])
		}
		return m
	case []any:
		for i := range v {
			v[i] = withStringKeys(v[i])
		}
	}
	return v
}

// A secret that changes in the file of a ${file:} reference is reloaded without a signal. SIGHUP during a drain does
// not end it.
func TestReloadOnSecretFileChange(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	dir, secrets := t.TempDir(), t.TempDir()
	secret := filepath.Join(secrets, "prod_ak")
	write(t, secret, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\n")
	text := strings.Replace(
		daemonConfig(dir, scene, ""), strconv.Quote(scene.Accounts[0].Key.Secret),
		strconv.Quote("${file:"+secret+"}"), 1,
	)
	config := filepath.Join(dir, "config.yaml")
	write(t, config, text)
	d := startDaemon(t, config, s.URL)
	d.waitUntil("the wrong secret to fail", d.logMatches(`reason=signature`))
	write(t, secret, scene.Accounts[0].Key.Secret+"\n")
	d.waitUntil(
		"the right one to be used",
		d.hasMetric(`collector_targets{account="prod",region="us-east-1",state="ok"} 1`),
	)

	remove := scene.AWS.Inject(awsfake.Fault{Kind: awsfake.Hang, Action: "DescribeInstances"})
	defer remove()
	d.waitUntil("a listing that hangs", func() bool { return scene.AWS.Stats().InFlight > 0 })
	d.signal(syscall.SIGTERM)
	d.signal(syscall.SIGHUP)
	if code := d.waitExit(); code != exitDone {
		t.Errorf("exit %d", code)
	}
}
