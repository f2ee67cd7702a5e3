package awsfake

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const (
	elbVersion     = "2012-06-01"
	elbNamespace   = "http://elasticloadbalancing.amazonaws.com/doc/2012-06-01/"
	elbv2Namespace = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"
)

// An elbList is how Elastic Load Balancing lists one kind of resource.
type elbList struct {
	element string // around the members
	pages   bool   // of at most 400
	// members are written in the order of the list, each by one func. The caller holds the lock of the resources.
	members func(f *regionResources, q *request) ([]func(*xmlWriter), *apiError)
}

// elbLists and elbv2Lists are the calls of the two versions of the API for which a region has resources. Any other call
// is refused.
var (
	elbLists = map[string]elbList{
		"DescribeInstanceHealth":       {"InstanceStates", false, (*regionResources).instanceHealth},
		"DescribeLoadBalancerPolicies": {"PolicyDescriptions", false, (*regionResources).balancerPolicies},
		"DescribeLoadBalancers":        {"LoadBalancerDescriptions", true, (*regionResources).classicBalancers},
		"DescribeTags":                 {"TagDescriptions", false, (*regionResources).classicTags},
	}
	elbv2Lists = map[string]elbList{
		"DescribeListenerCertificates":   {"Certificates", true, (*regionResources).listenerCertificates},
		"DescribeListeners":              {"Listeners", true, (*regionResources).listeners},
		"DescribeLoadBalancers":          {"LoadBalancers", true, (*regionResources).balancers},
		"DescribeRules":                  {"Rules", true, (*regionResources).listenerRules},
		"DescribeTags":                   {"TagDescriptions", false, (*regionResources).balancerTags},
		"DescribeTargetGroups":           {"TargetGroups", true, (*regionResources).targetGroups},
		"DescribeTargetHealth":           {"TargetHealthDescriptions", false, (*regionResources).targetHealth},
		"DescribeTrustStoreAssociations": {"TrustStoreAssociations", true, (*regionResources).trustStoreAssociations},
		"DescribeTrustStoreRevocations":  {"TrustStoreRevocations", true, (*regionResources).trustStoreRevocations},
		"DescribeTrustStores":            {"TrustStores", true, (*regionResources).trustStores},
	}
)

// elbBucket is the bucket of all calls of an account in a region that only read. Each version of the API has its own.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-throttling.html
var elbBucket = Bucket{Burst: 40, PerSecond: 10}

func (a *AWS) elasticLoadBalancing(q *request) (*response, *apiError) {
	version := q.form.Get("Version")
	lists, namespace := elbv2Lists, elbv2Namespace
	if version == elbVersion {
		lists, namespace = elbLists, elbNamespace
	}
	l, ok := lists[q.action]
	if !ok {
		return nil, refuse(http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", q.action,
			version)
	}
	if !a.buckets.takeFrom(elbBucket, bucketKey{q.caller.account.ID, q.region, "elb " + version, true}) {
		return nil, refuse(http.StatusBadRequest, "Throttling", "Rate exceeded")
	}
	if why := a.denied(q.caller, "elasticloadbalancing:"+q.action, q.region); why != "" {
		return nil, accessDenied("User: %s is not authorized to perform: elasticloadbalancing:%s %s", q.caller.arn,
			q.action, why)
	}
	size, from, err := a.elbPage(q, l)
	if err != nil {
		return nil, err
	}
	f := a.resourcesOf(q.caller.account, q.region)
	if f == nil { // without resources: every name is unknown
		f = &regionResources{aws: a, owner: q.caller.account.ID, partition: q.caller.account.Partition, region: q.region}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.purgeTerminated()
	members, err := l.members(f, q)
	if err != nil {
		return nil, err
	}
	from = min(from, len(members))
	to := len(members)
	if l.pages {
		to = min(to, from+size)
	}
	q.call.Items = to - from
	return queryResponse(q, namespace, func(m *xmlWriter) {
		m.members(l.element, members[from:to]...)
		if to < len(members) {
			m.text("NextMarker", a.pageToken(q, to))
		}
	}), nil
}

// members writes a list as awsquery has it.
func (m *xmlWriter) members(element string, members ...func(*xmlWriter)) {
	m.element(element, func() {
		for _, write := range members {
			m.element("member", func() { write(m) })
		}
	})
}

// elbPage returns the size of the page that a call asks for, and where it begins.
func (a *AWS) elbPage(q *request, l elbList) (size, from int, _ *apiError) {
	size = 400
	if s := q.form.Get("PageSize"); s != "" && l.pages {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > size {
			return 0, 0, constraintError(s, "pageSize", "have value between 1 and "+strconv.Itoa(size))
		}
		size = n
	}
	if token := q.form.Get("Marker"); token != "" {
		at, ok := a.readPageToken(q, token)
		if !ok {
			return 0, 0, validationError("The marker '%s' is not valid", token)
		}
		from = at
	}
	return size, from, nil
}

// names returns a list of a request, such as ResourceArns.member.1; an error if it has none or more than 20.
func (q *request) names(list string) (all []string, _ *apiError) {
	for n := 1; q.form.Has(list + ".member." + strconv.Itoa(n)); n++ {
		all = append(all, q.form.Get(list+".member."+strconv.Itoa(n)))
	}
	if len(all) == 0 || len(all) > 20 {
		return nil, validationError("%d %s: want 1 to 20", len(all), list)
	}
	return all, nil
}

func noSuch(code, what string) *apiError {
	return refuse(http.StatusBadRequest, code+"NotFound", "One or more %s not found", what)
}

// balanced are the groups behind load balancers of one version of the API: each group is behind one of either.
func (f *regionResources) balanced(v2 bool) (groups []string) {
	for n, group := range f.groups {
		if (n%2 == 0) == v2 {
			groups = append(groups, group)
		}
	}
	return groups
}

func workloadOf(group string) string { return strings.TrimSuffix(group, "-asg") }

// classicName is the name of the load balancer of the first version in front of a group.
func classicName(group string) string { return workloadOf(group) + "-elb" }

// classic finds the group behind the load balancer that a request names.
func (f *regionResources) classic(name string) (group string, _ *apiError) {
	for _, group := range f.balanced(false) {
		if classicName(group) == name {
			return group, nil
		}
	}
	return "", refuse(http.StatusBadRequest, "LoadBalancerNotFound", "There is no ACTIVE Load Balancer named '%s'", name)
}

// behindBalancers writes which load balancers a scaling group is behind.
func (f *regionResources) behindBalancers(m *xmlWriter, group string) {
	if slices.Contains(f.balanced(true), group) {
		m.strings("LoadBalancerNames")
		m.strings("TargetGroupARNs", f.targetGroupARN(group))
		return
	}
	m.strings("LoadBalancerNames", classicName(group))
	m.strings("TargetGroupARNs")
}

func (f *regionResources) classicBalancers(*request) (all []func(*xmlWriter), _ *apiError) {
	for _, group := range f.balanced(false) {
		all = append(all, func(m *xmlWriter) {
			name := classicName(group)
			m.text("LoadBalancerName", name)
			m.text("DNSName", "internal-"+name+"-"+f.elbID(group)[:8]+"."+f.region+".elb."+f.dnsSuffix)
			m.members("ListenerDescriptions", func(m *xmlWriter) {
				m.element("Listener", func() {
					m.text("Protocol", "TCP")
					m.int("LoadBalancerPort", 443)
					m.text("InstanceProtocol", "TCP")
					m.int("InstancePort", 8443)
				})
				m.strings("PolicyNames")
			})
			m.strings("AvailabilityZones", f.region+"a", f.region+"b", f.region+"c")
			f.inSubnets(m)
			m.text("VPCId", f.network.vpc)
			var instances []func(*xmlWriter)
			for _, i := range f.inService(group) {
				instances = append(instances, func(m *xmlWriter) { m.text("InstanceId", i.id) })
			}
			m.members("Instances", instances...)
			m.element("HealthCheck", func() {
				m.text("Target", "TCP:8443")
				m.int("Interval", 30)
				m.int("Timeout", 5)
				m.int("UnhealthyThreshold", 2)
				m.int("HealthyThreshold", 10)
			})
			m.strings("SecurityGroups", f.network.groups[1].id)
			m.text("CreatedTime", formatTimeMillis(launchedBefore))
			m.text("Scheme", "internal")
		})
	}
	return all, nil
}

// inSubnets writes one subnet of each zone.
func (f *regionResources) inSubnets(m *xmlWriter) {
	var ids []string
	for _, s := range f.network.subnets[:3] {
		ids = append(ids, s.id)
	}
	m.strings("Subnets", ids...)
}

func (f *regionResources) classicTags(q *request) (all []func(*xmlWriter), _ *apiError) {
	names, err := q.names("LoadBalancerNames")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		group, err := f.classic(name)
		if err != nil {
			return nil, err
		}
		all = append(all, func(m *xmlWriter) {
			m.text("LoadBalancerName", name)
			m.members("Tags", workloadTag(group))
		})
	}
	return all, nil
}

// workloadTag writes the tag that the resources of a group have.
func workloadTag(group string) func(*xmlWriter) {
	return func(m *xmlWriter) {
		m.text("Key", "workload")
		m.text("Value", workloadOf(group))
	}
}

func (f *regionResources) instanceHealth(q *request) (all []func(*xmlWriter), _ *apiError) {
	group, err := f.classic(q.form.Get("LoadBalancerName"))
	if err != nil {
		return nil, err
	}
	for _, i := range f.inService(group) {
		all = append(all, func(m *xmlWriter) {
			m.text("InstanceId", i.id)
			if i.state == running {
				m.text("State", "InService")
				m.text("ReasonCode", "N/A")
				m.text("Description", "N/A")
				return
			}
			m.text("State", "OutOfService")
			m.text("ReasonCode", "Instance")
			m.text("Description", "Instance is not running.")
		})
	}
	return all, nil
}

func (f *regionResources) balancerPolicies(q *request) (all []func(*xmlWriter), _ *apiError) {
	if _, err := f.classic(q.form.Get("LoadBalancerName")); err != nil {
		return nil, err
	}
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("PolicyName", "sticky")
		m.text("PolicyTypeName", "LBCookieStickinessPolicyType")
		m.members("PolicyAttributeDescriptions", func(m *xmlWriter) {
			m.text("AttributeName", "CookieExpirationPeriod")
			m.text("AttributeValue", "3600")
		})
	}}, nil
}

// elbID is the last part of ARNs, which differs for each use.
func (f *regionResources) elbID(words ...string) string {
	return hex.EncodeToString(f.aws.derive(append(words, "elb", f.owner, f.region)...))[:16]
}

func (f *regionResources) elbARN(parts ...string) string {
	return "arn:" + f.partition + ":elasticloadbalancing:" + f.region + ":" + f.owner + ":" + strings.Join(parts, "/")
}
