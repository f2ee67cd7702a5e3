// Package otlp is the output `otlp`: lines as OpenTelemetry log records, in OTLP's binary form over HTTP.
package otlp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	logspb "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logpb "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/fields"
	"github.com/aws-collector/collector/outputs/internal/httpclient"
	"github.com/aws-collector/collector/record"
)

// Options is the options of the output `otlp`: each line as an OpenTelemetry log record, in OTLP's binary form over
// HTTP. https://opentelemetry.io/docs/specs/otlp/#otlphttp
type Options struct {
	outputs.Common     `yaml:",inline"`
	httpclient.Options `yaml:",inline"`
	outputs.Batching   `yaml:",inline"`
	ServiceName        string `yaml:"service_name" doc:"The resource attribute service.name: the sender's name."`
}

// logsPath is the path for logs.
const logsPath = "/v1/logs"

// Type is this output.
var Type = outputs.Type{Name: "otlp", Options: defaults, Open: open, Translates: true}

func defaults() any {
	return &Options{
		Options:     httpclient.Defaults(),
		Batching:    outputs.Batching{MaxRecords: 1000, MaxBytes: 1 << 20, MaxWait: config.Duration(time.Second)},
		ServiceName: "collector",
	}
}

// Validate reports every error in the options.
func (o *Options) Validate() error {
	errs := append(o.ClientErrors("http://127.0.0.1:4318"), o.BatchingErrors()...)
	if u, err := httpclient.ParseURL(o.URL); err == nil &&
		(strings.HasSuffix(u.Path, "/v1/traces") || strings.HasSuffix(u.Path, "/v1/metrics")) {
		errs = append(errs, errors.New("url: must end in "+logsPath+", or in what precedes it: the records are logs"))
	}
	if o.ServiceName == "" {
		errs = append(errs, errors.New("service_name: is needed: the specification requires the attribute service.name"))
	}
	return errors.Join(errs...)
}

type encoder struct {
	service     string
	displayURL  string              // as messages show it
	redact      func([]byte) []byte // removes our secrets from a response
	log         *slog.Logger
	lastWarning string // the receiver's last warning
}

func open(_ context.Context, options any, d outputs.Deps) (outputs.Output, error) {
	o := options.(*Options)
	u, err := httpclient.ParseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if !strings.HasSuffix(strings.TrimSuffix(u.Path, "/"), logsPath) {
		u = u.JoinPath(logsPath)
	}
	c, err := httpclient.New(&o.Options, u.String())
	if err != nil {
		return nil, err
	}
	x := &encoder{service: o.ServiceName, displayURL: c.DisplayURL, redact: c.Redact, log: d.Log}
	if x.log == nil {
		x.log = slog.New(slog.DiscardHandler)
	}
	if u.Port() == "4317" {
		x.log.Warn("otlp url has the port of gRPC", "url", c.DisplayURL,
			"hint", "Use the port of OTLP over HTTP, usually 4318: gRPC is not supported.")
	}
	out := httpclient.NewOutput(c, x.encode)
	out.CheckResponse = x.checkResponse
	return out, nil
}

// encode groups the records of a batch by resource: account, region and tags.
func (x *encoder) encode(b outputs.Batch) (http.Header, []byte, error) {
	req := &logspb.ExportLogsServiceRequest{}
	groups := map[string]*logpb.ScopeLogs{}
	for l, err := range outputs.Lines(b.Lines) {
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", outputs.ErrRefused, err)
		}
		resource := x.resourceAttributes(l)
		key := resource.groupKey()
		group := groups[key]
		if group == nil {
			group = &logpb.ScopeLogs{Scope: &commonpb.InstrumentationScope{Name: "github.com/aws-collector/collector"}}
			groups[key] = group
			req.ResourceLogs = append(
				req.ResourceLogs,
				&logpb.ResourceLogs{Resource: &resourcepb.Resource{Attributes: resource.list},
					ScopeLogs: []*logpb.ScopeLogs{group}},
			)
		}
		r, err := logRecord(l)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %s %s: %w", outputs.ErrRefused, l.Kind, l.ID, err)
		}
		group.LogRecords = append(group.LogRecords, r)
	}
	if len(req.ResourceLogs) == 0 {
		return nil, nil, nil
	}
	body, err := proto.Marshal(req)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", outputs.ErrRefused, err)
	}
	return http.Header{"Content-Type": {"application/x-protobuf"}}, body, nil
}

// checkResponse checks whether the receiver took all records. A response has the number of rejected records, but not
// which. The specification lets clients drop them. We return a refusal instead, so the spool finds them with smaller
// requests and writes them to its dead letters. Accepted records may be sent again meanwhile, as after a lost response;
// log.record.uid identifies them.
func (x *encoder) checkResponse(_ outputs.Batch, body []byte, err error) error {
	if err != nil {
		return err
	}
	resp := &logspb.ExportLogsServiceResponse{}
	if err := proto.Unmarshal(body, resp); err != nil {
		// Some receivers answer in JSON, whatever the format of the request.
		asJSON := protojson.UnmarshalOptions{DiscardUnknown: true}
		if jerr := asJSON.Unmarshal(body, resp); jerr != nil {
			return &record.Fault{
				Reason: record.BadAnswer,
				Hint:   "Check url, and whether a proxy or a login page answers: the response is not OTLP.",
				Err: fmt.Errorf("%s: the response is not an ExportLogsServiceResponse: %s",
					x.displayURL, httpclient.Excerpt(x.redact(body))),
			}
		}
	}
	p := resp.GetPartialSuccess()
	if n := p.GetRejectedLogRecords(); n > 0 {
		return fmt.Errorf("%w: %s: %d log records: %s",
			outputs.ErrRefused, x.displayURL, n, httpclient.Excerpt(x.redact([]byte(p.GetErrorMessage()))))
	}
	if m := p.GetErrorMessage(); m != x.lastWarning {
		x.lastWarning = m
		if m != "" {
			x.log.Warn("receiver accepted the records with a warning",
				"url", x.displayURL, "warning", httpclient.Excerpt(x.redact([]byte(m))))
		}
	}
	return nil
}

// resourceNames are the built-in attributes of the resource.
// https://opentelemetry.io/docs/specs/semconv/registry/attributes/cloud/
var resourceNames = []string{
	"service.name", "cloud.provider", "cloud.account.id", "cloud.region", "aws.partition", "aws.account.name",
}

func (x *encoder) resourceAttributes(l *outputs.Line) *attributes {
	a := &attributes{}
	a.addText("service.name", x.service)
	a.addText("cloud.provider", "aws")
	a.addText("cloud.account.id", l.AccountID)
	a.addText("cloud.region", l.Region)
	a.addText("aws.partition", l.Partition)
	a.addText("aws.account.name", l.Account)
	for name, value := range fields.ExtraTags(l.ExtraTags, func(name string) bool {
		return name == "" ||
			slices.Contains(resourceNames, name)
	}) {
		a.addText(name, value)
	}
	return a
}

// logRecord makes an event of a record, a change or an end. Its body is the resource's data.
func logRecord(l *outputs.Line) (*logpb.LogRecord, error) {
	r := &logpb.LogRecord{
		EventName:      "aws.resource",
		TimeUnixNano:   unixNanos(l.CollectedAt),
		SeverityNumber: logpb.SeverityNumber_SEVERITY_NUMBER_INFO,
		SeverityText:   "INFO",
	}
	a := attributes{}
	a.addText("log.record.uid", l.StableID())
	a.addText("aws.run", l.Run)
	body := l.Data
	switch {
	case l.Target != "":
		r.EventName, body = "aws.target.end", nil
		a.addText("aws.resource.kind", l.Target)
		a.addText("aws.target.state", string(l.State))
		a.add("aws.target.records", intValue(int64(l.Records)))
		r.Body = textValue(fmt.Sprintf("%s in %s of %s: %s, %d records", l.Target, l.Region, l.Account, l.State, l.Records))
		if l.State.Failed() {
			r.SeverityNumber, r.SeverityText = logpb.SeverityNumber_SEVERITY_NUMBER_WARN, "WARN"
		}
	default:
		a.addText("aws.resource.kind", l.Kind)
		a.addText("aws.resource.id", l.ID)
		a.addText("aws.resource.name", l.Name)
		a.addText("cloud.resource_id", arnOf(l))
		for _, key := range slices.Sorted(maps.Keys(l.Tags)) {
			a.add("aws.tag."+key, textValue(l.Tags[key]))
		}
	}
	if l.Change != "" {
		r.EventName, r.TimeUnixNano = "aws.resource."+l.Change, unixNanos(l.At)
		a.addText("aws.change.reason", l.Ended)
		if err := a.addChanges(l); err != nil {
			return nil, err
		}
	}
	if len(body) > 0 {
		var err error
		if r.Body, err = anyValue(body); err != nil {
			return nil, err
		}
	}
	r.Attributes = a.list
	if r.ObservedTimeUnixNano = r.TimeUnixNano; r.ObservedTimeUnixNano == 0 {
		r.ObservedTimeUnixNano = unixNanos(time.Now()) // required by the specification
	}
	return r, nil
}

// unixNanos returns 0, which means unknown, for times that OTLP cannot express.
func unixNanos(t time.Time) uint64 {
	if n := t.UnixNano(); n > 0 && t.Year() > 1970 && t.Year() < 2262 {
		return uint64(n)
	}
	return 0
}

// attributes is a list of attributes in order of addition.
type attributes struct{ list []*commonpb.KeyValue }

func (a *attributes) add(key string, v *commonpb.AnyValue) {
	a.list = append(a.list, &commonpb.KeyValue{Key: key, Value: v})
}

// addText adds a text unless it is empty.
func (a *attributes) addText(key, value string) {
	if value != "" {
		a.add(key, textValue(value))
	}
}

// groupKey is equal for equal attributes. All values must be texts.
func (a *attributes) groupKey() string {
	var b strings.Builder
	for _, kv := range a.list {
		fmt.Fprintf(&b, "%q=%q ", kv.Key, kv.Value.GetStringValue())
	}
	return b.String()
}

// addChanges adds the changes as an array of {path, from, to}.
func (a *attributes) addChanges(l *outputs.Line) error {
	if len(l.Changes) == 0 {
		return nil
	}
	b, err := json.Marshal(l.Changes)
	if err != nil {
		return err
	}
	v, err := anyValue(b)
	if err == nil {
		a.add("aws.changes", v)
	}
	return err
}

// arnOf returns the resource's ARN if AWS provides it or it is certain, else "".
func arnOf(l *outputs.Line) string {
	data := fields.Members(l.Data)
	for _, key := range fields.SortedKeys(data) {
		var arn string
		if strings.HasSuffix(key, "Arn") && json.Unmarshal(data[key], &arn) == nil && strings.HasPrefix(arn, "arn:") &&
			strings.HasSuffix(arn, "/"+l.ID) {
			return arn
		}
	}
	var of struct {
		Reservation struct{ OwnerId string }
	}
	// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html: an instance belongs to its
	// owner, and a listing contains only the account's own.
	if l.Kind == "ec2_instance" && json.Unmarshal(l.Data, &of) == nil && of.Reservation.OwnerId == l.AccountID &&
		l.AccountID != "" {
		return "arn:" + l.Partition + ":ec2:" + l.Region + ":" + l.AccountID + ":instance/" + l.ID
	}
	return ""
}
