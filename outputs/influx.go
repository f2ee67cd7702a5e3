package outputs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/secret"
)

// Influx is the options of the output `influx`: each resource as a point of line protocol, to InfluxDB, VictoriaMetrics,
// Telegraf or any other that takes it over HTTP.
type Influx struct {
	Common     `yaml:",inline"`
	HTTPClient `yaml:",inline"`
	Batching   `yaml:",inline"`
	Token      secret.String `yaml:"token" doc:"InfluxDB's API token, sent as Authorization: Token."`
	Prefix     string        `yaml:"prefix" doc:"What stands before a kind's name in its measurement, as aws_."`
	LabelTags  []string      `yaml:"label_tags" doc:"Keys of AWS tags that go out as tags, team as tag_team. Each value is a series."`
}

func influxDefaults() any {
	return &Influx{
		HTTPClient: httpDefaults(),
		Batching:   Batching{MaxRecords: 5000, MaxBytes: 4 << 20, MaxWait: config.Duration(time.Second)},
	}
}

// Validate reports everything that is wrong.
func (o *Influx) Validate() error {
	const example = "http://127.0.0.1:8086/api/v2/write?org=ORG&bucket=BUCKET or http://127.0.0.1:8086/write?db=NAME"
	errs := append(o.clientErrors(example), o.batchingErrors()...)
	if u, err := parseURL(o.URL); err == nil {
		if strings.Trim(u.Path, "/") == "" {
			errs = append(errs, errors.New("url: has no path: write it as "+example))
		}
		if p := u.Query().Get("precision"); p != "" && !slices.Contains([]string{"ns", "n", "nanosecond"}, p) {
			errs = append(errs, fmt.Errorf("url: precision=%s would be misread: times are in nanoseconds; leave it out", p))
		}
		if u.Query().Has("p") {
			errs = append(errs, errors.New("url: holds a password: write it under basic_auth"))
		}
	}
	if !o.Token.IsZero() && (!o.BearerToken.IsZero() || o.BasicAuth != (BasicAuth{}) || o.hasHeader("Authorization")) {
		errs = append(errs, errors.New("token: basic_auth, bearer_token and headers.Authorization exclude it"))
	}
	if strings.HasPrefix(o.Prefix, "_") || strings.HasPrefix(o.Prefix, "#") || cleanText(o.Prefix) != o.Prefix {
		errs = append(
			errs,
			fmt.Errorf("prefix: %q cannot begin a measurement: want letters, digits and underscores, a letter first", o.Prefix),
		)
	}
	for i, key := range o.LabelTags {
		if cleanText(key) != key || key == "" {
			errs = append(errs, fmt.Errorf("label_tags: the %d. is no key of a tag that line protocol can carry", i+1))
		}
	}
	return errors.Join(errs...)
}

// influxLimits is what InfluxDB 1 and 2 take; others take more.
// https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
var influxLimits = lineLimits{
	maxSeriesBytes:     65535,
	maxFieldValueBytes: 64 << 10,
	reserved:           []string{"time", "_field", "_measurement", "_time", "_value"},
}

// influx writes batches. One is under way at a time.
type influx struct {
	w         lineWriter
	prefix    string
	labelTags []string
}

func openInflux(_ context.Context, options any, d Deps) (Output, error) {
	o := options.(*Influx)
	c, err := newHTTPClient(&o.HTTPClient, "")
	if err != nil {
		return nil, err
	}
	if !o.Token.IsZero() {
		c.header.Set("Authorization", "Token "+c.reveal(o.Token))
	}
	x := &influx{
		w:         lineWriter{limits: influxLimits, limitLog: newLimitLog(d.Log, "influx")},
		prefix:    o.Prefix,
		labelTags: o.LabelTags,
	}
	return &httpOutput{client: c, mu: make(contextMutex, 1), encode: x.encode, onClose: x.w.limitLog.logTotal}, nil
}

func (x *influx) encode(b Batch) (http.Header, []byte, error) {
	x.w.reset(len(b.Lines))
	for l, err := range Lines(b.Lines) {
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		p := x.resourcePoint(l)
		if l.Target != "" {
			p = x.targetPoint(l)
		}
		if err := x.w.write(p); err != nil {
			return nil, nil, err
		}
	}
	return lineProtocolHeader(), x.w.enc.Bytes(), nil
}

// resourcePoint is a point at the instant at which the resource was seen, or changed. Its id is a tag, as points of one series
// and instant are one point.
func (x *influx) resourcePoint(l *Line) *point {
	p := &point{kind: l.Kind, measurement: x.prefix + cleanText(l.Kind), at: l.CollectedAt}
	if l.Change != "" {
		p.at = l.At
	}
	data := members(l.Data)
	x.addTags(
		p,
		"id", l.ID, "name", l.Name, "account", l.Account, "account_id", l.AccountID, "partition", l.Partition,
		"region", l.Region,
	)
	for _, key := range stateMembers {
		if text, ok := scalarOrName(data[key]); ok {
			x.w.addTag(p, key, text)
		}
	}
	for _, key := range x.labelTags {
		x.w.addTag(p, "tag_"+key, l.Tags[key])
	}
	x.addExtraTags(p, l, data)
	present := "1"
	if l.Change == inventory.WasGone {
		present = "0"
	}
	x.w.addField(p, "present", json.RawMessage(present))
	for _, key := range sortedKeys(data) {
		if !p.has(key) {
			x.w.addField(p, key, data[key])
		}
	}
	return p
}

// influxBuiltInNames are the tags and fields of a point that are not the resource's members.
var influxBuiltInNames = []string{"id", "name", "account", "account_id", "partition", "region", "present"}

func (x *influx) addExtraTags(p *point, l *Line, data map[string]json.RawMessage) {
	builtIn := func(name string) bool {
		label, isLabel := strings.CutPrefix(name, "tag_")
		return slices.Contains(influxBuiltInNames, name) || data[name] != nil || influxLimits.isReserved(name) ||
			isLabel && slices.Contains(x.labelTags, label)
	}
	for name, value := range extraTags(l.ExtraTags, builtIn) {
		x.w.addTag(p, name, value)
	}
}

// targetPoint is the end of a target, in the measurement target: how many records it had, and in which state it ended. It has no
// instant of its own; the receiver takes its own clock's.
func (x *influx) targetPoint(l *Line) *point {
	p := &point{kind: l.Kind, measurement: x.prefix + "target"}
	x.addTags(p, "account", l.Account, "region", l.Region, "kind", l.Target, "state", string(l.State))
	x.w.addField(p, "records", json.RawMessage(fmt.Sprint(l.Records)))
	return p
}

func (x *influx) addTags(p *point, pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		x.w.addTag(p, pairs[i], pairs[i+1])
	}
}
