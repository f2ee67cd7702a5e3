package main

import (
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws-collector/collector/internal/awsfake"
)

// Each account of this benchmark has two full pages in each of five regions.
const (
	pageSize   = 1000
	pages      = 2
	perAccount = pageSize * pages * 5
)

func wholeOrganization(aws *awsfake.AWS, instances int) *organization {
	return buildOrganization(
		aws, max(1, instances/perAccount), true, pageSize*pages, "us-east-1", "us-east-2", "us-west-2", "eu-west-1",
		"eu-central-1",
	)
}

// whole measures the program from sign-in to file, and compares it with the minimum (reading the same pages and
// discarding them) and with the usual program (the SDK's paginator and encoding/json).
func whole(b *bench, ctx context.Context, args []string) error {
	f := b.flags("whole")
	instances := f.Int(
		"instances",
		100_000,
		"number of instances, rounded to 10,000; a million write about 6 GB to the temporary folder",
	)
	beside := f.Int(
		"sdk-instances",
		20_000,
		"number of instances for the program with the SDK's types, which is slow; 0: do not run it",
	)
	n := f.Int("n", 3, "runs of each")
	wires := f.String(
		"gzip",
		"off,1,6",
		"compression of the answers, separated by commas: off, or a level from 1 (fastest) to 9; "+
			"zlib's default is 6, EC2's is not documented",
	)
	if err := parseFlags(f, args); err != nil {
		return err
	}
	levels, err := gzipLevels(*wires)
	if err != nil {
		return err
	}
	aws := awsfake.New(awsfake.Options{Seed: 1, KeepCalls: -1, Throttle: awsfake.Throttle{Off: true}})
	org := wholeOrganization(aws, *instances)
	b.printHeading(
		fmt.Sprintf(
			"%s instances in pages of 1,000, no latency; "+
				"the collector: key, role, identity, regions, JSON lines to a file; store: %s",
			formatCount(org.records()),
			b.store,
		),
	)
	t := newTable("program", "gzip", "wall s", "CPU s", "CPU µs an instance", "× raw", "peak RSS MiB", "instances")
	return withCloud(ctx, aws, false, func(ctx context.Context, c *cloud) error {
		for _, level := range levels {
			if err := b.comparePrograms(ctx, c, t, org, level, *n, *beside); err != nil {
				return err
			}
		}
		t.print(b.stdout)
		return nil
	})
}

// gzipOff is the level of uncompressed answers.
const gzipOff = 0

// gzipLevels parses -gzip.
func gzipLevels(list string) (levels []int, err error) {
	for word := range strings.SplitSeq(list, ",") {
		level := gzipOff
		if word != "off" {
			if level, err = strconv.Atoi(word); err != nil || level < flate.BestSpeed || level > flate.BestCompression {
				return nil, fmt.Errorf("-gzip: invalid level %q: want off or a level from 1 to 9", word)
			}
		}
		levels = append(levels, level)
	}
	return levels, nil
}

// comparePrograms adds a row for each program. Raw HTTP comes first, as the reference of the others. The programs run
// alternately, so that other load on the machine affects all of them.
func (b *bench) comparePrograms(
	ctx context.Context, c *cloud, t *table, org *organization, level, n, beside int,
) error {
	word, gzip := "off", level != gzipOff
	if gzip {
		word = fmt.Sprint(level)
		c.aws.SetGzipLevel(level)
	}
	warm := runOptions{
		org:      &organization{regions: org.regions[:1], perRegion: org.perRegion, accounts: org.accounts[:1]},
		noGzip:   !gzip,
		throttle: awsfake.Throttle{Off: true},
	}
	c.startRecording() // records the page for raw HTTP; the fake AWS renders and compresses everything
	if _, err := b.collect(ctx, c, warm); err != nil {
		return err
	}
	page := c.recorder.Swap(nil)
	full := runOptions{org: org, noGzip: !gzip, throttle: awsfake.Throttle{Off: true}}
	unchanged := full
	unchanged.unchanged = true
	part := &organization{
		regions:   org.regions,
		perRegion: org.perRegion,
		accounts:  org.accounts[:min(len(org.accounts), beside/perAccount)],
	}

	var raw, ours, oursAgain, theirs, theirsAgain []usage
	for i := range n {
		b.progress("round %d of %d, gzip %s", i+1, n, word)
		u, err := b.rawHTTP(ctx, c, page, org.records()/pageSize, gzip)
		if err != nil {
			return err
		}
		raw = append(raw, u)
		runs, err := b.collectN(ctx, c, 1, full)
		if err != nil {
			return err
		}
		ours = append(ours, runs[0].usage)
		if b.store != "none" {
			if runs, err = b.collectN(ctx, c, 1, unchanged); err != nil {
				return err
			}
			oursAgain = append(oursAgain, runs[0].usage)
		}
		if len(part.accounts) > 0 {
			us, err := b.sdkTypes(ctx, c, part, gzip)
			if err != nil {
				return err
			}
			theirs, theirsAgain = append(theirs, us[0]), append(theirsAgain, us[1:]...)
		}
	}

	each := func(all []usage, instances int) spread {
		return spreadOf(all, func(u usage) float64 { return seconds(u.cpu) / float64(instances) * 1e6 })
	}
	measure := each(raw, org.records()).median
	row := func(name string, all []usage, instances int) float64 {
		if len(all) == 0 {
			return 0
		}
		us := each(all, instances)
		t.add(
			name, word, spreadOf(all, func(u usage) float64 { return seconds(u.wall) }).format(1),
			spreadOf(all, func(u usage) float64 { return seconds(u.cpu) }).format(2), us.format(1),
			formatRatio(us.median, measure), spreadOf(all, func(u usage) float64 { return mebibytes(u.rss) }).format(0),
			formatCount(instances),
		)
		return us.median
	}
	row("raw HTTP, thrown away", raw, org.records())
	mine := row("collector", ours, org.records())
	mineAgain := row("collector, nothing changed", oursAgain, org.records())
	sdk := row("SDK types + encoding/json", theirs, part.records())
	sdkAgain := row("SDK types, nothing changed", theirsAgain, part.records())
	if sdk > 0 {
		fmt.Fprintf(
			b.stdout, "gzip %s: the collector takes %s raw HTTP; the SDK's types take %s the collector's CPU\n", word,
			formatRatio(mine, measure), formatRatio(sdk, mine),
		)
	}
	if sdkAgain > 0 {
		fmt.Fprintf(
			b.stdout, "gzip %s, nothing changed: the SDK's types take %s the collector's CPU\n", word,
			formatRatio(sdkAgain, mineAgain),
		)
	}
	return nil
}

// rawHTTP runs this program as a child that reads a recorded page and discards it.
func (b *bench) rawHTTP(ctx context.Context, c *cloud, page *recording, n int, gzip bool) (usage, error) {
	self, err := os.Executable()
	if err != nil {
		return usage{}, err
	}
	env, err := b.environment(nil)
	if err != nil {
		return usage{}, err
	}
	c.recorder.Store(page)
	defer c.recorder.Store(nil)
	return child{
		path: self,
		args: []string{rawCommand, c.url + rawPath, fmt.Sprint(n), fmt.Sprint(gzip)},
		env:  env,
		dir:  b.dir,
	}.measure(ctx)
}

// sdkTypes runs the program bench/sdktypes, built like the collector. With a store it runs twice: the second time,
// nothing has changed.
func (b *bench) sdkTypes(ctx context.Context, c *cloud, org *organization, gzip bool) ([]usage, error) {
	path := b.path("sdktypes")
	if _, err := os.Stat(path); err != nil {
		b.progress("building bench/sdktypes")
		if err := build(ctx, path, "./bench/sdktypes", nil); err != nil {
			return nil, err
		}
	}
	env, err := b.environment(c)
	if err != nil {
		return nil, err
	}
	var keys strings.Builder
	for _, a := range org.accounts {
		fmt.Fprintf(&keys, "%s %s\n", a.key.ID, a.key.Secret)
	}
	if err := os.WriteFile(b.path("keys"), []byte(keys.String()), 0o600); err != nil {
		return nil, err
	}
	out, args, runs := b.path("sdktypes.jsonl"), []string{
		"-keys",
		b.path("keys"),
		"-regions",
		strings.Join(org.regions, ","),
		fmt.Sprintf("-gzip=%t", gzip),
	}, 1
	defer func() { _ = os.Remove(out) }() // else b.dir is removed at the end
	if b.store != "none" {
		dir, err := os.MkdirTemp(b.dir, "sdktypes-")
		if err != nil {
			return nil, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		args, runs = append(args, "-store", filepath.Join(dir, "versions.db")), 2
	}
	var all []usage
	for range runs {
		c.reset(awsfake.Throttle{Off: true})
		u, err := child{path: path, env: env, dir: b.dir, args: append(args, "-out", out)}.measure(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, u)
		got, err := countLines(out)
		if err == nil && got != org.records() {
			err = fmt.Errorf("%s: %d records were written, want %d", filepath.Base(path), got, org.records())
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// rawCommand is the command of the child that reads pages and discards them.
const rawCommand = "raw-http"

// rawHTTPChild reads the URL args[0] args[1] times, four at a time, because the collector has four pages.
func rawHTTPChild(ctx context.Context, args []string) error {
	var n int
	var gzip bool
	if len(args) != 3 {
		return errors.New("usage: " + rawCommand + " URL TIMES GZIP")
	}
	if _, err := fmt.Sscan(args[1], &n); err != nil {
		return err
	}
	if _, err := fmt.Sscan(args[2], &gzip); err != nil {
		return err
	}
	const atOnce = 4
	client := &http.Client{
		Transport: &http.Transport{DisableCompression: !gzip, MaxIdleConnsPerHost: atOnce},
		Timeout:   time.Minute,
	}
	defer client.CloseIdleConnections()
	errs := make([]error, atOnce)
	var readers sync.WaitGroup
	for i := range atOnce {
		readers.Go(func() {
			for page := i; page < n && errs[i] == nil; page += atOnce {
				errs[i] = readAndDiscard(ctx, client, args[0])
			}
		})
	}
	readers.Wait()
	return errors.Join(errs...)
}

func readAndDiscard(ctx context.Context, client *http.Client, url string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
