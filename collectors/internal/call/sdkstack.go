package call

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmw "github.com/aws/aws-sdk-go-v2/aws/middleware"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/metrics"
	mw "github.com/aws/smithy-go/middleware"
	"github.com/aws/smithy-go/tracing"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// This file is the call path of the releases before: it makes EC2's calls through the SDK's middleware stack of
// DescribeRegions, with the steps that know the operation replaced. [Options.SDKStack] chooses it.

// describeRegions is the operation of one region's client. It is a func, as a *ec2.Client that can be reached from an
// interface value keeps its 700 methods in the binary (20 MB) as soon as a template is executed anywhere.
type describeRegions func(
	context.Context, *ec2.DescribeRegionsInput, ...func(*ec2.Options),
) (*ec2.DescribeRegionsOutput, error)

func (c *Caller) sdkStack(region string) describeRegions {
	c.mu.Lock()
	defer c.mu.Unlock()
	call, ok := c.sdkStacks[region]
	if !ok {
		call = ec2.NewFromConfig(c.options.AWS, func(o *ec2.Options) {
			o.Region, o.Credentials = region, nil
			o.RetryMode, o.RetryMaxAttempts, o.Retryer = aws.RetryModeStandard, 0, c.retryer
		}).DescribeRegions
		c.sdkStacks[region] = call
	}
	return call
}

func (c *Caller) callBySDKStack(ctx context.Context, a *attempt) error {
	_, err := c.sdkStack(a.request.Region)(ctx, nil, a.stack)
	return unwrapOperation(err)
}

// stack replaces the steps that know the operation.
func (a *attempt) stack(o *ec2.Options) {
	o.Credentials = a.credentials
	rename(o, a.request.Op)
	o.APIOptions = append(o.APIOptions, func(s *mw.Stack) error {
		_, err1 := s.Serialize.Swap("OperationSerializer", mw.SerializeMiddlewareFunc("OperationSerializer", a.write))
		_, err2 := s.Deserialize.Swap("OperationDeserializer",
			mw.DeserializeMiddlewareFunc("OperationDeserializer", a.readForSDK))
		err3 := s.Initialize.Add(mw.InitializeMiddlewareFunc("OperationName", a.setName), mw.Before)
		// Right inside the retry loop: once an attempt.
		err4 := s.Finalize.Insert(mw.FinalizeMiddlewareFunc("Gate", a.throughGate), "Retry", mw.After)
		return errors.Join(err1, err2, err3, err4)
	})
}

// setName tells the SDK which operation this is; it keeps the name under two keys.
func (a *attempt) setName(
	ctx context.Context, in mw.InitializeInput, next mw.InitializeHandler,
) (mw.InitializeOutput, mw.Metadata, error) {
	op := a.request.Op
	return next.HandleInitialize(awsmw.SetOperationName(mw.WithOperationName(ctx, op), op), in)
}

func (a *attempt) write(
	ctx context.Context, in mw.SerializeInput, next mw.SerializeHandler,
) (out mw.SerializeOutput, md mw.Metadata, err error) {
	req, ok := in.Request.(*smithyhttp.Request)
	if !ok {
		return out, md, &smithy.SerializationError{Err: fmt.Errorf("unknown transport %T", in.Request)}
	}
	req.Method, req.URL.Path = "POST", "/"
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if in.Request, err = req.SetStream(form{bytes.NewReader(a.form)}); err != nil {
		return out, md, &smithy.SerializationError{Err: err}
	}
	// The SDK would copy the body through 32 KiB of its own, made anew for each call: a quarter of all that a run
	// allocates.
	return next.HandleSerialize(v4.SetPayloadHash(ctx, payloadHash(a.form)), in)
}

func (a *attempt) readForSDK(
	ctx context.Context, in mw.DeserializeInput, next mw.DeserializeHandler,
) (out mw.DeserializeOutput, md mw.Metadata, err error) {
	out, md, err = a.read(ctx, in, next)
	out.Result = &ec2.DescribeRegionsOutput{} // the SDK asserts the type
	return out, md, err
}

// rename makes the SDK's spans and meters, where a program has set some, name the operation that is called instead of
// DescribeRegions: both take the name before the stack runs.
func rename(o *ec2.Options, op string) {
	if _, nop := o.TracerProvider.(*tracing.NopTracerProvider); !nop && o.TracerProvider != nil {
		o.TracerProvider = tracers{o.TracerProvider, op}
	}
	if _, nop := o.MeterProvider.(metrics.NopMeterProvider); !nop && o.MeterProvider != nil {
		o.MeterProvider = meters{o.MeterProvider, op}
	}
}

const (
	borrowed = "DescribeRegions"
	method   = "rpc.method"
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
	if name == ec2.ServiceID+"."+borrowed {
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
	if p.Get(method) == borrowed {
		p.Set(method, op)
	}
}
