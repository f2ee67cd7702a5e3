package awsfake

import "fmt"

// redshiftLists are the calls that are served. Any other call is refused.
var redshiftLists = map[string]queryList{
	"DescribeAuthenticationProfiles": {"AuthenticationProfiles", "member", nil},
	"DescribeClusterParameterGroups": {"ParameterGroups", "ClusterParameterGroup", nil},
	"DescribeClusterSnapshots":       {"Snapshots", "Snapshot", (*regionResources).warehouseSnapshots},
	"DescribeClusterSubnetGroups": {"ClusterSubnetGroups", "ClusterSubnetGroup",
		(*regionResources).warehouseSubnetGroups},
	"DescribeClusters":                 {"Clusters", "Cluster", (*regionResources).warehouses},
	"DescribeCustomDomainAssociations": {"Associations", "Association", nil},
	"DescribeDataShares":               {"DataShares", "member", nil},
	"DescribeEndpointAccess":           {"EndpointAccessList", "member", nil},
	"DescribeEndpointAuthorization":    {"EndpointAuthorizationList", "member", nil},
	"DescribeEventSubscriptions":       {"EventSubscriptionsList", "EventSubscription", nil},
	"DescribeHsmClientCertificates":    {"HsmClientCertificates", "HsmClientCertificate", nil},
	"DescribeHsmConfigurations":        {"HsmConfigurations", "HsmConfiguration", nil},
	"DescribeInboundIntegrations":      {"InboundIntegrations", "InboundIntegration", nil},
	"DescribeIntegrations":             {"Integrations", "Integration", nil},
	"DescribeRedshiftIdcApplications":  {"RedshiftIdcApplications", "member", nil},
	"DescribeReservedNodes":            {"ReservedNodes", "ReservedNode", nil},
	"DescribeScheduledActions":         {"ScheduledActions", "ScheduledAction", nil},
	"DescribeSnapshotCopyGrants":       {"SnapshotCopyGrants", "SnapshotCopyGrant", nil},
	"DescribeSnapshotSchedules":        {"SnapshotSchedules", "SnapshotSchedule", nil},
	"DescribeUsageLimits":              {"UsageLimits", "member", nil},
}

const warehouse, warehouseSubnets = "reports", "warehouses"

func (m *xmlWriter) warehouseTags() {
	m.element("Tags", func() {
		m.element("Tag", func() {
			m.text("Key", "workload")
			m.text("Value", warehouse)
		})
	})
}

func (f *regionResources) warehouses() []func(*xmlWriter) {
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("ClusterIdentifier", warehouse)
		m.text("NodeType", "ra3.xlplus")
		m.text("ClusterStatus", "available")
		m.text("ClusterAvailabilityStatus", "Available")
		m.text("MasterUsername", "admin")
		m.text("DBName", "reports")
		m.element("Endpoint", func() {
			m.text("Address", fmt.Sprintf("%s.cexample.%s.redshift.%s", warehouse, f.region, f.dnsSuffix))
			m.int("Port", 5439)
		})
		m.text("ClusterCreateTime", formatTimeMillis(launchedBefore))
		m.element("VpcSecurityGroups", func() {
			m.element("VpcSecurityGroup", func() {
				m.text("VpcSecurityGroupId", f.network.groups[2].id)
				m.text("Status", "active")
			})
		})
		m.text("ClusterSubnetGroupName", warehouseSubnets)
		m.text("VpcId", f.network.vpc)
		m.text("AvailabilityZone", f.region+"a")
		m.int("NumberOfNodes", 2)
		m.bool("PubliclyAccessible", false)
		m.bool("Encrypted", true)
		m.warehouseTags()
	}}
}

func (f *regionResources) warehouseSnapshots() []func(*xmlWriter) {
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("SnapshotIdentifier", "rs:"+warehouse+"-2026-11-01-04-30-00")
		m.text("ClusterIdentifier", warehouse)
		m.text("SnapshotCreateTime", formatTimeMillis(launchedBefore))
		m.text("Status", "available")
		m.text("NodeType", "ra3.xlplus")
		m.int("NumberOfNodes", 2)
		m.text("SnapshotType", "automated")
		m.text("OwnerAccount", f.owner)
		m.text("VpcId", f.network.vpc)
		m.warehouseTags()
	}}
}

func (f *regionResources) warehouseSubnetGroups() []func(*xmlWriter) {
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("ClusterSubnetGroupName", warehouseSubnets)
		m.text("Description", "Subnets of the warehouses")
		m.text("VpcId", f.network.vpc)
		m.text("SubnetGroupStatus", "Complete")
		m.element("Subnets", func() {
			for _, s := range f.network.subnets {
				m.element("Subnet", func() {
					m.text("SubnetIdentifier", s.id)
					m.element("SubnetAvailabilityZone", func() { m.text("Name", s.zone) })
					m.text("SubnetStatus", "Active")
				})
			}
		})
		m.warehouseTags()
	}}
}
