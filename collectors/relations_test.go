package collectors

import (
	"slices"
	"strings"
	"testing"
)

// The members that hold ids are found in the shapes, and lead to kinds of the catalogue.
func TestRelations(t *testing.T) {
	all, err := Relations()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []Relation{
		{"autoscaling_group", "Instances.InstanceId", "ec2_instance"},
		{"autoscaling_group", "LaunchTemplate.LaunchTemplateId", "ec2_launch_template"},
		{"autoscaling_instance", "AutoScalingGroupName", "autoscaling_group"},
		{"autoscaling_instance", "InstanceId", "ec2_instance"},
		{"autoscaling_lifecycle_hook", "AutoScalingGroupName", "autoscaling_group"},
		{"autoscaling_group", "LaunchConfigurationName", "autoscaling_launch_configuration"},
		{"autoscaling_group", "ServiceLinkedRoleARN", "iam_role"},
		{"ec2_instance", "IamInstanceProfile.Arn", "iam_instance_profile"},
		{"ec2_launch_template_version", "LaunchTemplateData.IamInstanceProfile.Arn", "iam_instance_profile"},
		{"iam_access_key", "UserName", "iam_user"},
		{"iam_instance_profile", "Roles.Arn", "iam_role"},
		{"iam_group", "AttachedManagedPolicies.PolicyArn", "iam_policy"},
		{"iam_role", "AttachedManagedPolicies.PolicyArn", "iam_policy"},
		{"iam_role", "InstanceProfileList.Arn", "iam_instance_profile"},
		{"iam_user", "GroupList", "iam_group"},
		{"iam_user", "PermissionsBoundary.PermissionsBoundaryArn", "iam_policy"},
		{"iam_virtual_mfa_device", "User.UserName", "iam_user"},
		{"autoscaling_group", "LoadBalancerNames", "elb_load_balancer"},
		{"autoscaling_group", "TargetGroupARNs", "elbv2_target_group"},
		{"elb_load_balancer", "Instances.InstanceId", "ec2_instance"},
		{"elbv2_listener", "DefaultActions.ForwardConfig.TargetGroups.TargetGroupArn", "elbv2_target_group"},
		{"elbv2_listener", "LoadBalancerArn", "elbv2_load_balancer"},
		{"elbv2_listener_certificate", "ListenerArn", "elbv2_listener"},
		{"elbv2_load_balancer", "AvailabilityZones.SubnetId", "ec2_subnet"},
		{"elbv2_load_balancer", "SecurityGroups", "ec2_security_group"},
		{"elbv2_load_balancer", "VpcId", "ec2_vpc"},
		{"elbv2_target_group", "LoadBalancerArns", "elbv2_load_balancer"},
		{"elbv2_target_health", "Target.Id", "ec2_instance"},
		{"elbv2_target_health", "TargetGroupArn", "elbv2_target_group"},
		{"cloudformation_change_set", "StackId", "cloudformation_stack"},
		{"cloudformation_stack_instance", "StackId", "cloudformation_stack"},
		{"cloudformation_stack_instance", "StackSetId", "cloudformation_stack_set"},
		{"cloudformation_stack_resource", "StackName", "cloudformation_stack"},
		{"elasticache_cluster", "CacheSubnetGroupName", "elasticache_subnet_group"},
		{"elasticache_cluster", "ReplicationGroupId", "elasticache_replication_group"},
		{"elasticache_cluster", "SecurityGroups.SecurityGroupId", "ec2_security_group"},
		{"elasticache_replication_group", "MemberClusters", "elasticache_cluster"},
		{"elasticache_snapshot", "CacheClusterId", "elasticache_cluster"},
		{"elasticache_subnet_group", "Subnets.SubnetIdentifier", "ec2_subnet"},
		{"elasticache_user_group", "UserIds", "elasticache_user"},
		{"redshift_cluster", "ClusterSubnetGroupName", "redshift_subnet_group"},
		{"redshift_cluster", "VpcSecurityGroups.VpcSecurityGroupId", "ec2_security_group"},
		{"redshift_snapshot", "ClusterIdentifier", "redshift_cluster"},
		{"rds_cluster", "DBClusterMembers.DBInstanceIdentifier", "rds_instance"},
		{"rds_cluster", "DBClusterParameterGroup", "rds_cluster_parameter_group"},
		{"rds_cluster", "DBSubnetGroup", "rds_subnet_group"},
		{"rds_instance", "DBClusterIdentifier", "rds_cluster"},
		{"rds_instance", "DBParameterGroups.DBParameterGroupName", "rds_parameter_group"},
		{"rds_instance", "DBSubnetGroup.DBSubnetGroupName", "rds_subnet_group"},
		{"rds_instance", "DBSubnetGroup.Subnets.SubnetIdentifier", "ec2_subnet"},
		{"rds_instance", "DBSubnetGroup.VpcId", "ec2_vpc"},
		{"rds_instance", "ReadReplicaDBInstanceIdentifiers", "rds_instance"},
		{"rds_instance", "VpcSecurityGroups.VpcSecurityGroupId", "ec2_security_group"},
		{"rds_proxy", "VpcSubnetIds", "ec2_subnet"},
		{"rds_snapshot", "DBInstanceIdentifier", "rds_instance"},
		{"rds_subnet_group", "Subnets.SubnetIdentifier", "ec2_subnet"},
		{"rds_subnet_group", "VpcId", "ec2_vpc"},
		{"ec2_instance", "BlockDeviceMappings.Ebs.VolumeId", "ec2_volume"},
		{"ec2_instance", "SecurityGroups.GroupId", "ec2_security_group"},
		{"ec2_address", "InstanceId", "ec2_instance"},
		{"ec2_image", "BlockDeviceMappings.Ebs.SnapshotId", "ec2_snapshot"},
		{"ec2_nat_gateway", "NatGatewayAddresses.AllocationId", "ec2_address"},
		{"ec2_vpc_endpoint", "SubnetIds", "ec2_subnet"},
		{"ec2_vpc_peering_connection", "AccepterVpcInfo.VpcId", "ec2_vpc"},
		{"ec2_route_table", "Routes.NatGatewayId", "ec2_nat_gateway"},
		{"ec2_transit_gateway_peering_attachment", "AccepterTransitGatewayAttachmentId", "ec2_transit_gateway_attachment"},
	} {
		if !slices.Contains(all, r) {
			t.Errorf("not found: %v", r)
		}
	}
	seen := map[Relation]bool{}
	for _, r := range all {
		_, from := KindNamed(r.Kind)
		_, to := KindNamed(r.To)
		if !from || !to || seen[r] {
			t.Errorf("%v: not in the catalogue, or twice", r)
		}
		seen[r] = true
		last := r.Path[strings.LastIndexByte(r.Path, '.')+1:]
		isElsewhere := !strings.HasPrefix(r.To, "ec2_") && !strings.HasPrefix(r.To, "iam_") && last != "LoadBalancerArn"
		if strings.HasPrefix(r.Kind, "ec2_") && isElsewhere {
			t.Errorf("%v: of other services, EC2 names only IAM's and load balancers", r)
		}
		k, _ := KindNamed(r.Kind)
		prog, err := k.compile()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := prog.Item().Path(r.Path); !ok {
			t.Errorf("%v: the kind has no such member", r)
		}
		vague := []string{"Id", "OwnerId", "AssociationId", "PoolId", "ResourceId"}
		if r.Path != "Target.Id" && slices.Contains(vague, last) {
			t.Errorf("%v: the name says nothing", r)
		}
		if r.Path == "Placement.GroupId" || last == "AssociationDefaultRouteTableId" {
			t.Errorf("%v: not an id of that kind", r)
		}
	}
	if len(all) < 300 {
		t.Errorf("%d relations", len(all))
	}
}
