//go:build unix

package web

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/robfig/cron/v3"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

// BenchmarkScrape measures a scrape of 100 accounts × 20 regions × 8 kinds, as Prometheus asks for it: its CPU time,
// with garbage collection, and how long the slowest of a hundred takes.
func BenchmarkScrape(b *testing.B) {
	for _, c := range []struct {
		name, accept, encoding string
		collecting             bool
	}{
		{"text", "text/plain;version=0.0.4", "", false},
		{"text_gzip", "text/plain;version=0.0.4", "gzip", false},
		{"text_gzip_collecting", "text/plain;version=0.0.4", "gzip", true},
		{"openmetrics_gzip", "application/openmetrics-text;version=1.0.0", "gzip", false},
		{"protobuf_gzip", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;" +
			"encoding=delimited", "gzip", false},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := newFleet(b, 100, 20, 8)
			h := f.server.Handler()
			if c.collecting {
				f.collect(b)
			}
			size, before := 0, cpu()
			var took []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:9420/metrics", nil)
				r.RemoteAddr = "127.0.0.1:51000"
				r.Header.Set("Accept", c.accept)
				if c.encoding != "" {
					r.Header.Set("Accept-Encoding", c.encoding)
				}
				w := httptest.NewRecorder()
				start := time.Now()
				h.ServeHTTP(w, r)
				took = append(took, time.Since(start))
				if w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
				size = w.Body.Len()
			}
			b.ReportMetric(float64(size)/1024, "KiB")
			b.ReportMetric(float64((cpu()-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A fleet is a server with a board and metrics of accounts that all have the same regions and kinds.
type fleet struct {
	server   *Server
	observe  func(runner.Event)
	accounts []*runner.Account
	regions  []string
}

func newFleet(tb testing.TB, accounts, regions, kinds int) *fleet {
	tb.Helper()
	status := board.New()
	reg := prometheus.NewRegistry()
	m, err := NewMetrics(reg, status, MetricsOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	f := &fleet{observe: runner.Tee(status.Observe, m.Observe)}
	schedule, err := cron.ParseStandard("*/15 * * * *")
	if err != nil {
		tb.Fatal(err)
	}
	spec := &runner.AccountSpec{Timeout: time.Hour, Ticks: []runner.Tick{{Spec: "*/15 * * * *", Schedule: schedule}}}
	for i := range regions {
		f.regions = append(f.regions, fmt.Sprintf("eu-west-%d", i+1))
	}
	var kindNames []string
	for i := range kinds {
		kindNames = append(kindNames, fmt.Sprintf("ec2_kind_%d", i))
		spec.Kinds = append(spec.Kinds, runner.Kind{Name: kindNames[i]})
	}
	names := map[string][]string{}
	for i := range accounts {
		a := &runner.Account{Name: fmt.Sprintf("account-%05d", i), AccountSpec: spec}
		names[a.Name], f.accounts = kindNames, append(f.accounts, a)
	}
	conf, err := runner.NewConfiguration(runner.Configuration{Accounts: f.accounts})
	if err != nil {
		tb.Fatal(err)
	}
	f.observe(runner.Configured{Kinds: names, Configuration: conf})
	for i, a := range f.accounts {
		f.observe(runner.SignedIn{
			Account: a.Name, Identity: record.Identity{AccountID: fmt.Sprintf("%012d", i), Partition: "aws"},
		})
		f.observe(runner.RegionsPlanned{Account: a.Name, Regions: f.regions})
		for range f.list(a, i%10 == 0) {
		}
		f.observe(runner.RunEnded{Account: a.Name, Run: "01JD", Status: record.Success, Took: time.Minute})
	}
	if f.server, err = NewServer(Options{Gather: m.Gatherer(reg)}); err != nil {
		tb.Fatal(err)
	}
	return f
}

// list observes a run of an account, target by target. If it is denied, the first kind is.
func (f *fleet) list(a *runner.Account, denied bool) func(yield func() bool) {
	return func(yield func() bool) {
		for _, region := range f.regions {
			for i, kind := range a.Kinds {
				o := record.Outcome{
					Target: record.Target{Account: a.Name, Region: region, Kind: kind.Name}, Run: "01JD", State: record.OK,
					Records: 10, Started: time.Now(), Ended: time.Now(),
				}
				if denied && i == 0 {
					o.State = record.Denied
				}
				f.observe(runner.CallEnded{Account: a.Name, Region: region, Op: "DescribeInstances", Took: 80 * time.Millisecond})
				f.observe(runner.TargetEnded{Outcome: o})
				if !yield() {
					return
				}
			}
		}
	}
}

// collect runs all accounts, a thousand targets a second, until the end of the test.
func (f *fleet) collect(tb testing.TB) {
	stop, stopped := make(chan struct{}), make(chan struct{})
	tb.Cleanup(func() {
		close(stop)
		<-stopped
	})
	go func() {
		defer close(stopped)
		for {
			for _, a := range f.accounts {
				for range f.list(a, false) {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
				}
			}
		}
	}()
}
