package samebuild

import (
	"debug/buildinfo"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
)

func TestFlagsOf(t *testing.T) {
	settings := []debug.BuildSetting{
		{Key: "-buildmode", Value: "exe"},
		{Key: "-compiler", Value: "gc"},
		{Key: "-tags", Value: "a,b"},
		{Key: "-cover", Value: "true"},
		{Key: "-gcflags", Value: "all=-N -l"},
		{Key: "CGO_ENABLED", Value: "1"},
		{Key: "vcs.modified", Value: "true"},
	}
	flags, env := flagsOf(settings)
	if want := []string{"-tags=a,b", "-gcflags=all=-N -l"}; !slices.Equal(flags, want) {
		t.Errorf("%q, want %q", flags, want)
	}
	if want := []string{"CGO_ENABLED=1"}; !slices.Equal(env, want) {
		t.Errorf("%q, want %q", env, want)
	}
	flags, env = flagsOf(append(settings, debug.BuildSetting{Key: "-race", Value: "true"}))
	if want := []string{"-tags=a,b"}; !slices.Equal(flags, want) {
		t.Errorf("with the race detector: %q, want %q", flags, want)
	}
	if want := []string{"CGO_ENABLED=0"}; !slices.Equal(env, want) {
		t.Errorf("with the race detector: %q, want %q", env, want)
	}
}

// A program never has the race detector, whether the test has it or not.
func TestBuild(t *testing.T) {
	t.Chdir("testdata/empty")
	path := filepath.Join(t.TempDir(), "empty")
	if err := Build(t.Context(), path, "."); err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Path == "" || slices.Contains(info.Settings, race) {
		t.Errorf("program %q has the settings %q", info.Path, info.Settings)
	}
}
