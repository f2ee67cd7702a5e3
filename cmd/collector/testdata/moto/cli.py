"""Fills an AWS with one of everything that is cheap to make, then lets the AWS CLI list what it is asked for, in this one
process: a process for each listing would take seconds.

    python3 cli.py ENDPOINT REGION < KINDS

KINDS is a JSON list of {"kind", "service", "op", "params", "parent", "id", "items", "param", "in_data", "depth", "tags"}: params are the request's as they go over the wire;
id and items say where an answer has its resources' ids; param is the wire name of the input that takes an id of the kind
parent, and which the items get if in_data is set; tags is the call {"op", "param", "name", "items", "id", "max"} that has the items' tags, as
in collectors.TagsBy. A line comes out for each: {"kind", "pages": [what the CLI printed, once for each id of the parent], "error"}.
"""
import contextlib
import io
import json
import sys

import boto3
from awscli.clidriver import create_clidriver
from botocore import xform_name

endpoint, region = sys.argv[1:3]
ec2 = boto3.client("ec2", endpoint_url=endpoint, region_name=region)
iam = boto3.client("iam", endpoint_url=endpoint, region_name=region)
elbv2 = boto3.client("elbv2", endpoint_url=endpoint, region_name=region)
autoscaling = boto3.client("autoscaling", endpoint_url=endpoint, region_name=region)
elb = boto3.client("elb", endpoint_url=endpoint, region_name=region)
rds, elasticache, redshift = (boto3.client(s, endpoint_url=endpoint, region_name=region) for s in ("rds", "elasticache", "redshift"))
cloudformation = boto3.client("cloudformation", endpoint_url=endpoint, region_name=region)
clients = {"autoscaling": autoscaling, "cloudformation": cloudformation, "ec2": ec2, "elasticache": elasticache, "elb": elb, "elbv2": elbv2, "iam": iam, "rds": rds,
           "redshift": redshift}
ZONE = region + "a"
TAGS = [{"Key": "Name", "Value": "<&> ü \u00e9"}, {"Key": "team", "Value": ""}]


def tags(kind):
    return [{"ResourceType": kind, "Tags": TAGS}]


def trying(what, make, *args, **kwargs):
    """Makes something; an AWS that cannot make it is told of, and no reason to stop."""
    try:
        return make(*args, **kwargs)
    except Exception as e:  # an unfinished AWS answers anything
        print(f"not made: {what}: {str(e)[:200]}", file=sys.stderr)
        return None


def fill():
    vpc = ec2.create_vpc(CidrBlock="10.1.0.0/16", TagSpecifications=tags("vpc"))["Vpc"]["VpcId"]
    peer = ec2.create_vpc(CidrBlock="10.2.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.1.{n}.0/24", AvailabilityZone=region + z, TagSpecifications=tags("subnet"))["Subnet"]["SubnetId"]
        for n, z in enumerate("ab")
    ]
    group = ec2.create_security_group(GroupName="web", Description="a & b", VpcId=vpc, TagSpecifications=tags("security-group"))["GroupId"]
    trying("ingress", ec2.authorize_security_group_ingress, GroupId=group, IpPermissions=[
        {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "0.0.0.0/0", "Description": "all"}],
         "UserIdGroupPairs": [{"GroupId": group}]}])
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    key = trying("key pair", ec2.create_key_pair, KeyName="ops", TagSpecifications=tags("key-pair"))
    run = ec2.run_instances(ImageId=image, MinCount=3, MaxCount=3, InstanceType="t3.micro", SubnetId=subnets[0], SecurityGroupIds=[group],
                            KeyName="ops" if key else "", UserData="#!/bin/sh\n", TagSpecifications=tags("instance"))
    instance = run["Instances"][0]["InstanceId"]
    volume = ec2.create_volume(AvailabilityZone=ZONE, Size=8, VolumeType="gp3", TagSpecifications=tags("volume"))["VolumeId"]
    trying("attachment", ec2.attach_volume, VolumeId=volume, InstanceId=instance, Device="/dev/sdf")
    trying("volume modification", ec2.modify_volume, VolumeId=volume, Size=16)
    trying("snapshot", ec2.create_snapshot, VolumeId=volume, Description="nightly", TagSpecifications=tags("snapshot"))
    trying("image", ec2.create_image, InstanceId=instance, Name="golden")
    address = ec2.allocate_address(Domain="vpc", TagSpecifications=tags("elastic-ip"))["AllocationId"]
    second = ec2.allocate_address(Domain="vpc")["AllocationId"]
    trying("association", ec2.associate_address, AllocationId=second, InstanceId=instance)
    trying("interface", ec2.create_network_interface, SubnetId=subnets[1], Groups=[group], Description="spare", TagSpecifications=tags("network-interface"))
    gateway = ec2.create_internet_gateway(TagSpecifications=tags("internet-gateway"))["InternetGateway"]["InternetGatewayId"]
    trying("attachment of a gateway", ec2.attach_internet_gateway, InternetGatewayId=gateway, VpcId=vpc)
    trying("egress-only gateway", ec2.create_egress_only_internet_gateway, VpcId=vpc)
    trying("carrier gateway", ec2.create_carrier_gateway, VpcId=vpc)
    trying("NAT gateway", ec2.create_nat_gateway, SubnetId=subnets[0], AllocationId=address, TagSpecifications=tags("natgateway"))
    table = ec2.create_route_table(VpcId=vpc, TagSpecifications=tags("route-table"))["RouteTable"]["RouteTableId"]
    trying("route", ec2.create_route, RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    trying("route table association", ec2.associate_route_table, RouteTableId=table, SubnetId=subnets[0])
    acl = trying("ACL", ec2.create_network_acl, VpcId=vpc)
    if acl:
        trying("ACL entry", ec2.create_network_acl_entry, NetworkAclId=acl["NetworkAcl"]["NetworkAclId"], RuleNumber=100, Protocol="6",
               RuleAction="allow", Egress=False, CidrBlock="0.0.0.0/0", PortRange={"From": 22, "To": 22})
    trying("peering", ec2.create_vpc_peering_connection, VpcId=vpc, PeerVpcId=peer)
    trying("DHCP options", ec2.create_dhcp_options, DhcpConfigurations=[{"Key": "domain-name-servers", "Values": ["10.1.0.2", "10.1.0.3"]}])
    trying("endpoint", ec2.create_vpc_endpoint, VpcId=vpc, ServiceName=f"com.amazonaws.{region}.s3", RouteTableIds=[table])
    balancer = trying("load balancer", elbv2.create_load_balancer, Name="inner", Subnets=subnets, Type="network", Scheme="internal")
    if balancer:
        arn = balancer["LoadBalancers"][0]["LoadBalancerArn"]
        service = trying("endpoint service", ec2.create_vpc_endpoint_service_configuration, NetworkLoadBalancerArns=[arn], AcceptanceRequired=True)
        if service:
            trying("permission", ec2.modify_vpc_endpoint_service_permissions, ServiceId=service["ServiceConfiguration"]["ServiceId"],
                   AddAllowedPrincipals=["arn:aws:iam::111111111111:root"])
        trying("mirror target", ec2.create_traffic_mirror_target, NetworkLoadBalancerArn=arn)
    trying("mirror filter", ec2.create_traffic_mirror_filter, Description="all")
    vgw = ec2.create_vpn_gateway(Type="ipsec.1", AmazonSideAsn=65001)["VpnGateway"]["VpnGatewayId"]
    trying("attachment of a VPN gateway", ec2.attach_vpn_gateway, VpnGatewayId=vgw, VpcId=vpc)
    cgw = ec2.create_customer_gateway(Type="ipsec.1", PublicIp="203.0.113.7", BgpAsn=65002)["CustomerGateway"]["CustomerGatewayId"]
    trying("VPN connection", ec2.create_vpn_connection, Type="ipsec.1", CustomerGatewayId=cgw, VpnGatewayId=vgw)
    template = trying("launch template", ec2.create_launch_template, LaunchTemplateName="web", VersionDescription="first",
                      LaunchTemplateData={"ImageId": image, "InstanceType": "t3.micro", "UserData": "IyEvYmluL3NoCg=="})
    if template:
        template = template["LaunchTemplate"]["LaunchTemplateId"]
        trying("template version", ec2.create_launch_template_version, LaunchTemplateId=template, VersionDescription="second",
               LaunchTemplateData={"ImageId": image, "InstanceType": "t3.large", "TagSpecifications": tags("instance")})
        trying("fleet", ec2.create_fleet, LaunchTemplateConfigs=[{"LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "1"}}],
               TargetCapacitySpecification={"TotalTargetCapacity": 1, "OnDemandTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"})
    trying("spot request", ec2.request_spot_instances, SpotPrice="0.01", LaunchSpecification={"ImageId": image, "InstanceType": "t3.micro", "UserData": "IyEvYmluL3NoCg=="})
    role = trying("role", iam.create_role, RoleName="fleet", AssumeRolePolicyDocument="{}")
    if role:
        trying("spot fleet", ec2.request_spot_fleet, SpotFleetRequestConfig={"IamFleetRole": role["Role"]["Arn"], "TargetCapacity": 1, "SpotPrice": "0.1", "AllocationStrategy": "lowestPrice",
               "LaunchSpecifications": [{"ImageId": image, "InstanceType": "t3.micro", "SubnetId": subnets[0], "UserData": "IyEvYmluL3NoCg=="}]})
        trying("flow log", ec2.create_flow_logs, ResourceType="VPC", ResourceIds=[vpc], TrafficType="ALL", LogGroupName="flows",
               DeliverLogsPermissionArn=role["Role"]["Arn"])
    profile = trying("instance profile", iam.create_instance_profile, InstanceProfileName="web")
    if profile:
        trying("profile association", ec2.associate_iam_instance_profile, InstanceId=instance, IamInstanceProfile={"Name": "web"})
    lists = trying("prefix list", ec2.create_managed_prefix_list, PrefixListName="offices", MaxEntries=5, AddressFamily="IPv4",
                   Entries=[{"Cidr": "198.51.100.0/24", "Description": "head office"}])
    trying("host", ec2.allocate_hosts, AvailabilityZone=ZONE, InstanceType="m5.large", Quantity=1)
    transit = trying("transit gateway", ec2.create_transit_gateway, Description="hub")
    if transit:
        transit = transit["TransitGateway"]["TransitGatewayId"]
        trying("transit attachment", ec2.create_transit_gateway_vpc_attachment, TransitGatewayId=transit, VpcId=vpc, SubnetIds=subnets)
        trying("transit route table", ec2.create_transit_gateway_route_table, TransitGatewayId=transit)
        trying("transit peering", ec2.create_transit_gateway_peering_attachment, TransitGatewayId=transit, PeerTransitGatewayId=transit,
               PeerAccountId="123456789012", PeerRegion=region)
    trying("tags", ec2.create_tags, Resources=[vpc, table], Tags=TAGS)
    identities()
    targets = trying("balancers", balance, vpc, subnets, group) or []
    scale(image, subnets, template, targets)
    databases(subnets, group)
    stack()


def stack():
    """A stack with a parameter that CloudFormation hides, two resources and an export."""
    template = {
        "Parameters": {"Password": {"Type": "String", "NoEcho": True}, "Team": {"Type": "String"}},
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}, "Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {"Topic": {"Description": "a & b", "Value": {"Ref": "Topic"}, "Export": {"Name": "topic"}}},
    }
    trying("stack", cloudformation.create_stack, StackName="app", TemplateBody=json.dumps(template), Tags=TAGS[:1],
           Parameters=[{"ParameterKey": "Password", "ParameterValue": "example-pass"}, {"ParameterKey": "Team", "ParameterValue": "a"}])


def databases(subnets, group):
    """More databases than the smallest page, two of a cluster, and what belongs to them."""
    trying("subnet group", rds.create_db_subnet_group, DBSubnetGroupName="databases", DBSubnetGroupDescription="a & b", SubnetIds=subnets)
    trying("parameter group", rds.create_db_parameter_group, DBParameterGroupName="pg", DBParameterGroupFamily="postgres16", Description="a <b>")
    trying("cluster parameter group", rds.create_db_cluster_parameter_group, DBClusterParameterGroupName="aurora",
           DBParameterGroupFamily="aurora-postgresql16", Description="c")
    trying("option group", rds.create_option_group, OptionGroupName="og", EngineName="mysql", MajorEngineVersion="8.0", OptionGroupDescription="o")
    trying("cluster", rds.create_db_cluster, DBClusterIdentifier="orders", Engine="aurora-postgresql", MasterUsername="postgres",
           MasterUserPassword="example-pass", DBSubnetGroupName="databases", Tags=TAGS)
    for n in range(25):
        member = {"DBClusterIdentifier": "orders", "Engine": "aurora-postgresql"} if n < 2 else {
            "Engine": "postgres", "AllocatedStorage": 20, "MasterUsername": "postgres", "MasterUserPassword": "example-pass"}
        trying(f"database {n}", rds.create_db_instance, DBInstanceIdentifier=f"db-{n}", DBInstanceClass="db.m5.large", DBSubnetGroupName="databases",
               VpcSecurityGroupIds=[group], Tags=TAGS, **member)
    trying("database snapshot", rds.create_db_snapshot, DBSnapshotIdentifier="before", DBInstanceIdentifier="db-2", Tags=TAGS)
    trying("cluster snapshot", rds.create_db_cluster_snapshot, DBClusterSnapshotIdentifier="cluster-before", DBClusterIdentifier="orders", Tags=TAGS)
    trying("event subscription", rds.create_event_subscription, SubscriptionName="events", SnsTopicArn=f"arn:aws:sns:{region}:123456789012:ops",
           SourceType="db-instance", SourceIds=["db-2"])
    trying("cache subnet group", elasticache.create_cache_subnet_group, CacheSubnetGroupName="caches", CacheSubnetGroupDescription="c", SubnetIds=subnets)
    trying("cache", elasticache.create_cache_cluster, CacheClusterId="sessions", Engine="redis", CacheNodeType="cache.t3.micro", NumCacheNodes=1)
    trying("replication group", elasticache.create_replication_group, ReplicationGroupId="carts", ReplicationGroupDescription="c & d", Engine="redis",
           CacheNodeType="cache.t3.micro", NumCacheClusters=2)
    trying("warehouse subnet group", redshift.create_cluster_subnet_group, ClusterSubnetGroupName="warehouses", Description="w", SubnetIds=subnets, Tags=TAGS)
    trying("warehouse", redshift.create_cluster, ClusterIdentifier="reports", NodeType="ra3.xlplus", MasterUsername="admin", MasterUserPassword="Example-pass-1",
           ClusterType="multi-node", NumberOfNodes=2, Tags=TAGS)
    trying("warehouse snapshot", redshift.create_cluster_snapshot, SnapshotIdentifier="nightly", ClusterIdentifier="reports", Tags=TAGS)


def balance(vpc, subnets, group):
    """A balancer of either API, for a scaling group: the names of those of the first, and the target groups of the second."""
    elb.create_load_balancer(LoadBalancerName="old", Subnets=subnets, SecurityGroups=[group], Tags=TAGS,
                             Listeners=[{"Protocol": "HTTP", "LoadBalancerPort": 80, "InstancePort": 8080}])
    trying("stickiness", elb.create_lb_cookie_stickiness_policy, LoadBalancerName="old", PolicyName="sticky", CookieExpirationPeriod=60)
    front = elbv2.create_load_balancer(Name="front", Subnets=subnets, SecurityGroups=[group], Tags=TAGS)["LoadBalancers"][0]["LoadBalancerArn"]
    targets = elbv2.create_target_group(Name="web", Protocol="HTTP", Port=8080, VpcId=vpc, Tags=TAGS)["TargetGroups"][0]["TargetGroupArn"]
    forward = [{"Type": "forward", "TargetGroupArn": targets}]
    listener = elbv2.create_listener(LoadBalancerArn=front, Protocol="HTTP", Port=80, DefaultActions=forward)["Listeners"][0]["ListenerArn"]
    trying("rule", elbv2.create_rule, ListenerArn=listener, Priority=10, Actions=forward, Tags=TAGS,
           Conditions=[{"Field": "path-pattern", "Values": ["/a*"]}])
    return [targets]


def scale(image, subnets, template, targets):
    """A group with two instances of a launch template, an empty one with a launch configuration, and what belongs to them."""
    trying("launch configuration", autoscaling.create_launch_configuration, LaunchConfigurationName="web <1>", ImageId=image, InstanceType="t3.micro",
           UserData="IyEvYmluL3NoCg==", BlockDeviceMappings=[{"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 8, "VolumeType": "gp3"}}])
    trying("empty group", autoscaling.create_auto_scaling_group, AutoScalingGroupName="old", LaunchConfigurationName="web <1>", MinSize=0, MaxSize=1,
           VPCZoneIdentifier=subnets[0])
    trying("group", autoscaling.create_auto_scaling_group, AutoScalingGroupName="web & co", MinSize=1, MaxSize=4, DesiredCapacity=2,
           LaunchTemplate={"LaunchTemplateId": template, "Version": "1"}, VPCZoneIdentifier=",".join(subnets),
           LoadBalancerNames=["old"] if targets else [], TargetGroupARNs=targets,
           Tags=[dict(t, ResourceId="web & co", ResourceType="auto-scaling-group", PropagateAtLaunch=True) for t in TAGS])
    trying("lifecycle hook", autoscaling.put_lifecycle_hook, AutoScalingGroupName="web & co", LifecycleHookName="drain",
           LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING", HeartbeatTimeout=300)
    trying("scaling policy", autoscaling.put_scaling_policy, AutoScalingGroupName="web & co", PolicyName="cpu", PolicyType="TargetTrackingScaling",
           TargetTrackingConfiguration={"PredefinedMetricSpecification": {"PredefinedMetricType": "ASGAverageCPUUtilization"}, "TargetValue": 60.5})
    trying("scheduled action", autoscaling.put_scheduled_update_group_action, AutoScalingGroupName="web & co", ScheduledActionName="weekdays",
           Recurrence="0 7 * * 1-5", MinSize=1, DesiredCapacity=2, StartTime="2030-01-01T07:00:00Z")


def identities():
    """Users, a group, a role with its instance profile, a policy with two versions, and what belongs to them."""
    def document(action, **more):
        return json.dumps({"Version": "2012-10-17", "Statement": [dict({"Effect": "Allow", "Action": action}, **more)]})

    read = document(["s3:GetObject", "s3:ListBucket"], Resource="*")
    trying("policy", iam.create_policy, PolicyName="data", PolicyDocument=read, Description="a & b")
    policy = "arn:aws:iam::123456789012:policy/data"
    trying("policy version", iam.create_policy_version, PolicyArn=policy, PolicyDocument=document("s3:*", Resource="*"), SetAsDefault=True)
    trying("role", iam.create_role, RoleName="web", Tags=TAGS,
           AssumeRolePolicyDocument=document("sts:AssumeRole", Principal={"Service": "ec2.amazonaws.com"}))
    trying("role's policy", iam.attach_role_policy, RoleName="web", PolicyArn=policy)
    trying("inline policy", iam.put_role_policy, RoleName="web", PolicyName="in line", PolicyDocument=read)
    trying("instance profile", iam.create_instance_profile, InstanceProfileName="app", Path="/app/")
    trying("profile's role", iam.add_role_to_instance_profile, InstanceProfileName="app", RoleName="web")
    trying("group", iam.create_group, GroupName="ops")
    trying("group's policy", iam.put_group_policy, GroupName="ops", PolicyName="read", PolicyDocument=read)
    for name in ("ana", "ci"):
        trying("user", iam.create_user, UserName=name, Tags=TAGS)
        trying("access key", iam.create_access_key, UserName=name)
    trying("member", iam.add_user_to_group, GroupName="ops", UserName="ana")
    trying("user's policy", iam.put_user_policy, UserName="ci", PolicyName="read", PolicyDocument=read)
    trying("alias", iam.create_account_alias, AccountAlias="example")
    trying("password policy", iam.update_account_password_policy, MinimumPasswordLength=14)
    trying("MFA device", iam.create_virtual_mfa_device, VirtualMFADeviceName="ana")
    trying("SSH key", iam.upload_ssh_public_key, UserName="ana", SSHPublicKeyBody="ssh-rsa AAAA")
    trying("SAML provider", iam.create_saml_provider, Name="example", SAMLMetadataDocument="x" * 1024)
    trying("OIDC provider", iam.create_open_id_connect_provider, Url="https://ci.example.com", ThumbprintList=["0" * 40])


driver = create_clidriver()


def cli(args):
    """What the AWS CLI prints, decoded, and its complaint."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            rc = driver.main(args)
        except SystemExit as e:  # argparse
            rc = e.code
    out.flush()
    text = out.buffer.getvalue().decode()
    if rc:
        return None, err.getvalue().strip()[-300:] or f"exit {rc}"
    return json.loads(text) if text.strip() else {}, None


def option(service, op, wire, *values):
    """The CLI's option for a parameter as it goes over the wire: Owner.1=self is --owners self."""
    name, dot, _ = wire.partition(".")
    for member, shape in clients[service].meta.service_model.operation_model(op).input_shape.members.items():
        sent = shape.serialization.get("queryName") or shape.serialization.get("name") or member
        if (sent[:1].upper() + sent[1:], shape.type_name == "list") == (name, bool(dot)):
            flag = "--" + xform_name(member, "-")
            return [flag] if values == ("true",) else [flag, *values]
    raise SystemExit(f"{op} has no {wire}")


def listing(kind, parent=None):
    if kind["op"] not in clients[kind["service"]].meta.service_model.operation_names:
        return None, "not in this CLI"
    args = [kind["service"], xform_name(kind["op"], "-"), "--endpoint-url", endpoint, "--region", region, "--output", "json"]
    params = dict(kind["params"] or {})
    if parent is not None:
        params[kind["param"]] = parent
        args.append("--no-paginate")  # joining pages, the CLI drops what stands beside the list, such as whose it is
    for wire, value in sorted(params.items()):
        args += option(kind["service"], kind["op"], wire, value)
    page, error = cli(args)
    items = (page or {}).get(kind["items"], [])
    for item in items if kind["in_data"] else []:
        item[kind["param"]] = parent
    return page, error or (kind["tags"] and add_tags(kind["service"], kind["tags"], items))


def add_tags(service, by, items):
    """Gives the items the tags that the CLI prints for them, sorted; returns its complaint."""
    for at in range(0, len(items), by["max"]):
        some = items[at:at + by["max"]]
        args = [service, xform_name(by["op"], "-"), "--endpoint-url", endpoint, "--region", region, "--output", "json"]
        page, error = cli(args + option(service, by["op"], by["param"], *(item[by["name"]] for item in some)))
        if error:
            return error
        tags = {tagged[by["id"]]: tagged["Tags"] for tagged in page[by["items"]]}
        for item in some:
            item["Tags"] = sorted(tags[item[by["name"]]], key=lambda tag: tag["Key"])
    return None


def parents(kind, kinds, pages):
    """The ids of a kind's parent, out of what was printed for that."""
    parent = next(k for k in kinds if k["kind"] == kind["parent"])
    return [item[parent["id"]] for page in pages[parent["kind"]] for item in page.get(parent["items"], [])]


fill()
kinds = json.load(sys.stdin)
pages = {}
for kind in sorted(kinds, key=lambda k: k["depth"]):
    done, error = [], None
    if kind["parent"] and kind["parent"] not in pages:
        print(json.dumps({"kind": kind["kind"], "pages": [], "error": "its parent was not listed"}), flush=True)
        continue
    for parent in parents(kind, kinds, pages) if kind["parent"] else [None]:
        page, error = listing(kind, parent)
        if error:
            break
        done.append(page)
    if not error:
        pages[kind["kind"]] = done
    print(json.dumps({"kind": kind["kind"], "pages": done, "error": error}), flush=True)
