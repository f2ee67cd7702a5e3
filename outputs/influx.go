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

// Influx is the options of the output `influx`: each resource as a point in line protocol, for InfluxDB,
// VictoriaMetrics, Telegraf and other receivers over HTTP.
type Influx struct {
	Common     `yaml:",inline"`
	HTTPClient `yaml:",inline"`
	Batching   `yaml:",inline"`
	Token      secret.String `yaml:"token" doc:"InfluxDB's API token, sent as Authorization: Token."`
	Prefix     string        `yaml:"prefix" doc:"A prefix for the kind's name in the measurement, such as aws_."`
	LabelTags  []string      `yaml:"label_tags" doc:"Keys of AWS tags to send as tags: team as tag_team. Each value creates a series."`
}

func influxDefaults() any {
	return &Influx{
		HTTPClient: httpDefaults(),
		Batching:   Batching{MaxRecords: 5000, MaxBytes: 4 << 20, MaxWait: config.Duration(time.Second)},
	}
}

// Validate reports every error in the options.
func (o *Influx) Validate() error {
	const example = "http://127.0.0.1:8086/api/v2/write?org=ORG&bucket=BUCKET or http://127.0.0.1:8086/write?db=NAME"
	errs := append(o.clientErrors(example), o.batchingErrors()...)
	if u, err := parseURL(o.URL); err == nil {
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
	if !o.Token.IsZero() && (!o.BearerToken.IsZero() || o.BasicAuth != (BasicAuth{}) || o.hasHeader("Authorization")) {
		errs = append(errs, errors.New("token: remove it, or basic_auth, bearer_token and headers.Authorization"))
	}
	if strings.HasPrefix(o.Prefix, "_") || strings.HasPrefix(o.Prefix, "#") || cleanText(o.Prefix) != o.Prefix {
		errs = append(
			errs,
			fmt.Errorf("prefix: %q is not valid: want letters, digits and underscores, beginning with a letter", o.Prefix),
		)
	}
	for i, key := range o.LabelTags {
		if cleanText(key) != key || key == "" {
			errs = append(errs, fmt.Errorf("label_tags: item %d cannot be written in line protocol", i+1))
		}
	}
	return errors.Join(errs...)
}

// influxLimits are the limits of InfluxDB 1 and 2; other receivers accept more.
// https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
var influxLimits = lineLimits{
	maxSeriesBytes:     65535,
	maxFieldValueBytes: 64 << 10,
	reserved:           []string{"time", "_field", "_measurement", "_time", "_value"},
}

// influx encodes batches, one at a time.
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

// resourcePoint makes a point at the time when the resource was collected or changed. Its id is a tag, because points
// with equal series and time overwrite each other.
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

// influxBuiltInNames are the tags and fields that are not members of the resource.
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

// targetPoint makes a point of the end of a target, in the measurement target, with its number of records and its
// state. It has no timestamp: the receiver uses its own clock.
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
