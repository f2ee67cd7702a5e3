package collectors

// An Omission is a Describe operation without a kind, and the reason.
type Omission struct{ Operation, Reason string }

// A test checks that each Describe operation of a service is either left out or in [Kinds], so that somebody decides
// about each operation that a newer SDK adds.

var ec2LeftOut = []Omission{
	{"DescribeAggregateIdFormat", "a setting of the migration to longer resource ids, which ended in 2018"},
	{"DescribeCapacityBlockExtensionOfferings", "an offering: what could be bought"},
	{"DescribeCapacityBlockOfferings", "an offering: what could be bought"},
	{"DescribeClassicLinkInstances", "EC2-Classic, retired in 2023"},
	{"DescribeDeclarativePoliciesReports", "a report of an organization's management account, refused to all others"},
	{"DescribeElasticGpus", "Elastic Graphics, ended in 2024"},
	{"DescribeFleetHistory", "a log of events, not a resource; the fleet and its instances are kinds"},
	{"DescribeFpgaImageAttribute", "one attribute of one image a call; ec2_fpga_image has what a listing shows"},
	{"DescribeHostReservationOfferings", "an offering: what could be bought"},
	{"DescribeIdFormat", "a setting of the migration to longer resource ids, which ended in 2018"},
	{"DescribeIdentityIdFormat", "a setting of the migration to longer resource ids, which ended in 2018"},
	{"DescribeImageAttribute", "one attribute of one image a call; ec2_image has what a listing shows"},
	{"DescribeInstanceAttribute", "one attribute of one instance a call; ec2_instance has what a listing shows"},
	{"DescribeInstanceSqlHaHistoryStates", "a log of states; ec2_instance_sql_ha_state is the present one"},
	{"DescribeInstanceTypeOfferings", "a public catalogue: which types a zone offers"},
	{"DescribeInstanceTypes", "a public catalogue: what a type is"},
	{"DescribeMovingAddresses", "EC2-Classic, retired in 2023"},
	{"DescribeNetworkInterfaceAttribute", "one attribute of one interface a call; ec2_network_interface has them all"},
	{"DescribePrefixLists", "a public catalogue of AWS's own lists; ec2_managed_prefix_list has the account's"},
	{"DescribePrincipalIdFormat", "a setting of the migration to longer resource ids, which ended in 2018"},
	{"DescribeReservedInstancesOfferings", "an offering: what could be bought"},
	{"DescribeScheduledInstanceAvailability", "an offering: what could be bought"},
	{
		"DescribeSecurityGroupReferences",
		"a call for each security group; ec2_vpc_peering_connection and ec2_security_group_rule have the same data",
	},
	{"DescribeSnapshotAttribute", "one attribute of one snapshot a call; ec2_snapshot has what a listing shows"},
	{"DescribeSpotFleetRequestHistory", "a log of events, not a resource; the request and its instances are kinds"},
	{"DescribeSpotPriceHistory", "a public catalogue: prices"},
	{"DescribeVolumeAttribute", "one attribute of one volume a call; ec2_volume has what a listing shows"},
	{"DescribeVpcAttribute", "one attribute of one VPC a call; ec2_vpc has what a listing shows"},
	{"DescribeVpcClassicLink", "EC2-Classic, retired in 2023"},
	{"DescribeVpcClassicLinkDnsSupport", "EC2-Classic, retired in 2023"},
	{
		"DescribeVpcEndpointServices",
		"a public catalogue of what can be connected to; ec2_vpc_endpoint_service has the account's own",
	},
}

var autoscalingLeftOut = []Omission{
	{"DescribeAccountLimits", "quotas and counts, not a resource"},
	{"DescribeAccountSettings", "settings of the account, not a resource"},
	{"DescribeAdjustmentTypes", "values that AWS accepts, the same for everyone"},
	{"DescribeAutoScalingNotificationTypes", "values that AWS accepts, the same for everyone"},
	{"DescribeInstanceRefreshes", "a log of events, not a resource"},
	{"DescribeLifecycleHookTypes", "values that AWS accepts, the same for everyone"},
	{"DescribeLoadBalancerTargetGroups", "part of autoscaling_group: TargetGroupARNs"},
	{"DescribeLoadBalancers", "part of autoscaling_group: LoadBalancerNames"},
	{"DescribeMetricCollectionTypes", "values that AWS accepts, the same for everyone"},
	{"DescribeScalingActivities", "a log of events, not a resource"},
	{"DescribeScalingProcessTypes", "values that AWS accepts, the same for everyone"},
	{"DescribeTags", "part of autoscaling_group: Tags"},
	{"DescribeTerminationPolicyTypes", "values that AWS accepts, the same for everyone"},
	{"DescribeTrafficSources", "part of autoscaling_group: TrafficSources"},
	{"DescribeWarmPool", "part of autoscaling_instance, and of autoscaling_group: WarmPoolConfiguration"},
}
