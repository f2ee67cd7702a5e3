// Package otlptest tests the output `otlp` with the receiver of the OpenTelemetry Collector. It is a module of its own,
// because that receiver needs a hundred modules that the program does not need.
package otlptest

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/consumer/consumererror"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/otlp"
	"github.com/aws-collector/collector/outputs/outputstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	outputstest.RunRemote(
		t,
		outputstest.Remote{
			Type: otlp.Type,
			TLS:  true,
			Serve: func(t *testing.T, w *outputstest.FaultyListener) outputstest.Receiver {
				p := &pipeline{}
				forward(t, w, p.start(t))
				return outputstest.Receiver{
					Options: func(ca string) any {
						o := otlp.Type.Options().(*otlp.Options)
						o.URL, o.TLS.CAFile = w.URL(), ca
						return o
					},
					Received: p.received,
					Refuse: func(id string) {
						p.mu.Lock()
						defer p.mu.Unlock()
						p.refused, p.refusal = id, status.Error(codes.InvalidArgument, "not this one")
					},
					Busy: func(d time.Duration) {
						p.mu.Lock()
						defer p.mu.Unlock()
						p.busy = d
					},
				}
			},
		},
	)
}

// A permanent error of a Collector's processor or exporter is a 500.
func TestPermanentError(t *testing.T) {
	p := &pipeline{refused: "i-1", refusal: consumererror.NewPermanent(errors.New("not this one"))}
	out := open(t, "http://"+p.start(t))
	if err := out.Send(t.Context(), outputstest.BatchOf("many", outputstest.Page("i", 3, 10))); !errors.Is(
		err,
		outputs.ErrReceiverFailed,
	) {
		t.Errorf("a request of several records: %v; want ErrReceiverFailed", err)
	}
	if err := out.Send(t.Context(), outputstest.BatchOf("good", outputstest.Page("k", 2, 10))); err != nil {
		t.Error(err)
	}
	if got := p.received(); !slices.Equal(got, []string{"k-0", "k-1"}) {
		t.Errorf("received %v", got)
	}
}

func open(t *testing.T, url string) outputs.Output {
	t.Helper()
	o := otlp.Type.Options().(*otlp.Options)
	o.URL = url
	out, err := otlp.Type.Open(t.Context(), o, outputs.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := out.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return out
}

// A pipeline after the receiver gets the record's fields.
func TestPipeline(t *testing.T) {
	p := &pipeline{}
	out := open(t, "http://"+p.start(t))
	line := `{"kind":"ec2_volume","id":"vol-1","account":"prod","account_id":"222222222222","partition":"aws",` +
		`"region":"us-east-1","name":"disk","tags":{"team":"platform"},` +
		`"extra_tags":{"deployment.environment.name":"production"},"run":"r","collected_at":"2026-11-21T22:15:03Z",` +
		`"data":{"Size":100,"State":"in-use"}}` + "\n"
	if err := out.Send(t.Context(), outputs.Batch{N: 1, Lines: []byte(line)}); err != nil {
		t.Fatal(err)
	}
	if len(p.logs) != 1 {
		t.Fatalf("%d requests", len(p.logs))
	}
	resource := p.logs[0].ResourceLogs().At(0)
	record := resource.ScopeLogs().At(0).LogRecords().At(0)
	for _, c := range []struct{ what, got, want string }{
		{"cloud.region", get(resource.Resource().Attributes(), "cloud.region"), "us-east-1"},
		{"an extra tag", get(resource.Resource().Attributes(), "deployment.environment.name"), "production"},
		{"an AWS tag", get(record.Attributes(), "aws.tag.team"), "platform"},
		{"event name", record.EventName(), "aws.resource"},
		{"time", record.Timestamp().AsTime().Format("2006-01-02T15:04:05Z"), "2026-11-21T22:15:03Z"},
		{"body", record.Body().AsString(), `{"Size":100,"State":"in-use"}`},
		{"severity", record.SeverityNumber().String(), "Info"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
}

// A pipeline is a consumer behind the receiver: it stores the logs, or refuses them permanently.
type pipeline struct {
	mu      sync.Mutex
	logs    []plog.Logs
	ids     []string
	refused string // the id of a record
	refusal error
	busy    time.Duration
}

func get(m pcommon.Map, key string) string {
	v, ok := m.Get(key)
	if !ok {
		return "(none)"
	}
	return v.AsString()
}

func (p *pipeline) received() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ids)
}

func (p *pipeline) consume(_ context.Context, logs plog.Logs) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy > 0 { // as the collector's memory limiter does
		st, err := status.New(codes.ResourceExhausted, "later").
			WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(p.busy)})
		p.busy = 0
		if err != nil {
			return err
		}
		return st.Err()
	}
	var ids []string
	for _, r := range logs.ResourceLogs().All() {
		for _, s := range r.ScopeLogs().All() {
			for _, l := range s.LogRecords().All() {
				ids = append(ids, get(l.Attributes(), "aws.resource.id"))
			}
		}
	}
	if slices.Contains(ids, p.refused) {
		return p.refusal
	}
	stored := plog.NewLogs()
	logs.CopyTo(stored)
	p.logs, p.ids = append(p.logs, stored), append(p.ids, ids...)
	return nil
}

// start runs a receiver until the test ends, and returns its address.
func (p *pipeline) start(t *testing.T) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	f := otlpreceiver.NewFactory()
	c := f.CreateDefaultConfig().(*otlpreceiver.Config)
	c.Protocols.GRPC = configoptional.None[configgrpc.ServerConfig]()
	c.Protocols.HTTP.GetOrInsertDefault().ServerConfig.NetAddr.Endpoint = address
	next, err := consumer.NewLogs(p.consume)
	if err != nil {
		t.Fatal(err)
	}
	r, err := f.CreateLogs(t.Context(), receivertest.NewNopSettings(f.Type()), c, next)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return address
}

// forward connects each connection of the faulty listener to the receiver, which has its own listener.
func forward(t *testing.T, w *outputstest.FaultyListener, to string) {
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := w.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			for _, c := range [][2]net.Conn{{in, out}, {out, in}} {
				wg.Go(func() {
					_, _ = io.Copy(c[0], c[1]) // the faulty listener ends connections
					_, _ = c[0].Close(), c[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = w.Close()
		wg.Wait()
	})
}
