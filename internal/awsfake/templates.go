package awsfake

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

func (f *regionResources) addKeyPair(n int, name string) {
	f.network.keys = append(f.network.keys, name)
	id := f.id("key", "key pair", n)
	t := &tagged{id: id, kind: "key-pair", tags: []tag{{"owner", "ops@example.com"}}}
	sum := f.aws.derive("fingerprint", f.owner, f.region, name)[:20]
	var pairs []string
	for _, b := range sum {
		pairs = append(pairs, hex.EncodeToString([]byte{b}))
	}
	f.add("DescribeKeyPairs", &resource{id: id, tagged: []*tagged{t}, render: func(m *xmlWriter) {
		m.text("keyPairId", id)
		m.text("keyName", name)
		m.text("keyType", "rsa")
		m.text("keyFingerprint", strings.Join(pairs, ":"))
		m.tags(t.tags)
		m.text("createTime", formatTimeMillis(launchedBefore.AddDate(-1, 0, 0)))
	}})
}

func (f *regionResources) addTemplate() {
	id, name := f.id("lt", "template", 1), "web"
	f.network.template = id
	by := "arn:" + f.partition + ":iam::" + f.owner + ":user/deploy"
	at := formatTime(launchedBefore.AddDate(0, -2, 0))
	t := &tagged{id: id, kind: "launch-template", tags: []tag{{"team", "platform"}}}
	f.add("DescribeLaunchTemplates", &resource{id: id, tagged: []*tagged{t}, render: func(m *xmlWriter) {
		m.text("launchTemplateId", id)
		m.text("launchTemplateName", name)
		m.text("createTime", at)
		m.text("createdBy", by)
		m.int("defaultVersionNumber", 1)
		m.int("latestVersionNumber", 2)
		m.tags(t.tags)
		m.element("operator", func() { m.bool("managed", false) })
	}})
	for v := 1; v <= 2; v++ {
		script := fmt.Sprintf("#!/bin/sh\nexport DB_PASSWORD=hunter%d\n", v)
		f.add("DescribeLaunchTemplateVersions", &resource{id: id, render: func(m *xmlWriter) {
			m.text("launchTemplateId", id)
			m.text("launchTemplateName", name)
			m.int("versionNumber", v)
			m.text("versionDescription", fmt.Sprintf("version %d", v))
			m.text("createTime", at)
			m.text("createdBy", by)
			m.bool("defaultVersion", v == 1)
			m.element("launchTemplateData", func() {
				m.text("imageId", f.network.images["x86_64"])
				m.text("instanceType", "t3.large")
				m.text("keyName", f.network.keys[0])
				m.element("iamInstanceProfile", func() { m.text("name", "web-instance") })
				m.element("securityGroupIdSet", func() { m.text("item", f.network.groups[1].id) })
				m.element("metadataOptions", func() { m.text("httpTokens", "required") })
				m.text("userData", base64.StdEncoding.EncodeToString([]byte(script)))
			})
			m.element("operator", func() { m.bool("managed", false) })
		}})
	}
}

// addVPN adds a connection with two tunnels. As at AWS, it contains their pre-shared keys twice: in the options and in
// the configuration of the customer's device.
func (f *regionResources) addVPN() {
	id := f.id("vpn", "vpn", 1)
	keys := []string{f.sharedKey(1), f.sharedKey(2)}
	t := &tagged{id: id, kind: "vpn-connection", tags: []tag{{"Name", "to head office"}}}
	outside := []string{"198.51.100.10", "198.51.100.11"}
	f.add("DescribeVpnConnections", &resource{id: id, tagged: []*tagged{t}, render: func(m *xmlWriter) {
		m.text("vpnConnectionId", id)
		m.text("state", "available")
		m.text("customerGatewayConfiguration", deviceConfiguration(id, keys))
		m.text("type", "ipsec.1")
		m.text("customerGatewayId", f.id("cgw", "customer gateway", 1))
		m.text("vpnGatewayId", f.id("vgw", "vpn gateway", 1))
		m.text("category", "VPN")
		m.tags(t.tags)
		m.element("options", func() {
			m.bool("enableAcceleration", false)
			m.bool("staticRoutesOnly", true)
			m.text("localIpv4NetworkCidr", "0.0.0.0/0")
			m.text("remoteIpv4NetworkCidr", "0.0.0.0/0")
			m.text("outsideIpAddressType", "PublicIpv4")
			m.text("tunnelInsideIpVersion", "ipv4")
			m.list("tunnelOptionSet", len(keys), func(i int) {
				m.text("outsideIpAddress", outside[i])
				m.text("tunnelInsideCidr", fmt.Sprintf("169.254.%d.0/30", 10+i))
				m.text("preSharedKey", keys[i])
				m.list("ikeVersionSet", 1, func(int) { m.text("value", "ikev2") })
			})
		})
		m.list("routes", 1, func(int) {
			m.text("destinationCidrBlock", "192.168.0.0/16")
			m.text("source", "Static")
			m.text("state", "available")
		})
		m.list("vgwTelemetry", len(keys), func(i int) {
			m.text("outsideIpAddress", outside[i])
			m.text("status", []string{"UP", "DOWN"}[i])
			m.text("lastStatusChange", formatTimeMillis(launchedBefore))
			m.text("statusMessage", "")
			m.int("acceptedRouteCount", 1)
		})
	}})
}

func (f *regionResources) sharedKey(tunnel int) string {
	return "psk." + hex.EncodeToString(f.aws.derive("pre-shared key", f.owner, f.region, fmt.Sprint(tunnel)))[:28]
}

func deviceConfiguration(id string, keys []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<vpn_connection id=\"%s\">\n", id)
	for _, k := range keys {
		fmt.Fprintf(
			&b,
			"  <ipsec_tunnel>\n    <ike>\n      <pre_shared_key>%s</pre_shared_key>\n    </ike>\n  </ipsec_tunnel>\n",
			k,
		)
	}
	b.WriteString("</vpn_connection>\n")
	return b.String()
}

// Secrets returns every sensitive value of the resources, for tests that look for leaks: pre-shared keys and user data.
func (a *AWS) Secrets() []string {
	var all []string
	for _, f := range a.allResources() {
		all = append(all, f.sharedKey(1), f.sharedKey(2))
		for v := 1; v <= 2; v++ {
			all = append(all, fmt.Sprintf("DB_PASSWORD=hunter%d", v))
		}
	}
	return all
}
