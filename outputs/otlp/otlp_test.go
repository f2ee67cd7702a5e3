package otlp_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	logspb "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logpb "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/outputs/otlp"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// The receivers of these tests are strict; the module otlptest tests with the OpenTelemetry Collector.

func TestOTLPConformance(t *testing.T) {
	outputstest.RunRemote(t, outputstest.RemoteHTTP(t, otlp.Type,
		func(o any, url, ca string) { o.(*otlp.Options).URL, o.(*otlp.Options).TLS.CAFile = url, ca },
		func(r *http.Request, body []byte) (ids []string, err error) {
			req, err := exported(r, body)
			if err != nil {
				return nil, err
			}
			for _, l := range logsOf(req) {
				ids = append(ids, l.attributes["aws.resource.id"].(string))
			}
			return ids, nil
		}))
}

// exported parses a request, and checks that it follows the specification.
func exported(r *http.Request, body []byte) (*logspb.ExportLogsServiceRequest, error) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/logs" ||
		r.Header.Get("Content-Type") != "application/x-protobuf" {
		return nil, fmt.Errorf("%s %s of %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
	}
	req := &logspb.ExportLogsServiceRequest{}
	if err := proto.Unmarshal(body, req); err != nil {
		return nil, err
	}
	if len(req.ProtoReflect().GetUnknown()) > 0 {
		return nil, errors.New("unknown fields")
	}
	return req, nil
}

// A logRecord is a log record with its resource, as Go values.
type logRecord struct {
	*logpb.LogRecord
	resource, attributes map[string]any
	body                 any
}

func logsOf(req *logspb.ExportLogsServiceRequest) (all []logRecord) {
	for _, r := range req.ResourceLogs {
		for _, s := range r.ScopeLogs {
			for _, l := range s.LogRecords {
				all = append(all, logRecord{l, goValues(r.Resource.Attributes), goValues(l.Attributes), goValue(l.Body)})
			}
		}
	}
	return all
}

func goValues(list []*commonpb.KeyValue) map[string]any {
	m := map[string]any{}
	for _, kv := range list {
		if _, twice := m[kv.Key]; twice {
			m[kv.Key] = "TWICE"
			continue
		}
		m[kv.Key] = goValue(kv.Value)
	}
	return m
}

func goValue(v *commonpb.AnyValue) any {
	switch v := v.GetValue().(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_BoolValue:
		return v.BoolValue
	case *commonpb.AnyValue_IntValue:
		return v.IntValue
	case *commonpb.AnyValue_DoubleValue:
		return v.DoubleValue
	case *commonpb.AnyValue_KvlistValue:
		return goValues(v.KvlistValue.Values)
	case *commonpb.AnyValue_ArrayValue:
		list := []any{}
		for _, e := range v.ArrayValue.Values {
			list = append(list, goValue(e))
		}
		return list
	}
	return nil
}

// otlpSent sends lines, and returns the request and its log records.
func otlpSent(t *testing.T, set func(*otlp.Options), text ...string) (*logspb.ExportLogsServiceRequest, []logRecord) {
	t.Helper()
	var req *logspb.ExportLogsServiceRequest
	s := outputstest.Serve(t, func(_ http.ResponseWriter, r *http.Request) {
		var err error
		if req, err = exported(r, outputstest.Body(t, r)); err != nil {
			t.Error(err)
		}
	})
	out, _ := outputstest.Open(t, otlp.Type, func(o any) {
		o.(*otlp.Options).URL = s.URL
		if set != nil {
			set(o.(*otlp.Options))
		}
	})
	if err := out.Send(t.Context(), outputstest.LinesBatch(text...)); err != nil {
		t.Fatal(err)
	}
	return req, logsOf(req)
}

const aVolume = `{"kind":"ec2_volume","id":"vol-1","account":"prod","account_id":"222222222222","partition":"aws",` +
	`"region":"us-east-1","name":"disk","tags":{"team":"platform","Name":"disk"},` +
	`"extra_tags":{"deployment.environment.name":"production","cloud.region":"north"},"run":"01JDRUN",` +
	`"collected_at":"2026-11-21T22:15:03.5Z",` +
	`"data":{"VolumeId":"vol-1","Size":100,"Encrypted":true,"KmsKeyId":null,"Ratio":1.5,"Big":18446744073709551616,` +
	`"Attachments":[{"Device":"/dev/sda1"},7],"Empty":{}}}`

func TestOTLPRecord(t *testing.T) {
	req, logs := otlpSent(t, nil, aVolume)
	if len(logs) != 1 {
		t.Fatalf("%d log records", len(logs))
	}
	l := logs[0]
	at := uint64(outputstest.ParseTime(t, "2026-11-21T22:15:03.5Z").UnixNano())
	if l.TimeUnixNano != at || l.ObservedTimeUnixNano != at || l.EventName != "aws.resource" ||
		l.SeverityNumber != logpb.SeverityNumber_SEVERITY_NUMBER_INFO {
		t.Errorf("%v", l.LogRecord)
	}
	want := map[string]any{
		"service.name": "collector", "cloud.provider": "aws", "cloud.account.id": "222222222222", "cloud.region": "us-east-1",
		"aws.partition": "aws", "aws.account.name": "prod", "deployment.environment.name": "production",
		"extra_cloud.region": "north",
	}
	if d := cmp.Diff(want, l.resource); d != "" {
		t.Errorf("resource (-want +got):\n%s", d)
	}
	var uid string
	for parsed := range outputs.Lines([]byte(aVolume)) {
		uid = parsed.StableID()
	}
	want = map[string]any{
		"log.record.uid": uid, "aws.run": "01JDRUN", "aws.resource.kind": "ec2_volume", "aws.resource.id": "vol-1",
		"aws.resource.name": "disk",
		"aws.tag.Name":      "disk", "aws.tag.team": "platform",
	}
	if d := cmp.Diff(want, l.attributes); d != "" {
		t.Errorf("attributes (-want +got):\n%s", d)
	}
	want = map[string]any{
		"VolumeId": "vol-1", "Size": int64(100), "Encrypted": true, "KmsKeyId": nil, "Ratio": 1.5,
		"Big":         18446744073709551616.0,
		"Attachments": []any{map[string]any{"Device": "/dev/sda1"}, int64(7)}, "Empty": map[string]any{},
	}
	if d := cmp.Diff(any(want), l.body); d != "" {
		t.Errorf("body (-want +got):\n%s", d)
	}
	if s := req.ResourceLogs[0].ScopeLogs[0].Scope.GetName(); s != "github.com/aws-collector/collector" {
		t.Errorf("scope %q", s)
	}
}

// Records of one account and region share a resource; records of different ones do not.
func TestOTLPGroups(t *testing.T) {
	elsewhere := strings.Replace(aVolume, "us-east-1", "eu-west-1", 1)
	tagged := strings.Replace(aVolume, `"production"`, `"staging"`, 1)
	req, logs := otlpSent(
		t,
		func(o *otlp.Options) { o.ServiceName, o.Gzip = "inventory", false },
		aVolume,
		elsewhere,
		aVolume,
		tagged,
	)
	if len(req.ResourceLogs) != 3 || len(logs) != 4 || len(req.ResourceLogs[0].ScopeLogs[0].LogRecords) != 2 {
		t.Errorf("%d resources, %d records, %v", len(req.ResourceLogs), len(logs), req)
	}
	if logs[0].resource["service.name"] != "inventory" || logs[2].resource["cloud.region"] != "eu-west-1" {
		t.Errorf("%v", logs)
	}
}

func TestOTLPChanges(t *testing.T) {
	_, logs := otlpSent(t, nil, outputstest.ChangedLine, outputstest.GoneLine, outputstest.TargetEndLine,
		strings.Replace(outputstest.TargetEndLine, `"ok"`, `"denied"`, 1))
	byName := map[string][]logRecord{}
	for _, l := range logs {
		byName[l.EventName] = append(byName[l.EventName], l)
	}
	changed, gone, ends := byName["aws.resource.changed"], byName["aws.resource.gone"], byName["aws.target.end"]
	if len(changed) != 1 || len(gone) != 1 || len(ends) != 2 {
		t.Fatalf("%v", byName)
	}
	if want := []any{map[string]any{"path": "State.Name", "from": "running", "to": "stopped"}}; !cmp.Equal(
		any(want),
		changed[0].attributes["aws.changes"],
	) {
		t.Errorf("changes %v", changed[0].attributes["aws.changes"])
	}
	if at := outputstest.ParseTime(t, "2026-11-21T22:15:04Z"); changed[0].TimeUnixNano != uint64(at.UnixNano()) {
		t.Errorf("a change at %d", changed[0].TimeUnixNano)
	}
	if gone[0].attributes["aws.change.reason"] != "absent" ||
		!cmp.Equal(gone[0].body, any(map[string]any{"InstanceId": "i-1"})) {
		t.Errorf("gone: %v %v", gone[0].attributes, gone[0].body)
	}
	for i, severity := range []string{"INFO", "WARN"} {
		a := ends[i].attributes
		if a["aws.resource.kind"] != "ec2_instance" || a["aws.target.records"] != int64(1) ||
			ends[i].SeverityText != severity ||
			ends[i].ObservedTimeUnixNano == 0 ||
			a["log.record.uid"] == "" {
			t.Errorf("end of a target: %v", ends[i].LogRecord)
		}
	}
}

// An ARN is set only if it is certain.
func TestOTLPARN(t *testing.T) {
	resource := func(kind, id, data string) string {
		return fmt.Sprintf(
			`{"kind":%q,"id":%q,"account":"prod","account_id":"222222222222","partition":"aws-cn","region":"cn-north-1",`+
				`"run":"r","collected_at":"2026-11-21T22:15:03Z","data":%s}`,
			kind,
			id,
			data,
		)
	}
	for name, c := range map[string]struct{ line, want string }{
		"an instance of its own account": {resource("ec2_instance", "i-1",
			`{"InstanceId":"i-1","Reservation":{"OwnerId":"222222222222"}}`),
			"arn:aws-cn:ec2:cn-north-1:222222222222:instance/i-1"},
		"an instance of another": {resource("ec2_instance", "i-1", `{"Reservation":{"OwnerId":"111111111111"}}`),
			""},
		"from AWS": {resource("ec2_subnet", "subnet-1",
			`{"SubnetArn":"arn:aws-cn:ec2:cn-north-1:111111111111:subnet/subnet-1"}`),
			"arn:aws-cn:ec2:cn-north-1:111111111111:subnet/subnet-1"},
		"the ARN of something else": {resource("ec2_instance", "i-1",
			`{"OutpostArn":"arn:aws-cn:outposts:cn-north-1:222222222222:outpost/op-1"}`), ""},
		"an image, which may be anyone's": {resource("ec2_image", "ami-1", `{"OwnerId":"222222222222"}`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, logs := otlpSent(t, nil, c.line)
			if got, _ := logs[0].attributes["cloud.resource_id"].(string); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestOTLPEndpoint(t *testing.T) {
	for given, want := range map[string]string{
		"": "/v1/logs", "/": "/v1/logs", "/otlp": "/otlp/v1/logs", "/otlp/v1/logs": "/otlp/v1/logs",
		"/v1/logs/": "/v1/logs/", "/x?key=1": "/x/v1/logs?key=1",
	} {
		var got string
		s := outputstest.Serve(t, func(_ http.ResponseWriter, r *http.Request) { got = r.URL.String() })
		out, _ := outputstest.Open(t, otlp.Type, func(o any) { o.(*otlp.Options).URL = s.URL + given })
		if err := out.Send(t.Context(), outputstest.SmallBatch("a", 1)); err != nil || got != want {
			t.Errorf("%s leads to %s, want %s: %v", given, got, want, err)
		}
	}
}

// The message of a 200 response.
func TestOTLPResponses(t *testing.T) {
	partly := func(n int64, text string) string {
		b, err := proto.Marshal(
			&logspb.ExportLogsServiceResponse{
				PartialSuccess: &logspb.ExportLogsPartialSuccess{RejectedLogRecords: n, ErrorMessage: text},
			},
		)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, c := range map[string]struct {
		answer  string
		refused string // text of the refusal; "": not refused
		hint    string
		warns   bool
	}{
		"nothing":              {},
		"all is well, in JSON": {answer: `{"partialSuccess":{}}`},
		"all is well, empty":   {answer: partly(0, "")},
		"a warning":            {answer: partly(0, "this API is old"), warns: true},
		"one is rejected":      {answer: partly(1, "too old\nby a day"), refused: "1 log records: too old by a day"},
		"one is rejected, in JSON": {answer: `{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"too old"}}`,
			refused: "too old"},
		"another server": {answer: "<html>Sign in</html>", hint: "Check url"},
	} {
		t.Run(name, func(t *testing.T) {
			s := outputstest.Serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, c.answer) })
			out, log := outputstest.Open(t, otlp.Type, func(o any) { o.(*otlp.Options).URL = s.URL })
			err := out.Send(t.Context(), outputstest.SmallBatch("a", 3))
			if errors.Is(err, outputs.ErrRefused) != (c.refused != "") ||
				err != nil && !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%v, want a refusal: %q", err, c.refused)
			}
			if (err != nil) != (c.refused != "" || c.hint != "") || !strings.Contains(record.HintOf(err), c.hint) {
				t.Errorf("%v (hint %q)", err, record.HintOf(err))
			}
			if err := out.Send(t.Context(), outputstest.SmallBatch("b", 1)); c.warns && err != nil {
				t.Error(err)
			}
			if n := strings.Count(string(log.Bytes()), "with a warning"); n != 0 != c.warns || n > 1 {
				t.Errorf("%d warnings:\n%s", n, log.Bytes())
			}
		})
	}
}

// The message of a 200 response may contain our secrets.
func TestOTLPShowsNoSecret(t *testing.T) {
	for what, rejected := range map[string]int64{"a refusal": 1, "a warning": 0, "not an OTLP response": -1} {
		s := outputstest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			text := "no such tenant: " + r.Header.Get("Authorization")
			b, err := proto.Marshal(
				&logspb.ExportLogsServiceResponse{
					PartialSuccess: &logspb.ExportLogsPartialSuccess{RejectedLogRecords: rejected, ErrorMessage: text},
				},
			)
			if err != nil {
				t.Error(err)
			}
			if rejected < 0 {
				b = []byte("<html>" + text)
			}
			_, _ = w.Write(b)
		})
		out, log := outputstest.Open(t, otlp.Type, func(o any) {
			o.(*otlp.Options).URL, o.(*otlp.Options).BearerToken = s.URL, secret.New("EXAMPLE-token")
		})
		err := out.Send(t.Context(), outputstest.SmallBatch("a", 1))
		if shown := fmt.Sprint(err) + string(log.Bytes()); strings.Contains(shown, "EXAMPLE-token") ||
			!strings.Contains(shown, "no such tenant: Bearer [redacted]") {
			t.Errorf("%s: %s", what, shown)
		}
	}
}

// A 500 is permanent by the specification, but temporary for many receivers: the spool finds out.
func TestOTLPServerError(t *testing.T) {
	s := outputstest.Serve(t, func(w http.ResponseWriter,
		r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	})
	out, _ := outputstest.Open(t, otlp.Type, func(o any) { o.(*otlp.Options).URL = s.URL })
	for _, n := range []int{3, 1, 1, 1, 1, 1, 1, 1} {
		if err := out.Send(t.Context(), outputstest.SmallBatch("one", n)); !errors.Is(err, outputs.ErrReceiverFailed) ||
			errors.Is(err, outputs.ErrRefused) {
			t.Errorf("%d records: %v", n, err)
		}
	}
}

// With a spool, a record that is rejected in a partial success becomes a dead letter; all others arrive.
func TestOTLPPartialSuccess(t *testing.T) {
	var mu sync.Mutex
	accepted := map[string]int{}
	s := outputstest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		req, err := exported(r, outputstest.Body(t, r))
		if err != nil {
			t.Error(err)
			return
		}
		var rejected int64
		mu.Lock()
		defer mu.Unlock()
		for _, l := range logsOf(req) {
			if id := l.attributes["aws.resource.id"].(string); id == "i-6" {
				rejected++
			} else {
				accepted[id]++
			}
		}
		b, err := proto.Marshal(
			&logspb.ExportLogsServiceResponse{
				PartialSuccess: &logspb.ExportLogsPartialSuccess{RejectedLogRecords: rejected, ErrorMessage: "too old"},
			},
		)
		if err != nil {
			t.Error(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Error(err)
		}
	})
	typ := otlp.Type
	set := deliver.NewSet([]outputs.Type{typ}, outputs.Deps{SpoolDir: t.TempDir()})
	o := typ.NewOptions().(*otlp.Options)
	o.URL = s.URL
	fan, err := set.Open(t.Context(), []deliver.Spec{{Type: "otlp", Options: o}})
	if err != nil {
		t.Fatal(err)
	}
	if err := fan.Send(t.Context(), outputstest.SmallBatch("i", 10)); err != nil {
		t.Fatal(err)
	}
	if err := set.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := set.States()[0]
	if err := set.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if st.Spool.DeadLetters != 1 || len(accepted) != 9 {
		t.Errorf("%d dead letters, %d accepted: %v", st.Spool.DeadLetters, len(accepted), accepted)
	}
}

func TestOTLPOptions(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*otlp.Options)
		want string
	}{
		"valid":            {func(o *otlp.Options) {}, ""},
		"no url":           {func(o *otlp.Options) { o.URL = "" }, "url: is needed"},
		"another signal's": {func(o *otlp.Options) { o.URL = "http://h:4318/v1/traces" }, "url: must end in"},
		"no name":          {func(o *otlp.Options) { o.ServiceName = "" }, "service_name:"},
		"a size":           {func(o *otlp.Options) { o.MaxRecords = 0 }, "max_records:"},
	} {
		t.Run(name, func(t *testing.T) {
			o := otlp.Type.NewOptions().(*otlp.Options)
			o.URL = "http://127.0.0.1:4318"
			c.set(o)
			if err := o.Validate(); c.want == "" && err != nil ||
				c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	_, log := outputstest.Open(t, otlp.Type, func(o any) { o.(*otlp.Options).URL = "http://127.0.0.1:4317" })
	if !strings.Contains(string(log.Bytes()), "4318") {
		t.Errorf("the port of gRPC is not logged: %s", log.Bytes())
	}
}

// The body equals the resource's data, for any JSON.
func TestOTLPBody(t *testing.T) {
	var req *logspb.ExportLogsServiceRequest
	s := outputstest.Serve(t, func(_ http.ResponseWriter, r *http.Request) {
		var err error
		if req, err = exported(r, outputstest.Body(t, r)); err != nil {
			t.Error(err)
		}
	})
	out, _ := outputstest.Open(t, otlp.Type, func(o any) { o.(*otlp.Options).URL = s.URL })
	same := func(t interface{ Fatalf(string, ...any) }, data string) {
		if err := out.Send(context.Background(),
			outputstest.LinesBatch(`{"kind":"k","id":"i","data":`+data+`}`)); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		b, err := json.Marshal(goValue(logsOf(req)[0].Body))
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if !outputstest.SameJSON(string(b), data) {
			t.Fatalf("sent %s, got %s", data, b)
		}
	}
	for _, data := range []string{`{"n":-9223372036854775808,"m":9223372036854775807,"f":1e300,"z":-0.5}`,
		`{"\u00e9":"\u0000 \u2028"}`, `[[],[{}]]`, `"text"`, `7`} {
		same(t, data)
	}
	rapid.Check(t, func(t *rapid.T) {
		data, err := json.Marshal(rapid.MapOf(rapid.String(), outputstest.AnyValue()).Draw(t, "data"))
		if err != nil {
			t.Fatal(err)
		}
		same(t, string(data))
	})
}
