package call

import (
	"context"
	"fmt"
	"strings"
	"time"

	awsmw "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/metrics"
	mw "github.com/aws/smithy-go/middleware"
	"github.com/aws/smithy-go/tracing"
)

// The SDK's names of what is measured here; its retry loop and its transport measure the rest.
const (
	callDuration     = "client.call.duration"
	identityDuration = "client.call.auth.resolve_identity_duration"
	signingDuration  = "client.call.auth.signing_duration"
)

// telemetry names calls to the tracer and the meter of the configuration as the SDK's clients do. Most programs have
// set neither: then it does nothing.
type telemetry struct {
	service    string
	tracer     tracing.Tracer // nil: no tracing, no metrics
	histograms map[string]metrics.Float64Histogram
}

// scope is the name under which the SDK's client of a service asks for its tracer and meter.
func scope(service string) string {
	return "github.com/aws/aws-sdk-go-v2/service/" + strings.ToLower(service)
}

func newTelemetry(service string, tracers tracing.TracerProvider, meters metrics.MeterProvider) telemetry {
	_, untraced := tracers.(*tracing.NopTracerProvider)
	_, unmeasured := meters.(metrics.NopMeterProvider)
	if untraced && unmeasured {
		return telemetry{}
	}
	t := telemetry{
		service: service, tracer: tracers.Tracer(scope(service)), histograms: map[string]metrics.Float64Histogram{},
	}
	for _, name := range []string{callDuration, identityDuration, signingDuration} {
		h, err := meters.Meter(scope(service)).Float64Histogram(name, seconds)
		if err == nil { // without its histogram, the call still works
			t.histograms[name] = h
		}
	}
	return t
}

func seconds(o *metrics.InstrumentOptions) { o.UnitLabel = "s" }

// start begins a call. The caller calls end at the end of the call, with its error.
func (t *telemetry) start(ctx context.Context, op string) (_ context.Context, end func(error)) {
	if t.tracer == nil {
		return ctx, func(error) {}
	}
	ctx = awsmw.SetOperationName(awsmw.SetServiceID(ctx, t.service), op)
	ctx = mw.WithOperationName(mw.WithServiceID(ctx, t.service), op)
	ctx = tracing.WithOperationTracer(ctx, t.tracer)
	ctx, span := t.tracer.StartSpan(ctx, t.service+"."+op, func(o *tracing.SpanOptions) {
		o.Kind = tracing.SpanKindClient
		o.Properties.Set("rpc.system", "aws-api")
		o.Properties.Set("rpc.method", op)
		o.Properties.Set("rpc.service", t.service)
	})
	stop := t.timer(ctx, callDuration)
	return ctx, func(err error) {
		stop()
		span.SetProperty("error", err != nil)
		span.SetStatus(tracing.SpanStatusOK)
		if err != nil {
			span.SetProperty("exception.type", fmt.Sprintf("%T", err))
			span.SetProperty("exception.message", err.Error())
			span.SetStatus(tracing.SpanStatusError)
		}
		span.End()
	}
}

// timer measures until stop is called.
func (t *telemetry) timer(ctx context.Context, name string) (stop func()) {
	h := t.histograms[name]
	if h == nil {
		return func() {}
	}
	from := time.Now()
	return func() {
		h.Record(ctx, time.Since(from).Seconds(), func(o *metrics.RecordMetricOptions) {
			o.Properties.Set("rpc.service", mw.GetServiceID(ctx))
			o.Properties.Set("rpc.method", mw.GetOperationName(ctx))
		})
	}
}
