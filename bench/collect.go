package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws-collector/collector/internal/awsfake"
)

// runOptions describe a measured run of `collector run --once` on an organization.
type runOptions struct {
	org            *organization
	kinds          []string // empty: ec2_instance
	noGzip         bool
	inFlight       int
	throttle       awsfake.Throttle
	unchanged      bool          // measure the second run on the same store, in which nothing has changed
	scrapeInterval time.Duration // interval of scrapes for the number of goroutines; 0: do not listen
}

// runResult holds the usage of a run, AWS's counters and the number of written records.
type runResult struct {
	usage
	stats       awsfake.Stats
	connections int64
	records     int
}

// collect runs the collector once, with its own data folder and output file.
func (b *bench) collect(ctx context.Context, c *cloud, o runOptions) (runResult, error) {
	path, err := b.collectorBinary(ctx)
	if err != nil {
		return runResult{}, err
	}
	dir, err := os.MkdirTemp(b.dir, "run-")
	if err != nil {
		return runResult{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // else b.dir is removed at the end
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), o.config(dir, b.store), 0o600); err != nil {
		return runResult{}, err
	}
	env, err := b.environment(c)
	if err != nil {
		return runResult{}, err
	}
	ch := child{
		path: path,
		args: []string{"run", "--once", "--log-level", "warn", "--config", filepath.Join(dir, "config.yaml")},
		env:  env,
		dir:  dir,
	}
	if o.scrapeInterval > 0 {
		addr, err := freeAddr()
		if err != nil {
			return runResult{}, err
		}
		ch.args = append(ch.args, "--listen", addr)
		ch.metricsURL, ch.interval = "http://"+addr+"/metrics", o.scrapeInterval
	}
	if o.unchanged {
		if _, err := ch.measure(ctx); err != nil {
			return runResult{}, err
		}
		if err := os.Remove(filepath.Join(dir, "records.jsonl")); err != nil {
			return runResult{}, err
		}
	}
	c.reset(o.throttle)
	u, err := ch.measure(ctx)
	if err != nil {
		return runResult{}, err
	}
	got := runResult{usage: u, stats: c.aws.Stats(), connections: c.connections.Load()}
	got.records, err = countLines(filepath.Join(dir, "records.jsonl"))
	if want := o.org.records(); err == nil && len(o.kinds) == 0 && got.records != want {
		err = fmt.Errorf("%d records were written, want %d", got.records, want)
	}
	return got, err
}

// collectN calls collect n times.
func (b *bench) collectN(ctx context.Context, c *cloud, n int, o runOptions) ([]runResult, error) {
	var all []runResult
	for i := range n {
		got, err := b.collect(ctx, c, o)
		if err != nil {
			return nil, err
		}
		b.progress("run %d of %d: %.2f s, %.2f s CPU, %.0f MiB, %d calls, simulator %.2f s CPU",
			i+1, n, got.wall.Seconds(), got.cpu.Seconds(), mebibytes(got.rss), got.stats.Calls, got.simulatorCPU.Seconds())
		all = append(all, got)
	}
	return all, nil
}

// config returns the configuration file for the organization.
func (o runOptions) config(dir, store string) []byte {
	kinds := o.kinds
	if len(kinds) == 0 {
		kinds = []string{"ec2_instance"}
	}
	var y bytes.Buffer
	fmt.Fprintf(&y, "data_dir: %s\njitter: 0\nstore: {type: %s}\n", filepath.Join(dir, "data"), store)
	fmt.Fprintf(&y, "collector_configs:\n  regions: [%s]\n  kinds: [%s]\n", quoted(o.org.regions), quoted(kinds))
	if o.inFlight > 0 {
		fmt.Fprintf(&y, "limits: {calls_in_flight: %d, gzip: %t}\n", o.inFlight, !o.noGzip)
	} else {
		fmt.Fprintf(&y, "limits: {gzip: %t}\n", !o.noGzip)
	}
	fmt.Fprintf(&y, "outputs:\n  - {type: file, path: %s}\naccounts:\n", filepath.Join(dir, "records.jsonl"))
	for _, a := range o.org.accounts {
		fmt.Fprintf(
			&y, "  - name: %s\n    account_id: %q\n    ak_id: %s\n    ak_secret: %q\n", a.name, a.id, a.key.ID, a.key.Secret,
		)
		if a.roleARN != "" {
			fmt.Fprintf(&y, "    assume_role_arn: %s\n", a.roleARN)
		}
		fmt.Fprintf(&y, "    extra_tags: {account_name: %s, team: platform}\n", a.name)
	}
	return y.Bytes()
}

func quoted(s []string) string { return `"` + strings.Join(s, `", "`) + `"` }

// freeAddr returns an address that is free at present.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// countLines counts the written records; a missing file has none.
func countLines(path string) (int, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, buf := 0, make([]byte, 1<<20)
	for {
		k, err := f.Read(buf)
		n += bytes.Count(buf[:k], []byte{'\n'})
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}
