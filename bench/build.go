package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// collectorBinary returns the path of the binary to measure, and builds it as for a release if necessary.
func (b *bench) collectorBinary(ctx context.Context) (string, error) {
	if b.binary != "" {
		return filepath.Abs(b.binary)
	}
	b.progress("building the collector")
	path := b.path("collector")
	if err := build(ctx, path, "./cmd/collector", nil); err != nil {
		return "", err
	}
	b.binary = path
	return path, nil
}

// build builds a package with the command of a release. env extends the environment.
func build(ctx context.Context, path, pkg string, env []string) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(
		ctx, "go", "build", "-trimpath", "-tags", "timetzdata", "-ldflags", "-s -w", "-o", path, pkg,
	)
	cmd.Dir = root
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, bytes.TrimSpace(out))
	}
	return nil
}

func moduleRoot(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("go list -m: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}
