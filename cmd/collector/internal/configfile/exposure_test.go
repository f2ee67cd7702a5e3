//go:build unix

package configfile

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/aws-collector/collector/config"
)

// A data_dir whose name looks like a glob is checked like any other.
func TestExposedSessions(t *testing.T) {
	for _, name := range []string{"data", "data[1]", "a*b", "[", `back\slash`} {
		dir := filepath.Join(t.TempDir(), name)
		sessions := filepath.Join(dir, "sessions")
		if err := os.MkdirAll(sessions, 0o700); err != nil {
			t.Fatal(err)
		}
		for file, mode := range map[string]os.FileMode{"closed": 0o600, "open": 0o640} {
			if err := os.WriteFile(filepath.Join(sessions, file), nil, mode); err != nil {
				t.Fatal(err)
			}
		}
		all := exposedSessions(dir)
		if len(all) != 1 || !strings.HasPrefix(all[0], filepath.Join(sessions, "open")+" holds sessions") {
			t.Errorf("%s: %q", name, all)
		}
	}
}

// The shared AWS files are read once, not once for each profile: with thousands of profiles, validate would take too
// long.
func TestExposedFilesOfManyProfiles(t *testing.T) {
	home := filepath.Join(t.TempDir(), "home[1]")
	cache := filepath.Join(home, ".aws", "sso", "cache")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		t.Fatal(err)
	}
	const profiles = 500
	var text strings.Builder
	f := &config.File{DataDir: filepath.Join(home, "data")}
	var blocks []config.Account
	for i := range profiles {
		fmt.Fprintf(
			&text, "[profile p%[1]d]\nweb_identity_token_file = %s/token%[1]d\nsso_start_url = x\nsso_region = y\n", i,
			home,
		)
		blocks = append(blocks, config.Account{SignIn: config.SignIn{Profile: fmt.Sprintf("p%d", i)}})
	}
	fmt.Fprintf(&text, "[profile other]\nweb_identity_token_file = %s/other\n[default]\naws_secret_access_key = x\n", home)
	f.Accounts = blocks
	for path, content := range map[string]string{
		filepath.Join(home, ".aws", "config"): text.String(), filepath.Join(cache, "a.json"): "{}",
		filepath.Join(cache, "b.txt"): "",
		filepath.Join(home, "token7"): "", filepath.Join(home, "other"): "",
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", home)
	s := &Source{Path: "none", Getenv: os.Getenv}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	all := s.exposureWarnings(f)
	runtime.ReadMemStats(&after)
	var got []string
	for _, w := range all {
		path, what, _ := strings.Cut(w, ", ")
		what, _, _ = strings.Cut(what, ", ")
		got = append(got, strings.TrimPrefix(path, home)+": "+what)
	}
	want := []string{
		"/.aws/sso/cache/a.json: the token of profile p0", "/token7: the web identity of profile p7",
		"/.aws/config: the file with profile p0",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 100*uint64(text.Len()) {
		t.Errorf("%d bytes are allocated for a file of %d", used, text.Len())
	}
}
