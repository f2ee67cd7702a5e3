package main

import (
	"bytes"
	"errors"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/aws-collector/collector/internal/samebuild"

	// The packages of the collector: they are compiled for other tests, too, so building it in this test is fast.
	_ "github.com/aws-collector/collector/auth"
	_ "github.com/aws-collector/collector/collectors"
	_ "github.com/aws-collector/collector/inventory/postgres"
	_ "github.com/aws-collector/collector/inventory/sqlite"
	_ "github.com/aws-collector/collector/outputs/all"
	_ "github.com/aws-collector/collector/outputs/deliver"
	_ "github.com/aws-collector/collector/web"
)

// TestMain lets this binary run as its own child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == rawCommand {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// The tests find a benchmark that no longer runs. Each benchmark checks that every record was written.
func TestEachBenchmarkRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("links the collector")
	}
	// Without the flags of a release, which would compile everything again.
	binary := filepath.Join(t.TempDir(), "collector")
	if err := samebuild.Build(t.Context(), binary, "../cmd/collector"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		want []string // in the output
	}{
		{"scale -accounts 3 -n 1 -latency 1ms", []string{"| 3        | key+role |", "|      key |", " 60 |"}},
		{
			"whole -instances 10000 -sdk-instances 0 -n 1 -store sqlite",
			[]string{"| collector, nothing changed |", "| raw HTTP, thrown away "},
		},
		{"wire -instances 10000 -n 1", []string{"| off |  off |", "| on  |   on |"}},
		{"empty -latency 1ms -n 1", []string{"| throttled |"}},
		{"size", []string{" MB ("}},
		{"validate -accounts 20 -n 2", []string{"20 accounts, offline", "| 2    |"}},
		{
			"page -accounts 3 -regions 2 -resources 1300 -n 1",
			[]string{"| coverage ", "| search, API ", "| search, page ", "Peak RSS"},
		},
		{"validate -accounts 20 -n 2 -mistakes", []string{"20 accounts with 60 mistakes, offline", "| 2    |"}},
	} {
		name, _, _ := strings.Cut(c.args, " ")
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			args := strings.Fields(c.args)
			args = append(args[:1:1], append([]string{"-collector", binary}, args[1:]...)...)
			if err := run(t.Context(), args, &stdout, &stderr); err != nil {
				t.Fatalf("%v\n%s", err, stderr.Bytes())
			}
			for _, w := range c.want {
				if !strings.Contains(stdout.String(), w) {
					t.Errorf("no %q in\n%s", w, stdout.String())
				}
			}
		})
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"-h"}, {"scale", "-h"}, {"scale", "-no-such-flag"}} {
		var stdout, stderr bytes.Buffer
		if err := run(t.Context(), args, &stdout, &stderr); !errors.Is(err, flag.ErrHelp) ||
			!strings.Contains(strings.ToLower(stderr.String()), "usage") {
			t.Errorf("%q: %v\n%s", args, err, stderr.String())
		}
	}
	for _, args := range [][]string{{"skale"}, {"scale", "more"}, {"scale", "-accounts", "many"}} {
		var out bytes.Buffer
		if err := run(t.Context(), args, &out, &out); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q: %v", args, err)
		}
	}
}

func TestSpread(t *testing.T) {
	for p, want := range map[int]float64{0: 1, 50: 2, 95: 4, 100: 4} {
		if got := percentile([]float64{3, 1, 4, 2}, p); got != want {
			t.Errorf("p%d: %v, want %v", p, got, want)
		}
	}
	self := func(f float64) float64 { return f }
	for _, c := range []struct {
		of     []float64
		digits int
		want   string
	}{
		{nil, 1, "0.0"},
		{[]float64{2}, 1, "2.0"},
		{[]float64{3, 1, 2}, 0, "2 (1–3)"},
		{[]float64{4, 1, 2, 3}, 1, "2.5 (1.0–4.0)"},
		{[]float64{1.01, 1.02, 1.03}, 1, "1.0"},
		{[]float64{1234567}, 0, "1,234,567"},
		{[]float64{-1234.5}, 1, "-1,234.5"},
		{[]float64{-100}, 0, "-100"},
	} {
		if got := spreadOf(c.of, self).format(c.digits); got != c.want {
			t.Errorf("%v: %q, want %q", c.of, got, c.want)
		}
	}
	if got := formatRatio(3, 1.5); got != "2.0×" {
		t.Error(got)
	}
	if s := formatRatio(1, 0); strings.Contains(s, "Inf") || math.IsNaN(spreadOf[float64](nil, self).median) {
		t.Error(s)
	}
}
