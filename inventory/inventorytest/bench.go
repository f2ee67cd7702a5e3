package inventorytest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A benchmark lists resources of 2 KB.
const benchPages, benchItems = 10, 1000

// benchTargets returns as many targets as make 100,000 resources, or a tenth of them with -short, which is enough for a
// trend.
func benchTargets() int {
	if testing.Short() {
		return 1
	}
	return 10
}

// Benchmark measures a driver: a first load, later runs without changes, and later runs in which one resource in a
// hundred changes. Only the store is measured, not making the pages. CPU is that of this process, without a database
// server. open returns an empty store.
func Benchmark(b *testing.B, open func(b *testing.B) inventory.Driver) {
	b.Run("first load", func(b *testing.B) {
		var m measurement
		for b.Loop() {
			b.StopTimer()
			d := open(b)
			b.StartTimer()
			m.list(b, d, 0)
			b.StopTimer()
			if err := d.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		m.report(b)
	})
	for _, again := range []struct {
		name    string
		changed int
	}{{"nothing changed", 0}, {"one in a hundred changed", 100}} {
		b.Run(again.name, func(b *testing.B) {
			d := open(b)
			var first, m measurement
			first.list(b, d, 0)
			for b.Loop() {
				m.round++
				m.list(b, d, again.changed)
			}
			m.report(b)
			if err := d.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkSearch finds the first 100 resources with a text among 100,000 in 100 targets: parts of ids, addresses and
// tags, most of which few resources have, and texts that all have. With -short there are a tenth of the targets. d is
// empty.
func BenchmarkSearch(b *testing.B, d inventory.Driver) {
	const items = 1000
	targets := 10 * benchTargets()
	inv := inventory.New(d, inventory.Options{})
	for n := range targets {
		listForSearch(b, inv, n, items, n == targets-1)
	}
	for name, text := range map[string]func(i int) string{
		"id":      func(i int) string { return fmt.Sprintf("%05x", uint32(i)*2654435761>>8&0xfffff) },
		"address": func(i int) string { return fmt.Sprintf("10.%d.%d.%d", i%targets, i%4, i%250) },
		"name":    func(i int) string { return fmt.Sprintf("web-%d-%d", i%targets, i%items) },
		"all":     func(int) string { return "platform" },
		"last":    func(int) string { return "in-the-last-target" },
		"short":   func(int) string { return "i-" },
	} {
		b.Run(name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				start := time.Now()
				n := 0
				q := inventory.Query{Search: text(7919 * len(took)), Limit: 101}
				for _, err := range d.Find(b.Context(), q) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
				if n > q.Limit || n == 0 && name != "id" {
					b.Fatalf("%q finds %d", q.Search, n)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
		})
	}
}

func listForSearch(b *testing.B, inv *inventory.Inventory, target, items int, last bool) {
	b.Helper()
	t, identity := Target()
	t.Region = fmt.Sprintf("us-east-%02d", target)
	w, err := inv.Begin(b.Context(), t, identity, "one")
	if err != nil {
		b.Fatal(err)
	}
	tags := map[string]string{"team": "platform"}
	if last {
		tags["place"] = "in-the-last-target"
	}
	list := make([]Item, items)
	for i := range list {
		own := maps.Clone(tags)
		own["Name"] = fmt.Sprintf("web-%d-%d", target, i)
		list[i] = Item{
			ID: fmt.Sprintf("i-%08x%09x", uint32(i*7919+target)*2654435761, i*target), State: "running",
			Address: fmt.Sprintf("10.%d.%d.%d", target, i/250, i%250), Tags: own,
		}
	}
	if err := w.Page(b.Context(), Page(t, identity, "one", list...)); err != nil {
		b.Fatal(err)
	}
	if err := w.End(
		b.Context(), record.Outcome{Target: t, Run: "one", State: record.OK, Started: time.Now()},
	); err != nil {
		b.Fatal(err)
	}
}

// A measurement is the time that the store took for listings.
type measurement struct {
	round     int
	wall, cpu time.Duration
}

// measure runs and measures the store's part of a listing.
func (m *measurement) measure(b *testing.B, f func() error) {
	b.Helper()
	b.StartTimer()
	start, cpu := time.Now(), OwnCPU()
	err := f()
	m.wall, m.cpu = m.wall+time.Since(start), m.cpu+OwnCPU()-cpu
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
}

func (m *measurement) report(b *testing.B) {
	n := float64(b.N)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(m.wall.Seconds()/n, "s/run")
	b.ReportMetric(m.cpu.Seconds()/n, "cpu-s/run")
	b.ReportMetric(float64(benchTargets()*benchPages*benchItems)*n/m.wall.Seconds(), "resources/s")
}

// list lists everything once. One resource in every `every` gets another state each round.
func (m *measurement) list(b *testing.B, d inventory.Driver, every int) {
	b.Helper()
	b.StopTimer()
	defer b.StartTimer()
	pad := incompressible(1000) // half of it compresses, like an instance
	inv := inventory.New(d, inventory.Options{})
	_, identity := Target()
	items := make([]Item, benchItems)
	for n := range benchTargets() {
		target := record.Target{Account: "prod", Region: fmt.Sprintf("us-east-%d", n), Kind: "ec2_instance"}
		var v inventory.ScopeWriter
		m.measure(b, func() (err error) {
			v, err = inv.Begin(b.Context(), target, identity, "run")
			return err
		})
		for page := range benchPages {
			for i := range items {
				id := fmt.Sprintf("i-%05x%08x%04x", n, page, i)
				items[i] = Item{
					ID:    id,
					State: "running",
					Type:  "m5.large",
					Tags:  map[string]string{"Name": id, "team": "platform"},
					Pad:   id + pad + pad[:700],
				}
				if every > 0 && i%every == 0 {
					items[i].State = fmt.Sprint("round", m.round)
				}
			}
			p := Page(target, identity, "run", items...)
			m.measure(b, func() error { return v.Page(b.Context(), p) })
		}
		m.measure(b, func() error {
			return v.End(b.Context(), record.Outcome{Target: target, Run: "run", State: record.OK, Started: time.Now()})
		})
	}
}

// incompressible returns text that does not compress.
func incompressible(n int) string {
	var b strings.Builder
	x := uint64(88172645463325252)
	for range n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b.WriteByte('!' + byte(x%90))
	}
	return b.String()
}
