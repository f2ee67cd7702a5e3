package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/aws-collector/collector/internal/awsfake"
)

// page measures what people wait for: the page, the inventory and searches, served from a large store by a collector
// whose accounts are not due.
func page(b *bench, ctx context.Context, args []string) error {
	f := b.flags("page")
	o := fillOptions{}
	f.IntVar(&o.accounts, "accounts", 1000, "how many")
	f.IntVar(&o.regions, "regions", 30, "regions of each account")
	f.IntVar(&o.resources, "resources", 1_000_000, "of instances and volumes together")
	n := f.Int("n", 20, "requests of each sort, with different texts")
	dir := f.String("dir", b.dir, "keep the store in this `DIRECTORY`, or use the one that is there")
	if err := parseFlags(f, args); err != nil {
		return err
	}
	if o.regions > len(regionNames()) {
		return fmt.Errorf("page: -regions is at most %d", len(regionNames()))
	}
	b.store = "sqlite"
	o.path = filepath.Join(*dir, "data", "collector.db")
	if err := os.MkdirAll(filepath.Dir(o.path), 0o700); err != nil {
		return err
	}
	org := buildOrganization(
		awsfake.New(awsfake.Options{Seed: 1}), o.accounts, false, 0, regionNames()[:o.regions]...,
	)
	if err := b.fillOnce(ctx, o, org); err != nil {
		return err
	}
	b.printHeading(fmt.Sprintf("%s resources of %s accounts × %d regions × %d kinds in SQLite, served by the collector",
		formatCount(o.resources), formatCount(o.accounts), o.regions, len(filledKinds)))
	t := newTable("request", "text", "median ms", "p95 ms", "KB")
	var rss int64
	err := b.withServer(ctx, *dir, org, func(ctx context.Context, url string) error {
		for _, r := range pageRequests(o) {
			if err := r.measure(ctx, t, url, *n); err != nil {
				return err
			}
		}
		return nil
	}, &rss)
	if err != nil {
		return err
	}
	t.print(b.stdout)
	fmt.Fprintf(b.stdout, "Peak RSS of the collector: %.0f MiB.\n", mebibytes(rss))
	return nil
}

// A pageRequest is a sort of request: what is asked, and a text to search for in its URL.
type pageRequest struct {
	what, path string
	text       func(i int) string // nil: none
	pause      time.Duration      // between requests, so that none is answered from memory
	atLeast    int                // items of an answer in JSON
}

func pageRequests(o fillOptions) []pageRequest {
	always := func(text string) func(int) string { return func(int) string { return text } }
	texts := []struct {
		text    func(i int) string
		atLeast int
	}{
		{always("platform"), 100},   // all have it
		{always("vol-"), 100},       // half of them
		{always("production"), 100}, // a third
		{always("vo"), 100},         // two characters
		{func(i int) string { return filledAccount(o.accounts - 1 - i%o.accounts) }, 0}, // of an account
		{func(i int) string { return filledID(i * 7919 % o.resources)[3:7] }, 1},
		{func(i int) string { return filledID(i * 7919 % o.resources)[3:12] }, 1},
		{func(i int) string { return fmt.Sprintf("10.%d.%d.", i%200, i%50) }, 0},
		{func(i int) string { return fmt.Sprintf("web-%d-%d", i%o.accounts, i%9) }, 0},
		{func(i int) string { return fmt.Sprintf("nowhere-%d", i) }, 0},
	}
	requests := []pageRequest{
		{what: "coverage", path: "/", pause: time.Second},
		{what: "coverage, all accounts", path: "/?show=all", pause: time.Second},
		{what: "inventory", path: "/inventory"},
	}
	for _, t := range texts {
		requests = append(requests, pageRequest{
			what: "search, API", path: "/api/v1/resources?limit=100&q=", text: t.text, atLeast: t.atLeast,
		})
	}
	for _, t := range texts[:4] {
		requests = append(requests, pageRequest{what: "search, page", path: "/inventory?q=", text: t.text})
	}
	return requests
}

// measure adds a row to the table.
func (r pageRequest) measure(ctx context.Context, t *table, url string, n int) error {
	var took []float64
	example, size := "", 0
	for i := range n {
		text := ""
		if r.text != nil {
			text = r.text(i)
			example = text
		}
		if i > 0 {
			time.Sleep(r.pause)
		}
		started := time.Now()
		body, err := fetch(ctx, url+r.path+text)
		if err != nil {
			return err
		}
		took, size = append(took, seconds(time.Since(started))*1e3), max(size, len(body))
		if r.atLeast > 0 {
			var answer struct{ Items []json.RawMessage }
			if err := json.Unmarshal(body, &answer); err != nil || len(answer.Items) < r.atLeast {
				return fmt.Errorf("%s%s: %d items: %w", r.path, text, len(answer.Items), err)
			}
		}
	}
	all := spreadOf(took, func(ms float64) float64 { return ms })
	t.add(r.what, example, formatNumber(all.median, 1), formatNumber(percentile(took, 95), 1), formatCount(size/1000))
	return nil
}

func fetch(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s\n%s", url, resp.Status, tail(body, 400))
	}
	return body, err
}

// withServer runs f while a collector serves a store, and sets rss to its peak memory. No account is due, and there is
// no AWS.
func (b *bench) withServer(
	ctx context.Context, dir string, org *organization, f func(ctx context.Context, url string) error, rss *int64,
) error {
	path, err := b.collectorBinary(ctx)
	if err != nil {
		return err
	}
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	nowhere, err := freeAddr()
	if err != nil {
		return err
	}
	text := runOptions{org: org, kinds: filledKinds[:]}.config(dir, b.store)
	text = append(text, "schedule: \"0 0 29 2 *\"\n"...)
	if err := os.WriteFile(b.path("config.yaml"), text, 0o600); err != nil {
		return err
	}
	env, err := b.environment(nil)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	var u usage
	var errServer error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		u, errServer = child{
			path: path, env: append(env, "AWS_ENDPOINT_URL=http://"+nowhere), dir: b.dir,
			args: []string{"run", "--log-level", "error", "--listen", addr, "--config", b.path("config.yaml")},
		}.measure(serving)
	}()
	err = waitForServer(serving, "http://"+addr+"/-/healthy", ended)
	if err == nil {
		err = f(ctx, "http://"+addr)
	}
	wasStopped := err == nil
	stop()
	<-ended
	*rss = u.rss
	if wasStopped && errors.Is(errServer, context.Canceled) {
		errServer = nil
	}
	return errors.Join(err, errServer)
}

// waitForServer waits until a server answers, or has ended.
func waitForServer(ctx context.Context, url string, ended <-chan struct{}) error {
	for {
		if _, err := fetch(ctx, url); err == nil {
			return nil
		}
		select {
		case <-ended:
			return errors.New("the collector ended before it answered")
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
