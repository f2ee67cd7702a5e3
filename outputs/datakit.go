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

// DataKit is the options of the output `datakit`: each resource is a custom object of Guance, in line protocol.
// https://docs.guance.com/datakit/apis/#api-v1-write
type DataKit struct {
	Common     `yaml:",inline"`
	HTTPClient `yaml:",inline"`
	Batching   `yaml:",inline"`
	Token      secret.String `yaml:"token" doc:"The workspace's token, for a DataWay or a DataKit that requires one."`
}

func dataKitDefaults() any {
	return &DataKit{
		HTTPClient: httpDefaults(),
		Batching:   Batching{MaxRecords: 1000, MaxBytes: 2 << 20, MaxWait: config.Duration(time.Second)},
	}
}

// Validate reports every error in the options.
func (o *DataKit) Validate() error {
	errs := append(o.clientErrors("http://127.0.0.1:9529"), o.batchingErrors()...)
	if u, err := parseURL(o.URL); err == nil && u.Query().Has("token") {
		errs = append(errs, errors.New("url: contains the token, which is a secret: set it in token"))
	}
	return errors.Join(errs...)
}

const dataKitPath = "/v1/write/custom_object"

// endpoint returns the URL of DataKit's API for custom objects.
func (o *DataKit) endpoint() (string, error) {
	u, err := parseURL(o.URL)
	if err != nil {
		return "", fmt.Errorf("url: %w", err)
	}
	if !strings.HasSuffix(strings.TrimRight(u.Path, "/"), dataKitPath) {
		u = u.JoinPath(dataKitPath)
	}
	if !o.Token.IsZero() {
		q := u.Query()
		q.Set("token", strings.TrimSpace(o.Token.Reveal()))
		u.RawQuery = q.Encode()
	}
	return u.String(), nil
}

// dataKitLimits are the limits of DataKit for an object. It drops the reserved names, or uses them for something else.
// The limit of a series is a limit of its parser. https://docs.guance.com/datakit/apis/#lineproto-limitation
var dataKitLimits = lineLimits{
	maxTags: 256, maxFields: 1024, maxKeyBytes: 256, maxTagValueBytes: 1024, maxFieldValueBytes: 32 << 20,
	cutLongFields: true, maxSeriesBytes: 65535, noDots: true,
	reserved: []string{"class", "date", "time"},
}

// dataKit encodes batches, one at a time.
type dataKit struct{ w lineWriter }

func openDataKit(_ context.Context, options any, d Deps) (Output, error) {
	o := options.(*DataKit)
	to, err := o.endpoint()
	if err != nil {
		return nil, err
	}
	c, err := newHTTPClient(&o.HTTPClient, to)
	if err != nil {
		return nil, err
	}
	k := &dataKit{lineWriter{limits: dataKitLimits, limitLog: newLimitLog(d.Log, "datakit")}}
	return &httpOutput{client: c, mu: make(contextMutex, 1), encode: k.encode, onClose: k.w.limitLog.logTotal}, nil
}

func (k *dataKit) encode(b Batch) (http.Header, []byte, error) {
	k.w.reset(len(b.Lines))
	for l, err := range Lines(b.Lines) {
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		if p := k.resourcePoint(l); p != nil {
			if err := k.w.write(p); err != nil {
				return nil, nil, err
			}
		}
	}
	return lineProtocolHeader(), k.w.enc.Bytes(), nil
}

// resourcePoint makes a custom object of a resource; nil for a resource that is gone, which Guance detects by itself
// when no more objects arrive, and for the end of a target.
func (k *dataKit) resourcePoint(l *Line) *point {
	if l.Target != "" || l.Change == inventory.WasGone {
		return nil
	}
	p := &point{kind: l.Kind, at: l.CollectedAt}
	data := members(l.Data)
	if l.Kind == "ec2_instance" {
		k.addInstance(p, l, data)
		return p
	}
	p.measurement = "aws_" + cleanText(l.Kind)
	k.w.addTag(p, "name", l.ID)
	k.w.addTag(p, "RegionId", l.Region)
	k.w.addTag(p, "AccountId", l.AccountID)
	k.w.addTag(p, "cloud_provider", "AWS")
	builtIn := []string{"name", "RegionId", "AccountId", "cloud_provider", "message", nameTag(l.Kind)}
	named := l.Name
	if named == "" {
		named, _ = scalar(data[nameTag(l.Kind)])
	}
	k.w.addTag(p, nameTag(l.Kind), named)
	for _, key := range stateMembers {
		if text, ok := scalarOrName(data[key]); ok {
			k.w.addTag(p, key, text)
		}
	}
	k.addExtraTags(p, l, func(name string) bool { return slices.Contains(builtIn, name) || data[name] != nil })
	k.w.addText(p, "message", compactJSON(l.Data))
	for _, key := range sortedKeys(data) {
		if !p.has(replaceDots(key)) {
			k.w.addField(p, key, data[key])
		}
	}
	return p
}

// stateMembers are the members of a resource that hold its state or its type.
var stateMembers = []string{"State", "Status", "Type"}

// The tags and fields of an instance are fixed, because dashboards depend on them: they are those of Guance's own
// collector. https://func.guance.com/doc/script-market-guance-aws-ec2/
var (
	instanceTags = []string{
		"name", "InstanceId", "InstanceType", "PlatformDetails", "RegionId", "InstanceName", "State", "StateReason_Code",
		"AvailabilityZone", "cloud_provider",
	}
	instanceFields = []string{"message", "BlockDeviceMappings", "LaunchTime", "NetworkInterfaces", "Placement"}
)

func (k *dataKit) addInstance(p *point, l *Line, data map[string]json.RawMessage) {
	p.measurement = "aws_ec2"
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
			value, _ = scalarOrName(data["State"])
		case "StateReason_Code":
			value, _ = scalar(members(data["StateReason"])["Code"])
		case "AvailabilityZone":
			value, _ = scalar(members(data["Placement"])["AvailabilityZone"])
		case "cloud_provider":
			value = "AWS"
		default:
			value, _ = scalar(data[key])
		}
		k.w.addTag(p, key, value)
	}
	k.addExtraTags(p, l, func(name string) bool {
		return slices.Contains(instanceTags, name) || slices.Contains(instanceFields, name)
	})
	k.w.addText(p, "message", compactJSON(l.Data))
	for _, key := range instanceFields[1:] {
		k.w.addField(p, key, data[key])
	}
}

func (k *dataKit) addExtraTags(p *point, l *Line, builtIn func(string) bool) {
	for name, value := range extraTags(l.ExtraTags, func(name string) bool {
		return builtIn(replaceDots(name)) || dataKitLimits.isReserved(name)
	}) {
		k.w.addTag(p, name, value)
	}
}

// nameTag returns VolumeName for ec2_volume, NatGatewayName for ec2_nat_gateway.
func nameTag(kind string) string {
	var b strings.Builder
	for _, word := range strings.Split(strings.TrimPrefix(kind, "ec2_"), "_") {
		if word != "" {
			b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		}
	}
	return b.String() + "Name"
}
