package call

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/metrics"
	"github.com/aws/smithy-go/tracing"
)

// rename makes the SDK's spans and meters, where a program has set some, name the operation that is called instead of
// the one that lends its stack: both take the name before the stack runs.
func rename(o *ec2.Options, op string) {
	if _, nop := o.TracerProvider.(*tracing.NopTracerProvider); !nop && o.TracerProvider != nil {
		o.TracerProvider = tracers{o.TracerProvider, op}
	}
	if _, nop := o.MeterProvider.(metrics.NopMeterProvider); !nop && o.MeterProvider != nil {
		o.MeterProvider = meters{o.MeterProvider, op}
	}
}

const (
	lent   = "DescribeRegions"
	method = "rpc.method"
)

type tracers struct {
	tracing.TracerProvider
	op string
}

func (t tracers) Tracer(scope string, opts ...tracing.TracerOption) tracing.Tracer {
	return tracer{t.TracerProvider.Tracer(scope, opts...), t.op}
}

type tracer struct {
	tracing.Tracer
	op string
}

func (t tracer) StartSpan(
	ctx context.Context,
	name string,
	opts ...tracing.SpanOption,
) (context.Context, tracing.Span) {
	if name == ec2.ServiceID+"."+lent {
		name = ec2.ServiceID + "." + t.op
		opts = append(opts, func(o *tracing.SpanOptions) { setMethod(&o.Properties, t.op) })
	}
	return t.Tracer.StartSpan(ctx, name, opts...)
}

type meters struct {
	metrics.MeterProvider
	op string
}

func (m meters) Meter(scope string, opts ...metrics.MeterOption) metrics.Meter {
	return meter{m.MeterProvider.Meter(scope, opts...), m.op}
}

// meter renames in histograms alone: no other instrument of the SDK is read before the stack runs.
type meter struct {
	metrics.Meter
	op string
}

func (m meter) Float64Histogram(name string, opts ...metrics.InstrumentOption) (metrics.Float64Histogram, error) {
	h, err := m.Meter.Float64Histogram(name, opts...)
	return histogram{h, m.op}, err
}

type histogram struct {
	metrics.Float64Histogram
	op string
}

func (h histogram) Record(ctx context.Context, v float64, opts ...metrics.RecordMetricOption) {
	h.Float64Histogram.Record(
		ctx,
		v,
		append(opts, func(o *metrics.RecordMetricOptions) { setMethod(&o.Properties, h.op) })...)
}

func setMethod(p *smithy.Properties, op string) {
	if p.Get(method) == lent {
		p.Set(method, op)
	}
}
