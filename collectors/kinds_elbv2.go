package collectors

// Pages of 400 are AWS's largest. Pages of kinds whose tags need a call of their own are as large as that call takes
// names, so that a response that waits for its tags is small.
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetGroups.html
// https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTags.html
//
// The responses with targets, certificates and associations do not name the resource that they belong to.
var elbv2Kinds = []Kind{
	{Name: "elbv2_listener", Op: "DescribeListeners", Items: "Listeners", ID: "ListenerArn", Type: "Protocol",
		Max: elbTagNames, Parent: "elbv2_load_balancer", ParentParam: "LoadBalancerArn", TagsBy: elbv2Tags("ListenerArn"),
		Sensitive: []string{"DefaultActions.AuthenticateOidcConfig.ClientSecret"}},
	{Name: "elbv2_listener_certificate", Op: "DescribeListenerCertificates", Items: "Certificates",
		ID: "ListenerArn/CertificateArn", Escaped: []string{"CertificateArn"}, Max: 400,
		Parent: "elbv2_listener", ParentParam: "ListenerArn", ParentInData: true},
	{Name: "elbv2_load_balancer", Op: "DescribeLoadBalancers", Items: "LoadBalancers", ID: "LoadBalancerArn",
		NamedBy: "LoadBalancerName", State: "State.Code", Type: "Type", Max: elbTagNames,
		TagsBy: elbv2Tags("LoadBalancerArn")},
	{Name: "elbv2_rule", Op: "DescribeRules", Items: "Rules", ID: "RuleArn", Max: elbTagNames,
		Parent: "elbv2_listener", ParentParam: "ListenerArn", TagsBy: elbv2Tags("RuleArn"),
		Sensitive: []string{"Actions.AuthenticateOidcConfig.ClientSecret"}},
	{Name: "elbv2_target_group", Op: "DescribeTargetGroups", Items: "TargetGroups", ID: "TargetGroupArn",
		NamedBy: "TargetGroupName", Type: "TargetType", Max: elbTagNames, TagsBy: elbv2Tags("TargetGroupArn")},
	{Name: "elbv2_target_health", Op: "DescribeTargetHealth", Items: "TargetHealthDescriptions",
		ID: "TargetGroupArn/Target.Id/Target.Port", Escaped: []string{"Target.Id"}, State: "TargetHealth.State",
		Parent: "elbv2_target_group", ParentParam: "TargetGroupArn", ParentInData: true},
	{Name: "elbv2_trust_store", Op: "DescribeTrustStores", Items: "TrustStores", ID: "TrustStoreArn", NamedBy: "Name",
		State: "Status", Max: elbTagNames, TagsBy: elbv2Tags("TrustStoreArn")},
	{Name: "elbv2_trust_store_association", Op: "DescribeTrustStoreAssociations", Items: "TrustStoreAssociations",
		ID: "TrustStoreArn/ResourceArn", Escaped: []string{"ResourceArn"}, Max: 400,
		Parent: "elbv2_trust_store", ParentParam: "TrustStoreArn", ParentInData: true},
	{Name: "elbv2_trust_store_revocation", Op: "DescribeTrustStoreRevocations", Items: "TrustStoreRevocations",
		ID: "TrustStoreArn/RevocationId", Type: "RevocationType", Max: 400,
		Parent: "elbv2_trust_store", ParentParam: "TrustStoreArn"},
}

// elbv2Tags returns the call for the tags of resources that are named by the value of a member.
func elbv2Tags(name string) *TagsBy {
	return &TagsBy{Op: "DescribeTags", Param: "ResourceArns.member", Max: elbTagNames, Name: name,
		Items: "TagDescriptions", ID: "ResourceArn"}
}
