package collectors

// Max is the API's largest page, from the API reference: the AWS service model has none.
// https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_Operations.html
//
// Names of hooks, policies and scheduled actions are unique in a group. The start of a scheduled action that recurs is
// its next one. Names of groups, hooks, policies and scheduled actions may have a "/".
var autoscalingKinds = []Kind{
	{Name: "autoscaling_group", Op: "DescribeAutoScalingGroups", Items: "AutoScalingGroups", ID: "AutoScalingGroupName",
		NamedBy: "AutoScalingGroupName", State: "Status", Max: 100, Volatile: []string{"PredictedCapacity"},
		Ordered: []string{"TerminationPolicies", "MixedInstancesPolicy.LaunchTemplate.Overrides"}},
	{Name: "autoscaling_instance", Op: "DescribeAutoScalingInstances", Items: "AutoScalingInstances", ID: "InstanceId",
		State: "LifecycleState", Type: "InstanceType", Max: 50},
	{Name: "autoscaling_launch_configuration", Op: "DescribeLaunchConfigurations", Items: "LaunchConfigurations",
		ID: "LaunchConfigurationName", NamedBy: "LaunchConfigurationName", Type: "InstanceType", Max: 100,
		Sensitive: []string{"UserData"}},
	{Name: "autoscaling_lifecycle_hook", Op: "DescribeLifecycleHooks", Items: "LifecycleHooks",
		ID: "AutoScalingGroupName/LifecycleHookName", Escaped: []string{"AutoScalingGroupName"},
		NamedBy: "LifecycleHookName", Type: "LifecycleTransition", Parent: "autoscaling_group",
		ParentParam: "AutoScalingGroupName"},
	{Name: "autoscaling_notification_configuration", Op: "DescribeNotificationConfigurations",
		Items: "NotificationConfigurations", ID: "AutoScalingGroupName/NotificationType/TopicARN", Type: "NotificationType",
		Max: 100},
	{Name: "autoscaling_policy", Op: "DescribePolicies", Items: "ScalingPolicies", ID: "AutoScalingGroupName/PolicyName",
		Escaped: []string{"AutoScalingGroupName"}, NamedBy: "PolicyName", Type: "PolicyType", Max: 100},
	{Name: "autoscaling_scheduled_action", Op: "DescribeScheduledActions", Items: "ScheduledUpdateGroupActions",
		ID: "AutoScalingGroupName/ScheduledActionName", Escaped: []string{"AutoScalingGroupName"},
		NamedBy: "ScheduledActionName", Max: 100, Volatile: []string{"StartTime", "Time"}},
}
