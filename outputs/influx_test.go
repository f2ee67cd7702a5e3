package outputs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/secret"
)

func TestInfluxRemote(t *testing.T) {
	outputstest.RunRemote(t, remoteLines(t, "influx", "/api/v2/write", "id", lineBounds{}, func(o any, url, ca string) {
		x := o.(*outputs.Influx)
		x.URL, x.TLS.CAFile = url+"/api/v2/write?org=o&bucket=b", ca
	}))
}

func influx(t testing.TB, set func(*outputs.Influx), b outputs.Batch) (got []linePoint, log string) {
	t.Helper()
	url := lineReceiver(t, "/write", lineBounds{fieldValue: 64 << 10}, func(p []linePoint) { got = append(got, p...) })
	out, logged := openRemote(t, "influx", func(o any) {
		x := o.(*outputs.Influx)
		x.URL = url + "/write?db=aws"
		set(x)
	})
	if err := out.Send(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return got, string(logged.Bytes())
}

func TestInfluxPoint(t *testing.T) {
	rec := strings.Replace(line(
		"ec2_volume",
		"vol-1",
		"data",
		`{"team":"x","region":"mine","tag_env":"e","Size":"s"}`,
		`{"Size":100,"State":"in-use","Encrypted":false,"Note":"a\nb","Attachments":[{"Device":"/dev/sdf"}]}`,
	), `"tags":{}`, `"tags":{"env":"prod","Name":"data"}`, 1)
	got, log := influx(
		t,
		func(o *outputs.Influx) { o.Prefix, o.LabelTags = "aws_", []string{"env", "absent"} },
		lines(rec),
	)
	want := linePoint{
		measurement: "aws_ec2_volume",
		tags: map[string]string{
			"id":            "vol-1",
			"name":          "data",
			"account":       "prod",
			"account_id":    "222222222222",
			"partition":     "aws-cn",
			"region":        "cn-northwest-1",
			"State":         "in-use",
			"tag_env":       "prod",
			"team":          "x",
			"extra_region":  "mine",
			"extra_tag_env": "e",
			"extra_Size":    "s",
		},
		fields: map[string]any{
			"present":     1.0,
			"Size":        100.0,
			"Encrypted":   false,
			"Note":        "a\nb",
			"Attachments": `[{"Device":"/dev/sdf"}]`,
		},
		at: time.Date(2026, 11, 21, 22, 15, 3, 0, time.UTC),
	}
	if d := cmp.Diff(want, sent(t, got), cmp.AllowUnexported(linePoint{})); d != "" || log != "" {
		t.Error(d, log)
	}
}

// A change is a point at its own time; a gone resource has present=0; the end of a target is a point too.
func TestInfluxChanges(t *testing.T) {
	rec := line("ec2_volume", "vol-1", "", `{}`, `{"Size":8}`)
	change := func(what string) string {
		return fmt.Sprintf(
			`{"change":%q,"at":"2026-11-21T22:16:00.5Z","kind":"ec2_volume","id":"vol-1","changes":[],"record":%s}`,
			what,
			rec,
		)
	}
	end := `{"kind":"_target","account":"prod","region":"cn-northwest-1","target":"ec2_volume","state":"ok",` +
		`"records":1,"run":"01JD"}`
	got, _ := influx(t, func(*outputs.Influx) {}, lines(change("added"), change("gone"), end, rec))
	if len(got) != 4 {
		t.Fatalf("%v", got)
	}
	at := time.Date(2026, 11, 21, 22, 16, 0, 5e8, time.UTC)
	if !got[0].at.Equal(at) || got[0].fields["present"] != 1.0 || !got[1].at.Equal(at) || got[1].fields["present"] != 0.0 {
		t.Errorf("%v", got[:2])
	}
	want := linePoint{
		measurement: "target",
		tags:        map[string]string{"account": "prod", "region": "cn-northwest-1", "kind": "ec2_volume", "state": "ok"},
		fields:      map[string]any{"records": 1.0},
	}
	if d := cmp.Diff(want, got[2], cmp.AllowUnexported(linePoint{})); d != "" {
		t.Error(d)
	}
	if got[3].measurement != "ec2_volume" || got[3].fields["Size"] != 8.0 {
		t.Errorf("%v: after a line without a time", got[3])
	}
}

// A text above InfluxDB's limit is omitted and logged; the point is still sent.
func TestInfluxLimits(t *testing.T) {
	got, log := influx(
		t,
		func(*outputs.Influx) {},
		lines(line("ec2_volume", "v", "", `{}`, `{"Doc":"`+strings.Repeat("x", 70_000)+`","Size":1}`)),
	)
	if p := sent(t, got); p.fields["Doc"] != nil || p.fields["Size"] != 1.0 ||
		!strings.Contains(log, "longer than 65536 bytes") ||
		!strings.Contains(log, "member=Doc") {
		t.Errorf("%v: %s", p, log)
	}
}

// The header of each authentication method; only one method may be set.
func TestInfluxAuthorization(t *testing.T) {
	var got http.Header
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		w.WriteHeader(http.StatusNoContent)
	})
	for want, set := range map[string]func(*outputs.Influx){
		"Token " + canary:  func(o *outputs.Influx) { o.Token = secret.New(canary + "\n") },
		"Bearer " + canary: func(o *outputs.Influx) { o.BearerToken = secret.New(canary) },
		"Basic dTpw": func(o *outputs.Influx) {
			o.BasicAuth = outputs.BasicAuth{Username: "u",
				Password: secret.New("p")}
		},
		"": func(*outputs.Influx) {},
	} {
		out, _ := openRemote(
			t,
			"influx",
			func(o any) {
				x := o.(*outputs.Influx)
				x.URL = s.URL + "/api/v2/write?bucket=b"
				set(x)
			},
		)
		if err := out.Send(t.Context(), batch("a", 1)); err != nil || got.Get("Authorization") != want {
			t.Errorf("%q, want %q: %v", got.Get("Authorization"), want, err)
		}
	}
	for want, set := range map[string]func(*outputs.Influx){
		"url: has no path":         func(o *outputs.Influx) { o.URL = "http://h:8086" },
		"url: remove precision=s":  func(o *outputs.Influx) { o.URL = "http://h:8086/write?db=x&precision=s" },
		"url: contains a password": func(o *outputs.Influx) { o.URL = "http://h:8086/write?db=x&u=a&p=" + canary },
		"token: ": func(o *outputs.Influx) {
			o.Token, o.BearerToken = secret.New(canary),
				secret.New(canary)
		},
		"prefix: ":           func(o *outputs.Influx) { o.Prefix = "_x" },
		"label_tags: item 2": func(o *outputs.Influx) { o.LabelTags = []string{"a", "\\"} },
	} {
		o := findType(t, "influx").Options().(*outputs.Influx)
		o.URL = "http://h:8086/write?db=x"
		set(o)
		if err := o.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) ||
			strings.Contains(err.Error(), canary) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%v; want one error that begins with %s", err, want)
		}
	}
}

func TestInfluxAnyRecord(t *testing.T) {
	var got []linePoint
	url := lineReceiver(t, "/write", lineBounds{fieldValue: 64 << 10}, func(p []linePoint) { got = p })
	out, _ := openRemote(t, "influx", func(o any) { o.(*outputs.Influx).URL = url + "/write" })
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
		checkPoint(t, got, r, "id", 0, false)
	})
}
