package collectors

// Pages are as large as a call for tags takes names, so that a response that waits for its tags is small. AWS's page
// would hold 400.
// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DescribeLoadBalancers.html
// https://docs.aws.amazon.com/elasticloadbalancing/2012-06-01/APIReference/API_DescribeTags.html
const elbTagNames = 20

// Names of load balancers are unique in an account and region, names of policies in a load balancer.
var elbKinds = []Kind{
	{Name: "elb_instance_health", Op: "DescribeInstanceHealth", Items: "InstanceStates",
		ID: "LoadBalancerName/InstanceId", State: "State",
		Parent: "elb_load_balancer", ParentParam: "LoadBalancerName", ParentInData: true},
	{Name: "elb_load_balancer", Op: "DescribeLoadBalancers", Items: "LoadBalancerDescriptions", ID: "LoadBalancerName",
		NamedBy: "LoadBalancerName", Type: "Scheme", Max: elbTagNames,
		TagsBy: &TagsBy{Op: "DescribeTags", Param: "LoadBalancerNames.member", Max: elbTagNames, Name: "LoadBalancerName",
			Items: "TagDescriptions", ID: "LoadBalancerName"}},
	{Name: "elb_load_balancer_policy", Op: "DescribeLoadBalancerPolicies", Items: "PolicyDescriptions",
		ID: "LoadBalancerName/PolicyName", NamedBy: "PolicyName", Type: "PolicyTypeName",
		Parent: "elb_load_balancer", ParentParam: "LoadBalancerName", ParentInData: true},
}
