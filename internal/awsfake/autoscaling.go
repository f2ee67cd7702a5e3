package awsfake

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const autoscalingNamespace = "http://autoscaling.amazonaws.com/doc/2011-01-01/"

// A scalingList is how Auto Scaling lists one kind of resource.
type scalingList struct {
	element    string // around the members
	maxRecords int    // 0: the call has no pages
	// members are written in the order of the list, each by one func. The caller holds the lock of the resources.
	members func(f *regionResources, q *request) []func(*xmlWriter)
}

// scalingLists are the calls for which a region has resources. Any other call is refused. The bounds are those of the
// API reference.
var scalingLists = map[string]scalingList{
	"DescribeAutoScalingGroups":          {"AutoScalingGroups", 100, (*regionResources).scalingGroups},
	"DescribeAutoScalingInstances":       {"AutoScalingInstances", 50, (*regionResources).scalingInstances},
	"DescribeLaunchConfigurations":       {"LaunchConfigurations", 100, (*regionResources).launchConfigurations},
	"DescribeLifecycleHooks":             {"LifecycleHooks", 0, (*regionResources).lifecycleHooks},
	"DescribeNotificationConfigurations": {"NotificationConfigurations", 100, (*regionResources).scalingNotifications},
	"DescribePolicies":                   {"ScalingPolicies", 100, (*regionResources).scalingPolicies},
	"DescribeScheduledActions":           {"ScheduledUpdateGroupActions", 100, (*regionResources).scheduledActions},
}

// scalingLaunched are the calls whose lists change with the instances of the groups: Auto Scaling's, and those of the
// load balancers in front of the groups.
var scalingLaunched = []string{"DescribeAutoScalingGroups", "DescribeAutoScalingInstances", "DescribeInstanceHealth",
	"DescribeLoadBalancers", "DescribeTargetHealth"}

// scalingBucket is the bucket of all calls of an account in a region. AWS does not document its size.
var scalingBucket = Bucket{Burst: 50, PerSecond: 10}

func (a *AWS) autoscaling(q *request) (*response, *apiError) {
	l, ok := scalingLists[q.action]
	if !ok {
		return nil, refuse(http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", q.action,
			q.form.Get("Version"))
	}
	if !a.buckets.takeFrom(scalingBucket, bucketKey{q.caller.account.ID, q.region, "autoscaling", true}) {
		return nil, refuse(http.StatusBadRequest, "Throttling", "Rate exceeded")
	}
	if why := a.denied(q.caller, "autoscaling:"+q.action, q.region); why != "" {
		return nil, accessDenied("User: %s is not authorized to perform: autoscaling:%s %s", q.caller.arn, q.action, why)
	}
	size, from, err := a.scalingPage(q, l)
	if err != nil {
		return nil, err
	}
	var members []func(*xmlWriter)
	f := a.resourcesOf(q.caller.account, q.region)
	if f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.purgeTerminated()
	}
	if group := q.form.Get("AutoScalingGroupName"); group != "" && (f == nil || !slices.Contains(f.groups, group)) {
		return nil, validationError("AutoScalingGroup name not found - AutoScalingGroup '%s' not found", group)
	} else if group == "" && q.action == "DescribeLifecycleHooks" {
		return nil, validationError("1 validation error detected: Value null at 'autoScalingGroupName' failed to satisfy " +
			"constraint: Member must not be null")
	}
	if f != nil {
		members = l.members(f, q)
	}
	from = min(from, len(members))
	to := len(members)
	if size > 0 {
		to = min(to, from+size)
	}
	q.call.Items = to - from
	return queryResponse(q, autoscalingNamespace, func(m *xmlWriter) {
		m.element(l.element, func() {
			for _, write := range members[from:to] {
				m.element("member", func() { write(m) })
			}
		})
		if to < len(members) {
			m.text("NextToken", a.pageToken(q, to))
		}
	}), nil
}

// scalingPage returns the size of the page that a call asks for, 0 for everything, and where it begins.
func (a *AWS) scalingPage(q *request, l scalingList) (size, from int, _ *apiError) {
	size = min(l.maxRecords, 50)
	if s := q.form.Get("MaxRecords"); s != "" && l.maxRecords > 0 {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return 0, 0, constraintError(s, "maxRecords", "have value greater than or equal to 1")
		}
		if n > l.maxRecords {
			return 0, 0, constraintError(s, "maxRecords", "have value less than or equal to "+strconv.Itoa(l.maxRecords))
		}
		size = n
	}
	if token := q.form.Get("NextToken"); token != "" {
		at, ok := a.readPageToken(q, token)
		if !ok {
			return 0, 0, refuse(http.StatusBadRequest, "InvalidNextToken", "The token '%s' is invalid.", token)
		}
		from = at
	}
	return size, from, nil
}

// addGroup adds a group, unless the region has it. The caller holds f.mu.
func (f *regionResources) addGroup(name string) {
	if slices.Contains(f.groups, name) {
		return
	}
	f.groups = append(f.groups, name)
	for action := range scalingLists { // each has something of each group, or may have
		f.revisions[action]++
	}
	for action := range cloudformationLists {
		f.revisions[action]++
	}
	for action := range elbLists {
		f.revisions[action]++
	}
	for action := range elbv2Lists {
		f.revisions[action]++
	}
}

// inService are the instances of a group, of any if group is "". An instance that ends is not in the group any more.
func (f *regionResources) inService(group string) []*instance {
	var of []*instance
	for _, i := range f.instances {
		if i.group != "" && (group == "" || i.group == group) && i.state != shuttingDown && i.state != terminated {
			of = append(of, i)
		}
	}
	return of
}

func (f *regionResources) scalingARN(kind, name string) string {
	return fmt.Sprintf("arn:%s:autoscaling:%s:%s:%s:%s", f.partition, f.region, f.owner, kind, name)
}

func (f *regionResources) groupARN(group string) string {
	return f.scalingARN("autoScalingGroup", uuid(f.aws.derive("group", f.owner, f.region, group))+
		":autoScalingGroupName/"+group)
}

func (f *regionResources) scalingGroups(*request) (all []func(*xmlWriter)) {
	for _, group := range f.groups {
		all = append(all, func(m *xmlWriter) {
			of := f.inService(group)
			m.text("AutoScalingGroupName", group)
			m.text("AutoScalingGroupARN", f.groupARN(group))
			f.launchedFrom(m)
			m.int("MinSize", 0)
			m.int("MaxSize", len(of)+4)
			m.int("DesiredCapacity", len(of))
			m.int("DefaultCooldown", 300)
			m.strings("AvailabilityZones", f.region+"a", f.region+"b", f.region+"c")
			f.behindBalancers(m, group)
			m.text("HealthCheckType", "EC2")
			m.int("HealthCheckGracePeriod", 300)
			m.element("Instances", func() {
				for _, i := range of {
					m.element("member", func() { i.inGroup(m, false) })
				}
			})
			m.text("CreatedTime", formatTimeMillis(launchedBefore))
			m.strings("SuspendedProcesses")
			m.text("VPCZoneIdentifier", f.network.subnets[0].id)
			m.element("Tags", func() {
				m.element("member", func() {
					m.text("ResourceId", group)
					m.text("ResourceType", "auto-scaling-group")
					m.text("Key", "workload")
					m.text("Value", strings.TrimSuffix(group, "-asg"))
					m.bool("PropagateAtLaunch", true)
				})
			})
			m.strings("TerminationPolicies", "Default")
			m.bool("NewInstancesProtectedFromScaleIn", false)
			m.text("ServiceLinkedRoleARN", fmt.Sprintf("arn:%s:iam::%s:role/aws-service-role/autoscaling.amazonaws.com/"+
				"AWSServiceRoleForAutoScaling", f.partition, f.owner))
		})
	}
	return all
}

// launchedFrom writes the launch template of a group or an instance.
func (f *regionResources) launchedFrom(m *xmlWriter) {
	m.element("LaunchTemplate", func() {
		m.text("LaunchTemplateId", f.network.template)
		m.text("LaunchTemplateName", "web") // as addTemplate has it
		m.text("Version", "$Latest")
	})
}

func (f *regionResources) scalingInstances(*request) (all []func(*xmlWriter)) {
	for _, i := range f.inService("") {
		all = append(all, func(m *xmlWriter) { i.inGroup(m, true) })
	}
	return all
}

// inGroup writes an instance as Auto Scaling has it: alone, with its group, or in the group.
func (i *instance) inGroup(m *xmlWriter, alone bool) {
	m.text("InstanceId", i.id)
	m.text("InstanceType", i.instanceType.name)
	if alone {
		m.text("AutoScalingGroupName", i.group)
	}
	m.text("AvailabilityZone", i.subnet.zone)
	state, health := "InService", "Healthy"
	switch i.state {
	case pending:
		state = "Pending"
	case stopping, stopped:
		state = "Standby"
	}
	if alone {
		health = strings.ToUpper(health) // as AWS has it in one of the two
	}
	m.text("LifecycleState", state)
	m.text("HealthStatus", health)
	i.region.launchedFrom(m)
	m.bool("ProtectedFromScaleIn", false)
}

// launchConfigurations has one that no group uses any more. Its user data has a password, as that of the template.
func (f *regionResources) launchConfigurations(*request) []func(*xmlWriter) {
	const name = "web-2019"
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("LaunchConfigurationName", name)
		m.text("LaunchConfigurationARN", f.scalingARN("launchConfiguration",
			uuid(f.aws.derive("launch configuration", f.owner, f.region))+":launchConfigurationName/"+name))
		m.text("ImageId", f.network.images["x86_64"])
		m.text("KeyName", f.network.keys[0])
		m.strings("SecurityGroups", f.network.groups[1].id)
		m.text("UserData", base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\nDB_PASSWORD=hunter1 ./start\n")))
		m.text("InstanceType", "m4.large")
		m.strings("BlockDeviceMappings")
		m.element("InstanceMonitoring", func() { m.bool("Enabled", true) })
		m.text("IamInstanceProfile", "web-instance")
		m.text("CreatedTime", formatTimeMillis(launchedBefore))
		m.bool("EbsOptimized", false)
	}}
}

// lifecycleHooks has one for each other group.
func (f *regionResources) lifecycleHooks(q *request) []func(*xmlWriter) {
	group := q.form.Get("AutoScalingGroupName")
	if slices.Index(f.groups, group)%2 > 0 {
		return nil
	}
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("LifecycleHookName", "drain")
		m.text("AutoScalingGroupName", group)
		m.text("LifecycleTransition", "autoscaling:EC2_INSTANCE_TERMINATING")
		m.int("HeartbeatTimeout", 300)
		m.int("GlobalTimeout", 30000)
		m.text("DefaultResult", "CONTINUE")
	}}
}

func (f *regionResources) scalingNotifications(*request) (all []func(*xmlWriter)) {
	for _, group := range f.groups[:min(1, len(f.groups))] {
		all = append(all, func(m *xmlWriter) {
			m.text("AutoScalingGroupName", group)
			m.text("TopicARN", fmt.Sprintf("arn:%s:sns:%s:%s:operations", f.partition, f.region, f.owner))
			m.text("NotificationType", "autoscaling:EC2_INSTANCE_LAUNCH_ERROR")
		})
	}
	return all
}

func (f *regionResources) scalingPolicies(*request) (all []func(*xmlWriter)) {
	for _, group := range f.groups {
		all = append(all, func(m *xmlWriter) {
			const name = "cpu-60"
			m.text("AutoScalingGroupName", group)
			m.text("PolicyName", name)
			m.text("PolicyARN", f.scalingARN("scalingPolicy", uuid(f.aws.derive("policy", f.owner, f.region, group))+
				":autoScalingGroupName/"+group+":policyName/"+name))
			m.text("PolicyType", "TargetTrackingScaling")
			m.strings("StepAdjustments")
			m.strings("Alarms")
			m.element("TargetTrackingConfiguration", func() {
				m.element("PredefinedMetricSpecification", func() {
					m.text("PredefinedMetricType", "ASGAverageCPUUtilization")
				})
				m.text("TargetValue", "60.0")
				m.bool("DisableScaleIn", false)
			})
			m.bool("Enabled", true)
		})
	}
	return all
}

func (f *regionResources) scheduledActions(*request) (all []func(*xmlWriter)) {
	for _, group := range f.groups[:min(1, len(f.groups))] {
		all = append(all, func(m *xmlWriter) {
			const name = "weekdays"
			m.text("AutoScalingGroupName", group)
			m.text("ScheduledActionName", name)
			m.text("ScheduledActionARN", f.scalingARN("scheduledUpdateGroupAction",
				uuid(f.aws.derive("action", f.owner, f.region, group))+":autoScalingGroupName/"+group+
					":scheduledActionName/"+name))
			m.text("StartTime", formatTimeMillis(launchedBefore))
			m.text("Time", formatTimeMillis(launchedBefore))
			m.text("Recurrence", "0 7 * * 1-5")
			m.int("MinSize", 1)
			m.int("MaxSize", 8)
			m.int("DesiredCapacity", 2)
			m.text("TimeZone", "Etc/UTC")
		})
	}
	return all
}

// strings writes a list of texts as awsquery has it.
func (m *xmlWriter) strings(name string, values ...string) {
	m.element(name, func() {
		for _, v := range values {
			m.text("member", v)
		}
	})
}
