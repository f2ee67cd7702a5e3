package main

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/aws-collector/collector/internal/awsfake"
)

// scale measures which figures grow with the number of accounts.
func scale(b *bench, ctx context.Context, args []string) error {
	f := b.flags("scale")
	sizes := f.String("accounts", "100,1000,10000", "numbers of accounts, separated by commas")
	latency := f.Duration("latency", 80*time.Millisecond, "of each call")
	inFlight := f.Int("in-flight", 256, "calls_in_flight of the configuration")
	each := f.Int("instances", 5, "instances in each of four regions of each account")
	n := f.Int("n", 3, "runs of each size; only one from 10,000 accounts on")
	scrape := f.Bool("scrape", true, "run once more with scrapes, to count the goroutines")
	auth := f.String("auth", "key+role,key", "how accounts sign in: key, key+role, or both separated by a comma")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	b.printHeading(
		fmt.Sprintf(
			"accounts × 4 regions × %d instances, %s a call, %d calls in flight; to a file; store: %s", *each, *latency,
			*inFlight, b.store,
		),
	)
	t := newTable(
		"accounts", "sign-in", "wall s", "bound s", "CPU s", "simulator CPU s", "peak RSS MiB", "goroutines",
		"a call in flight", "RSS MiB, scraped", "connections", "calls", "records",
	)
	for mode := range strings.SplitSeq(*auth, ",") {
		for size := range strings.SplitSeq(*sizes, ",") {
			accounts, err := strconv.Atoi(size)
			if err != nil || mode != "key" && mode != "key+role" {
				return fmt.Errorf("scale: -accounts %q -auth %q", *sizes, *auth)
			}
			aws := awsfake.New(awsfake.Options{Seed: 1, Latency: *latency, KeepCalls: -1})
			org := buildOrganization(
				aws, accounts, mode == "key+role", *each, "us-east-1", "us-west-2", "eu-west-1", "eu-central-1",
			)
			o := runOptions{org: org, inFlight: *inFlight}
			runs := *n
			if accounts >= 10_000 {
				runs = 1
			}
			err = withCloud(ctx, aws, false, func(ctx context.Context, c *cloud) error {
				b.progress("%d accounts, %s", accounts, mode)
				all, err := b.collectN(ctx, c, runs, o)
				if err != nil {
					return err
				}
				// Scrapes cost time for each account, so they have a run of their own.
				o.scrapeInterval = max(100*time.Millisecond, time.Duration(accounts)*time.Millisecond/2)
				scraped := make([]runResult, 1)
				if *scrape {
					if scraped, err = b.collectN(ctx, c, 1, o); err != nil {
						return err
					}
				}
				calls := spreadOf(all, func(c runResult) float64 { return float64(c.stats.Calls) })
				bound := spreadOf(all, func(c runResult) float64 {
					return max(
						float64(c.stats.Calls)*latency.Seconds()/float64(*inFlight),
						(c.cpu+c.simulatorCPU).Seconds()/float64(runtime.NumCPU()),
					)
				})
				most := max(scraped[0].stats.MaxInFlight, 1)
				t.add(
					formatCount(accounts), mode, spreadOf(all, func(c runResult) float64 { return seconds(c.wall) }).format(1),
					formatNumber(bound.median, 1), spreadOf(all, func(c runResult) float64 { return seconds(c.cpu) }).format(1),
					spreadOf(all, func(c runResult) float64 { return seconds(c.simulatorCPU) }).format(1),
					spreadOf(all, func(c runResult) float64 { return mebibytes(c.rss) }).format(0),
					formatCount(scraped[0].goroutines), formatNumber(float64(scraped[0].goroutines)/float64(most), 1),
					formatNumber(mebibytes(scraped[0].rss), 0),
					spreadOf(all, func(c runResult) float64 { return float64(c.connections) }).format(0), calls.format(0),
					formatCount(all[0].records),
				)
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	t.print(b.stdout)
	fmt.Fprintf(
		b.stdout,
		"bound: the larger of calls × latency ÷ in flight, and the CPU of collector and simulator ÷ %d cores.\n",
		runtime.NumCPU(),
	)
	return nil
}
