package collectors

// Max is the API's largest page, from the API reference; operations without MaxResults have pages of their own size.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_Operations.html
//
// CloudFormation writes **** in place of parameters with NoEcho. It masks no output, and a parameter without NoEcho may
// hold a secret, too: the values of both, and of exports, are sensitive. The time of the last drift check is volatile.
//
// A resource has the id of its stack as StackName: the API calls it so, and accepts both.
//
// A stack set that was deleted is listed for some time with another status.
var cloudformationKinds = []Kind{
	{Name: "cloudformation_change_set", Op: "ListChangeSets", Items: "Summaries", ID: "ChangeSetId",
		NamedBy: "ChangeSetName", State: "Status", Type: "ExecutionStatus", Parent: "cloudformation_stack",
		ParentParam: "StackName"},
	{Name: "cloudformation_export", Op: "ListExports", Items: "Exports", ID: "Name", NamedBy: "Name",
		Sensitive: []string{"Value"}},
	{Name: "cloudformation_generated_template", Op: "ListGeneratedTemplates", Items: "Summaries",
		ID: "GeneratedTemplateId", NamedBy: "GeneratedTemplateName", State: "Status", Max: 100},
	{Name: "cloudformation_stack", Op: "DescribeStacks", Items: "Stacks", ID: "StackId", NamedBy: "StackName",
		State: "StackStatus", Volatile: []string{"DriftInformation.LastCheckTimestamp"},
		Sensitive: []string{"Outputs.OutputValue", "Parameters.ParameterValue", "Parameters.ResolvedValue"}},
	{Name: "cloudformation_stack_instance", Op: "ListStackInstances", Items: "Summaries",
		ID: "StackSetId/Account/Region", State: "Status", Max: 100, Parent: "cloudformation_stack_set",
		ParentParam: "StackSetName", Volatile: []string{"LastDriftCheckTimestamp"}},
	{Name: "cloudformation_stack_resource", Op: "ListStackResources", Items: "StackResourceSummaries",
		ID: "StackName/LogicalResourceId", NamedBy: "LogicalResourceId", State: "ResourceStatus", Type: "ResourceType",
		Parent: "cloudformation_stack", ParentParam: "StackName", ParentInData: true,
		Volatile: []string{"DriftInformation.LastCheckTimestamp"}},
	{Name: "cloudformation_stack_set", Op: "ListStackSets", Items: "Summaries", ID: "StackSetId",
		NamedBy: "StackSetName", State: "Status", Type: "PermissionModel", Max: 100,
		Params: map[string]string{"Status": "ACTIVE"}, Volatile: []string{"LastDriftCheckTimestamp"}},
	{Name: "cloudformation_type", Op: "ListTypes", Items: "TypeSummaries", ID: "TypeArn", NamedBy: "TypeName",
		Type: "Type", Max: 100, Params: map[string]string{"Visibility": "PRIVATE"}},
}
