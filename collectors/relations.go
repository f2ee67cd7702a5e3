package collectors

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
)

// A Relation is a member of a kind's data that holds ids of another kind.
type Relation struct {
	Kind string
	Path string // of the member, as conditions have it: SecurityGroups.GroupId
	To   string // the kind of the ids
}

// maxRelationDepth bounds the walk over structures, which may contain themselves.
const maxRelationDepth = 6

// qualifiers may come before the name of an id without changing what it names: PeerVpcId is the id of a VPC. Others do
// change it: an AssociationDefaultRouteTableId is not that of a VPC's route table.
var qualifiers = [...]string{
	"Accepter", "Dedicated", "Destination", "Interruptible", "Launched", "Linked", "Parent", "Peer", "Requester",
	"Security", "Source", "Target", "Transport",
}

// idsNamedOtherwise are kinds whose id has another name than the kind, or is a name.
var idsNamedOtherwise = map[string]string{
	"AllocationId":                          "ec2_address",
	"AutoScalingGroupName":                  "autoscaling_group",
	"CacheClusterId":                        "elasticache_cluster",
	"CacheParameterGroupName":               "elasticache_parameter_group",
	"CacheSubnetGroupName":                  "elasticache_subnet_group",
	"ClusterIdentifier":                     "redshift_cluster",
	"ClusterSubnetGroupName":                "redshift_subnet_group",
	"DBClusterIdentifier":                   "rds_cluster",
	"DBClusterParameterGroup":               "rds_cluster_parameter_group",
	"DBInstanceIdentifier":                  "rds_instance",
	"DBParameterGroupName":                  "rds_parameter_group",
	"DBProxyName":                           "rds_proxy",
	"DBSnapshotIdentifier":                  "rds_snapshot",
	"DBSubnetGroup":                         "rds_subnet_group",
	"DBSubnetGroupName":                     "rds_subnet_group",
	"DeliverLogsPermissionArn":              "iam_role",
	"GroupId":                               "ec2_security_group",
	"GroupList":                             "iam_group",
	"LaunchConfigurationName":               "autoscaling_launch_configuration",
	"ListenerArn":                           "elbv2_listener",
	"LoadBalancerArn":                       "elbv2_load_balancer",
	"LoadBalancerNames":                     "elb_load_balancer",
	"MemberClusters":                        "elasticache_cluster",
	"OptionGroupName":                       "rds_option_group",
	"ParameterGroupName":                    "redshift_parameter_group",
	"PermissionsBoundaryArn":                "iam_policy",
	"PolicyArn":                             "iam_policy",
	"ReadReplicaDBInstanceIdentifier":       "rds_instance",
	"ReadReplicaSourceDBInstanceIdentifier": "rds_instance",
	"ServiceLinkedRoleARN":                  "iam_role",
	"SubnetIdentifier":                      "ec2_subnet",
	"TargetGroupARN":                        "elbv2_target_group", // of Auto Scaling
	"TargetGroupArn":                        "elbv2_target_group",
	"TrustStoreArn":                         "elbv2_trust_store",
	"UserName":                              "iam_user",
	"VpcSecurityGroupId":                    "ec2_security_group",
	"VpcSubnetId":                           "ec2_subnet",
}

// idsAt are kinds whose ids are at the end of a path of two members, of which the last says nothing.
var idsAt = map[string]string{
	"IamInstanceProfile.Arn":  "iam_instance_profile",
	"InstanceProfileList.Arn": "iam_instance_profile",
	"Roles.Arn":               "iam_role",
}

// unnamedRelations are members whose names do not say what their ids are of, or mean another thing in other kinds. A
// target may also be an address or a function: then no instance has its id.
var unnamedRelations = []Relation{
	{"cloudformation_export", "ExportingStackId", "cloudformation_stack"},
	{"cloudformation_stack", "ParentId", "cloudformation_stack"},
	{"cloudformation_stack", "RootId", "cloudformation_stack"},
	{"cloudformation_stack_resource", "StackName", "cloudformation_stack"},
	{"elb_instance_health", "LoadBalancerName", "elb_load_balancer"},
	{"elb_load_balancer", "SecurityGroups", "ec2_security_group"},
	{"elb_load_balancer", "Subnets", "ec2_subnet"},
	{"elb_load_balancer", "VPCId", "ec2_vpc"},
	{"elb_load_balancer_policy", "LoadBalancerName", "elb_load_balancer"},
	{"elbv2_load_balancer", "SecurityGroups", "ec2_security_group"},
	{"elbv2_target_health", "Target.Id", "ec2_instance"},
	{"elbv2_trust_store_association", "ResourceArn", "elbv2_listener"},
	{"elasticache_user_group", "UserIds", "elasticache_user"},
}

// placementGroup ends the path of the id of a placement group, which no kind has as its own id.
const placementGroup = "Placement.GroupId"

// Relations finds, in the shapes of the SDK, the members that hold ids of a kind of the catalogue. A member holds ids
// of the kind whose own id has the same name, or with a qualifier, or in the plural: SubnetId, SubnetIds, PeerVpcId. An
// id counts only if its name is that of its kind, or several words of it: OwnerId, PoolId and ServiceId may be of
// anything.
func Relations() ([]Relation, error) {
	targets := maps.Clone(idsNamedOtherwise)
	for i := range Kinds {
		k := &Kinds[i]
		name, isID := strings.CutSuffix(k.ID, "Id")
		words := strings.ReplaceAll(strings.TrimPrefix(k.Name, k.Service().Name), "_", "")
		isOneWord := strings.IndexFunc(strings.TrimLeftFunc(name, unicode.IsUpper), unicode.IsUpper) < 0
		if !isID || name == "" || strings.Contains(k.ID, "/") || !strings.Contains(words, strings.ToLower(name)) ||
			isOneWord && words != strings.ToLower(name) {
			continue
		}
		if other, taken := targets[k.ID]; !taken || len(k.Name) < len(other) {
			targets[k.ID] = k.Name // the most general one
		}
	}
	delete(targets, "UserId") // of ElastiCache; in EC2 and IAM it is of another thing
	all := slices.Clone(unnamedRelations)
	for i := range Kinds {
		k := &Kinds[i]
		prog, err := k.compile()
		if err != nil {
			return nil, err
		}
		walkMembers(prog.Item(), "", 0, func(path, name string) {
			to := relatedKind(targets, name)
			if words := strings.Split(path, "."); len(words) > 1 {
				to = cmp.Or(idsAt[strings.Join(words[len(words)-2:], ".")], to)
			}
			// Auto Scaling's id of an instance is EC2's; a volume's status has the volume's id, and is part of it.
			isOwnID := path == k.ID && strings.HasPrefix(to, k.Service().Name+"_")
			// The users of IAM are named only there: a UserName of ElastiCache is of Redis.
			isOther := to == "iam_user" && k.Service().Name != "iam"
			if to != "" && !isOwnID && !isOther && !strings.HasSuffix(path, placementGroup) {
				all = append(all, Relation{k.Name, path, to})
			}
		})
	}
	return all, nil
}

// relatedKind is the kind of the ids that a member with this name holds; "" if it holds none.
func relatedKind(targets map[string]string, name string) string {
	for _, plural := range []string{"ARNs", "Arns", "Identifiers", "Ids"} {
		if strings.HasSuffix(name, plural) {
			name = strings.TrimSuffix(name, "s")
		}
	}
	if to, ok := targets[name]; ok {
		return to
	}
	for _, q := range qualifiers {
		if rest, ok := strings.CutPrefix(name, q); ok && targets[rest] != "" {
			return targets[rest]
		}
	}
	return ""
}

// walkMembers calls f with the path and the name of each member that holds texts.
func walkMembers(shape awsxml.Shape, path string, depth int, f func(path, name string)) {
	if depth > maxRelationDepth || shape.Type() != awsxml.Struct {
		return
	}
	for m := range shape.Members() {
		inner := m.Shape
		for inner.Type() == awsxml.List {
			inner = inner.Elem()
		}
		at := strings.TrimPrefix(path+"."+m.Name, ".")
		if inner.Type() == awsxml.String {
			f(at, m.Name)
		}
		walkMembers(inner, at, depth+1, f)
	}
}
