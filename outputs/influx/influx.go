// Package influx is the output `influx`: resources as points in line protocol, for InfluxDB, VictoriaMetrics, Telegraf
// and other receivers over HTTP.
package influx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/fields"
	"github.com/aws-collector/collector/outputs/internal/httpclient"
	"github.com/aws-collector/collector/outputs/internal/points"
	"github.com/aws-collector/collector/secret"
)

// Options is the options of the output `influx`: each resource as a point in line protocol, for InfluxDB,
// VictoriaMetrics, Telegraf and other receivers over HTTP.
type Options struct {
	outputs.Common     `yaml:",inline"`
	httpclient.Options `yaml:",inline"`
	outputs.Batching   `yaml:",inline"`
	Token              secret.String `yaml:"token" doc:"InfluxDB's API token, sent as Authorization: Token."`
	Prefix             string        `yaml:"prefix" doc:"A prefix for the kind's name in the measurement, such as aws_."`
	LabelTags          []string      `yaml:"label_tags" doc:"Keys of AWS tags to send as tags: team as tag_team. Each value creates a series."`
}

// Type is this output.
var Type = outputs.Type{Name: "influx", Options: defaults, Open: open, Translates: true}

func defaults() any {
	return &Options{
		Options:  httpclient.Defaults(),
		Batching: outputs.Batching{MaxRecords: 5000, MaxBytes: 4 << 20, MaxWait: config.Duration(time.Second)},
	}
}

// Validate reports every error in the options.
func (o *Options) Validate() error {
	const example = "http://127.0.0.1:8086/api/v2/write?org=ORG&bucket=BUCKET or http://127.0.0.1:8086/write?db=NAME"
	errs := append(o.ClientErrors(example), o.BatchingErrors()...)
	if u, err := httpclient.ParseURL(o.URL); err == nil {
		if strings.Trim(u.Path, "/") == "" {
			errs = append(errs, errors.New("url: has no path: write it as "+example))
		}
		if p := u.Query().Get("precision"); p != "" && !slices.Contains([]string{"ns", "n", "nanosecond"}, p) {
			errs = append(errs, fmt.Errorf("url: remove precision=%s: times are sent in nanoseconds", p))
		}
		if u.Query().Has("p") {
			errs = append(errs, errors.New("url: contains a password: set it in basic_auth"))
		}
	}
	if !o.Token.IsZero() && (!o.BearerToken.IsZero() || o.BasicAuth != (httpclient.BasicAuth{}) ||
		o.HasHeader("Authorization")) {
		errs = append(errs, errors.New("token: remove it, or basic_auth, bearer_token and headers.Authorization"))
	}
	if strings.HasPrefix(o.Prefix, "_") || strings.HasPrefix(o.Prefix, "#") || points.CleanText(o.Prefix) != o.Prefix {
		errs = append(
			errs,
			fmt.Errorf("prefix: %q is not valid: want letters, digits and underscores, beginning with a letter", o.Prefix),
		)
	}
	for i, key := range o.LabelTags {
		if points.CleanText(key) != key || key == "" {
			errs = append(errs, fmt.Errorf("label_tags: item %d cannot be written in line protocol", i+1))
		}
	}
	return errors.Join(errs...)
}

// Cleartext implements [outputs.Cleartext].
func (o *Options) Cleartext() []config.Problem {
	if o.Token.IsZero() {
		return o.Options.Cleartext()
	}
	return o.CleartextWith("token")
}

// limits are the limits of InfluxDB 1 and 2; other receivers accept more.
// https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
var limits = points.Limits{
	MaxSeriesBytes:     65535,
	MaxFieldValueBytes: 64 << 10,
	Reserved:           []string{"time", "_field", "_measurement", "_time", "_value"},
}

// encoder makes points, one at a time.
type encoder struct {
	w         *points.Writer
	prefix    string
	labelTags []string
}

func open(_ context.Context, options any, d outputs.Deps) (outputs.Output, error) {
	o := options.(*Options)
	c, err := httpclient.New(&o.Options, "")
	if err != nil {
		return nil, err
	}
	if !o.Token.IsZero() {
		c.Header.Set("Authorization", "Token "+c.Reveal(o.Token))
	}
	x := &encoder{w: points.NewWriter(limits, d.Log, "influx"), prefix: o.Prefix, labelTags: o.LabelTags}
	return points.NewOutput(c, x.w, x.pointOf), nil
}

func (x *encoder) pointOf(l *outputs.Line) *points.Point {
	if l.Target != "" {
		return x.targetPoint(l)
	}
	return x.resourcePoint(l)
}

// resourcePoint makes a point at the time when the resource was collected or changed. Its id is a tag, because points
// with equal series and time overwrite each other.
func (x *encoder) resourcePoint(l *outputs.Line) *points.Point {
	p := &points.Point{Kind: l.Kind, Measurement: x.prefix + points.CleanText(l.Kind), At: l.CollectedAt}
	if l.Change != "" {
		p.At = l.At
	}
	data := fields.Members(l.Data)
	x.addTags(
		p,
		"id", l.ID, "name", l.Name, "account", l.Account, "account_id", l.AccountID, "partition", l.Partition,
		"region", l.Region,
	)
	for _, key := range fields.StateMembers {
		if text, ok := fields.ScalarOrName(data[key]); ok {
			x.w.AddTag(p, key, text)
		}
	}
	for _, key := range x.labelTags {
		x.w.AddTag(p, "tag_"+key, l.Tags[key])
	}
	x.addExtraTags(p, l, data)
	present := "1"
	if l.Change == inventory.WasGone {
		present = "0"
	}
	x.w.AddField(p, "present", json.RawMessage(present))
	for _, key := range fields.SortedKeys(data) {
		if !p.Has(key) {
			x.w.AddField(p, key, data[key])
		}
	}
	return p
}

// builtInNames are the tags and fields that are not members of the resource.
var builtInNames = []string{"id", "name", "account", "account_id", "partition", "region", "present"}

func (x *encoder) addExtraTags(p *points.Point, l *outputs.Line, data map[string]json.RawMessage) {
	builtIn := func(name string) bool {
		label, isLabel := strings.CutPrefix(name, "tag_")
		return slices.Contains(builtInNames, name) || data[name] != nil || limits.IsReserved(name) ||
			isLabel && slices.Contains(x.labelTags, label)
	}
	for name, value := range fields.ExtraTags(l.ExtraTags, builtIn) {
		x.w.AddTag(p, name, value)
	}
}

// targetPoint makes a point of the end of a target, in the measurement target, with its number of records and its
// state. It has no timestamp: the receiver uses its own clock.
func (x *encoder) targetPoint(l *outputs.Line) *points.Point {
	p := &points.Point{Kind: l.Kind, Measurement: x.prefix + "target"}
	x.addTags(p, "account", l.Account, "region", l.Region, "kind", l.Target, "state", string(l.State))
	x.w.AddField(p, "records", json.RawMessage(fmt.Sprint(l.Records)))
	return p
}

func (x *encoder) addTags(p *points.Point, pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		x.w.AddTag(p, pairs[i], pairs[i+1])
	}
}
