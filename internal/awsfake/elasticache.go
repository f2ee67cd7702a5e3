package awsfake

import "fmt"

// elasticacheLists are the calls that are served. Any other call is refused.
var elasticacheLists = map[string]queryList{
	"DescribeCacheClusters":        {"CacheClusters", "CacheCluster", (*regionResources).cacheClusters},
	"DescribeCacheParameterGroups": {"CacheParameterGroups", "CacheParameterGroup", nil},
	"DescribeCacheSubnetGroups": {"CacheSubnetGroups", "CacheSubnetGroup",
		(*regionResources).cacheSubnetGroups},
	"DescribeGlobalReplicationGroups": {"GlobalReplicationGroups", "GlobalReplicationGroup", nil},
	"DescribeReplicationGroups": {"ReplicationGroups", "ReplicationGroup",
		(*regionResources).replicationGroups},
	"DescribeReservedCacheNodes": {"ReservedCacheNodes", "ReservedCacheNode", nil},
	"DescribeSnapshots":          {"Snapshots", "Snapshot", nil},
	"DescribeUserGroups":         {"UserGroups", "member", nil},
	"DescribeUsers":              {"Users", "member", (*regionResources).cacheUsers},
}

const cacheGroup, cacheSubnets = "sessions", "caches"

// cacheNodes are the clusters of the replication group: its primary and a replica.
var cacheNodes = []string{cacheGroup + "-001", cacheGroup + "-002"}

func (f *regionResources) cacheARN(kind, name string) string {
	return fmt.Sprintf("arn:%s:elasticache:%s:%s:%s:%s", f.partition, f.region, f.owner, kind, name)
}

func (f *regionResources) cacheEndpoint(m *xmlWriter, element, name string) {
	m.element(element, func() {
		m.text("Address", fmt.Sprintf("%s.%s.0001.%s.cache.%s", name, "example", f.region, f.dnsSuffix))
		m.int("Port", 6379)
	})
}

func (f *regionResources) cacheClusters() (all []func(*xmlWriter)) {
	for _, name := range cacheNodes {
		all = append(all, func(m *xmlWriter) {
			m.text("CacheClusterId", name)
			m.text("CacheNodeType", "cache.t4g.small")
			m.text("Engine", "redis")
			m.text("EngineVersion", "7.1.0")
			m.text("CacheClusterStatus", "available")
			m.int("NumCacheNodes", 1)
			m.text("CacheClusterCreateTime", formatTimeMillis(launchedBefore))
			m.element("CacheNodes", func() {
				m.element("CacheNode", func() {
					m.text("CacheNodeId", "0001")
					m.text("CacheNodeStatus", "available")
					f.cacheEndpoint(m, "Endpoint", name)
				})
			})
			m.text("CacheSubnetGroupName", cacheSubnets)
			m.element("SecurityGroups", func() {
				m.element("member", func() {
					m.text("SecurityGroupId", f.network.groups[2].id)
					m.text("Status", "active")
				})
			})
			m.text("ReplicationGroupId", cacheGroup)
			m.bool("TransitEncryptionEnabled", true)
			m.text("ARN", f.cacheARN("cluster", name))
		})
	}
	return all
}

func (f *regionResources) replicationGroups() []func(*xmlWriter) {
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("ReplicationGroupId", cacheGroup)
		m.text("Description", "Sessions of the shop")
		m.text("Status", "available")
		m.element("MemberClusters", func() {
			for _, name := range cacheNodes {
				m.text("ClusterId", name)
			}
		})
		m.element("NodeGroups", func() {
			m.element("NodeGroup", func() {
				m.text("NodeGroupId", "0001")
				m.text("Status", "available")
				f.cacheEndpoint(m, "PrimaryEndpoint", cacheGroup)
			})
		})
		m.text("AutomaticFailover", "enabled")
		m.text("CacheNodeType", "cache.t4g.small")
		m.text("Engine", "redis")
		m.text("ARN", f.cacheARN("replicationgroup", cacheGroup))
	}}
}

func (f *regionResources) cacheSubnetGroups() []func(*xmlWriter) {
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("CacheSubnetGroupName", cacheSubnets)
		m.text("CacheSubnetGroupDescription", "Subnets of the caches")
		m.text("VpcId", f.network.vpc)
		m.element("Subnets", func() {
			for _, s := range f.network.subnets {
				m.element("Subnet", func() {
					m.text("SubnetIdentifier", s.id)
					m.element("SubnetAvailabilityZone", func() { m.text("Name", s.zone) })
				})
			}
		})
		m.text("ARN", f.cacheARN("subnetgroup", cacheSubnets))
	}}
}

func (f *regionResources) cacheUsers() []func(*xmlWriter) {
	return []func(*xmlWriter){func(m *xmlWriter) {
		m.text("UserId", "default")
		m.text("UserName", "default")
		m.text("Status", "active")
		m.text("Engine", "redis")
		m.text("AccessString", "on ~* +@all")
		m.strings("UserGroupIds")
		m.element("Authentication", func() { m.text("Type", "no-password") })
		m.text("ARN", f.cacheARN("user", "default"))
	}}
}
