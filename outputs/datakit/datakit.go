// Package datakit is the output `datakit`: resources as custom objects of Guance, in line protocol.
package datakit

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
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// Options is the options of the output `datakit`: each resource is a custom object of Guance, in line protocol.
// https://docs.guance.com/datakit/apis/#api-v1-write
type Options struct {
	outputs.Common     `yaml:",inline"`
	httpclient.Options `yaml:",inline"`
	outputs.Batching   `yaml:",inline"`
	Token              secret.String `yaml:"token" doc:"The workspace's token, for a DataWay or a DataKit that requires one."`
}

// Type is this output.
var Type = outputs.Type{Name: "datakit", Options: defaults, Open: open, Translates: true}

func defaults() any {
	return &Options{
		Options:  httpclient.Defaults(),
		Batching: outputs.Batching{MaxRecords: 1000, MaxBytes: 2 << 20, MaxWait: config.Duration(time.Second)},
	}
}

// Validate reports every error in the options.
func (o *Options) Validate() error {
	errs := append(o.ClientErrors("http://127.0.0.1:9529"), o.BatchingErrors()...)
	if u, err := httpclient.ParseURL(o.URL); err == nil && u.Query().Has("token") {
		errs = append(errs, errors.New("url: contains the token, which is a secret: set it in token"))
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

const writePath = "/v1/write/custom_object"

// endpoint returns the URL of DataKit's API for custom objects.
func (o *Options) endpoint() (string, error) {
	u, err := httpclient.ParseURL(o.URL)
	if err != nil {
		return "", fmt.Errorf("url: %w", err)
	}
	if !strings.HasSuffix(strings.TrimRight(u.Path, "/"), writePath) {
		u = u.JoinPath(writePath)
	}
	if !o.Token.IsZero() {
		q := u.Query()
		q.Set("token", strings.TrimSpace(o.Token.Reveal()))
		u.RawQuery = q.Encode()
	}
	return u.String(), nil
}

// limits are the limits of DataKit for an object. It drops the reserved names, or uses them for something else.
// The limit of a series is a limit of its parser. https://docs.guance.com/datakit/apis/#lineproto-limitation
var limits = points.Limits{
	MaxTags: 256, MaxFields: 1024, MaxKeyBytes: 256, MaxTagValueBytes: 1024, MaxFieldValueBytes: 32 << 20,
	CutLongFields: true, MaxSeriesBytes: 65535, NoDots: true,
	Reserved: []string{"class", "date", "time"},
}

// encoder makes points, one at a time.
type encoder struct {
	w    *points.Writer
	kind func(string) record.KindInfo
}

func open(_ context.Context, options any, d outputs.Deps) (outputs.Output, error) {
	o := options.(*Options)
	to, err := o.endpoint()
	if err != nil {
		return nil, err
	}
	c, err := httpclient.New(&o.Options, to)
	if err != nil {
		return nil, err
	}
	k := &encoder{points.NewWriter(limits, d.Log, "datakit"), d.KindInfo}
	return points.NewOutput(c, k.w, k.resourcePoint), nil
}

// resourcePoint makes a custom object of a resource; nil for a resource that is gone, which Guance detects by itself
// when no more objects arrive, and for the end of a target.
func (k *encoder) resourcePoint(l *outputs.Line) *points.Point {
	if l.Target != "" || l.Change == inventory.WasGone {
		return nil
	}
	p := &points.Point{Kind: l.Kind, At: l.CollectedAt}
	data := fields.Members(l.Data)
	if l.Kind == "ec2_instance" {
		k.addInstance(p, l, data)
		return p
	}
	p.Measurement = "aws_" + points.CleanText(l.Kind)
	k.w.AddTag(p, "name", l.ID)
	k.w.AddTag(p, "RegionId", l.Region)
	k.w.AddTag(p, "AccountId", l.AccountID)
	k.w.AddTag(p, "cloud_provider", "AWS")
	nameTag := nameTag(k.kind(l.Kind).ShortName)
	builtIn := []string{"name", "RegionId", "AccountId", "cloud_provider", "message", nameTag}
	named := l.Name
	if named == "" {
		named, _ = fields.Scalar(data[nameTag])
	}
	k.w.AddTag(p, nameTag, named)
	for _, key := range fields.StateMembers {
		if text, ok := fields.ScalarOrName(data[key]); ok {
			k.w.AddTag(p, key, text)
		}
	}
	k.addExtraTags(p, l, func(name string) bool { return slices.Contains(builtIn, name) || data[name] != nil })
	k.w.AddText(p, "message", fields.CompactJSON(l.Data))
	for _, key := range fields.SortedKeys(data) {
		if !p.Has(points.ReplaceDots(key)) {
			k.w.AddField(p, key, data[key])
		}
	}
	return p
}

// The tags and fields of an instance are fixed, because dashboards depend on them: they are those of Guance's own
// collector. https://func.guance.com/doc/script-market-guance-aws-ec2/
var (
	instanceTags = []string{
		"name", "InstanceId", "InstanceType", "PlatformDetails", "RegionId", "InstanceName", "State", "StateReason_Code",
		"AvailabilityZone", "cloud_provider",
	}
	instanceFields = []string{"message", "BlockDeviceMappings", "LaunchTime", "NetworkInterfaces", "Placement"}
)

func (k *encoder) addInstance(p *points.Point, l *outputs.Line, data map[string]json.RawMessage) {
	p.Measurement = "aws_ec2"
	for _, key := range instanceTags {
		var value string
		switch key {
		case "name":
			value = l.ID
		case "RegionId":
			value = l.Region
		case "InstanceName":
			value = l.Name
		case "State":
			value, _ = fields.ScalarOrName(data["State"])
		case "StateReason_Code":
			value, _ = fields.Scalar(fields.Members(data["StateReason"])["Code"])
		case "AvailabilityZone":
			value, _ = fields.Scalar(fields.Members(data["Placement"])["AvailabilityZone"])
		case "cloud_provider":
			value = "AWS"
		default:
			value, _ = fields.Scalar(data[key])
		}
		k.w.AddTag(p, key, value)
	}
	k.addExtraTags(p, l, func(name string) bool {
		return slices.Contains(instanceTags, name) || slices.Contains(instanceFields, name)
	})
	k.w.AddText(p, "message", fields.CompactJSON(l.Data))
	for _, key := range instanceFields[1:] {
		k.w.AddField(p, key, data[key])
	}
}

func (k *encoder) addExtraTags(p *points.Point, l *outputs.Line, builtIn func(string) bool) {
	for name, value := range fields.ExtraTags(l.ExtraTags, func(name string) bool {
		return builtIn(points.ReplaceDots(name)) || limits.IsReserved(name)
	}) {
		k.w.AddTag(p, name, value)
	}
}

// nameTag returns VolumeName for volume, NatGatewayName for nat_gateway.
func nameTag(shortName string) string {
	var b strings.Builder
	for _, word := range strings.Split(shortName, "_") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String() + "Name"
}
