package samebuild

import (
	"context"
	"debug/buildinfo"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
)

func TestFlagsOf(t *testing.T) {
	flags, env := flagsOf([]debug.BuildSetting{
		{Key: "-buildmode", Value: "exe"},
		{Key: "-compiler", Value: "gc"},
		{Key: "-race", Value: "true"},
		{Key: "-tags", Value: "a,b"},
		{Key: "-cover", Value: "true"},
		{Key: "-gcflags", Value: "all=-N -l"},
		{Key: "CGO_ENABLED", Value: "1"},
		{Key: "vcs.modified", Value: "true"},
	})
	if want := []string{"-race=true", "-tags=a,b", "-gcflags=all=-N -l"}; !slices.Equal(flags, want) {
		t.Errorf("%q, want %q", flags, want)
	}
	if want := []string{"CGO_ENABLED=1"}; !slices.Equal(env, want) {
		t.Errorf("%q, want %q", env, want)
	}
}

// Build uses the race detector if the test has it, and BuildWithoutRace never does.
func TestBuilds(t *testing.T) {
	t.Chdir("testdata/empty")
	for name, c := range map[string]struct {
		build func(ctx context.Context, path, pkg string) error
		race  bool
	}{
		"Build": {Build, HasRace()}, "BuildWithoutRace": {BuildWithoutRace, false},
	} {
		path := filepath.Join(t.TempDir(), "empty")
		if err := c.build(t.Context(), path, "."); err != nil {
			t.Fatal(err)
		}
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}); got != c.race {
			t.Errorf("%s: race detector %v, want %v", name, got, c.race)
		}
	}
}
