// Package httpsd is the output `http_sd`: resources of the store as targets for Prometheus's HTTP service discovery.
package httpsd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/labels"
	"github.com/aws-collector/collector/outputs/internal/served"
)

// Options is the options of the output `http_sd`: resources of the store as targets for Prometheus's HTTP service
// discovery. https://prometheus.io/docs/prometheus/latest/http_sd/
type Options struct {
	Name           string            `yaml:"name" doc:"The output's name in metrics and logs, and the last part of its URL: /api/v1/sd/NAME."`
	Kind           string            `yaml:"kind" names:"kinds" doc:"The kind of the resources that become targets."`
	Address        string            `yaml:"address" doc:"The address of a target: a field of collector list --columns, such as tags.fqdn or data.PublicIpAddress; or a Go template of {{.PrivateIP}}, {{.PublicIP}}, {{.IPv6}}, {{.PrivateDNS}}, {{.PublicDNS}}, {{.ID}}, {{.Name}}, {{.State}}, {{.Type}}, {{.Account}}, {{.AccountID}}, {{.Partition}}, {{.Region}}, {{.Tags.KEY}}, {{.ExtraTags.KEY}} and {{.Field \"data.MEMBER\"}}, such as '{{or .PublicIP .PrivateIP}}'. Resources without an address are omitted and counted. Default for ec2_instance: the private address, else the IPv6 address."`
	Port           int               `yaml:"port" range:"0..65535" doc:"The port of addresses without one. 0: the port of the scheme."`
	AllowLocal     bool              `yaml:"allow_local" doc:"Also targets at loopback and link-local addresses, such as instance metadata, and at addresses with a zone. Without it they are omitted and counted, because a tag must not make Prometheus read from them."`
	Labels         map[string]string `yaml:"labels" doc:"Labels of the targets in addition to the __meta_ ones, such as {team: tags.team, __metrics_path__: tags.metrics_path}. Characters that a label cannot have become _; two names that become equal are an error."`
	served.Options `yaml:",inline"`
}

const (
	targetsPath  = "/api/v1/sd/"
	instanceKind = "ec2_instance"
)

// Type is this output.
var Type = outputs.Type{Name: "http_sd", Options: defaults, Serve: serve}

func defaults() any { return &Options{Kind: instanceKind} }

// OutputName returns the configured name.
func (o *Options) OutputName() string { return o.Name }

// Validate reports every error in the options.
func (o *Options) Validate() error {
	errs := o.ServedErrors()
	switch {
	case o.Name == "":
		errs = append(
			errs,
			errors.New("name: is needed: it is the last part of the URL for Prometheus, "+targetsPath+"NAME"),
		)
	case !served.IsPlainName(o.Name):
		errs = append(errs, fmt.Errorf("name: %q is part of a URL: use letters, digits, dots, - and _", o.Name))
	}
	if o.Kind == "" || strings.ContainsAny(o.Kind, "*?!") {
		errs = append(errs, fmt.Errorf("kind: %q is not the name of one kind", o.Kind))
	}
	if o.Address == "" && o.Kind != instanceKind {
		errs = append(
			errs,
			fmt.Errorf("address: is needed for %s: a field, such as data.PrivateIpAddress, or a template", o.Kind),
		)
	} else if _, err := newAddressTemplate(o.Address); err != nil {
		errs = append(errs, err)
	}
	if o.Port < 0 || o.Port > 65535 {
		errs = append(errs, fmt.Errorf("port: %d is not in 0..65535", o.Port))
	}
	if _, err := o.parseLabels(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (o *Options) parseLabels() ([]labels.Label, error) {
	return labels.Parse(o.Labels, func(name string) string {
		switch {
		case strings.HasPrefix(name, metaEC2), strings.HasPrefix(name, metaCollector):
			return "built in"
		case name == "__address__":
			return "the target itself: set address"
		}
		return ""
	})
}

// targetList renders a list of targets.
type targetList struct {
	Options
	address addressTemplate
	labels  []labels.Label
	store   inventory.Reader
}

func serve(name string, options any, d outputs.Deps) (outputs.Served, error) {
	o := options.(*Options)
	more, err := o.parseLabels()
	if err != nil {
		return outputs.Served{}, err
	}
	a, err := newAddressTemplate(o.Address)
	if err != nil {
		return outputs.Served{}, err
	}
	h, err := served.NewHandler(name, &targetList{*o, a, more, d.Store}, d)
	return outputs.Served{Path: targetsPath + name, Handler: h}, err
}

func (*targetList) ContentType(http.Header) string { return "application/json" }

// Why a resource is not a target.
const (
	noAddress    = "no_address"
	badAddress   = "bad_address"
	localAddress = "local_address"
)

// A targetGroup is Prometheus's JSON. It has one target, because the labels apply to the whole group.
type targetGroup struct {
	Targets [1]string         `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

func (x *targetList) Render(ctx context.Context, _ string, w *bufio.Writer) (served.Counts, error) {
	var t served.Counts
	t.AddLeftOut(noAddress, 0)
	t.AddLeftOut(badAddress, 0)
	t.AddLeftOut(localAddress, 0)
	if _, err := x.CheckFreshness(ctx, x.store, func(kind string) bool { return kind == x.Kind }); err != nil {
		return t, err
	}
	found, err := x.Find(ctx, x.store, x.Kind, true)
	if err != nil {
		return t, err
	}
	_ = w.WriteByte('[') // a bufio.Writer returns its error later
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for r, err := range found {
		if err != nil {
			return t, err
		}
		g, why, err := x.groupOf(r)
		switch {
		case err != nil:
			return t, fmt.Errorf("%s %s: %w", r.Kind, r.ID, err)
		case why != "":
			t.AddLeftOut(why, 1)
			continue
		}
		if t.Shown > 0 {
			_ = w.WriteByte(',')
		}
		if err := e.Encode(g); err != nil {
			return t, err
		}
		t.Shown++
	}
	_, err = w.WriteString("]\n")
	return t, err
}

// groupOf returns a resource as a group, or why it is not a target.
func (x *targetList) groupOf(r *inventory.Resource) (g targetGroup, why string, err error) {
	var d instance
	var another *json.UnmarshalTypeError // ignored: another kind's member with the same name
	if err := json.Unmarshal(r.Data, &d); err != nil && !errors.As(err, &another) {
		return g, "", err
	}
	ipv6, primary, all := d.ipv6Addresses()
	host, err := x.address.render(
		&addressData{r, d.PrivateIPAddress, d.PublicIPAddress, ipv6, d.PrivateDNSName, d.PublicDNSName},
	)
	if err != nil {
		return g, "", fmt.Errorf("address: %w", err)
	}
	if host == "" {
		return g, noAddress, nil
	}
	if g.Targets[0], why = x.hostPort(host); why != "" {
		return g, why, nil
	}
	g.Labels = map[string]string{}
	for _, l := range x.labels {
		v, err := l.Value(r)
		if err != nil {
			return g, "", err
		}
		if v != "" {
			g.Labels[l.Name] = v
		}
	}
	addCollectorLabels(g.Labels, r)
	if r.Kind == instanceKind {
		d.addLabels(g.Labels, r, ipv6, primary, all)
	}
	return g, "", nil
}

// The prefixes of label names. The labels with metaEC2 mean the same as in Prometheus's ec2_sd_configs.
// https://prometheus.io/docs/prometheus/latest/configuration/configuration/#ec2_sd_config
const (
	metaEC2       = "__meta_ec2_"
	metaCollector = "__meta_collector_"
)

func addCollectorLabels(to map[string]string, r *inventory.Resource) {
	addLabels(
		to, metaCollector,
		"kind", r.Kind, "id", r.ID, "name", r.Name, "state", r.State, "type", r.Type, "account", r.Account,
		"account_id", r.AccountID, "partition", r.Partition, "region", r.Region,
	)
	addTagLabels(to, metaCollector+"tag_", r.Tags)
	addTagLabels(to, metaCollector+"extra_tag_", r.ExtraTags)
}

// addLabels adds pairs of name and value; pairs without a value are skipped.
func addLabels(to map[string]string, prefix string, pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			to[prefix+pairs[i]] = strings.ToValidUTF8(pairs[i+1], "\uFFFD")
		}
	}
}

// addTagLabels adds tags by their keys. Characters that a label cannot have become _. If two keys become equal, the
// first in byte order wins.
func addTagLabels(to map[string]string, prefix string, tags map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		name := prefix + labels.Sanitize(key)
		if _, taken := to[name]; !taken {
			to[name] = strings.ToValidUTF8(tags[key], "\uFFFD")
		}
	}
}

// An instance has the members of an EC2 instance that become labels, and the addresses of any kind with the same
// members.
type instance struct {
	ImageID           string `json:"ImageId"`
	Architecture      string
	InstanceLifecycle string
	Platform          string
	PrivateIPAddress  string `json:"PrivateIpAddress"`
	PublicIPAddress   string `json:"PublicIpAddress"`
	PrivateDNSName    string `json:"PrivateDnsName"`
	PublicDNSName     string `json:"PublicDnsName"`
	SubnetID          string `json:"SubnetId"`
	VPCID             string `json:"VpcId"`
	Placement         struct{ AvailabilityZone, AvailabilityZoneID string }
	Reservation       struct {
		OwnerID string `json:"OwnerId"`
	}
	NetworkInterfaces []struct {
		SubnetID      string `json:"SubnetId"`
		Attachment    struct{ DeviceIndex int }
		IPv6Addresses []struct {
			Address   string `json:"Ipv6Address"`
			IsPrimary bool   `json:"IsPrimaryIpv6"`
		} `json:"Ipv6Addresses"`
	}
	IPv6Addresses []struct { // of a network interface
		Address string `json:"Ipv6Address"`
	} `json:"Ipv6Addresses"`
}

// maxDevices is more than the number of interfaces of any instance.
const maxDevices = 64

// ipv6Addresses returns the preferred address, the primary addresses by device index, and all addresses.
func (d *instance) ipv6Addresses() (best string, primary, all []string) {
	for _, n := range d.NetworkInterfaces {
		for _, a := range n.IPv6Addresses {
			all = append(all, a.Address)
			if i := n.Attachment.DeviceIndex; a.IsPrimary && i >= 0 && i < maxDevices {
				for len(primary) <= i {
					primary = append(primary, "")
				}
				primary[i] = a.Address
			}
		}
	}
	for _, a := range d.IPv6Addresses {
		all = append(all, a.Address)
	}
	for _, a := range slices.Concat(primary, all) {
		if a != "" {
			return a, primary, all
		}
	}
	return "", primary, all
}

// addLabels adds the labels of ec2_sd_configs.
func (d *instance) addLabels(to map[string]string, r *inventory.Resource, ipv6 string, primary, all []string) {
	addLabels(
		to, metaEC2,
		"ami", d.ImageID, "architecture", d.Architecture, "availability_zone", d.Placement.AvailabilityZone,
		"availability_zone_id", d.Placement.AvailabilityZoneID, "instance_id", r.ID,
		"instance_lifecycle", d.InstanceLifecycle, "instance_state", r.State, "instance_type", r.Type,
		"owner_id", d.Reservation.OwnerID, "platform", d.Platform, "default_ipv6_address", ipv6,
		"private_dns_name", d.PrivateDNSName, "private_ip", d.PrivateIPAddress, "public_ip", d.PublicIPAddress,
		"region", r.Region, "vpc_id", d.VPCID, "primary_ipv6_addresses", joinWithCommas(primary),
		"ipv6_addresses", joinWithCommas(all),
	)
	if d.PublicIPAddress != "" {
		addLabels(to, metaEC2, "public_dns_name", d.PublicDNSName)
	}
	if d.VPCID != "" {
		var subnets []string
		for _, n := range d.NetworkInterfaces {
			if n.SubnetID != "" && !slices.Contains(subnets, n.SubnetID) {
				subnets = append(subnets, n.SubnetID)
			}
		}
		addLabels(to, metaEC2, "primary_subnet_id", d.SubnetID, "subnet_id", joinWithCommas(subnets))
	}
	addTagLabels(to, metaEC2+"tag_", r.Tags)
}

// joinWithCommas puts commas around each value, so that a regular expression can match one: ,a,b,
func joinWithCommas(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return "," + strings.Join(list, ",") + ","
}
