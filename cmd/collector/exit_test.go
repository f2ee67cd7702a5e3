package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs/deliver"
)

// Scripts rely on the exit codes: 0 done, 1 nothing collected, 2 invalid configuration, 3 some targets failed that
// expect_denied does not name.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	block := func(i int, more string) string {
		a := scene.Accounts[i]
		return fmt.Sprintf("  - {name: %s, ak_id: %s, ak_secret: %q%s}\n", a.Name, a.Key.ID, a.Key.Secret, more)
	}
	const denied = ", collector_configs: {regions: [us-east-1, eu-west-1]"
	prod, sandbox, legacy := block(0, ""), block(8, denied+"}"), block(9, "")
	meant := block(8, denied+`, expect_denied: [{region: "eu-*"}]}`)
	for _, c := range []struct {
		name, accounts string
		code           int
	}{
		{"all went well", prod, exitDone},
		{"one account cannot be opened", prod + legacy, exitPartial},
		{"a region is denied", prod + sandbox, exitPartial},
		{"a region is denied on purpose", prod + meant, exitDone},
		{"nothing was collected", legacy, exitFailed},
		{"a bad file", "  - {nmae: prod}\n", exitUsage},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			config := filepath.Join(dir, "config.yaml")
			write(
				t, config,
				fmt.Sprintf("data_dir: %s/data\ncollector_configs: {regions: [us-east-1]}\naccounts:\n%s", dir, c.accounts),
			)
			env := []string{"AWS_ENDPOINT_URL=" + s.URL, "AWS_EC2_METADATA_DISABLED=true"}
			if _, stderr, code := runProcess(t, env, "run", "--once", "--config", config); code != c.code {
				t.Errorf("exit %d, want %d\n%s", code, c.code, stderr)
			}
		})
	}
}

// The longest stop must fit into the container's grace period. An abandoned listing takes 3 s more.
func TestStopFitsContainerGracePeriod(t *testing.T) {
	compose, err := os.ReadFile("../../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\s+stop_grace_period: (\S+)$`).FindSubmatch(compose)
	if m == nil {
		t.Fatal("compose.yaml has no stop_grace_period")
	}
	grace, err := time.ParseDuration(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	f, err := config.Parse([]byte("accounts: [{name: a}]"), "config.yaml", configfile.KnownNames())
	if err != nil {
		t.Fatal(err)
	}
	if stop := time.Duration(f.DrainTimeout) + 3*time.Second + daemonFlushTimeout; stop >= grace {
		t.Errorf("a stop takes up to %s, and the container is killed after %s", stop, grace)
	}
}

// An output that works again has no error in the message.
func TestUndeliveredOmitsPastError(t *testing.T) {
	for _, c := range []struct{ failing, want string }{
		{"", "output file lost 55 records"},
		{"disk full", "output file lost 55 records: disk full"},
	} {
		if got := undelivered([]deliver.State{{Name: "file", Lost: 55, Error: c.failing}}); got == nil ||
			got.Error() != c.want {
			t.Errorf("got %v, want %s", got, c.want)
		}
	}
}
