package call

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkec2 "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go/metrics"
	"github.com/aws/smithy-go/tracing"
)

// log records the names under which the SDK speaks of a call.
type log struct {
	metrics.NopMeterProvider
	tracing.NopTracerProvider
	spans   []string
	methods []string // of spans and histograms
}

func (l *log) Tracer(string, ...tracing.TracerOption) tracing.Tracer { return logTracer{l: l} }
func (l *log) Meter(scope string, _ ...metrics.MeterOption) metrics.Meter {
	return logMeter{l.NopMeterProvider.Meter(scope), l}
}

type logTracer struct{ l *log }

func (t logTracer) StartSpan(
	ctx context.Context,
	name string,
	opts ...tracing.SpanOption,
) (context.Context, tracing.Span) {
	var o tracing.SpanOptions
	for _, f := range opts {
		f(&o)
	}
	t.l.spans = append(t.l.spans, name)
	if m, ok := o.Properties.Get("rpc.method").(string); ok {
		t.l.methods = append(t.l.methods, m)
	}
	return tracing.NopTracerProvider{}.Tracer("").StartSpan(ctx, name)
}

type logMeter struct {
	metrics.Meter
	l *log
}

func (m logMeter) Float64Histogram(name string, _ ...metrics.InstrumentOption) (metrics.Float64Histogram, error) {
	h, err := m.Meter.Float64Histogram(name)
	return logHistogram{h, m.l}, err
}

type logHistogram struct {
	metrics.Float64Histogram
	l *log
}

func (h logHistogram) Record(_ context.Context, _ float64, opts ...metrics.RecordMetricOption) {
	var o metrics.RecordMetricOptions
	for _, f := range opts {
		f(&o)
	}
	if m, ok := o.Properties.Get("rpc.method").(string); ok {
		h.l.methods = append(h.l.methods, m)
	}
}

// A program that traces sees the operation that it called.
func TestSpansAndMetersKeepTheName(t *testing.T) { onBothPaths(t, testSpansAndMetersKeepTheName) }

func testSpansAndMetersKeepTheName(t *testing.T, sdkStack bool) {
	var l log
	var w where
	trace := func(_ string, o any) {
		o.(*sdkec2.Options).TracerProvider, o.(*sdkec2.Options).MeterProvider = &l, &l
	}
	c := New(Options{SDKStack: sdkStack, AWS: aws.Config{HTTPClient: &w, ServiceOptions: []func(string, any){trace}}})
	err := c.Call(context.Background(), request(keys{}, new(codes)), discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(l.spans, "EC2.DescribeVolumes") || len(l.methods) < 5 {
		t.Errorf("spans %v, methods %v", l.spans, l.methods)
	}
	if all := strings.Join(append(l.spans, l.methods...), " "); strings.Contains(all, borrowed) {
		t.Errorf("the borrowed name shows: %s", all)
	}
}
