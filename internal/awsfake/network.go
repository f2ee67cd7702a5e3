package awsfake

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// network holds the resources that a region has before its first instance.
type network struct {
	vpc       string
	subnets   []*subnet
	groups    []*group // default, web, db
	keys      []string
	images    map[string]string // by architecture
	snapshots map[string]string // the images' snapshots
	template  string
}

type subnet struct {
	*resource
	zone, zoneID string
	thirdOctet   int // of the block 10.0.thirdOctet.0/20
	public       bool
}

// address returns the private address of the nth instance: unique in the region up to 4,000 instances a subnet.
func (s *subnet) address(n int) string {
	n += 3 // AWS reserves the first four
	return fmt.Sprintf("10.%d.%d.%d", n/4000%200, s.thirdOctet+n/250%16, n%250+4)
}

type group struct {
	*resource
	name, description string
	ingress           []rule
}

// A rule is one rule of a security group.
type rule struct {
	protocol    string
	port        int
	cidr        string
	source      *group
	description string
}

func (m *xmlWriter) groups(of []*group) {
	m.list("groupSet", len(of), func(i int) {
		m.text("groupId", of[i].id)
		m.text("groupName", of[i].name)
	})
}

func (f *regionResources) buildNetwork() {
	f.network = &network{images: make(map[string]string), snapshots: make(map[string]string)}
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
	for action := range cloudformationLists { // it has a stack
		f.revisions[action]++
	}
}

func (f *regionResources) addVPC() {
	id := f.id("vpc", "vpc", 1)
	f.network.vpc = id
	t := &tagged{id, "vpc", []tag{{"Name", "main"}}}
	f.add("DescribeVpcs", &resource{id: id, tagged: []*tagged{t}, render: func(m *xmlWriter) {
		m.text("vpcId", id)
		m.text("ownerId", f.owner)
		m.text("state", "available")
		m.text("cidrBlock", "10.0.0.0/16")
		m.list("cidrBlockAssociationSet", 1, func(int) {
			m.text("cidrBlock", "10.0.0.0/16")
			m.text("associationId", f.id("vpc-cidr-assoc", "vpc cidr", 1))
			m.element("cidrBlockState", func() { m.text("state", "associated") })
		})
		m.text("dhcpOptionsId", f.id("dopt", "dhcp", 1))
		m.tags(t.tags)
		m.text("instanceTenancy", "default")
		m.bool("isDefault", true)
		m.element("blockPublicAccessStates", func() { m.text("internetGatewayBlockMode", "off") })
	}})
}

func (f *regionResources) addSubnet(n int, letter string) {
	s := &subnet{zone: f.region + letter, zoneID: zoneID(f.region, letter), thirdOctet: n * 16, public: n < 3}
	id := f.id("subnet", "subnet", n)
	t := &tagged{id, "subnet", []tag{{"Name", map[bool]string{true: "public-", false: "private-"}[s.public] + letter}}}
	s.resource = f.add("DescribeSubnets", &resource{id: id, tagged: []*tagged{t}, render: func(m *xmlWriter) {
		m.text("subnetId", id)
		m.text("subnetArn", f.arn("subnet/"+id))
		m.text("state", "available")
		m.text("ownerId", f.owner)
		m.text("vpcId", f.network.vpc)
		m.text("cidrBlock", fmt.Sprintf("10.0.%d.0/20", s.thirdOctet))
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
		m.element("privateDnsNameOptionsOnLaunch", func() {
			m.text("hostnameType", "ip-name")
			m.bool("enableResourceNameDnsARecord", false)
			m.bool("enableResourceNameDnsAAAARecord", false)
		})
		m.tags(t.tags)
		m.element("blockPublicAccessStates", func() { m.text("internetGatewayBlockMode", "off") })
	}})
	f.network.subnets = append(f.network.subnets, s)
}

func (f *regionResources) addGroups() {
	self := &group{name: "default", description: "default VPC security group"}
	self.ingress = []rule{{protocol: "-1", port: -1, source: self}}
	web := &group{name: "web", description: "HTTP(S) & health checks", ingress: []rule{
		{protocol: "tcp", port: 443, cidr: "0.0.0.0/0", description: "the world"},
		{protocol: "tcp", port: 80, cidr: "0.0.0.0/0", description: "redirects <to 443>"},
	}}
	db := &group{
		name:        "db",
		description: "databases",
		ingress:     []rule{{protocol: "tcp", port: 5432, source: web, description: "from web"}},
	}
	for n, g := range []*group{self, web, db} {
		f.network.groups = append(f.network.groups, g)
		id := f.id("sg", "group", n)
		t := &tagged{id, "security-group", []tag{{"Name", g.name}}}
		g.resource = f.add(
			"DescribeSecurityGroups",
			&resource{id: id, tagged: []*tagged{t}, render: func(m *xmlWriter) { f.writeSecurityGroup(m, g, t.tags) }},
		)
	}
	n := 0
	for _, g := range f.network.groups {
		for _, r := range append(g.ingress, rule{protocol: "-1", port: -1, cidr: "0.0.0.0/0", description: "egress"}) {
			n++
			f.addRule(n, g, r)
		}
	}
}

func (f *regionResources) writeSecurityGroup(m *xmlWriter, g *group, tags []tag) {
	m.text("ownerId", f.owner)
	m.text("groupId", g.id)
	m.text("groupName", g.name)
	m.text("groupDescription", g.description)
	m.text("vpcId", f.network.vpc)
	m.text("securityGroupArn", f.arn("security-group/"+g.id))
	permission := func(r rule) {
		m.text("ipProtocol", r.protocol)
		if r.port >= 0 {
			m.int("fromPort", r.port)
			m.int("toPort", r.port)
		}
		m.element("groups", func() {
			if r.source != nil {
				m.element("item", func() {
					m.text("userId", f.owner)
					m.text("groupId", r.source.id)
					if r.description != "" {
						m.text("description", r.description)
					}
				})
			}
		})
		m.element("ipRanges", func() {
			if r.cidr != "" {
				m.element("item", func() {
					m.text("cidrIp", r.cidr)
					if r.description != "" {
						m.text("description", r.description)
					}
				})
			}
		})
		m.list("ipv6Ranges", 0, nil)
		m.list("prefixListIds", 0, nil)
	}
	m.list("ipPermissions", len(g.ingress), func(i int) { permission(g.ingress[i]) })
	m.list("ipPermissionsEgress", 1, func(int) { permission(rule{protocol: "-1", port: -1, cidr: "0.0.0.0/0"}) })
	m.tags(tags)
}

func (f *regionResources) addRule(n int, g *group, r rule) {
	id := f.id("sgr", "rule", n)
	egress := r.description == "egress"
	f.add("DescribeSecurityGroupRules", &resource{id: id, render: func(m *xmlWriter) {
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
		if r.source != nil {
			m.element("referencedGroupInfo", func() {
				m.text("groupId", r.source.id)
				m.text("userId", f.owner)
			})
		}
		if r.description != "" && !egress {
			m.text("description", r.description)
		}
		m.tags(nil)
		m.text("securityGroupRuleArn", f.arn("security-group-rule/"+id))
	}})
}

// nic is the network interface of an instance.
type nic struct {
	*resource
	instance *instance
	attached time.Time
}

func (f *regionResources) addNIC(i *instance) *nic {
	x := &nic{instance: i, attached: i.launchedAt}
	x.resource = f.add("DescribeNetworkInterfaces", &resource{id: f.id("eni", "interface", i.number), render: x.write})
	return x
}

// association writes the public address of an interface, if it has one.
func (x *nic) association(m *xmlWriter, full bool) {
	i := x.instance
	if i.publicIP == "" {
		return
	}
	m.element("association", func() {
		m.text("publicIp", i.publicIP)
		m.text("publicDnsName", i.region.publicName(i.publicIP))
		if i.address == nil {
			m.text("ipOwnerId", "amazon")
			return
		}
		m.text("ipOwnerId", i.region.owner)
		if full {
			m.text("allocationId", i.address.id)
			m.text("associationId", i.address.association)
		}
	})
}

func (x *nic) addresses(m *xmlWriter, full bool) {
	m.list("privateIpAddressesSet", 1, func(int) {
		m.text("privateIpAddress", x.instance.privateIP)
		m.text("privateDnsName", x.instance.region.privateName(x.instance.privateIP))
		m.bool("primary", true)
		x.association(m, full)
	})
}

func (x *nic) attachment(m *xmlWriter, full bool) {
	i := x.instance
	m.element("attachment", func() {
		m.text("attachmentId", i.region.id("eni-attach", "attachment", i.number))
		if full {
			m.text("instanceId", i.id)
			m.text("instanceOwnerId", i.region.owner)
		}
		m.int("deviceIndex", 0)
		m.int("networkCardIndex", 0)
		m.text("status", "attached")
		m.text("attachTime", formatTimeMillis(x.attached))
		m.bool("deleteOnTermination", true)
	})
}

// inInstance writes the interface as DescribeInstances shows it.
func (x *nic) inInstance(m *xmlWriter) {
	i := x.instance
	m.text("networkInterfaceId", x.id)
	m.text("subnetId", i.subnet.id)
	m.text("vpcId", i.region.network.vpc)
	m.text("description", "")
	m.text("ownerId", i.region.owner)
	m.text("status", "in-use")
	m.text("macAddress", i.mac)
	m.text("privateIpAddress", i.privateIP)
	m.text("privateDnsName", i.region.privateName(i.privateIP))
	m.bool("sourceDestCheck", true)
	m.groups(i.groups)
	x.attachment(m, false)
	x.association(m, false)
	x.addresses(m, false)
	m.list("ipv6AddressesSet", 0, nil)
	m.text("interfaceType", "interface")
	m.element("operator", func() { m.bool("managed", false) })
}

// write writes the interface as DescribeNetworkInterfaces shows it.
func (x *nic) write(m *xmlWriter) {
	i := x.instance
	m.text("networkInterfaceId", x.id)
	m.text("subnetId", i.subnet.id)
	m.text("vpcId", i.region.network.vpc)
	m.text("availabilityZone", i.subnet.zone)
	m.text("availabilityZoneId", i.subnet.zoneID)
	m.text("description", "")
	m.text("ownerId", i.region.owner)
	m.bool("requesterManaged", false)
	m.text("status", "in-use")
	m.text("macAddress", i.mac)
	m.text("privateIpAddress", i.privateIP)
	m.text("privateDnsName", i.region.privateName(i.privateIP))
	m.bool("sourceDestCheck", true)
	m.groups(i.groups)
	x.attachment(m, true)
	x.association(m, true)
	m.tags(nil)
	x.addresses(m, true)
	m.list("ipv6AddressesSet", 0, nil)
	m.text("interfaceType", "interface")
	m.bool("denyAllIgwTraffic", false)
	m.element("operator", func() { m.bool("managed", false) })
}

// address is an Elastic IP address.
type address struct {
	*resource
	ip          string
	association string
	instance    *instance
}

func (f *regionResources) addAddress(r *rand.Rand, i *instance) *address {
	x := &address{ip: publicIP(r), instance: i, association: f.id("eipassoc", "association", i.number)}
	id := f.id("eipalloc", "address", i.number)
	t := &tagged{id, "elastic-ip", []tag{{"Name", "eip-" + strconv.Itoa(i.number)}}}
	x.resource = f.add("DescribeAddresses", &resource{id: id, tagged: []*tagged{t}, render: func(m *xmlWriter) {
		m.text("publicIp", x.ip)
		m.text("allocationId", id)
		m.text("domain", "vpc")
		if x.instance != nil {
			m.text("instanceId", x.instance.id)
			m.text("associationId", x.association)
			m.text("networkInterfaceId", x.instance.nic.id)
			m.text("networkInterfaceOwnerId", f.owner)
			m.text("privateIpAddress", x.instance.privateIP)
		}
		m.tags(t.tags)
		m.text("publicIpv4Pool", "amazon")
		m.text("networkBorderGroup", f.region)
	}})
	return x
}
