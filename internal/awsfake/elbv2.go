package awsfake

import (
	"strconv"
	"strings"
)

func (f *regionResources) balancerARN(group string) string {
	return f.elbARN("loadbalancer/app", workloadOf(group)+"-alb", f.elbID(group))
}

func (f *regionResources) targetGroupARN(group string) string {
	return f.elbARN("targetgroup", workloadOf(group)+"-tg", f.elbID(group, "targets"))
}

func (f *regionResources) listenerARN(group string, port int) string {
	return f.elbARN("listener/app", workloadOf(group)+"-alb", f.elbID(group), f.elbID(group, strconv.Itoa(port)))
}

func (f *regionResources) certificateARN(group string) string {
	return "arn:" + f.partition + ":acm:" + f.region + ":" + f.owner + ":certificate/" +
		uuid(f.aws.derive("certificate", f.owner, f.region, group))
}

func (f *regionResources) trustStoreARN() string {
	return f.elbARN("truststore", "clients", f.elbID("clients"))
}

// withARN finds the group whose resource has an ARN.
func (f *regionResources) withARN(arn string, of func(group string) string) (group string, ok bool) {
	for _, group := range f.balanced(true) {
		if of(group) == arn {
			return group, true
		}
	}
	return "", false
}

func (f *regionResources) httpARN(group string) string  { return f.listenerARN(group, 80) }
func (f *regionResources) httpsARN(group string) string { return f.listenerARN(group, 443) }

func (f *regionResources) balancers(*request) (all []func(*xmlWriter), _ *apiError) {
	for _, group := range f.balanced(true) {
		all = append(all, func(m *xmlWriter) {
			name := workloadOf(group) + "-alb"
			m.text("LoadBalancerArn", f.balancerARN(group))
			m.text("DNSName", name+"-"+f.elbID(group)[:8]+"."+f.region+".elb."+f.dnsSuffix)
			m.text("CreatedTime", formatTimeMillis(launchedBefore))
			m.text("LoadBalancerName", name)
			m.text("Scheme", "internet-facing")
			m.text("VpcId", f.network.vpc)
			m.element("State", func() { m.text("Code", "active") })
			m.text("Type", "application")
			var zones []func(*xmlWriter)
			for _, s := range f.network.subnets[:3] {
				zones = append(zones, func(m *xmlWriter) {
					m.text("ZoneName", s.zone)
					m.text("SubnetId", s.id)
					m.strings("LoadBalancerAddresses")
				})
			}
			m.members("AvailabilityZones", zones...)
			m.strings("SecurityGroups", f.network.groups[1].id)
			m.text("IpAddressType", "ipv4")
		})
	}
	return all, nil
}

func (f *regionResources) listeners(q *request) ([]func(*xmlWriter), *apiError) {
	group, ok := f.withARN(q.form.Get("LoadBalancerArn"), f.balancerARN)
	if !ok {
		return nil, noSuch("LoadBalancer", "load balancers")
	}
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("ListenerArn", f.httpARN(group))
		m.text("LoadBalancerArn", f.balancerARN(group))
		m.int("Port", 80)
		m.text("Protocol", "HTTP")
		m.members("DefaultActions", toHTTPS)
	}, func(m *xmlWriter) {
		m.text("ListenerArn", f.httpsARN(group))
		m.text("LoadBalancerArn", f.balancerARN(group))
		m.int("Port", 443)
		m.text("Protocol", "HTTPS")
		m.members("Certificates", func(m *xmlWriter) { m.text("CertificateArn", f.certificateARN(group)) })
		m.text("SslPolicy", "ELBSecurityPolicy-TLS13-1-2-2021-06")
		m.members("DefaultActions", f.forward(group))
	}}, nil
}

func toHTTPS(m *xmlWriter) {
	m.text("Type", "redirect")
	m.element("RedirectConfig", func() {
		m.text("Protocol", "HTTPS")
		m.text("Port", "443")
		m.text("Host", "#{host}")
		m.text("Path", "/#{path}")
		m.text("Query", "#{query}")
		m.text("StatusCode", "HTTP_301")
	})
}

func (f *regionResources) forward(group string) func(*xmlWriter) {
	return func(m *xmlWriter) {
		m.text("Type", "forward")
		m.text("TargetGroupArn", f.targetGroupARN(group))
		m.element("ForwardConfig", func() {
			m.members("TargetGroups", func(m *xmlWriter) {
				m.text("TargetGroupArn", f.targetGroupARN(group))
				m.int("Weight", 1)
			})
			m.element("TargetGroupStickinessConfig", func() { m.bool("Enabled", false) })
		})
	}
}

func (f *regionResources) listenerCertificates(q *request) ([]func(*xmlWriter), *apiError) {
	arn := q.form.Get("ListenerArn")
	if group, ok := f.withARN(arn, f.httpsARN); ok {
		return []func(*xmlWriter){func(m *xmlWriter) {
			m.text("CertificateArn", f.certificateARN(group))
			m.bool("IsDefault", true)
		}}, nil
	}
	if _, ok := f.withARN(arn, f.httpARN); ok {
		return nil, nil
	}
	return nil, noSuch("Listener", "listeners")
}

func (f *regionResources) ruleARN(group string, port int, priority string) string {
	return f.elbARN("listener-rule/app", workloadOf(group)+"-alb", f.elbID(group), f.elbID(group, strconv.Itoa(port)),
		f.elbID(group, strconv.Itoa(port), priority))
}

func (f *regionResources) listenerRules(q *request) ([]func(*xmlWriter), *apiError) {
	arn := q.form.Get("ListenerArn")
	fallback := func(group string, port int, action func(*xmlWriter)) func(*xmlWriter) {
		return func(m *xmlWriter) {
			m.text("RuleArn", f.ruleARN(group, port, "default"))
			m.text("Priority", "default")
			m.members("Conditions")
			m.members("Actions", action)
			m.bool("IsDefault", true)
		}
	}
	if group, ok := f.withARN(arn, f.httpARN); ok {
		return []func(*xmlWriter){fallback(group, 80, toHTTPS)}, nil
	}
	group, ok := f.withARN(arn, f.httpsARN)
	if !ok {
		return nil, noSuch("Listener", "listeners")
	}
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("RuleArn", f.ruleARN(group, 443, "10"))
		m.text("Priority", "10")
		m.members("Conditions", func(m *xmlWriter) {
			m.text("Field", "path-pattern")
			m.strings("Values", "/status")
			m.element("PathPatternConfig", func() { m.strings("Values", "/status") })
		})
		m.members("Actions", func(m *xmlWriter) {
			m.text("Type", "fixed-response")
			m.element("FixedResponseConfig", func() {
				m.text("StatusCode", "204")
				m.text("ContentType", "text/plain")
			})
		})
		m.bool("IsDefault", false)
	}, fallback(group, 443, f.forward(group))}, nil
}

func (f *regionResources) targetGroups(*request) (all []func(*xmlWriter), _ *apiError) {
	for _, group := range f.balanced(true) {
		all = append(all, func(m *xmlWriter) {
			m.text("TargetGroupArn", f.targetGroupARN(group))
			m.text("TargetGroupName", workloadOf(group)+"-tg")
			m.text("Protocol", "HTTP")
			m.int("Port", 8080)
			m.text("VpcId", f.network.vpc)
			m.text("HealthCheckProtocol", "HTTP")
			m.text("HealthCheckPort", "traffic-port")
			m.bool("HealthCheckEnabled", true)
			m.int("HealthCheckIntervalSeconds", 30)
			m.int("HealthCheckTimeoutSeconds", 5)
			m.int("HealthyThresholdCount", 5)
			m.int("UnhealthyThresholdCount", 2)
			m.text("HealthCheckPath", "/status")
			m.element("Matcher", func() { m.text("HttpCode", "200") })
			m.strings("LoadBalancerArns", f.balancerARN(group))
			m.text("TargetType", "instance")
			m.text("ProtocolVersion", "HTTP1")
			m.text("IpAddressType", "ipv4")
		})
	}
	return all, nil
}

func (f *regionResources) targetHealth(q *request) (all []func(*xmlWriter), _ *apiError) {
	group, ok := f.withARN(q.form.Get("TargetGroupArn"), f.targetGroupARN)
	if !ok {
		return nil, noSuch("TargetGroup", "target groups")
	}
	for _, i := range f.inService(group) {
		all = append(all, func(m *xmlWriter) {
			m.element("Target", func() {
				m.text("Id", i.id)
				m.int("Port", 8080)
			})
			m.text("HealthCheckPort", "8080")
			m.element("TargetHealth", func() {
				switch i.state {
				case running:
					m.text("State", "healthy")
				case pending:
					m.text("State", "initial")
					m.text("Reason", "Elb.RegistrationInProgress")
					m.text("Description", "Target registration is in progress")
				default:
					m.text("State", "unused")
					m.text("Reason", "Target.InvalidState")
					m.text("Description", "Target is in the stopped state")
				}
			})
		})
	}
	return all, nil
}

// trustStores has one, which the first load balancer uses.
func (f *regionResources) trustStores(*request) ([]func(*xmlWriter), *apiError) {
	if len(f.balanced(true)) == 0 {
		return nil, nil
	}
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("Name", "clients")
		m.text("TrustStoreArn", f.trustStoreARN())
		m.text("Status", "ACTIVE")
		m.int("NumberOfCaCertificates", 2)
		m.int("TotalRevokedEntries", 7)
	}}, nil
}

func (f *regionResources) isTrustStore(q *request) bool {
	return len(f.balanced(true)) > 0 && q.form.Get("TrustStoreArn") == f.trustStoreARN()
}

func (f *regionResources) trustStoreAssociations(q *request) ([]func(*xmlWriter), *apiError) {
	if !f.isTrustStore(q) {
		return nil, noSuch("TrustStore", "trust stores")
	}
	return []func(*xmlWriter){func(m *xmlWriter) { m.text("ResourceArn", f.httpsARN(f.balanced(true)[0])) }}, nil
}

func (f *regionResources) trustStoreRevocations(q *request) ([]func(*xmlWriter), *apiError) {
	if !f.isTrustStore(q) {
		return nil, noSuch("TrustStore", "trust stores")
	}
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("TrustStoreArn", f.trustStoreARN())
		m.int("RevocationId", 1)
		m.text("RevocationType", "CRL")
		m.int("NumberOfRevokedEntries", 7)
	}}, nil
}

// balancerTags has the tags of load balancers and target groups; listeners, rules and trust stores have none.
func (f *regionResources) balancerTags(q *request) (all []func(*xmlWriter), _ *apiError) {
	arns, err := q.names("ResourceArns")
	if err != nil {
		return nil, err
	}
	for _, arn := range arns {
		tags, err := f.tagsOfARN(arn)
		if err != nil {
			return nil, err
		}
		all = append(all, func(m *xmlWriter) {
			m.text("ResourceArn", arn)
			m.members("Tags", tags...)
		})
	}
	return all, nil
}

func (f *regionResources) tagsOfARN(arn string) ([]func(*xmlWriter), *apiError) {
	for _, of := range []func(string) string{f.balancerARN, f.targetGroupARN} {
		if group, ok := f.withARN(arn, of); ok {
			return []func(*xmlWriter){workloadTag(group)}, nil
		}
	}
	rule := func(port int, priority string) func(string) string {
		return func(group string) string { return f.ruleARN(group, port, priority) }
	}
	for _, of := range []func(string) string{
		f.httpARN, f.httpsARN, rule(80, "default"), rule(443, "default"), rule(443, "10"),
		func(string) string { return f.trustStoreARN() },
	} {
		if _, ok := f.withARN(arn, of); ok {
			return nil, nil
		}
	}
	return nil, elbNotFound(arn)
}

// elbNotFound is the error for an ARN without a resource, which depends on the type that the ARN has.
func elbNotFound(arn string) *apiError {
	for _, t := range []struct{ resource, code, what string }{
		{":loadbalancer/", "LoadBalancer", "load balancers"}, {":listener/", "Listener", "listeners"},
		{":listener-rule/", "Rule", "rules"}, {":targetgroup/", "TargetGroup", "target groups"},
		{":truststore/", "TrustStore", "trust stores"},
	} {
		if strings.Contains(arn, t.resource) {
			return noSuch(t.code, t.what)
		}
	}
	return validationError("'%s' is not a valid ARN", arn)
}
