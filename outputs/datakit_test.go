package outputs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// DataKit's limits for an object, from its documentation.
var dataKitBounds = lineBounds{tags: 256, fields: 1024, key: 256, tagValue: 1024, fieldValue: 32 << 20}

const customObject = "/v1/write/custom_object"

func TestDataKitRemote(t *testing.T) {
	outputstest.RunRemote(t, remoteLines(t, "datakit", customObject, "name", dataKitBounds, func(o any, url, ca string) {
		d := o.(*outputs.DataKit)
		d.URL, d.TLS.CAFile = url, ca
	}))
}

// dataKit sends a batch, and returns the points that arrived and the log.
func dataKit(t testing.TB, b outputs.Batch) (got []linePoint, log string) {
	t.Helper()
	url := lineReceiver(t, customObject, dataKitBounds, func(p []linePoint) { got = append(got, p...) })
	out, logged := openRemote(t, "datakit", func(o any) { o.(*outputs.DataKit).URL = url })
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

func line(kind, id, name, extra, data string) string {
	return fmt.Sprintf(
		`{"kind":%q,"id":%q,"account":"prod","account_id":"222222222222","partition":"aws-cn","region":"cn-northwest-1",`+
			`"name":%q,"tags":{},`+
			`"extra_tags":%s,"run":"01JD","collected_at":"2026-11-21T22:15:03Z","data":%s}`,
		kind,
		id,
		name,
		extra,
		data,
	)
}

// An instance has the tags and fields of Guance's own collector, and no others.
func TestDataKitInstance(t *testing.T) {
	got, log := dataKit(
		t,
		lines(line("ec2_instance", "i-0abc", "web 1", `{"account_name":"prod","team":"a, b=c"}`, instanceData)),
	)
	want := linePoint{
		measurement: "aws_ec2",
		tags: map[string]string{
			"name": "i-0abc", "InstanceId": "i-0abc", "InstanceType": "t3.micro", "PlatformDetails": "Linux/UNIX",
			"RegionId":     "cn-northwest-1",
			"InstanceName": "web 1", "State": "stopped", "StateReason_Code": "Client.UserInitiatedShutdown",
			"AvailabilityZone": "cn-northwest-1a",
			"cloud_provider":   "AWS", "account_name": "prod", "team": "a, b=c",
		},
		fields: map[string]any{
			"BlockDeviceMappings": `[{"DeviceName":"/dev/xvda","Ebs":{"VolumeId":"vol-1"}}]`,
			"NetworkInterfaces":   `[{"NetworkInterfaceId":"eni-1"}]`,
			"Placement":           `{"AvailabilityZone":"cn-northwest-1a","Tenancy":"default"}`,
			"LaunchTime":          "2026-11-01T08:00:00Z",
			"message":             instanceData,
		},
		at: time.Date(2026, 11, 21, 22, 15, 3, 0, time.UTC),
	}
	if d := cmp.Diff(want, sent(t, got), cmp.AllowUnexported(linePoint{})); d != "" {
		t.Error(d)
	}
	if log != "" {
		t.Errorf("logged %s", log)
	}
}

// Missing members of an instance are omitted; the others are sent.
func TestDataKitBareInstance(t *testing.T) {
	got, _ := dataKit(t, lines(line("ec2_instance", "i-0abc", "", `{}`, `{"InstanceId":"i-0abc","KeyName":"k"}`)))
	want := map[string]string{
		"name":           "i-0abc",
		"InstanceId":     "i-0abc",
		"RegionId":       "cn-northwest-1",
		"cloud_provider": "AWS",
	}
	p := sent(t, got)
	if !maps.Equal(p.tags, want) || len(p.fields) != 1 || p.fields["message"] != `{"InstanceId":"i-0abc","KeyName":"k"}` {
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
		got, log := dataKit(t, lines(line(c.kind, "x", c.name, `{}`, c.data)))
		p := sent(t, got)
		tags := map[string]string{
			"name":           "x",
			"RegionId":       "cn-northwest-1",
			"AccountId":      "222222222222",
			"cloud_provider": "AWS",
		}
		maps.Copy(tags, c.tags)
		fields := map[string]any{"message": c.data}
		maps.Copy(fields, c.fields)
		if d := cmp.Diff(tags, p.tags) + cmp.Diff(fields, p.fields); d != "" || p.measurement != "aws_"+c.kind {
			t.Errorf("%s: %s\n%s", c.kind, p.measurement, d)
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
		lines(line("ec2_volume", "vol-1", "", extra, `{"Size":8}`), line("ec2_instance", "i-1", "", extra, `{"Size":8}`)),
	)
	for i, also := range []map[string]string{
		{"name": "vol-1", "cloud_provider": "AWS", "AccountId": "222222222222", "RegionId": "cn-northwest-1",
			"extra_Size": "s", "extra_VolumeName": "v"},
		{"name": "i-1", "cloud_provider": "AWS", "RegionId": "cn-northwest-1", "Size": "s", "VolumeName": "v"},
	} {
		maps.Copy(also, want)
		if d := cmp.Diff(also, got[i].tags); d != "" {
			t.Error(d)
		}
	}
	if log != "" {
		t.Errorf("logged %s", log)
	}
}

// A change sends the resource's new state. Gone resources and ends of targets are not sent.
func TestDataKitChanges(t *testing.T) {
	rec := line("ec2_volume", "vol-1", "", `{}`, `{"Size":8}`)
	change := func(what string) string {
		return fmt.Sprintf(
			`{"change":%q,"at":"2026-11-21T22:16:00Z","kind":"ec2_volume","id":"vol-1","changes":[],"record":%s}`,
			what,
			rec,
		)
	}
	end := `{"kind":"_target","account":"prod","region":"cn-northwest-1","target":"ec2_volume","state":"ok",` +
		`"records":1,"run":"01JD"}`
	got, _ := dataKit(t, lines(change("added"), change("changed"), change("gone"), end))
	if len(got) != 2 || got[0].tags["name"] != "vol-1" || got[1].fields["Size"] != 8.0 {
		t.Errorf("%v", got)
	}
	requests := 0
	s := serve(t, func(http.ResponseWriter, *http.Request) { requests++ })
	out, _ := openRemote(t, "datakit", func(o any) { o.(*outputs.DataKit).URL = s.URL })
	if err := out.Send(t.Context(), lines(change("gone"), end)); err != nil || requests != 0 {
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
		check  func(p linePoint) bool
	}{
		{"tags", many(400, "v"), struct{}{}, "more than 256 tags",
			func(p linePoint) bool { return len(p.tags) == 256 && p.tags["name"] == "i-1" }},
		{"fields", nil, members, "more than 1024 fields",
			func(p linePoint) bool { return len(p.fields) == 1024 && p.fields["message"] != nil }},
		{"tag value", map[string]string{"long": long}, struct{}{}, "cut to 1024 bytes",
			func(p linePoint) bool { return p.tags["long"] == long[:1023] }},
		{"tag key", map[string]string{long: "v"}, struct{}{}, "name cut to 256 bytes",
			func(p linePoint) bool { return p.tags[long[:255]] == "v" }},
		{"field key", nil, map[string]int{long: 1}, "name cut to 256 bytes",
			func(p linePoint) bool { return p.fields[long[:255]] == 1.0 }},
		{"same after the cut", map[string]string{long + "1": "v", long + "2": "w"}, struct{}{}, "the record already has",
			func(p linePoint) bool { return p.tags[long[:255]] == "v" }},
		{"series", many(250, strings.Repeat("=", 1000)), struct{}{}, "more than 65535 bytes together",
			func(p linePoint) bool { return p.tags["k0000"] != "" && p.tags["k0249"] == "" }},
		{"line break and backslash", map[string]string{"a": "x\ny\\\\", "b\n\\": "z", "\\": "gone"}, struct{}{},
			"no valid characters",
			func(p linePoint) bool { return p.tags["a"] == "x y" && p.tags["b "] == "z" }},
		{"cut after a backslash", map[string]string{"a": strings.Repeat(`\`, 1030) + "x"}, struct{}{}, "cut to 1024",
			func(p linePoint) bool { return p.tags["a"] == "" }},
		{"reserved member", nil, map[string]string{"class": "c", "X": "y"}, "reserves the name",
			func(p linePoint) bool { return p.fields["class"] == nil && p.fields["X"] == "y" }},
	} {
		extra, _ := json.Marshal(c.extra)
		data, _ := json.Marshal(c.data)
		l := line("ec2_volume", "i-1", "", string(extra), string(data))
		got, log := dataKit(t, lines(l, l))
		if len(got) != 2 || !c.check(got[0]) || got[0].tags["cloud_provider"] != "AWS" {
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
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			asked = r.URL.String()
			if got := r.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
				t.Errorf("Content-Type %s", got)
			}
		})
		out, _ := openRemote(
			t,
			"datakit",
			func(o any) {
				d := o.(*outputs.DataKit)
				d.URL, d.Token = s.URL+c.url, secret.New(c.token)
			},
		)
		if err := out.Send(t.Context(), batch("a", 1)); err != nil || asked != c.want {
			t.Errorf("%s: asked for %s, want %s: %v", c.url, asked, c.want, err)
		}
	}
	o := findType(t, "datakit").Options().(*outputs.DataKit)
	o.URL = "https://openway.guance.com/?token=tkn_1"
	if err := o.Validate(); err == nil || !strings.HasPrefix(err.Error(), "url: contains the token") {
		t.Errorf("%v", err)
	}
}

// A line that is not a record is refused.
func TestInvalidLines(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	for name, set := range map[string]func(any){
		"datakit": func(o any) { o.(*outputs.DataKit).URL = s.URL },
		"influx":  func(o any) { o.(*outputs.Influx).URL = s.URL + "/write" },
	} {
		out, _ := openRemote(t, name, set)
		if err := out.Send(t.Context(), lines(`{"kind":`)); !errors.Is(err, outputs.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// texts generates difficult strings for line protocol.
var texts = rapid.OneOf(
	rapid.StringOf(
		rapid.SampledFrom(
			[]rune{
				'a', 'B', ' ', ',', '=', '\\', '"', '\'', '\n', '\r', '\t', '\x00', '\x7f', '#', '.', 'é', '日', '😀', '\u2028',
				'\ufffd',
			},
		),
	),
	rapid.String(),
	rapid.SampledFrom(
		[]string{
			"", "name", "RegionId", "message", "class", "time", "State", "id", "present", "extra_name",
			strings.Repeat("x", 3000), strings.Repeat("日\\,", 400),
		},
	),
)

// values generates any JSON.
func values() *rapid.Generator[any] {
	leaf := rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Map(texts, func(s string) any { return s }),
		rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(
			rapid.Int64(),
			func(n int64) any { return n },
		),
		rapid.Map(rapid.Float64(), func(f float64) any { return f }),
	)
	return rapid.OneOf(leaf, leaf, rapid.Map(rapid.SliceOfN(leaf, 0, 3), func(l []any) any { return l }),
		rapid.Map(rapid.MapOfN(texts, leaf, 0, 3), func(m map[string]any) any { return m }))
}

func records(kinds ...string) *rapid.Generator[record.Record] {
	return rapid.Custom(func(t *rapid.T) record.Record {
		data, err := json.Marshal(rapid.MapOfN(texts, values(), 0, 12).Draw(t, "data"))
		if err != nil {
			t.Fatal(err)
		}
		return record.Record{
			Kind: rapid.SampledFrom(kinds).
				Draw(t, "kind"),
			ID: "x" + texts.Draw(t, "id"), Account: texts.Draw(t, "account"), AccountID: "222222222222",
			Partition: "aws", Region: "us-east-1", Name: texts.Draw(t, "name"),
			Tags:      rapid.MapOfN(texts, texts, 0, 5).Draw(t, "tags"),
			ExtraTags: rapid.MapOfN(texts, texts, 0, 12).Draw(t, "extra"), Run: "01JD",
			CollectedAt: time.Unix(0, rapid.Int64Range(1, 1<<62).Draw(t, "at")).UTC(), Data: data,
		}
	})
}

// asValue and asName return a text as a tag's value and as a name, independently of the code under test.
func asValue(s string, maxBytes int) string {
	for r := rune(0); r <= 127; r++ {
		if r < 32 || r == 127 {
			s = strings.ReplaceAll(s, string(r), " ")
		}
	}
	unescaping := func(s string) string { return beforeSpecial.ReplaceAllString(s, "$1") }
	s = unescaping(s)
	if maxBytes == 0 || len(s) <= maxBytes {
		return s
	}
	return unescaping(strings.ToValidUTF8(s[:maxBytes], ""))
}

var beforeSpecial = regexp.MustCompile(`\\+([,= ]|$)`)

func asName(s string, dotless bool) string {
	s = strings.ReplaceAll(asValue(s, 0), `\`, "")
	if dotless { // DataKit
		s = strings.ReplaceAll(s, ".", "_")
		s = strings.ToValidUTF8(s[:min(len(s), 256)], "")
	}
	return s
}

// A strict receiver accepts any record, and reads the record's own values.
func TestDataKitAnyRecord(t *testing.T) {
	var got []linePoint
	url := lineReceiver(t, customObject, dataKitBounds, func(p []linePoint) { got = p })
	out, _ := openRemote(t, "datakit", func(o any) { o.(*outputs.DataKit).URL = url })
	rapid.Check(t, func(t *rapid.T) {
		r := records("ec2_volume", "ec2_instance").Draw(t, "record")
		got = nil
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := out.Send(context.Background(), lines(string(raw))); err != nil {
			t.Fatal(err)
		}
		checkPoint(t, got, r, "name", 1024, true)
		if !sameJSON(got[0].fields["message"], string(r.Data)) {
			t.Errorf("message %q, data %s", got[0].fields["message"], r.Data)
		}
	})
}

// checkPoint compares a point with its record: id, time, and each member and extra tag with a name of its own.
func checkPoint(t *rapid.T, got []linePoint, r record.Record, idTag string, maxTag int, dotless bool) {
	if len(got) != 1 {
		t.Fatalf("%d points", len(got))
	}
	p := got[0]
	if want := asValue(r.ID, maxTag); p.tags[idTag] != want || !p.at.Equal(r.CollectedAt) {
		t.Errorf("id %q, want %q; at %s, want %s", p.tags[idTag], want, p.at, r.CollectedAt)
	}
	uses := map[string]int{} // the winner of a name that is used twice is tested elsewhere
	var data map[string]json.RawMessage
	if err := json.Unmarshal(r.Data, &data); err != nil {
		t.Fatal(err)
	}
	for key := range data {
		uses[asName(key, dotless)]++
	}
	for key := range r.ExtraTags {
		uses[asName(key, dotless)]++
	}
	own := []string{
		"", "name", "RegionId", "AccountId", "cloud_provider", "VolumeName", "message", "class", "date", "time", "State",
		"Status", "Type", "id", "account", "account_id", "partition", "region", "present", "_field", "_measurement",
		"_time", "_value",
	}
	for key, value := range r.ExtraTags {
		name := asName(key, dotless)
		if uses[name] > 1 || slices.Contains(own, name) || asValue(value, maxTag) == "" ||
			strings.HasPrefix(name, "extra_") {
			continue
		}
		if p.tags[name] != asValue(value, maxTag) {
			t.Errorf("extra tag %q: %q, want %q", key, p.tags[name], value)
		}
	}
	if r.Kind == "ec2_instance" && idTag == "name" {
		return // it has only five fields
	}
	for key, raw := range data {
		name := asName(key, dotless)
		if uses[name] > 1 || slices.Contains(own, name) || string(raw) == "null" {
			continue
		}
		var want any
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		switch want.(type) {
		case map[string]any, []any:
			if !sameJSON(p.fields[name], string(raw)) {
				t.Errorf("field %q: %v, want %s", key, p.fields[name], raw)
			}
		default:
			if p.fields[name] != want {
				t.Errorf("field %q: %v, want %v", key, p.fields[name], want)
			}
		}
	}
}

func sameJSON(got any, want string) bool {
	text, ok := got.(string)
	var a, b any
	return ok && json.Unmarshal([]byte(text), &a) == nil && json.Unmarshal([]byte(want), &b) == nil && cmp.Equal(a, b)
}

// docs/outputs.md shows the line of its example, and its configuration examples are valid.
func TestOutputsPage(t *testing.T) {
	page, err := os.ReadFile("../docs/outputs.md")
	if err != nil {
		t.Fatal(err)
	}
	var sent string
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) { sent = string(body(t, r)) })
	out, _ := openRemote(t, "datakit", func(o any) { o.(*outputs.DataKit).URL = s.URL })
	data := `{"InstanceId":"i-0abcd1234","InstanceType":"t3.micro","LaunchTime":"2026-11-01T08:00:00Z",` +
		`"Placement":{"AvailabilityZone":"cn-northwest-1a"},` +
		`"PlatformDetails":"Linux/UNIX","State":{"Code":16,"Name":"running"}}`
	if err := out.Send(t.Context(), lines(line("ec2_instance", "i-0abcd1234", "web 1", `{"account_name":"prod"}`,
		data))); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```\n"+sent+"```\n") {
		t.Errorf("docs/outputs.md does not contain\n%s", sent)
	}
	known := config.Registry{Kinds: []string{"ec2_instance", "ec2_volume"}, Outputs: map[string]func() any{}}
	for _, typ := range outputs.Types {
		known.Outputs[typ.Name] = typ.NewOptions
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(outputs:.*?)```").FindAllSubmatch(page, -1)
	if len(blocks) < 3 {
		t.Fatalf("%d blocks: docs/outputs.md was parsed wrongly", len(blocks))
	}
	for _, b := range blocks {
		if _, err := config.Parse([]byte("accounts: [{profile: a}]\n"+string(b[1])), "outputs.md", known); err != nil {
			t.Errorf("%s\n%v", b[1], err)
		}
	}
}
