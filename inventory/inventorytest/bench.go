package inventorytest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// What a benchmark lists: resources of 2 KB, in so many targets of so many pages.
const benchPages, benchItems = 10, 1000

// benchTargets makes it 100,000 resources; with -short, where a trend is all that is wanted, a tenth of them.
func benchTargets() int {
	if testing.Short() {
		return 1
	}
	return 10
}

// Benchmark measures a driver: a first load, and the runs after it in which nothing has changed, and in which one resource in a
// hundred has. What is measured is the store: making the pages is not. CPU is this process's, so with a server the server's
// is not in it. open makes an empty store.
func Benchmark(b *testing.B, open func(b *testing.B) inventory.Driver) {
	b.Run("first load", func(b *testing.B) {
		var l measurement
		for b.Loop() {
			b.StopTimer()
			d := open(b)
			b.StartTimer()
			l.list(b, d, 0)
			b.StopTimer()
			if err := d.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		l.report(b)
	})
	for _, again := range []struct {
		name    string
		changed int
	}{{"nothing changed", 0}, {"one in a hundred changed", 100}} {
		b.Run(again.name, func(b *testing.B) {
			d := open(b)
			var first, l measurement
			first.list(b, d, 0)
			for b.Loop() {
				l.round++
				l.list(b, d, again.changed)
			}
			l.report(b)
			if err := d.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// A load is listings, and what the store took for them.
type measurement struct {
	round     int
	wall, cpu time.Duration
}

// measure runs a part of a listing that is the store's.
func (l *measurement) measure(b *testing.B, f func() error) {
	b.Helper()
	b.StartTimer()
	start, cpu := time.Now(), ownCPU()
	err := f()
	l.wall, l.cpu = l.wall+time.Since(start), l.cpu+ownCPU()-cpu
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
}

func (l *measurement) report(b *testing.B) {
	n := float64(b.N)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(l.wall.Seconds()/n, "s/run")
	b.ReportMetric(l.cpu.Seconds()/n, "cpu-s/run")
	b.ReportMetric(float64(benchTargets()*benchPages*benchItems)*n/l.wall.Seconds(), "resources/s")
}

// list lists everything once; of every so many resources one is in another state each round.
func (l *measurement) list(b *testing.B, d inventory.Driver, every int) {
	b.Helper()
	b.StopTimer()
	defer b.StartTimer()
	pad := incompressible(1000) // half of it compresses, as that of an instance does
	inv := inventory.New(d, inventory.Options{})
	_, identity := Target()
	items := make([]Item, benchItems)
	for n := range benchTargets() {
		target := record.Target{Account: "prod", Region: fmt.Sprintf("us-east-%d", n), Kind: "ec2_instance"}
		var v *inventory.ScopeWriter
		l.measure(b, func() (err error) {
			v, err = inv.Begin(b.Context(), target, identity, "run")
			return err
		})
		for page := range benchPages {
			for i := range items {
				id := fmt.Sprintf("i-%05x%08x%04x", n, page, i)
				items[i] = Item{ID: id, State: "running", Type: "m5.large", Tags: map[string]string{"Name": id, "team": "platform"}, Pad: id + pad + pad[:700]}
				if every > 0 && i%every == 0 {
					items[i].State = fmt.Sprint("round", l.round)
				}
			}
			p := Page(target, identity, "run", items...)
			l.measure(b, func() error { return v.Page(b.Context(), p) })
		}
		l.measure(b, func() error {
			return v.End(b.Context(), record.Outcome{Target: target, Run: "run", State: record.OK, Started: time.Now()})
		})
	}
}

// incompressible is text that does not compress.
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
