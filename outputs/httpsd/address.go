package httpsd

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"text/template"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs/internal/labels"
	"github.com/aws-collector/collector/outputs/internal/served"
)

// An addressTemplate makes the address of a resource.
type addressTemplate struct {
	field    inventory.Field
	template *template.Template // nil: field is set
	byField  bool
}

func newAddressTemplate(s string) (addressTemplate, error) {
	switch {
	case s == "":
		s = "{{or .PrivateIP .IPv6}}"
	case !strings.Contains(s, "{{"):
		f, err := inventory.ParseField(s)
		if err != nil {
			return addressTemplate{}, fmt.Errorf("address: %w", err)
		}
		return addressTemplate{field: f, byField: true}, nil
	}
	t, err := template.New("address").Option("missingkey=zero").Parse(s)
	if err != nil {
		return addressTemplate{}, fmt.Errorf("address: %w", err)
	}
	a := addressTemplate{template: t}
	// A template fails here with an empty resource if it uses a field that does not exist.
	if _, err := a.render(&addressData{Resource: &inventory.Resource{}}); err != nil {
		return addressTemplate{}, fmt.Errorf("address: %w; known fields: %s", err, addressFields)
	}
	return a, nil
}

func (a addressTemplate) render(r *addressData) (string, error) {
	if a.byField {
		v, err := a.field.Value(r.Resource)
		return strings.TrimSpace(labels.Text(v)), err
	}
	var b strings.Builder
	err := a.template.Execute(&b, r)
	return strings.TrimSpace(b.String()), err
}

const addressFields = `.PrivateIP, .PublicIP, .IPv6, .PrivateDNS, .PublicDNS, .ID, .Name, .State, .Type, ` +
	`.Account, .AccountID, .Partition, .Region, ` +
	`.Tags.KEY, .ExtraTags.KEY and .Field "data.MEMBER"`

// addressData is the data of an address template: the resource and its addresses, "" where it has none.
type addressData struct {
	*inventory.Resource
	PrivateIP, PublicIP, IPv6, PrivateDNS, PublicDNS string
}

// Field returns any field as text.
func (a *addressData) Field(name string) (string, error) {
	f, err := inventory.ParseField(name)
	if err != nil {
		return "", err
	}
	if a.Data == nil {
		return "", nil
	}
	v, err := f.Value(a.Resource)
	return labels.Text(v), err
}

// hostPort returns a valid target address, with the port added if it has none; or "" and why it is not a target. IPv6
// addresses get brackets.
func (o *Options) hostPort(s string) (target, why string) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), ""
	} else if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", badAddress
	}
	ip, err := netip.ParseAddr(host)
	switch isIP := err == nil; {
	case !isIP && !isHostName(host), ip.Zone() != "" && !served.IsPlainName(ip.Zone()):
		return "", badAddress
	case o.AllowLocal:
	case isIP && isLocal(ip), !isIP && isLocalName(host):
		return "", localAddress
	}
	if port == "" && o.Port != 0 {
		port = strconv.Itoa(o.Port)
	}
	switch {
	case port != "":
		return net.JoinHostPort(host, port), ""
	case ip.Is6():
		return "[" + host + "]", ""
	}
	return host, ""
}

// awsServices has the addresses of AWS's services for one instance, such as its metadata.
// https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
var awsServices = netip.MustParsePrefix("fd00:ec2::/32")

// isLocal reports whether an address means another host for each host that uses it: itself, or one on its link, such
// as the instance metadata service. A tag must not make Prometheus read from these.
func isLocal(ip netip.Addr) bool {
	zoned := ip.Zone() != ""
	ip = ip.Unmap().WithZone("")
	return zoned || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast() ||
		awsServices.Contains(ip)
}

// isLocalName reports whether a name is an address of isLocal everywhere, or on each EC2 instance.
func isLocalName(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, name := range []string{"localhost", "localhost.localdomain", "instance-data", "instance-data.ec2.internal"} {
		if host == name || strings.HasSuffix(host, "."+name) {
			return true
		}
	}
	return false
}

// isHostName reports whether s may be a host's name. A name does not end in a number: some resolvers take 127.1 and
// 0x7f000001 for addresses.
func isHostName(s string) bool {
	last := strings.TrimSuffix(s, ".")
	last = last[strings.LastIndexByte(last, '.')+1:]
	_, err := strconv.ParseUint(last, 0, 64)
	digits := strings.Trim(last, "0123456789") == ""
	return served.IsPlainName(s) && err != nil && !digits
}
