package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"
)

// size measures what users download and how long contributors wait for a build.
func size(b *bench, ctx context.Context, args []string) error {
	f := b.flags("size")
	cold := f.Bool("cold", false, "build again with an empty build cache, which takes minutes")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	path, err := b.collectorBinary(ctx)
	if err != nil {
		return err
	}
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	b.printHeading("go build -trimpath -tags timetzdata -ldflags '-s -w', CGO_ENABLED=0")
	fmt.Fprintf(b.stdout, "binary: %s MB (%s bytes)\n", formatNumber(float64(st.Size())/1e6, 1), formatCount(st.Size()))
	if !*cold {
		return nil
	}
	for _, pkg := range []string{"./cmd/collector", "./runner"} {
		cache, err := os.MkdirTemp(b.dir, "cache-")
		if err != nil {
			return err
		}
		b.progress("%s with an empty cache", pkg)
		started := time.Now()
		out := b.path("cold")
		if pkg != "./cmd/collector" {
			out = os.DevNull
		}
		if err := build(ctx, out, pkg, []string{"GOCACHE=" + cache}); err != nil {
			return err
		}
		fmt.Fprintf(
			b.stdout, "cold build of %s: %s s on %d cores\n", pkg, formatNumber(time.Since(started).Seconds(), 0),
			runtime.NumCPU(),
		)
	}
	return nil
}
