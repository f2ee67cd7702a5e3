// Command release makes the files of a release from .goreleaser.yaml: the archives, packages, bills of materials and
// checksums of a snapshot. goreleaser does the same, but compiles 1,550 packages, seven times as many as this program:
// too many for each check of a change. goreleaser itself calls this program for what it does not make: `release
// generate` for the manual page and the completions, `release sbom` for a bill of materials. It is a module of its own
// because of its many dependencies.
//
// It obeys only the keys that .goreleaser.yaml has; a test fails if there are others.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
)

const usage = `usage, in the root of the repository:
  release snapshot -out DIR -targets linux/amd64,linux/arm64
  release generate
  release sbom BINARY DOCUMENT`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New(usage)
	}
	switch args[0] {
	case "snapshot":
		flags := flag.NewFlagSet("snapshot", flag.ContinueOnError)
		out := flags.String("out", "dist", "folder to write to")
		targets := flags.String("targets", "", "systems, such as linux/amd64,linux/arm64; one must be this machine's")
		if err := flags.Parse(args[1:]); err != nil {
			return err
		}
		return snapshot(ctx, *out, strings.Split(*targets, ","))
	case "generate":
		r, err := load(ctx)
		if err != nil {
			return err
		}
		program := generatedDir + "/collector"
		if err := r.build(ctx, hostTarget(), program); err != nil {
			return err
		}
		return generate(ctx, program)
	case "sbom":
		if len(args) != 3 {
			return errors.New(usage)
		}
		return writeSBOM(args[1], args[2])
	}
	return errors.New(usage)
}
