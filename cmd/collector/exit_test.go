package main

import (
	"fmt"
	"path/filepath"
	"testing"
)

// Scripts rely on the exit codes: 0 done, 1 nothing collected, 2 invalid configuration, 3 some targets failed that
// expect_denied does not name.
func TestExitCodes(t *testing.T) {
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
