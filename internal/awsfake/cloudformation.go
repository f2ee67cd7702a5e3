package awsfake

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const cloudformationNamespace = "http://cloudformation.amazonaws.com/doc/2010-05-15/"

// A cloudformationList is how CloudFormation lists one kind of resource.
type cloudformationList struct {
	element string // around the members
	sized   bool   // the call has MaxResults, of 1 to 100
	// members are written in the order of the list, each by one func. The caller holds the lock of the resources.
	members func(f *regionResources, q *request) ([]func(*xmlWriter), *apiError)
}

// cloudformationLists are the calls for which a region has resources. Any other call is refused.
var cloudformationLists = map[string]cloudformationList{
	"DescribeStacks":         {"Stacks", false, (*regionResources).describeStacks},
	"ListChangeSets":         {"Summaries", false, (*regionResources).changeSets},
	"ListExports":            {"Exports", false, (*regionResources).exports},
	"ListGeneratedTemplates": {"Summaries", true, nothing},
	"ListStackInstances":     {"Summaries", true, (*regionResources).stackInstances},
	"ListStackResources":     {"StackResourceSummaries", false, (*regionResources).stackResources},
	"ListStackSets":          {"Summaries", true, (*regionResources).stackSets},
	"ListTypes":              {"TypeSummaries", true, (*regionResources).privateTypes},
}

// cloudformationBucket is the bucket of all calls of an account in a region. AWS does not document its size.
var cloudformationBucket = Bucket{Burst: 50, PerSecond: 10}

func (a *AWS) cloudformation(q *request) (*response, *apiError) {
	l, ok := cloudformationLists[q.action]
	if !ok {
		return nil, refuse(http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", q.action,
			q.form.Get("Version"))
	}
	if !a.buckets.takeFrom(cloudformationBucket, bucketKey{q.caller.account.ID, q.region, q.service, true}) {
		return nil, refuse(http.StatusBadRequest, "Throttling", "Rate exceeded")
	}
	if why := a.denied(q.caller, "cloudformation:"+q.action, q.region); why != "" {
		return nil, accessDenied("User: %s is not authorized to perform: cloudformation:%s %s", q.caller.arn, q.action, why)
	}
	size, from, err := a.cloudformationPage(q, l)
	if err != nil {
		return nil, err
	}
	f := a.resourcesOf(q.caller.account, q.region)
	if f == nil { // without resources: every name is unknown
		f = &regionResources{aws: a, owner: q.caller.account.ID, partition: q.caller.account.Partition, region: q.region}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	members, err := l.members(f, q)
	if err != nil {
		return nil, err
	}
	from = min(from, len(members))
	to := min(len(members), from+size)
	q.call.Items = to - from
	return queryResponse(q, cloudformationNamespace, func(m *xmlWriter) {
		m.members(l.element, members[from:to]...)
		if to < len(members) {
			m.text("NextToken", a.pageToken(q, to))
		}
	}), nil
}

// cloudformationPage returns the size of the page that a call asks for, and where it begins.
func (a *AWS) cloudformationPage(q *request, l cloudformationList) (size, from int, _ *apiError) {
	size = 100
	if text := q.form.Get("MaxResults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > size || !l.sized {
			return 0, 0, constraintError(text, "maxResults", "have value between 1 and 100")
		}
		size = n
	}
	if token := q.form.Get("NextToken"); token != "" {
		at, ok := a.readPageToken(q, token)
		if !ok {
			return 0, 0, validationError("The token '%s' is invalid.", token)
		}
		from = at
	}
	return size, from, nil
}

// nothing lists nothing.
func nothing(*regionResources, *request) ([]func(*xmlWriter), *apiError) { return nil, nil }

// A stack is a stack of a region: the platform, in which the network is nested, and one for each group of Auto Scaling.
type stack struct {
	name      string
	parent    string // the id of the stack that has it as a resource
	resources []stackResource
	output    string // the name of its output, whose export has the stack's name before it; "": none
	value     string
}

// A stackResource is a resource of a stack.
type stackResource struct{ logicalID, physicalID, kind string }

func (f *regionResources) stacks() []stack {
	if f.network == nil {
		return nil
	}
	network := stack{name: "platform-network", parent: f.stackID("platform"), output: "VpcId", value: f.network.vpc,
		resources: []stackResource{{"Vpc", f.network.vpc, "AWS::EC2::VPC"}}}
	for i, s := range f.network.subnets {
		network.resources = append(network.resources, stackResource{fmt.Sprintf("Subnet%d", i+1), s.id, "AWS::EC2::Subnet"})
	}
	for _, g := range f.network.groups[1:] { // the default group comes with the VPC
		network.resources = append(network.resources, stackResource{
			strings.ToUpper(g.name[:1]) + g.name[1:] + "SecurityGroup", g.id, "AWS::EC2::SecurityGroup"})
	}
	all := []stack{network, {name: "platform", resources: []stackResource{
		{"Network", f.stackID(network.name), "AWS::CloudFormation::Stack"}}}}
	for _, group := range f.groups {
		all = append(all, stack{name: strings.TrimSuffix(group, "-asg"), resources: []stackResource{
			{"Group", group, "AWS::AutoScaling::AutoScalingGroup"},
		}})
	}
	return all
}

func (f *regionResources) stackID(name string) string {
	return fmt.Sprintf("arn:%s:cloudformation:%s:%s:stack/%s/%s", f.partition, f.region, f.owner, name,
		uuid(f.aws.derive("stack", f.owner, f.region, name)))
}

// ofStacks writes what the stack that a request names has, or those of all stacks if it names none.
func (f *regionResources) ofStacks(
	q *request, each func(s stack) []func(*xmlWriter),
) (all []func(*xmlWriter), _ *apiError) {
	named, found := q.form.Get("StackName"), false
	for _, s := range f.stacks() {
		if named == "" || named == s.name || named == f.stackID(s.name) {
			all, found = append(all, each(s)...), true
		}
	}
	if named != "" && !found {
		return nil, validationError("Stack with id %s does not exist", named)
	}
	return all, nil
}

func (f *regionResources) describeStacks(q *request) ([]func(*xmlWriter), *apiError) {
	return f.ofStacks(q, func(s stack) []func(*xmlWriter) {
		return []func(*xmlWriter){func(m *xmlWriter) {
			m.text("StackId", f.stackID(s.name))
			m.text("StackName", s.name)
			m.element("Parameters", func() {
				m.element("member", func() {
					m.text("ParameterKey", "DatabasePassword")
					m.text("ParameterValue", "****") // NoEcho
				})
			})
			m.text("CreationTime", formatTimeMillis(launchedBefore))
			m.element("RollbackConfiguration", func() {})
			m.text("StackStatus", "UPDATE_COMPLETE")
			m.bool("DisableRollback", false)
			m.strings("NotificationARNs")
			m.strings("Capabilities", "CAPABILITY_NAMED_IAM")
			m.element("Outputs", func() {
				if s.output != "" {
					m.element("member", func() {
						m.text("OutputKey", s.output)
						m.text("OutputValue", s.value)
						m.text("ExportName", s.name+"-"+s.output)
					})
				}
			})
			m.element("Tags", func() {
				m.element("member", func() {
					m.text("Key", "team")
					m.text("Value", "platform")
				})
			})
			m.bool("EnableTerminationProtection", s.parent == "")
			if s.parent != "" {
				m.text("ParentId", s.parent)
				m.text("RootId", s.parent)
			}
			m.element("DriftInformation", func() { m.text("StackDriftStatus", "NOT_CHECKED") })
		}}
	})
}

func (f *regionResources) stackResources(q *request) ([]func(*xmlWriter), *apiError) {
	return f.ofStacks(q, func(s stack) (all []func(*xmlWriter)) {
		for _, r := range s.resources {
			all = append(all, func(m *xmlWriter) {
				m.text("LogicalResourceId", r.logicalID)
				m.text("PhysicalResourceId", r.physicalID)
				m.text("ResourceType", r.kind)
				m.text("LastUpdatedTimestamp", formatTimeMillis(launchedBefore))
				m.text("ResourceStatus", "CREATE_COMPLETE")
				m.element("DriftInformation", func() { m.text("StackResourceDriftStatus", "NOT_CHECKED") })
			})
		}
		return all
	})
}

// changeSets has one, of the platform.
func (f *regionResources) changeSets(q *request) ([]func(*xmlWriter), *apiError) {
	return f.ofStacks(q, func(s stack) []func(*xmlWriter) {
		if s.name != "platform" {
			return nil
		}
		return []func(*xmlWriter){func(m *xmlWriter) {
			const name = "add-a-subnet"
			m.text("StackId", f.stackID(s.name))
			m.text("StackName", s.name)
			m.text("ChangeSetId", fmt.Sprintf("arn:%s:cloudformation:%s:%s:changeSet/%s/%s", f.partition, f.region, f.owner,
				name, uuid(f.aws.derive("change set", f.owner, f.region))))
			m.text("ChangeSetName", name)
			m.text("ExecutionStatus", "AVAILABLE")
			m.text("Status", "CREATE_COMPLETE")
			m.text("CreationTime", formatTimeMillis(launchedBefore))
			m.bool("IncludeNestedStacks", true)
		}}
	})
}

func (f *regionResources) exports(q *request) ([]func(*xmlWriter), *apiError) {
	return f.ofStacks(q, func(s stack) []func(*xmlWriter) {
		if s.output == "" {
			return nil
		}
		return []func(*xmlWriter){func(m *xmlWriter) {
			m.text("ExportingStackId", f.stackID(s.name))
			m.text("Name", s.name+"-"+s.output)
			m.text("Value", s.value)
		}}
	})
}

func (f *regionResources) stackSetID() string {
	return "baseline:" + uuid(f.aws.derive("stack set", f.owner, f.region))
}

func (f *regionResources) stackSets(*request) ([]func(*xmlWriter), *apiError) {
	if f.network == nil {
		return nil, nil
	}
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("StackSetName", "baseline")
		m.text("StackSetId", f.stackSetID())
		m.text("Status", "ACTIVE")
		m.text("PermissionModel", "SELF_MANAGED")
		m.text("DriftStatus", "NOT_CHECKED")
		m.element("ManagedExecution", func() { m.bool("Active", false) })
	}}, nil
}

// stackInstances has the platform's stack, in the account and the region of the stack set.
func (f *regionResources) stackInstances(q *request) ([]func(*xmlWriter), *apiError) {
	named := q.form.Get("StackSetName")
	if f.network == nil || !slices.Contains([]string{"baseline", f.stackSetID()}, named) {
		return nil, refuse(http.StatusNotFound, "StackSetNotFoundException", "StackSet %s not found", named)
	}
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("StackSetId", f.stackSetID())
		m.text("Region", f.region)
		m.text("Account", f.owner)
		m.text("StackId", f.stackID("platform"))
		m.text("Status", "CURRENT")
		m.element("StackInstanceStatus", func() { m.text("DetailedStatus", "SUCCEEDED") })
		m.text("DriftStatus", "NOT_CHECKED")
	}}, nil
}

func (f *regionResources) privateTypes(*request) ([]func(*xmlWriter), *apiError) {
	if f.network == nil {
		return nil, nil
	}
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("Type", "RESOURCE")
		m.text("TypeName", "Example::Network::Check")
		m.text("DefaultVersionId", "00000001")
		m.text("TypeArn", fmt.Sprintf("arn:%s:cloudformation:%s:%s:type/resource/Example-Network-Check", f.partition,
			f.region, f.owner))
		m.text("LastUpdated", formatTimeMillis(launchedBefore))
		m.bool("IsActivated", true)
	}}, nil
}
