// Package samebuild builds programs that tests start, with the flags that the test itself was built with: race detector, tags
// and the rest. With other flags Go would compile every package once more, service/ec2 for minutes. A test that builds the
// collector imports its largest packages, so that `go test` has compiled them before it runs the test, and this links only.
package samebuild

import (
	"context"
	"fmt"
	"os/exec"
	"runtime/debug"
	"slices"
)

// buildFlags are the settings that Go notes in a binary under the name of the flag that made them, and that decide what is compiled.
var buildFlags = [...]string{"-race", "-msan", "-asan", "-tags", "-trimpath", "-gcflags", "-asmflags"}

// Build writes the program of a package, as `go build` names it, to path.
func Build(ctx context.Context, path, pkg string) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return fmt.Errorf("go build %s: this binary does not say how it was built", pkg)
	}
	flags, env := flagsOf(info.Settings)
	cmd := exec.CommandContext(ctx, "go", slices.Concat([]string{"build", "-o", path}, flags, []string{pkg})...)
	cmd.Env = append(cmd.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// flagsOf is how a build was made, by what it noted of itself.
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
