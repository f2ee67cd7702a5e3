package awsfake

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// network is what a region holds before its first instance.
type network struct {
	vpc      string
	subnets  []*subnet
	groups   []*group // default, web, db
	keys     []string
	images   map[string]string // by architecture
	snaps    map[string]string // the images' snapshots
	template string
}

type subnet struct {
	*resource
	zone, zoneID string
	net          int // 10.0.net.0/20
	public       bool
}

// address is the private address of the nth instance: unique in the region up to 4,000 instances a subnet.
func (s *subnet) address(n int) string {
	n += 3 // AWS keeps the first four
	return fmt.Sprintf("10.%d.%d.%d", n/4000%200, s.net+n/250%16, n%250+4)
}

type group struct {
	*resource
	name, about string
	in          []rule
}

// A rule is one line of a security group.
type rule struct {
	protocol string
	port     int
	cidr     string
	from     *group
	about    string
}

func (m *markup) groups(of []*group) {
	m.list("groupSet", len(of), func(i int) {
		m.text("groupId", of[i].id)
		m.text("groupName", of[i].name)
	})
}

func (f *fleet) buildNetwork() {
	f.net = &network{images: make(map[string]string), snaps: make(map[string]string)}
	f.addVPC()
	for n, letter := range []string{"a", "b", "c", "a", "b", "c"} {
		f.addSubnet(n, letter)
	}
	f.addGroups()
	for n, name := range []string{"ops-2024", "deploy & <build>"} {
		f.addKeyPair(n+1, name)
	}
	for n, arch := range []string{"x86_64", "arm64"} {
		f.addImage(n+1, arch)
	}
	f.addPublicImage()
	f.addTemplate()
	f.addVPN()
}

func (f *fleet) addVPC() {
	id := f.id("vpc", "vpc", 1)
	f.net.vpc = id
	t := &tagged{id, "vpc", []tag{{"Name", "main"}}}
	f.add("DescribeVpcs", &resource{id: id, tagged: []*tagged{t}, render: func(m *markup) {
		m.text("vpcId", id)
		m.text("ownerId", f.owner)
		m.text("state", "available")
		m.text("cidrBlock", "10.0.0.0/16")
		m.list("cidrBlockAssociationSet", 1, func(int) {
			m.text("cidrBlock", "10.0.0.0/16")
			m.text("associationId", f.id("vpc-cidr-assoc", "vpc cidr", 1))
			m.in("cidrBlockState", func() { m.text("state", "associated") })
		})
		m.text("dhcpOptionsId", f.id("dopt", "dhcp", 1))
		m.tags(t.tags)
		m.text("instanceTenancy", "default")
		m.bool("isDefault", true)
		m.in("blockPublicAccessStates", func() { m.text("internetGatewayBlockMode", "off") })
	}})
}

func (f *fleet) addSubnet(n int, letter string) {
	s := &subnet{zone: f.region + letter, zoneID: zoneID(f.region, letter), net: n * 16, public: n < 3}
	id := f.id("subnet", "subnet", n)
	t := &tagged{id, "subnet", []tag{{"Name", map[bool]string{true: "public-", false: "private-"}[s.public] + letter}}}
	s.resource = f.add("DescribeSubnets", &resource{id: id, tagged: []*tagged{t}, render: func(m *markup) {
		m.text("subnetId", id)
		m.text("subnetArn", f.arn("subnet/"+id))
		m.text("state", "available")
		m.text("ownerId", f.owner)
		m.text("vpcId", f.net.vpc)
		m.text("cidrBlock", fmt.Sprintf("10.0.%d.0/20", s.net))
		m.list("ipv6CidrBlockAssociationSet", 0, nil)
		m.int("availableIpAddressCount", 4091)
		m.text("availabilityZone", s.zone)
		m.text("availabilityZoneId", s.zoneID)
		m.bool("defaultForAz", s.public)
		m.bool("mapPublicIpOnLaunch", s.public)
		m.bool("mapCustomerOwnedIpOnLaunch", false)
		m.bool("assignIpv6AddressOnCreation", false)
		m.bool("enableDns64", false)
		m.bool("ipv6Native", false)
		m.in("privateDnsNameOptionsOnLaunch", func() {
			m.text("hostnameType", "ip-name")
			m.bool("enableResourceNameDnsARecord", false)
			m.bool("enableResourceNameDnsAAAARecord", false)
		})
		m.tags(t.tags)
		m.in("blockPublicAccessStates", func() { m.text("internetGatewayBlockMode", "off") })
	}})
	f.net.subnets = append(f.net.subnets, s)
}

func (f *fleet) addGroups() {
	self := &group{name: "default", about: "default VPC security group"}
	self.in = []rule{{protocol: "-1", port: -1, from: self}}
	web := &group{name: "web", about: "HTTP(S) & health checks", in: []rule{
		{protocol: "tcp", port: 443, cidr: "0.0.0.0/0", about: "the world"}, {protocol: "tcp", port: 80, cidr: "0.0.0.0/0", about: "redirects <to 443>"},
	}}
	db := &group{name: "db", about: "databases", in: []rule{{protocol: "tcp", port: 5432, from: web, about: "from web"}}}
	for n, g := range []*group{self, web, db} {
		f.net.groups = append(f.net.groups, g)
		id := f.id("sg", "group", n)
		t := &tagged{id, "security-group", []tag{{"Name", g.name}}}
		g.resource = f.add("DescribeSecurityGroups", &resource{id: id, tagged: []*tagged{t}, render: func(m *markup) { f.writeGroup(m, g, t.tags) }})
	}
	n := 0
	for _, g := range f.net.groups {
		for _, r := range append(g.in, rule{protocol: "-1", port: -1, cidr: "0.0.0.0/0", about: "egress"}) {
			n++
			f.addRule(n, g, r)
		}
	}
}

func (f *fleet) writeGroup(m *markup, g *group, tags []tag) {
	m.text("ownerId", f.owner)
	m.text("groupId", g.id)
	m.text("groupName", g.name)
	m.text("groupDescription", g.about)
	m.text("vpcId", f.net.vpc)
	m.text("securityGroupArn", f.arn("security-group/"+g.id))
	permission := func(r rule) {
		m.text("ipProtocol", r.protocol)
		if r.port >= 0 {
			m.int("fromPort", r.port)
			m.int("toPort", r.port)
		}
		m.in("groups", func() {
			if r.from != nil {
				m.in("item", func() {
					m.text("userId", f.owner)
					m.text("groupId", r.from.id)
					if r.about != "" {
						m.text("description", r.about)
					}
				})
			}
		})
		m.in("ipRanges", func() {
			if r.cidr != "" {
				m.in("item", func() {
					m.text("cidrIp", r.cidr)
					if r.about != "" {
						m.text("description", r.about)
					}
				})
			}
		})
		m.list("ipv6Ranges", 0, nil)
		m.list("prefixListIds", 0, nil)
	}
	m.list("ipPermissions", len(g.in), func(i int) { permission(g.in[i]) })
	m.list("ipPermissionsEgress", 1, func(int) { permission(rule{protocol: "-1", port: -1, cidr: "0.0.0.0/0"}) })
	m.tags(tags)
}

func (f *fleet) addRule(n int, g *group, r rule) {
	id := f.id("sgr", "rule", n)
	egress := r.about == "egress"
	f.add("DescribeSecurityGroupRules", &resource{id: id, render: func(m *markup) {
		m.text("securityGroupRuleId", id)
		m.text("groupId", g.id)
		m.text("groupOwnerId", f.owner)
		m.bool("isEgress", egress)
		m.text("ipProtocol", r.protocol)
		m.int("fromPort", r.port)
		m.int("toPort", r.port)
		if r.cidr != "" {
			m.text("cidrIpv4", r.cidr)
		}
		if r.from != nil {
			m.in("referencedGroupInfo", func() {
				m.text("groupId", r.from.id)
				m.text("userId", f.owner)
			})
		}
		if r.about != "" && !egress {
			m.text("description", r.about)
		}
		m.tags(nil)
		m.text("securityGroupRuleArn", f.arn("security-group-rule/"+id))
	}})
}

// nic is the network interface of an instance.
type nic struct {
	*resource
	on       *instance
	attached time.Time
}

func (f *fleet) addNIC(i *instance) *nic {
	x := &nic{on: i, attached: i.at}
	x.resource = f.add("DescribeNetworkInterfaces", &resource{id: f.id("eni", "interface", i.n), render: x.write})
	return x
}

// association is the public address of an interface, if it has one.
func (x *nic) association(m *markup, full bool) {
	i := x.on
	if i.public == "" {
		return
	}
	m.in("association", func() {
		m.text("publicIp", i.public)
		m.text("publicDnsName", i.f.publicName(i.public))
		if i.address == nil {
			m.text("ipOwnerId", "amazon")
			return
		}
		m.text("ipOwnerId", i.f.owner)
		if full {
			m.text("allocationId", i.address.id)
			m.text("associationId", i.address.association)
		}
	})
}

func (x *nic) addresses(m *markup, full bool) {
	m.list("privateIpAddressesSet", 1, func(int) {
		m.text("privateIpAddress", x.on.ip)
		m.text("privateDnsName", x.on.f.privateName(x.on.ip))
		m.bool("primary", true)
		x.association(m, full)
	})
}

func (x *nic) attachment(m *markup, full bool) {
	i := x.on
	m.in("attachment", func() {
		m.text("attachmentId", i.f.id("eni-attach", "attachment", i.n))
		if full {
			m.text("instanceId", i.id)
			m.text("instanceOwnerId", i.f.owner)
		}
		m.int("deviceIndex", 0)
		m.int("networkCardIndex", 0)
		m.text("status", "attached")
		m.text("attachTime", stamp3(x.attached))
		m.bool("deleteOnTermination", true)
	})
}

// inInstance is the interface as DescribeInstances shows it.
func (x *nic) inInstance(m *markup) {
	i := x.on
	m.text("networkInterfaceId", x.id)
	m.text("subnetId", i.subnet.id)
	m.text("vpcId", i.f.net.vpc)
	m.text("description", "")
	m.text("ownerId", i.f.owner)
	m.text("status", "in-use")
	m.text("macAddress", i.mac)
	m.text("privateIpAddress", i.ip)
	m.text("privateDnsName", i.f.privateName(i.ip))
	m.bool("sourceDestCheck", true)
	m.groups(i.groups)
	x.attachment(m, false)
	x.association(m, false)
	x.addresses(m, false)
	m.list("ipv6AddressesSet", 0, nil)
	m.text("interfaceType", "interface")
	m.in("operator", func() { m.bool("managed", false) })
}

// write is the interface as DescribeNetworkInterfaces shows it.
func (x *nic) write(m *markup) {
	i := x.on
	m.text("networkInterfaceId", x.id)
	m.text("subnetId", i.subnet.id)
	m.text("vpcId", i.f.net.vpc)
	m.text("availabilityZone", i.subnet.zone)
	m.text("availabilityZoneId", i.subnet.zoneID)
	m.text("description", "")
	m.text("ownerId", i.f.owner)
	m.bool("requesterManaged", false)
	m.text("status", "in-use")
	m.text("macAddress", i.mac)
	m.text("privateIpAddress", i.ip)
	m.text("privateDnsName", i.f.privateName(i.ip))
	m.bool("sourceDestCheck", true)
	m.groups(i.groups)
	x.attachment(m, true)
	x.association(m, true)
	m.tags(nil)
	x.addresses(m, true)
	m.list("ipv6AddressesSet", 0, nil)
	m.text("interfaceType", "interface")
	m.bool("denyAllIgwTraffic", false)
	m.in("operator", func() { m.bool("managed", false) })
}

// address is an elastic address.
type address struct {
	*resource
	ip          string
	association string
	on          *instance
}

func (f *fleet) addAddress(r *rand.Rand, i *instance) *address {
	x := &address{ip: publicIP(r), on: i, association: f.id("eipassoc", "association", i.n)}
	id := f.id("eipalloc", "address", i.n)
	t := &tagged{id, "elastic-ip", []tag{{"Name", "eip-" + strconv.Itoa(i.n)}}}
	x.resource = f.add("DescribeAddresses", &resource{id: id, tagged: []*tagged{t}, render: func(m *markup) {
		m.text("publicIp", x.ip)
		m.text("allocationId", id)
		m.text("domain", "vpc")
		if x.on != nil {
			m.text("instanceId", x.on.id)
			m.text("associationId", x.association)
			m.text("networkInterfaceId", x.on.nic.id)
			m.text("networkInterfaceOwnerId", f.owner)
			m.text("privateIpAddress", x.on.ip)
		}
		m.tags(t.tags)
		m.text("publicIpv4Pool", "amazon")
		m.text("networkBorderGroup", f.region)
	}})
	return x
}
