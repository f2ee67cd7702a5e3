package datakit_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/datakit"
	"github.com/aws-collector/collector/outputs/influx"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/secret"
)

// DataKit's limits for an object, from its documentation.
var dataKitBounds = outputstest.LineBounds{Tags: 256, Fields: 1024, Key: 256, TagValue: 1024, FieldValue: 32 << 20}

const customObject = "/v1/write/custom_object"

func TestDataKitRemote(t *testing.T) {
	outputstest.RunRemote(t, outputstest.RemoteLines(
		t, datakit.Type, customObject, "name", dataKitBounds, func(o any, url, ca string) {
			d := o.(*datakit.Options)
			d.URL, d.TLS.CAFile = url, ca
		}))
}

// dataKit sends a batch, and returns the points that arrived and the log.
func dataKit(t testing.TB, b outputs.Batch) (got []outputstest.LinePoint, log string) {
	t.Helper()
	url := outputstest.LineReceiver(t, customObject, dataKitBounds,
		func(p []outputstest.LinePoint) { got = append(got, p...) })
	out, logged := outputstest.Open(t, datakit.Type, func(o any) { o.(*datakit.Options).URL = url })
	if err := out.Send(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return got, string(logged.Bytes())
}

const instanceData = `{"AmiLaunchIndex":0,"InstanceId":"i-0abc","InstanceType":"t3.micro",` +
	`"PlatformDetails":"Linux/UNIX","State":{"Code":80,"Name":"stopped"},` +
	`"StateReason":{"Code":"Client.UserInitiatedShutdown",` +
	`"Message":"Client.UserInitiatedShutdown: User initiated shutdown"},` +
	`"Placement":{"AvailabilityZone":"cn-northwest-1a","Tenancy":"default"},"LaunchTime":"2026-11-01T08:00:00Z",` +
	`"EbsOptimized":true,` +
	`"BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"VolumeId":"vol-1"}}],` +
	`"NetworkInterfaces":[{"NetworkInterfaceId":"eni-1"}],` +
	`"Tags":[{"Key":"Name","Value":"web 1"}]}`

// An instance has the tags and fields of Guance's own collector, and no others.
func TestDataKitInstance(t *testing.T) {
	got, log := dataKit(
		t,
		outputstest.LinesBatch(outputstest.RecordLine(
			"ec2_instance", "i-0abc", "web 1", `{"account_name":"prod","team":"a, b=c"}`, instanceData)),
	)
	want := outputstest.LinePoint{
		Measurement: "aws_ec2",
		Tags: map[string]string{
			"name": "i-0abc", "InstanceId": "i-0abc", "InstanceType": "t3.micro", "PlatformDetails": "Linux/UNIX",
			"RegionId":     "cn-northwest-1",
			"InstanceName": "web 1", "State": "stopped", "StateReason_Code": "Client.UserInitiatedShutdown",
			"AvailabilityZone": "cn-northwest-1a",
			"cloud_provider":   "AWS", "account_name": "prod", "team": "a, b=c",
		},
		Fields: map[string]any{
			"BlockDeviceMappings": `[{"DeviceName":"/dev/xvda","Ebs":{"VolumeId":"vol-1"}}]`,
			"NetworkInterfaces":   `[{"NetworkInterfaceId":"eni-1"}]`,
			"Placement":           `{"AvailabilityZone":"cn-northwest-1a","Tenancy":"default"}`,
			"LaunchTime":          "2026-11-01T08:00:00Z",
			"message":             instanceData,
		},
		At: time.Date(2026, 11, 21, 22, 15, 3, 0, time.UTC),
	}
	if d := cmp.Diff(want, outputstest.OnlyPoint(t, got)); d != "" {
		t.Error(d)
	}
	if log != "" {
		t.Errorf("logged %s", log)
	}
}

// Missing members of an instance are omitted; the others are sent.
func TestDataKitBareInstance(t *testing.T) {
	got, _ := dataKit(t, outputstest.LinesBatch(
		outputstest.RecordLine("ec2_instance", "i-0abc", "", `{}`, `{"InstanceId":"i-0abc","KeyName":"k"}`)))
	want := map[string]string{
		"name":           "i-0abc",
		"InstanceId":     "i-0abc",
		"RegionId":       "cn-northwest-1",
		"cloud_provider": "AWS",
	}
	p := outputstest.OnlyPoint(t, got)
	if !maps.Equal(p.Tags, want) || len(p.Fields) != 1 || p.Fields["message"] != `{"InstanceId":"i-0abc","KeyName":"k"}` {
		t.Errorf("%+v", p)
	}
}

func TestDataKitOtherKinds(t *testing.T) {
	for _, c := range []struct {
		kind, name, data string
		tags             map[string]string // in addition to name, RegionId, AccountId, cloud_provider
		fields           map[string]any    // in addition to message
	}{
		{"ec2_volume", "data",
			`{"VolumeId":"x","State":"in-use","Size":100,"Encrypted":true,"Attachments":[{"Device":"/dev/sdf"}],"Iops":null,` +
				`"KmsKeyId":""}`,
			map[string]string{"VolumeName": "data", "State": "in-use"},
			map[string]any{"VolumeId": "x", "Size": 100.0, "Encrypted": true, "Attachments": `[{"Device":"/dev/sdf"}]`,
				"KmsKeyId": ""}},
		{"ec2_nat_gateway", "", `{"State":"available"}`, map[string]string{"State": "available"}, nil},
		{"ec2_vpc_peering_connection", "p", `{"Status":{"Code":"active","Message":"Active"},"Type":"t"}`,
			map[string]string{"VpcPeeringConnectionName": "p", "Status": "active", "Type": "t"}, nil},
		{"ec2_launch_template", "", `{"LaunchTemplateName":"lt"}`, map[string]string{"LaunchTemplateName": "lt"}, nil},
		{"ec2_host", "", `{"State":[1],"Type":{"A":1},"Status":2}`, map[string]string{"Status": "2"},
			map[string]any{"State": "[1]", "Type": `{"A":1}`}},
		{"ec2_x", "", `{"A.b":1,"Big":1e999,"Id":18446744073709551615}`, nil,
			map[string]any{"A_b": 1.0, "Big": "1e999", "Id": 1.8446744073709552e19}},
	} {
		got, log := dataKit(t, outputstest.LinesBatch(outputstest.RecordLine(c.kind, "x", c.name, `{}`, c.data)))
		p := outputstest.OnlyPoint(t, got)
		tags := map[string]string{
			"name":           "x",
			"RegionId":       "cn-northwest-1",
			"AccountId":      "222222222222",
			"cloud_provider": "AWS",
		}
		maps.Copy(tags, c.tags)
		fields := map[string]any{"message": c.data}
		maps.Copy(fields, c.fields)
		if d := cmp.Diff(tags, p.Tags) + cmp.Diff(fields, p.Fields); d != "" || p.Measurement != "aws_"+c.kind {
			t.Errorf("%s: %s\n%s", c.kind, p.Measurement, d)
		}
		if log != "" {
			t.Errorf("%s: logged %s", c.kind, log)
		}
	}
}

// An account's tag never replaces a built-in name, nor uses a name that DataKit drops.
func TestDataKitCollisions(t *testing.T) {
	extra := `{"cloud_provider":"mine","name":"n","extra_name":"m","message":"x","class":"gold","date":"d","time":"t",` +
		`"Size":"s","team.lead":"l","VolumeName":"v"}`
	want := map[string]string{
		"extra_cloud_provider": "mine",
		"extra_name":           "m",
		"extra_extra_name":     "n",
		"extra_message":        "x",
		"extra_class":          "gold",
		"extra_date":           "d",
		"extra_time":           "t",
		"team_lead":            "l",
	}
	got, log := dataKit(
		t,
		outputstest.LinesBatch(outputstest.RecordLine("ec2_volume", "vol-1", "", extra, `{"Size":8}`),
			outputstest.RecordLine("ec2_instance", "i-1", "", extra, `{"Size":8}`)),
	)
	for i, also := range []map[string]string{
		{"name": "vol-1", "cloud_provider": "AWS", "AccountId": "222222222222", "RegionId": "cn-northwest-1",
			"extra_Size": "s", "extra_VolumeName": "v"},
		{"name": "i-1", "cloud_provider": "AWS", "RegionId": "cn-northwest-1", "Size": "s", "VolumeName": "v"},
	} {
		maps.Copy(also, want)
		if d := cmp.Diff(also, got[i].Tags); d != "" {
			t.Error(d)
		}
	}
	if log != "" {
		t.Errorf("logged %s", log)
	}
}

// A change sends the resource's new state. Gone resources and ends of targets are not sent.
func TestDataKitChanges(t *testing.T) {
	rec := outputstest.RecordLine("ec2_volume", "vol-1", "", `{}`, `{"Size":8}`)
	change := func(what string) string {
		return fmt.Sprintf(
			`{"change":%q,"at":"2026-11-21T22:16:00Z","kind":"ec2_volume","id":"vol-1","changes":[],"record":%s}`,
			what,
			rec,
		)
	}
	end := `{"kind":"_target","account":"prod","region":"cn-northwest-1","target":"ec2_volume","state":"ok",` +
		`"records":1,"run":"01JD"}`
	got, _ := dataKit(t, outputstest.LinesBatch(change("added"), change("changed"), change("gone"), end))
	if len(got) != 2 || got[0].Tags["name"] != "vol-1" || got[1].Fields["Size"] != 8.0 {
		t.Errorf("%v", got)
	}
	requests := 0
	s := outputstest.Serve(t, func(http.ResponseWriter, *http.Request) { requests++ })
	out, _ := outputstest.Open(t, datakit.Type, func(o any) { o.(*datakit.Options).URL = s.URL })
	if err := out.Send(t.Context(), outputstest.LinesBatch(change("gone"), end)); err != nil || requests != 0 {
		t.Errorf("%d requests for nothing: %v", requests, err)
	}
}

// For each limit: what exceeds it is cut or omitted, the object still arrives, and it is logged once.
func TestDataKitLimits(t *testing.T) {
	many := func(n int, value string) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprintf("k%04d", i)] = value
		}
		return m
	}
	members := map[string]int{}
	for i := range 2000 {
		members[fmt.Sprintf("M%04d", i)] = i
	}
	long := strings.Repeat("日", 500) // 1500 bytes
	for _, c := range []struct {
		name   string
		extra  map[string]string
		data   any
		effect string
		check  func(p outputstest.LinePoint) bool
	}{
		{"tags", many(400, "v"), struct{}{}, "more than 256 tags",
			func(p outputstest.LinePoint) bool { return len(p.Tags) == 256 && p.Tags["name"] == "i-1" }},
		{"fields", nil, members, "more than 1024 fields",
			func(p outputstest.LinePoint) bool { return len(p.Fields) == 1024 && p.Fields["message"] != nil }},
		{"tag value", map[string]string{"long": long}, struct{}{}, "cut to 1024 bytes",
			func(p outputstest.LinePoint) bool { return p.Tags["long"] == long[:1023] }},
		{"tag key", map[string]string{long: "v"}, struct{}{}, "name cut to 256 bytes",
			func(p outputstest.LinePoint) bool { return p.Tags[long[:255]] == "v" }},
		{"field key", nil, map[string]int{long: 1}, "name cut to 256 bytes",
			func(p outputstest.LinePoint) bool { return p.Fields[long[:255]] == 1.0 }},
		{"same after the cut", map[string]string{long + "1": "v", long + "2": "w"}, struct{}{}, "the record already has",
			func(p outputstest.LinePoint) bool { return p.Tags[long[:255]] == "v" }},
		{"series", many(250, strings.Repeat("=", 1000)), struct{}{}, "more than 65535 bytes together",
			func(p outputstest.LinePoint) bool { return p.Tags["k0000"] != "" && p.Tags["k0249"] == "" }},
		{"line break and backslash", map[string]string{"a": "x\ny\\\\", "b\n\\": "z", "\\": "gone"}, struct{}{},
			"no valid characters",
			func(p outputstest.LinePoint) bool { return p.Tags["a"] == "x y" && p.Tags["b "] == "z" }},
		{"cut after a backslash", map[string]string{"a": strings.Repeat(`\`, 1030) + "x"}, struct{}{}, "cut to 1024",
			func(p outputstest.LinePoint) bool { return p.Tags["a"] == "" }},
		{"reserved member", nil, map[string]string{"class": "c", "X": "y"}, "reserves the name",
			func(p outputstest.LinePoint) bool { return p.Fields["class"] == nil && p.Fields["X"] == "y" }},
	} {
		extra, _ := json.Marshal(c.extra)
		data, _ := json.Marshal(c.data)
		l := outputstest.RecordLine("ec2_volume", "i-1", "", string(extra), string(data))
		got, log := dataKit(t, outputstest.LinesBatch(l, l))
		if len(got) != 2 || !c.check(got[0]) || got[0].Tags["cloud_provider"] != "AWS" {
			t.Errorf("%s: %.2000v", c.name, got)
		}
		logged, warned, total := 0, strings.Count(log, "level=WARN"), 0
		for one := range strings.Lines(log) {
			if strings.Contains(one, c.effect) && strings.Contains(one, "kind=ec2_volume") {
				logged++
			}
		}
		if _, after, ok := strings.Cut(log, "times="); ok {
			_, _ = fmt.Sscan(after, &total)
		}
		if logged == 0 || total != 2*warned { // two equal objects: each effect is logged once and counted twice
			t.Errorf("%s: %d logged, %d in total: %.1000s", c.name, logged, total, log)
		}
	}
}

// The URL of the requests, with the token.
func TestDataKitEndpoint(t *testing.T) {
	for _, c := range []struct{ url, token, want string }{
		{"", "", "/v1/write/custom_object"},
		{"/", "", "/v1/write/custom_object"},
		{"/datakit/", "", "/datakit/v1/write/custom_object"},
		{"/v1/write/custom_object", "tkn_1+&", "/v1/write/custom_object?token=tkn_1%2B%26"},
		{"?ignore_global_host_tags=true", "tkn", "/v1/write/custom_object?ignore_global_host_tags=true&token=tkn"},
	} {
		var asked string
		s := outputstest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			asked = r.URL.String()
			if got := r.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
				t.Errorf("Content-Type %s", got)
			}
		})
		out, _ := outputstest.Open(
			t,
			datakit.Type,
			func(o any) {
				d := o.(*datakit.Options)
				d.URL, d.Token = s.URL+c.url, secret.New(c.token)
			},
		)
		if err := out.Send(t.Context(), outputstest.SmallBatch("a", 1)); err != nil || asked != c.want {
			t.Errorf("%s: asked for %s, want %s: %v", c.url, asked, c.want, err)
		}
	}
	o := datakit.Type.Options().(*datakit.Options)
	o.URL = "https://openway.guance.com/?token=tkn_1"
	if err := o.Validate(); err == nil || !strings.HasPrefix(err.Error(), "url: contains the token") {
		t.Errorf("%v", err)
	}
}

// A line that is not a record is refused.
func TestInvalidLines(t *testing.T) {
	s := outputstest.Serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	for _, c := range []struct {
		typ outputs.Type
		set func(any)
	}{
		{datakit.Type, func(o any) { o.(*datakit.Options).URL = s.URL }},
		{influx.Type, func(o any) { o.(*influx.Options).URL = s.URL + "/write" }},
	} {
		out, _ := outputstest.Open(t, c.typ, c.set)
		if err := out.Send(t.Context(), outputstest.LinesBatch(`{"kind":`)); !errors.Is(err, outputs.ErrRefused) {
			t.Errorf("%s: %v", c.typ.Name, err)
		}
	}
}

// A strict receiver accepts any record, and reads the record's own values.
func TestDataKitAnyRecord(t *testing.T) {
	var got []outputstest.LinePoint
	url := outputstest.LineReceiver(t, customObject, dataKitBounds, func(p []outputstest.LinePoint) { got = p })
	out, _ := outputstest.Open(t, datakit.Type, func(o any) { o.(*datakit.Options).URL = url })
	rapid.Check(t, func(t *rapid.T) {
		r := outputstest.AnyRecord("ec2_volume", "ec2_instance").Draw(t, "record")
		got = nil
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := out.Send(context.Background(), outputstest.LinesBatch(string(raw))); err != nil {
			t.Fatal(err)
		}
		outputstest.CheckPoint(t, got, r, "name", 1024, true)
		if !outputstest.SameJSON(got[0].Fields["message"], string(r.Data)) {
			t.Errorf("message %q, data %s", got[0].Fields["message"], r.Data)
		}
	})
}

// docs/outputs/datakit.md shows the line of its example.
func TestOutputsPageLine(t *testing.T) {
	page, err := os.ReadFile("../../docs/outputs/datakit.md")
	if err != nil {
		t.Fatal(err)
	}
	var sent string
	s := outputstest.Serve(t, func(_ http.ResponseWriter, r *http.Request) { sent = string(outputstest.Body(t, r)) })
	out, _ := outputstest.Open(t, datakit.Type, func(o any) { o.(*datakit.Options).URL = s.URL })
	data := `{"InstanceId":"i-0abcd1234","InstanceType":"t3.micro","LaunchTime":"2026-11-01T08:00:00Z",` +
		`"Placement":{"AvailabilityZone":"cn-northwest-1a"},` +
		`"PlatformDetails":"Linux/UNIX","State":{"Code":16,"Name":"running"}}`
	if err := out.Send(t.Context(), outputstest.LinesBatch(
		outputstest.RecordLine("ec2_instance", "i-0abcd1234", "web 1", `{"account_name":"prod"}`,
			data))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```text\n"+sent+"```\n") {
		t.Errorf("docs/outputs/datakit.md does not contain\n%s", sent)
	}
}
