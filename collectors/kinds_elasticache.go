package collectors

// Pages have 20 to 100 records, those of snapshots up to 50.
// https://docs.aws.amazon.com/AmazonElastiCache/latest/APIReference/API_Operations.html
//
// No listing has tags: ListTagsForResource takes one ARN a call.
var elasticacheKinds = []Kind{
	{Name: "elasticache_cluster", Op: "DescribeCacheClusters", Items: "CacheClusters", ID: "CacheClusterId",
		NamedBy: "CacheClusterId", State: "CacheClusterStatus", Type: "CacheNodeType", Max: 100,
		Params: map[string]string{"ShowCacheNodeInfo": "true"}},
	{Name: "elasticache_global_replication_group", Op: "DescribeGlobalReplicationGroups",
		Items: "GlobalReplicationGroups", ID: "GlobalReplicationGroupId", NamedBy: "GlobalReplicationGroupId",
		State: "Status", Type: "CacheNodeType", Max: 100, Params: map[string]string{"ShowMemberInfo": "true"}},
	{Name: "elasticache_parameter_group", Op: "DescribeCacheParameterGroups", Items: "CacheParameterGroups",
		ID: "CacheParameterGroupName", NamedBy: "CacheParameterGroupName", Type: "CacheParameterGroupFamily", Max: 100},
	{Name: "elasticache_replication_group", Op: "DescribeReplicationGroups", Items: "ReplicationGroups",
		ID: "ReplicationGroupId", NamedBy: "ReplicationGroupId", State: "Status", Type: "CacheNodeType", Max: 100},
	{Name: "elasticache_reserved_node", Op: "DescribeReservedCacheNodes", Items: "ReservedCacheNodes",
		ID: "ReservedCacheNodeId", State: "State", Type: "CacheNodeType", Max: 100},
	{Name: "elasticache_snapshot", Op: "DescribeSnapshots", Items: "Snapshots", ID: "SnapshotName",
		NamedBy: "SnapshotName", State: "SnapshotStatus", Type: "SnapshotSource", Max: 50,
		Params: map[string]string{"ShowNodeGroupConfig": "true"}},
	{Name: "elasticache_subnet_group", Op: "DescribeCacheSubnetGroups", Items: "CacheSubnetGroups",
		ID: "CacheSubnetGroupName", NamedBy: "CacheSubnetGroupName", Max: 100},
	{Name: "elasticache_user", Op: "DescribeUsers", Items: "Users", ID: "UserId", NamedBy: "UserName", State: "Status",
		Type: "Engine", Max: 100},
	{Name: "elasticache_user_group", Op: "DescribeUserGroups", Items: "UserGroups", ID: "UserGroupId",
		NamedBy: "UserGroupId", State: "Status", Type: "Engine", Max: 100},
}
