package main

import (
	"context"
	"fmt"
	"time"

	"github.com/aws-collector/collector/internal/awsfake"
)

// empty lists every kind in every region that is enabled by default, against EC2's documented token buckets. No call
// may be throttled.
func empty(b *bench, ctx context.Context, args []string) error {
	f := b.flags("empty")
	latency := f.Duration("latency", 80*time.Millisecond, "of each call")
	n := f.Int("n", 3, "runs")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	aws := awsfake.New(awsfake.Options{Seed: 1, Latency: *latency, KeepCalls: -1})
	org := buildOrganization(aws, 1, true, 0, "*")
	b.printHeading(
		fmt.Sprintf("all kinds × all regions of one empty account, %s a call, EC2's documented buckets", *latency),
	)
	return withCloud(ctx, aws, false, func(ctx context.Context, c *cloud) error {
		all, err := b.collectN(ctx, c, *n, runOptions{org: org, kinds: []string{"*"}})
		if err != nil {
			return err
		}
		t := newTable(
			"calls", "throttled", "other errors", "wall s", "most in flight", "CPU s", "peak RSS MiB", "connections",
			"records",
		)
		of := func(digits int, figure func(runResult) float64) string { return spreadOf(all, figure).format(digits) }
		t.add(of(0, func(c runResult) float64 { return float64(c.stats.Calls) }),
			of(0, func(c runResult) float64 { return float64(c.stats.Throttled) }),
			of(0, func(c runResult) float64 { return float64(c.stats.Errors - c.stats.Throttled) }),
			of(1, func(c runResult) float64 { return seconds(c.wall) }),
			of(0, func(c runResult) float64 { return float64(c.stats.MaxInFlight) }),
			of(2, func(c runResult) float64 { return seconds(c.cpu) }),
			of(0, func(c runResult) float64 { return mebibytes(c.rss) }),
			of(0, func(c runResult) float64 { return float64(c.connections) }),
			of(0, func(c runResult) float64 { return float64(c.records) }))
		t.print(b.stdout)
		return nil
	})
}
