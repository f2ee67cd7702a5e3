package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws-collector/collector/internal/awsfake"
)

// validate is what an editor or a CI job waits for.
func validate(b *bench, ctx context.Context, args []string) error {
	f := b.flags("validate")
	accounts := f.Int("accounts", 500, "how many")
	n := f.Int("n", 20, "runs")
	if err := parse(f, args); err != nil {
		return err
	}
	path, err := b.collector(ctx)
	if err != nil {
		return err
	}
	org := organize(awsfake.New(awsfake.Options{Seed: 1}), *accounts, true, 0, "us-east-1", "us-west-2", "eu-west-1", "eu-central-1")
	if err := os.WriteFile(b.path("config.yaml"), collection{org: org}.config(b.dir, b.store), 0o600); err != nil {
		return err
	}
	env, err := b.environment(nil)
	if err != nil {
		return err
	}
	var all []usage
	for range *n {
		u, err := child{path: path, args: []string{"validate", "--config", b.path("config.yaml")}, env: env, dir: b.dir}.measure(ctx)
		if err != nil {
			return err
		}
		all = append(all, u)
	}
	b.machine(fmt.Sprintf("collector validate, %s accounts, offline", count(*accounts)))
	t := newTable("runs", "wall ms", "CPU ms", "peak RSS MiB")
	t.add(count(*n), spreadOf(all, func(u usage) float64 { return seconds(u.wall) * 1e3 }).show(0),
		spreadOf(all, func(u usage) float64 { return seconds(u.cpu) * 1e3 }).show(0),
		spreadOf(all, func(u usage) float64 { return mebibytes(u.rss) }).show(0))
	t.print(b.stdout)
	return nil
}
