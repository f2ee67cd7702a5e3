package awsfake

import (
	"fmt"
	"slices"
	"time"
)

// rdsLists are the calls that are served. Any other call is refused.
var rdsLists = map[string]queryList{
	"DescribeBlueGreenDeployments":      {"BlueGreenDeployments", "member", nil},
	"DescribeDBCapacityReservations":    {"DBCapacityReservations", "member", nil},
	"DescribeDBClusterAutomatedBackups": {"DBClusterAutomatedBackups", "DBClusterAutomatedBackup", nil},
	"DescribeDBClusterEndpoints": {"DBClusterEndpoints", "DBClusterEndpointList",
		(*regionResources).dbClusterEndpoints},
	"DescribeDBClusterParameterGroups": {"DBClusterParameterGroups", "DBClusterParameterGroup",
		(*regionResources).dbClusterParameterGroups},
	"DescribeDBClusterSnapshots":         {"DBClusterSnapshots", "DBClusterSnapshot", nil},
	"DescribeDBClusters":                 {"DBClusters", "DBCluster", (*regionResources).dbClusters},
	"DescribeDBInstanceAutomatedBackups": {"DBInstanceAutomatedBackups", "DBInstanceAutomatedBackup", nil},
	"DescribeDBInstances":                {"DBInstances", "DBInstance", (*regionResources).dbInstances},
	"DescribeDBParameterGroups": {"DBParameterGroups", "DBParameterGroup",
		(*regionResources).dbParameterGroups},
	"DescribeDBProxies":                 {"DBProxies", "member", (*regionResources).dbProxies},
	"DescribeDBProxyEndpoints":          {"DBProxyEndpoints", "member", nil},
	"DescribeDBShardGroups":             {"DBShardGroups", "DBShardGroup", nil},
	"DescribeDBSnapshotTenantDatabases": {"DBSnapshotTenantDatabases", "DBSnapshotTenantDatabase", nil},
	"DescribeDBSnapshots":               {"DBSnapshots", "DBSnapshot", (*regionResources).dbSnapshots},
	"DescribeDBSubnetGroups":            {"DBSubnetGroups", "DBSubnetGroup", (*regionResources).dbSubnetGroups},
	"DescribeEventSubscriptions":        {"EventSubscriptionsList", "EventSubscription", nil},
	"DescribeExportTasks":               {"ExportTasks", "ExportTask", nil},
	"DescribeGlobalClusters":            {"GlobalClusters", "GlobalClusterMember", nil},
	"DescribeIntegrations":              {"Integrations", "Integration", nil},
	"DescribeOptionGroups":              {"OptionGroupsList", "OptionGroup", (*regionResources).dbOptionGroups},
	"DescribePendingMaintenanceActions": {"PendingMaintenanceActions", "ResourcePendingMaintenanceActions", nil},
	"DescribeReservedDBInstances":       {"ReservedDBInstances", "ReservedDBInstance", nil},
	"DescribeTenantDatabases":           {"TenantDatabases", "TenantDatabase", nil},
}

func (f *regionResources) dbARN(kind, name string) string {
	return fmt.Sprintf("arn:%s:rds:%s:%s:%s:%s", f.partition, f.region, f.owner, kind, name)
}

// dbHost is the address of a database.
func (f *regionResources) dbHost(name string) string {
	return fmt.Sprintf("%s.c9akciq32example.%s.rds.%s", name, f.region, f.dnsSuffix)
}

// A database is an instance of RDS: one alone, and two of a cluster.
type database struct{ name, class, engine, version, cluster string }

const dbCluster, dbSubnets, dbSnapshot = "orders", "databases", "rds:billing-2026-11-01-04-30"

var databases = []database{
	{"billing", "db.m6g.large", "postgres", "16.4", ""},
	{"orders-1", "db.r6g.large", "aurora-postgresql", "16.4", dbCluster},
	{"orders-2", "db.r6g.large", "aurora-postgresql", "16.4", dbCluster},
}

func (m *xmlWriter) dbTags(workload string) {
	m.element("TagList", func() {
		m.element("Tag", func() {
			m.text("Key", "workload")
			m.text("Value", workload)
		})
	})
}

// restorable is the latest time to which a database can be restored. It is some five minutes ago.
func (f *regionResources) restorable() string {
	return formatTimeMillis(f.aws.resourceTime().Add(-5 * time.Minute).Truncate(5 * time.Minute))
}

func (f *regionResources) securityGroups(m *xmlWriter) {
	m.element("VpcSecurityGroups", func() {
		m.element("VpcSecurityGroupMembership", func() {
			m.text("VpcSecurityGroupId", f.network.groups[2].id)
			m.text("Status", "active")
		})
	})
}

func (f *regionResources) dbInstances() (all []func(*xmlWriter)) {
	for n, db := range slices.Concat(databases, f.databases) {
		all = append(all, func(m *xmlWriter) {
			m.text("DBInstanceIdentifier", db.name)
			m.text("DBInstanceClass", db.class)
			m.text("Engine", db.engine)
			m.text("DBInstanceStatus", "available")
			m.text("MasterUsername", "postgres")
			m.element("Endpoint", func() {
				m.text("Address", f.dbHost(db.name))
				m.int("Port", 5432)
			})
			m.int("AllocatedStorage", 100)
			m.text("InstanceCreateTime", formatTimeMillis(launchedBefore))
			m.int("BackupRetentionPeriod", 7)
			f.securityGroups(m)
			m.element("DBParameterGroups", func() {
				m.element("DBParameterGroup", func() {
					m.text("DBParameterGroupName", "default.postgres16")
					m.text("ParameterApplyStatus", "in-sync")
				})
			})
			m.text("AvailabilityZone", f.region+string("abc"[n%3]))
			m.element("DBSubnetGroup", func() { f.dbSubnetGroup(m) })
			m.text("PreferredMaintenanceWindow", "sun:03:00-sun:03:30")
			m.element("PendingModifiedValues", func() {})
			m.text("LatestRestorableTime", f.restorable())
			m.bool("MultiAZ", false)
			m.text("EngineVersion", db.version)
			m.bool("PubliclyAccessible", false)
			m.text("StorageType", "gp3")
			if db.cluster != "" {
				m.text("DBClusterIdentifier", db.cluster)
			}
			m.bool("StorageEncrypted", true)
			m.text("DbiResourceId", f.dbResourceID("db", db.name))
			m.text("DBInstanceArn", f.dbARN("db", db.name))
			m.dbTags(db.name)
			m.bool("DeletionProtection", true)
		})
	}
	return all
}

// dbResourceID is the id that a resource keeps when it gets another name.
func (f *regionResources) dbResourceID(prefix, name string) string {
	return fmt.Sprintf("%s-%X", prefix, f.aws.derive("database", f.owner, f.region, name)[:13])
}

func (f *regionResources) dbClusters() []func(*xmlWriter) {
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("DBClusterIdentifier", dbCluster)
		m.text("DBClusterParameterGroup", "default.aurora-postgresql16")
		m.text("DBSubnetGroup", dbSubnets)
		m.text("Status", "available")
		m.text("LatestRestorableTime", f.restorable())
		m.text("Endpoint", f.dbHost(dbCluster+".cluster"))
		m.text("ReaderEndpoint", f.dbHost(dbCluster+".cluster-ro"))
		m.bool("MultiAZ", true)
		m.text("Engine", "aurora-postgresql")
		m.text("EngineVersion", "16.4")
		m.int("Port", 5432)
		m.text("MasterUsername", "postgres")
		m.element("DBClusterMembers", func() {
			for n, db := range databases[1:] {
				m.element("DBClusterMember", func() {
					m.text("DBInstanceIdentifier", db.name)
					m.bool("IsClusterWriter", n == 0)
					m.text("DBClusterParameterGroupStatus", "in-sync")
				})
			}
		})
		f.securityGroups(m)
		m.bool("StorageEncrypted", true)
		m.text("DbClusterResourceId", f.dbResourceID("cluster", dbCluster))
		m.text("DBClusterArn", f.dbARN("cluster", dbCluster))
		m.text("ClusterCreateTime", formatTimeMillis(launchedBefore))
		m.text("EngineMode", "provisioned")
		m.dbTags(dbCluster)
	}}
}

func (f *regionResources) dbClusterEndpoints() (all []func(*xmlWriter)) {
	for _, e := range [][2]string{{"cluster", "WRITER"}, {"cluster-ro", "READER"}} {
		all = append(all, func(m *xmlWriter) {
			m.text("DBClusterIdentifier", dbCluster)
			m.text("Endpoint", f.dbHost(dbCluster+"."+e[0]))
			m.text("Status", "available")
			m.text("EndpointType", e[1])
		})
	}
	return all
}

func (f *regionResources) dbSnapshots() []func(*xmlWriter) {
	return []func(*xmlWriter){func(m *xmlWriter) {
		db := databases[0]
		m.text("DBSnapshotIdentifier", dbSnapshot)
		m.text("DBInstanceIdentifier", db.name)
		m.text("SnapshotCreateTime", formatTimeMillis(launchedBefore))
		m.text("Engine", db.engine)
		m.int("AllocatedStorage", 100)
		m.text("Status", "available")
		m.int("Port", 5432)
		m.text("VpcId", f.network.vpc)
		m.text("SnapshotType", "automated")
		m.int("PercentProgress", 100)
		m.bool("Encrypted", true)
		m.text("DBSnapshotArn", f.dbARN("snapshot", dbSnapshot))
		m.text("DbiResourceId", f.dbResourceID("db", db.name))
		m.dbTags(db.name)
	}}
}

func (f *regionResources) dbSubnetGroups() []func(*xmlWriter) {
	return []func(*xmlWriter){f.dbSubnetGroup}
}

func (f *regionResources) dbSubnetGroup(m *xmlWriter) {
	m.text("DBSubnetGroupName", dbSubnets)
	m.text("DBSubnetGroupDescription", "Subnets of the databases")
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
	m.text("DBSubnetGroupArn", f.dbARN("subgrp", dbSubnets))
}

func (f *regionResources) dbParameterGroups() []func(*xmlWriter) {
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("DBParameterGroupName", "default.postgres16")
		m.text("DBParameterGroupFamily", "postgres16")
		m.text("Description", "Default parameter group for postgres16")
		m.text("DBParameterGroupArn", f.dbARN("pg", "default.postgres16"))
	}}
}

func (f *regionResources) dbClusterParameterGroups() []func(*xmlWriter) {
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("DBClusterParameterGroupName", "default.aurora-postgresql16")
		m.text("DBParameterGroupFamily", "aurora-postgresql16")
		m.text("Description", "Default cluster parameter group for aurora-postgresql16")
		m.text("DBClusterParameterGroupArn", f.dbARN("cluster-pg", "default.aurora-postgresql16"))
	}}
}

func (f *regionResources) dbOptionGroups() []func(*xmlWriter) {
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("OptionGroupName", "default:postgres-16")
		m.text("OptionGroupDescription", "Default option group for postgres 16")
		m.text("EngineName", "postgres")
		m.text("MajorEngineVersion", "16")
		m.element("Options", func() {})
		m.bool("AllowsVpcAndNonVpcInstanceMemberships", true)
		m.text("OptionGroupArn", f.dbARN("og", "default:postgres-16"))
	}}
}

func (f *regionResources) dbProxies() []func(*xmlWriter) {
	const name = "billing"
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("DBProxyName", name)
		m.text("DBProxyArn", f.dbARN("db-proxy", "prx-0a1b2c3d4e5f67890"))
		m.text("Status", "available")
		m.text("EngineFamily", "POSTGRESQL")
		m.text("VpcId", f.network.vpc)
		m.strings("VpcSecurityGroupIds", f.network.groups[2].id)
		m.strings("VpcSubnetIds", f.network.subnets[0].id)
		m.element("Auth", func() {})
		m.text("RoleArn", fmt.Sprintf("arn:%s:iam::%s:role/rds-proxy", f.partition, f.owner))
		m.text("Endpoint", f.dbHost(name+".proxy"))
		m.bool("RequireTLS", true)
		m.int("IdleClientTimeout", 1800)
		m.bool("DebugLogging", false)
		m.text("CreatedDate", formatTimeMillis(launchedBefore))
	}}
}
