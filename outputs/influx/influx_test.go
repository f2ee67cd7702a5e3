package influx_test

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
	"github.com/aws-collector/collector/outputs/influx"
	"github.com/aws-collector/collector/outputs/internal/httpclient"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/secret"
)

func TestInfluxRemote(t *testing.T) {
	outputstest.RunRemote(t, outputstest.RemoteLines(
		t, influx.Type, "/api/v2/write", "id", outputstest.LineBounds{}, func(o any, url, ca string) {
			x := o.(*influx.Options)
			x.URL, x.TLS.CAFile = url+"/api/v2/write?org=o&bucket=b", ca
		}))
}

func sent(t testing.TB, set func(*influx.Options), b outputs.Batch) (got []outputstest.LinePoint, log string) {
	t.Helper()
	url := outputstest.LineReceiver(t, "/write", outputstest.LineBounds{FieldValue: 64 << 10},
		func(p []outputstest.LinePoint) { got = append(got, p...) })
	out, logged := outputstest.Open(t, influx.Type, func(o any) {
		x := o.(*influx.Options)
		x.URL = url + "/write?db=aws"
		set(x)
	})
	if err := out.Send(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return got, string(logged.Bytes())
}

func TestInfluxPoint(t *testing.T) {
	rec := strings.Replace(outputstest.RecordLine(
		"ec2_volume",
		"vol-1",
		"data",
		`{"team":"x","region":"mine","tag_env":"e","Size":"s"}`,
		`{"Size":100,"State":"in-use","Encrypted":false,"Note":"a\nb","Attachments":[{"Device":"/dev/sdf"}]}`,
	), `"tags":{}`, `"tags":{"env":"prod","Name":"data"}`, 1)
	got, log := sent(
		t,
		func(o *influx.Options) { o.Prefix, o.LabelTags = "aws_", []string{"env", "absent"} },
		outputstest.LinesBatch(rec),
	)
	want := outputstest.LinePoint{
		Measurement: "aws_ec2_volume",
		Tags: map[string]string{
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
		Fields: map[string]any{
			"present":     1.0,
			"Size":        100.0,
			"Encrypted":   false,
			"Note":        "a\nb",
			"Attachments": `[{"Device":"/dev/sdf"}]`,
		},
		At: time.Date(2026, 11, 21, 22, 15, 3, 0, time.UTC),
	}
	if d := cmp.Diff(want, outputstest.OnlyPoint(t, got)); d != "" ||
		log != "" {
		t.Error(d, log)
	}
}

// A change is a point at its own time; a gone resource has present=0; the end of a target is a point too.
func TestInfluxChanges(t *testing.T) {
	rec := outputstest.RecordLine("ec2_volume", "vol-1", "", `{}`, `{"Size":8}`)
	change := func(what string) string {
		return fmt.Sprintf(
			`{"change":%q,"at":"2026-11-21T22:16:00.5Z","kind":"ec2_volume","id":"vol-1","changes":[],"record":%s}`,
			what,
			rec,
		)
	}
	end := `{"kind":"_target","account":"prod","region":"cn-northwest-1","target":"ec2_volume","state":"ok",` +
		`"records":1,"run":"01JD"}`
	got, _ := sent(t, func(*influx.Options) {}, outputstest.LinesBatch(change("added"), change("gone"), end, rec))
	if len(got) != 4 {
		t.Fatalf("%v", got)
	}
	at := time.Date(2026, 11, 21, 22, 16, 0, 5e8, time.UTC)
	if !got[0].At.Equal(at) || got[0].Fields["present"] != 1.0 || !got[1].At.Equal(at) || got[1].Fields["present"] != 0.0 {
		t.Errorf("%v", got[:2])
	}
	want := outputstest.LinePoint{
		Measurement: "target",
		Tags:        map[string]string{"account": "prod", "region": "cn-northwest-1", "kind": "ec2_volume", "state": "ok"},
		Fields:      map[string]any{"records": 1.0},
	}
	if d := cmp.Diff(want, got[2]); d != "" {
		t.Error(d)
	}
	if got[3].Measurement != "ec2_volume" || got[3].Fields["Size"] != 8.0 {
		t.Errorf("%v: after a line without a time", got[3])
	}
}

// A text above InfluxDB's limit is omitted and logged; the point is still sent.
func TestInfluxLimits(t *testing.T) {
	got, log := sent(
		t,
		func(*influx.Options) {},
		outputstest.LinesBatch(outputstest.RecordLine(
			"ec2_volume", "v", "", `{}`, `{"Doc":"`+strings.Repeat("x", 70_000)+`","Size":1}`)),
	)
	if p := outputstest.OnlyPoint(t, got); p.Fields["Doc"] != nil || p.Fields["Size"] != 1.0 ||
		!strings.Contains(log, "longer than 65536 bytes") ||
		!strings.Contains(log, "member=Doc") {
		t.Errorf("%v: %s", p, log)
	}
}

// The header of each authentication method; only one method may be set.
func TestInfluxAuthorization(t *testing.T) {
	var got http.Header
	s := outputstest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		w.WriteHeader(http.StatusNoContent)
	})
	for want, set := range map[string]func(*influx.Options){
		"Token " + outputstest.Canary:  func(o *influx.Options) { o.Token = secret.New(outputstest.Canary + "\n") },
		"Bearer " + outputstest.Canary: func(o *influx.Options) { o.BearerToken = secret.New(outputstest.Canary) },
		"Basic dTpw": func(o *influx.Options) {
			o.BasicAuth = httpclient.BasicAuth{Username: "u",
				Password: secret.New("p")}
		},
		"": func(*influx.Options) {},
	} {
		out, _ := outputstest.Open(
			t,
			influx.Type,
			func(o any) {
				x := o.(*influx.Options)
				x.URL = s.URL + "/api/v2/write?bucket=b"
				set(x)
			},
		)
		if err := out.Send(t.Context(), outputstest.SmallBatch("a", 1)); err != nil || got.Get("Authorization") != want {
			t.Errorf("%q, want %q: %v", got.Get("Authorization"), want, err)
		}
	}
	for want, set := range map[string]func(*influx.Options){
		"url: has no path":        func(o *influx.Options) { o.URL = "http://h:8086" },
		"url: remove precision=s": func(o *influx.Options) { o.URL = "http://h:8086/write?db=x&precision=s" },
		"url: contains a password": func(o *influx.Options) {
			o.URL = "http://h:8086/write?db=x&u=a&p=" + outputstest.Canary
		},
		"token: ": func(o *influx.Options) {
			o.Token, o.BearerToken = secret.New(outputstest.Canary),
				secret.New(outputstest.Canary)
		},
		"prefix: ":           func(o *influx.Options) { o.Prefix = "_x" },
		"label_tags: item 2": func(o *influx.Options) { o.LabelTags = []string{"a", "\\"} },
	} {
		o := influx.Type.Options().(*influx.Options)
		o.URL = "http://h:8086/write?db=x"
		set(o)
		if err := o.Validate(); err == nil || !strings.HasPrefix(err.Error(), want) ||
			strings.Contains(err.Error(), outputstest.Canary) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%v; want one error that begins with %s", err, want)
		}
	}
}

func TestInfluxAnyRecord(t *testing.T) {
	var got []outputstest.LinePoint
	url := outputstest.LineReceiver(t, "/write", outputstest.LineBounds{FieldValue: 64 << 10},
		func(p []outputstest.LinePoint) { got = p })
	out, _ := outputstest.Open(t, influx.Type, func(o any) { o.(*influx.Options).URL = url + "/write" })
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
		outputstest.CheckPoint(t, got, r, "id", 0, false)
	})
}
