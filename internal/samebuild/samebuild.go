// Package samebuild builds programs that tests start, with the build flags of the test itself: tags, -trimpath and so
// on. With other flags Go would compile every package again, service/ec2 for minutes. A test that builds the collector
// imports its largest packages, so `go test` has already compiled them and this build only links.
//
// The programs never have the race detector: with it each start takes ten times as long, and the tests look at what the
// programs print. Where `go build ./...` ran before, as in CI, the build of a test with the detector only links, too.
package samebuild

import (
	"context"
	"fmt"
	"os/exec"
	"runtime/debug"
	"slices"
)

// buildFlags are the build settings that change what is compiled. Go records them in a binary under their flag's name.
var buildFlags = [...]string{"-tags", "-trimpath", "-gcflags", "-asmflags"}

// Build builds the program of package pkg and writes it to path.
func Build(ctx context.Context, path, pkg string) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Errorf("go build %s: this binary has no build information", pkg)
	}
	flags, env := flagsOf(info.Settings)
	args := slices.Concat([]string{"build", "-buildvcs=false", "-o", path}, flags, []string{pkg})
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(cmd.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// HasRace reports whether the test has the race detector.
func HasRace() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, race)
}

var race = debug.BuildSetting{Key: "-race", Value: "true"}

// flagsOf returns the flags and environment of a build from its recorded settings. A test with the race detector needs
// cgo and may have flags of the compiler that only concern the detector; its programs have neither.
func flagsOf(settings []debug.BuildSetting) (flags, env []string) {
	hasRace := slices.Contains(settings, race)
	for _, s := range settings {
		switch {
		case s.Key == "CGO_ENABLED" && hasRace:
			env = append(env, "CGO_ENABLED=0")
		case s.Key == "CGO_ENABLED":
			env = append(env, s.Key+"="+s.Value)
		case s.Key == "-gcflags" && hasRace:
		case slices.Contains(buildFlags[:], s.Key):
			flags = append(flags, s.Key+"="+s.Value)
		}
	}
	return flags, env
}
