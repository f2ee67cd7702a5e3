// Package samebuild builds programs that tests start, with the build flags of the test itself: race detector, tags and
// so on. With other flags Go would compile every package again, service/ec2 for minutes. A test that builds the
// collector imports its largest packages, so `go test` has already compiled them and this build only links.
package samebuild

import (
	"context"
	"fmt"
	"os/exec"
	"runtime/debug"
	"slices"
)

// buildFlags are the build settings that change what is compiled. Go records them in a binary under their flag's name.
var buildFlags = [...]string{"-race", "-msan", "-asan", "-tags", "-trimpath", "-gcflags", "-asmflags"}

// Build builds the program of package pkg and writes it to path.
func Build(ctx context.Context, path, pkg string) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Errorf("go build %s: this binary has no build information", pkg)
	}
	flags, env := flagsOf(info.Settings)
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-o", path}, flags, []string{pkg})...)
	cmd.Env = append(cmd.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// HasRace reports whether the test has the race detector.
func HasRace() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// BuildWithoutRace builds the program of package pkg without the race detector and without cgo, and writes it to path.
// It is for tests with the detector that start a program many times, for what it prints: with the detector, each start
// takes ten times as long. Where `go build ./...` ran before, as in CI, this build only links.
func BuildWithoutRace(ctx context.Context, path, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, pkg)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// flagsOf returns the flags and environment of a build from its recorded settings.
func flagsOf(settings []debug.BuildSetting) (flags, env []string) {
	for _, s := range settings {
		if slices.Contains(buildFlags[:], s.Key) {
			flags = append(flags, s.Key+"="+s.Value)
		}
		if s.Key == "CGO_ENABLED" {
			env = append(env, s.Key+"="+s.Value)
		}
	}
	return flags, env
}
