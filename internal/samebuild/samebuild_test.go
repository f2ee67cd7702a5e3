package samebuild

import (
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
