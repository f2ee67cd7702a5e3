package httpsd_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/httpsd"
	"github.com/aws-collector/collector/outputs/outputstest"
)

// An instance with everything that ec2_sd_configs uses for labels.
const whole = `{"InstanceId":"i-1","ImageId":"ami-1","Architecture":"arm64","InstanceLifecycle":"spot",
	"Platform":"windows",
	"PrivateIpAddress":"10.0.0.1","PublicIpAddress":"203.0.113.10","PrivateDnsName":"ip-10-0-0-1.ec2.internal",
	"PublicDnsName":"ec2-203-0-113-10.compute-1.amazonaws.com",
	"SubnetId":"subnet-1","VpcId":"vpc-1","Placement":{"AvailabilityZone":"us-east-1a","AvailabilityZoneId":"use1-az1"},
	"Reservation":{"OwnerId":"222222222222"},"State":{"Code":16,"Name":"running"},
	"NetworkInterfaces":[
		{"SubnetId":"subnet-1","Attachment":{"DeviceIndex":0},"Ipv6Addresses":[{"Ipv6Address":"2001:db8::1",
		"IsPrimaryIpv6":false}]},
		{"SubnetId":"subnet-2","Attachment":{"DeviceIndex":1},"Ipv6Addresses":[{"Ipv6Address":"2001:db8::2",
		"IsPrimaryIpv6":true}]},
		{"SubnetId":"subnet-1","Attachment":{"DeviceIndex":2}}]}`

type targetGroup struct {
	Targets []string
	Labels  map[string]string
}

const path = "/api/v1/sd/nodes"

func types() []outputs.Type { return []outputs.Type{httpsd.Type} }

func nodes(change func(*httpsd.Options)) *httpsd.Options {
	return outputstest.Options(httpsd.Type, func(o *httpsd.Options) {
		o.Name, o.Port = "nodes", 9100
		if change != nil {
			change(o)
		}
	})
}

func groups(t *testing.T, h http.Handler) []targetGroup {
	t.Helper()
	got := outputstest.Ask(h)
	if got.Code != http.StatusOK || got.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("%d %s %s", got.Code, got.Header().Get("Content-Type"), got.Body)
	}
	var gs []targetGroup
	if err := json.Unmarshal(got.Body.Bytes(), &gs); err != nil {
		t.Fatalf("%v:\n%s", err, got.Body)
	}
	return gs
}

// The labels are those of ec2_sd_configs and the collector's own.
func TestTargets(t *testing.T) {
	hs, w := outputstest.OpenServed(t, outputstest.Instances(
		outputstest.Instance("i-1", func(r *inventory.Resource) {
			r.Data, r.Name, r.ExtraTags = []byte(whole), "web", map[string]string{"cost-center": "42"}
			r.Tags = map[string]string{
				"Name":    "web",
				"a-b":     "first",
				"a_b":     "second",
				"größe":   "groß\n\"",
				"":        "x",
				"metrics": "/probe",
			}
		}),
		outputstest.Instance("i-2", func(r *inventory.Resource) { r.State, r.Type = "stopped", "" }),
		outputstest.Instance("i-3", func(r *inventory.Resource) {
			r.Data = []byte(
				`{"NetworkInterfaces":[{"Attachment":{"DeviceIndex":0},"Ipv6Addresses":[{"Ipv6Address":"2001:db8::3"}]}]}`,
			)
		}),
	), types(), nodes(func(o *httpsd.Options) {
		o.Labels = map[string]string{
			"team":             "tags.team",
			"cost-center":      "extra_tags.cost-center",
			"__metrics_path__": "tags.metrics",
		}
	}))
	got := groups(t, hs[path])
	if len(got) != 2 || len(got[0].Targets) != 1 || got[0].Targets[0] != "10.0.0.1:9100" ||
		got[1].Targets[0] != "[2001:db8::3]:9100" {
		t.Fatalf("%v", got)
	}
	want := map[string]string{
		"cost_center": "42", "__metrics_path__": "/probe",
		"__meta_ec2_ami": "ami-1", "__meta_ec2_architecture": "arm64", "__meta_ec2_availability_zone": "us-east-1a",
		"__meta_ec2_availability_zone_id": "use1-az1",
		"__meta_ec2_default_ipv6_address": "2001:db8::2", "__meta_ec2_instance_id": "i-1",
		"__meta_ec2_instance_lifecycle": "spot", "__meta_ec2_instance_state": "running",
		"__meta_ec2_instance_type": "t3.micro", "__meta_ec2_ipv6_addresses": ",2001:db8::1,2001:db8::2,",
		"__meta_ec2_owner_id": "222222222222", "__meta_ec2_platform": "windows",
		"__meta_ec2_primary_ipv6_addresses": ",,2001:db8::2,", "__meta_ec2_primary_subnet_id": "subnet-1",
		"__meta_ec2_private_dns_name": "ip-10-0-0-1.ec2.internal",
		"__meta_ec2_private_ip":       "10.0.0.1", "__meta_ec2_public_dns_name": "ec2-203-0-113-10.compute-1.amazonaws.com",
		"__meta_ec2_public_ip": "203.0.113.10",
		"__meta_ec2_region":    "us-east-1", "__meta_ec2_subnet_id": ",subnet-1,subnet-2,", "__meta_ec2_vpc_id": "vpc-1",
		"__meta_ec2_tag_Name": "web", "__meta_ec2_tag_a_b": "first", "__meta_ec2_tag_gr__e": "groß\n\"",
		"__meta_ec2_tag_": "x", "__meta_ec2_tag_metrics": "/probe",
		"__meta_collector_tag_Name": "web", "__meta_collector_tag_a_b": "first", "__meta_collector_tag_gr__e": "groß\n\"",
		"__meta_collector_tag_": "x", "__meta_collector_tag_metrics": "/probe",
		"__meta_collector_extra_tag_cost_center": "42", "__meta_collector_kind": "ec2_instance",
		"__meta_collector_id": "i-1", "__meta_collector_name": "web",
		"__meta_collector_state": "running", "__meta_collector_type": "t3.micro", "__meta_collector_account": "prod",
		"__meta_collector_account_id": "222222222222",
		"__meta_collector_partition":  "aws", "__meta_collector_region": "us-east-1",
	}
	for name, value := range want {
		if got[0].Labels[name] != value {
			t.Errorf("%s is %q, want %q", name, got[0].Labels[name], value)
		}
	}
	for name, value := range got[0].Labels {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is %q, but is not expected", name, value)
		}
	}
	if w.LoggedLines() != 1 || !strings.Contains(w.Log.String(), "reason=no_address resources=1 shown=2") ||
		w.Answers[0] != "nodes 2 map[bad_address:0 local_address:0 no_address:1]" {
		t.Errorf("resources without an address must be counted; answered %s, and the log says:\n%s", w.Answers,
			w.Log.String())
	}
}

func TestTargetAddress(t *testing.T) {
	for _, c := range []struct {
		address, data string
		port          int
		want          string // "": no target
	}{
		{"", `{"PrivateIpAddress":"10.0.0.1","PublicIpAddress":"203.0.113.10"}`, 0, "10.0.0.1"},
		{"", `{"PublicIpAddress":"203.0.113.10"}`, 9100, ""},
		{"data.PublicIpAddress", `{"PublicIpAddress":"203.0.113.10"}`, 80, "203.0.113.10:80"},
		{"data.PublicIpAddress", `{}`, 80, ""},
		{"{{or .PublicIP .PrivateIP}}", `{"PrivateIpAddress":"10.0.0.1"}`, 80, "10.0.0.1:80"},
		{"{{.PrivateIP}}:{{.Tags.port}}", `{"PrivateIpAddress":"10.0.0.1"}`, 80, "10.0.0.1:8080"},
		{"{{.PrivateIP}}:{{.Tags.nothing}}", `{"PrivateIpAddress":"10.0.0.1"}`, 80, ""},
		{"{{.PrivateIP}}:70000", `{"PrivateIpAddress":"10.0.0.1"}`, 80, ""},
		{" {{.Name}}.{{.Account}}.{{.ExtraTags.zone}}. ", `{}`, 443, "web.prod.example.com.:443"},
		{`{{.Field "data.Placement.AvailabilityZone"}}{{.Field "tags.nothing"}}`,
			`{"Placement":{"AvailabilityZone":"use1-az1"}}`, 0, "use1-az1"},
		{"tags.v6", `{}`, 0, "[2001:db8::9]"},
		{"tags.v6", `{}`, 9100, "[2001:db8::9]:9100"},
		{"[{{.Tags.v6}}]", `{}`, 9100, "[2001:db8::9]:9100"},
		{"[{{.Tags.v6}}]:1", `{}`, 9100, "[2001:db8::9]:1"},
		{"tags.bad", `{}`, 80, ""},
		{"http://{{.PrivateIP}}/", `{"PrivateIpAddress":"10.0.0.1"}`, 80, ""},
		{"{{.PrivateIP}}, {{.PublicIP}}", `{"PrivateIpAddress":"10.0.0.1","PublicIpAddress":"203.0.113.10"}`, 80, ""},
	} {
		o := nodes(func(o *httpsd.Options) { o.Address, o.Port = c.address, c.port })
		if err := o.Validate(); err != nil {
			t.Errorf("%s: %v", c.address, err)
			continue
		}
		hs, _ := outputstest.OpenServed(t, outputstest.Instances(outputstest.Instance("i-1", func(r *inventory.Resource) {
			r.Name, r.Data = "web", []byte(c.data)
			r.Tags = map[string]string{"port": "8080", "v6": "2001:db8::9", "bad": "a host\nnowhere"}
			r.ExtraTags = map[string]string{"zone": "example.com"}
		})), types(), o)
		got := ""
		for _, g := range groups(t, hs[path]) {
			got += strings.Join(g.Targets, " ")
		}
		if got != c.want {
			t.Errorf("%s of %s with port %d: got %q, want %q", c.address, c.data, c.port, got, c.want)
		}
	}
}

// An address that a person who may tag an instance can choose does not lead to the host of Prometheus, to its link or
// to a metadata service, unless the options allow it.
func TestLocalAddresses(t *testing.T) {
	const never = "bad_address" // with allow_local, too
	for address, allowed := range map[string]string{
		"10.0.0.1":             "10.0.0.1:9100",
		"fd00:1::1":            "[fd00:1::1]:9100",
		"2001:db8::1":          "[2001:db8::1]:9100",
		"web.example.com":      "web.example.com:9100",
		"notlocalhost":         "notlocalhost:9100",
		"127.0.0.1":            "127.0.0.1:9100",
		"127.8.9.1:80":         "127.8.9.1:80",
		"::1":                  "[::1]:9100",
		"[::1]:80":             "[::1]:80",
		"::ffff:127.0.0.1":     "[::ffff:127.0.0.1]:9100",
		"0.0.0.0":              "0.0.0.0:9100",
		"::":                   "[::]:9100",
		"169.254.169.254":      "169.254.169.254:9100",
		"169.254.170.2:80":     "169.254.170.2:80",
		"::ffff:a9fe:a9fe":     "[::ffff:a9fe:a9fe]:9100",
		"fd00:ec2::254":        "[fd00:ec2::254]:9100",
		"fe80::1":              "[fe80::1]:9100",
		"fe80::1%eth0":         "[fe80::1%eth0]:9100",
		"[2001:db8::1%eth0]:1": "[2001:db8::1%eth0]:1",
		"224.0.0.1":            "224.0.0.1:9100",
		"ff02::1":              "[ff02::1]:9100",
		"localhost":            "localhost:9100",
		"LocalHost.:80":        "LocalHost.:80",
		"a.localhost":          "a.localhost:9100",
		"instance-data":        "instance-data:9100",
		"fe80::1%eth0/../x":    never,
		"127.1":                never,
		"2130706433":           never,
		"0x7f000001":           never,
		"0177.0.0.1":           never,
		"99999999999999999999": never,
	} {
		public := slices.Contains(
			[]string{"10.0.0.1", "fd00:1::1", "2001:db8::1", "web.example.com", "notlocalhost"}, address,
		)
		for _, allow := range []bool{false, true} {
			hs, w := outputstest.OpenServed(t, outputstest.Instances(outputstest.Instance("i-1", func(r *inventory.Resource) {
				r.Data, r.Tags = []byte(`{}`), map[string]string{"fqdn": address}
			})), types(), nodes(func(o *httpsd.Options) { o.Address, o.AllowLocal = "tags.fqdn", allow }))
			want, got := allowed, "local_address"
			if !allow && !public && allowed != never {
				want = "local_address"
			}
			if gs := groups(t, hs[path]); len(gs) > 0 {
				got = gs[0].Targets[0]
			} else if strings.Contains(w.Answers[0], "bad_address:1") {
				got = never
			} else if !strings.Contains(w.Answers[0], "local_address:1") {
				got = w.Answers[0]
			}
			if got != want {
				t.Errorf("%s, allowed %t: got %s, want %s", address, allow, got, want)
			}
		}
	}
}

// Other kinds have addresses too, and members with equal names but other types.
func TestTargetsOfAnotherKind(t *testing.T) {
	store := &outputstest.Store{
		Coverage: []inventory.Coverage{outputstest.Coverage("prod", "us-east-1", "ec2_network_interface", outputstest.Noon)},
		Resources: []*inventory.Resource{
			outputstest.Instance("eni-1", func(r *inventory.Resource) {
				r.Kind, r.Data = "ec2_network_interface", []byte(
					`{"PrivateIpAddress":"10.0.0.9","Platform":{"a":1},"Placement":"x",`+
						`"Ipv6Addresses":[{"Ipv6Address":"2001:db8::4"}]}`,
				)
			}),
		},
	}
	for address, want := range map[string]string{"data.PrivateIpAddress": "10.0.0.9:9100",
		"{{.IPv6}}": "[2001:db8::4]:9100"} {
		change := func(o *httpsd.Options) { o.Kind, o.Address = "ec2_network_interface", address }
		hs, _ := outputstest.OpenServed(t, store, types(), nodes(change))
		gs := groups(t, hs[path])
		if len(gs) != 1 || gs[0].Targets[0] != want || gs[0].Labels["__meta_collector_id"] != "eni-1" {
			t.Errorf("%s: %v", address, gs)
		}
		for name := range gs[0].Labels {
			if strings.HasPrefix(name, "__meta_ec2_") {
				t.Errorf("%s of another kind than an instance", name)
			}
		}
	}
}

func TestTargetsWhere(t *testing.T) {
	at := func(id, state string) *inventory.Resource {
		return outputstest.Instance(id, func(r *inventory.Resource) {
			r.State, r.Data = state, []byte(fmt.Sprintf(`{"PrivateIpAddress":"10.0.0.%s"}`, strings.TrimPrefix(id, "i-")))
		})
	}
	hs, _ := outputstest.OpenServed(
		t,
		outputstest.Instances(at("i-1", "running"), at("i-2", "stopped"), at("i-3", "running")),
		types(),
		nodes(func(o *httpsd.Options) {
			o.Where = "state=running and data.PrivateIpAddress!=10.0.0.1"
		}),
	)
	if gs := groups(t, hs[path]); len(gs) != 1 || gs[0].Targets[0] != "10.0.0.3:9100" {
		t.Errorf("%v", gs)
	}
}

func TestHTTPSDOptions(t *testing.T) {
	for want, change := range map[string]func(*httpsd.Options){
		"":                             nil,
		"name: is needed":              func(o *httpsd.Options) { o.Name = "" },
		`name: "a/b" is part of a URL`: func(o *httpsd.Options) { o.Name = "a/b" },
		`name: ".." is part of a URL`:  func(o *httpsd.Options) { o.Name = ".." },
		`kind: "ec2_*" is not the name of one kind`: func(o *httpsd.Options) {
			o.Kind = "ec2_*"
		},
		"address: is needed for ec2_volume": func(o *httpsd.Options) {
			o.Kind = "ec2_volume"
		},
		"address: unknown field PrivateIpAddress: did you mean data.PrivateIpAddress?": func(o *httpsd.Options) {
			o.Address = "PrivateIpAddress"
		},
		"address: template: address:1: unclosed action": func(o *httpsd.Options) {
			o.Address = "{{.PrivateIP"
		},
		"can't evaluate field private_ip in type *httpsd.addressData; known fields: .PrivateIP,": func(o *httpsd.Options) {
			o.Address = "{{.private_ip}}"
		},
		"unknown field nothing": func(o *httpsd.Options) {
			o.Address = `{{.Field "nothing"}}`
		},
		"port: 70000 is not in 0..65535": func(o *httpsd.Options) { o.Port = 70000 },
		"where: at character 1 of \"stat=running\": unknown field stat": func(o *httpsd.Options) {
			o.Where = "stat=running"
		},
		"labels.__address__: the label __address__ is the target itself": func(o *httpsd.Options) {
			o.Labels = map[string]string{"__address__": "tags.x"}
		},
		"labels.__meta_ec2_ami: the label __meta_ec2_ami is built in": func(o *httpsd.Options) {
			o.Labels = map[string]string{"__meta_ec2_ami": "tags.x"}
		},
		"labels.a: tags.: the tag key is missing": func(o *httpsd.Options) {
			o.Labels = map[string]string{"a": "tags."}
		},
	} {
		err := nodes(change).Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
