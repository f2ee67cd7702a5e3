package main

import (
	"context"
	"fmt"

	"github.com/aws-collector/collector/internal/awsfake"
)

// wire measures the cost and the benefit of compression and encryption.
func wire(b *bench, ctx context.Context, args []string) error {
	f := b.flags("wire")
	instances := f.Int("instances", 50_000, "number of instances, rounded to 10,000")
	n := f.Int("n", 3, "runs of each")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	aws := awsfake.New(awsfake.Options{Seed: 1, KeepCalls: -1})
	org := wholeOrganization(aws, *instances)
	b.printHeading(
		fmt.Sprintf("%s instances in pages of 1,000, no latency, to a file; store: %s", formatCount(org.records()), b.store),
	)
	t := newTable(
		"TLS", "gzip", "wall s", "CPU s", "CPU, relative", "simulator CPU s", "peak RSS MiB", "MiB on the wire",
		"s at 1 Gbit/s",
	)
	word := map[bool]string{false: "off", true: "on"}
	plain := 0.0
	for _, overTLS := range []bool{false, true} {
		err := withCloud(ctx, aws, overTLS, func(ctx context.Context, c *cloud) error {
			for _, gzip := range []bool{false, true} {
				b.progress("TLS %s, gzip %s", word[overTLS], word[gzip])
				o := runOptions{org: org, noGzip: !gzip, throttle: awsfake.Throttle{Off: true}}
				if _, err := b.collect(ctx, c, o); err != nil { // the fake AWS renders and compresses everything once
					return err
				}
				all, err := b.collectN(ctx, c, *n, o)
				if err != nil {
					return err
				}
				cpu := spreadOf(all, func(c runResult) float64 { return seconds(c.cpu) })
				if plain == 0 {
					plain = cpu.median
				}
				sent := float64(all[0].stats.Bytes)
				t.add(
					word[overTLS], word[gzip], spreadOf(all, func(c runResult) float64 { return seconds(c.wall) }).format(1),
					cpu.format(2), formatNumber(cpu.median/plain, 2),
					spreadOf(all, func(c runResult) float64 { return seconds(c.simulatorCPU) }).format(2),
					spreadOf(all, func(c runResult) float64 { return mebibytes(c.rss) }).format(0), formatNumber(sent/(1<<20), 0),
					formatNumber(sent*8/1e9, 1),
				)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	t.print(b.stdout)
	return nil
}
