//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// With 64 files a run of several accounts and regions succeeds, with a warning that names the limit.
func TestFewOpenFiles(t *testing.T) {
	t.Parallel()
	scene, s := startScene(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yaml")
	k := scene.Accounts[0].Key
	write(t, config, fmt.Sprintf(`
data_dir: %[1]s/data
collector_configs: {regions: ["*"], kinds: [ec2_instance, ec2_volume, ec2_vpc, ec2_subnet]}
accounts: [{name: prod, ak_id: %[2]s, ak_secret: "%[3]s"}]
outputs: [{type: file, path: %[1]s/records.jsonl}]
`, dir, k.ID, k.Secret))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(
		t.Context(), "sh", "-c", `ulimit -n 64; exec "$0" "$@"`, exe, "run", "--once", "--config", config,
	)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, runAsProgram + "=1", "AWS_ENDPOINT_URL=" + s.URL,
		"AWS_EC2_METADATA_DISABLED=true",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	for _, want := range []string{"open file limit is low", "limit=64 calls_in_flight=6 configured=256", "ulimit -n 314"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if st, err := os.Stat(filepath.Join(dir, "records.jsonl")); err != nil || st.Size() == 0 {
		t.Errorf("no records: %v", err)
	}
}
