// Package awsfake is a fake AWS: one HTTP endpoint that serves EC2, Auto Scaling, CloudFormation, RDS, ElastiCache,
// Redshift, STS, IAM Identity Center, AWS Organizations, the instance metadata service and the container credentials
// endpoint. It checks what AWS checks, so that a program with wrong assumptions about AWS fails here and not in
// production. The real aws-sdk-go-v2, boto3 and the AWS CLI work against it: set AWS_ENDPOINT_URL,
// AWS_EC2_METADATA_SERVICE_ENDPOINT or AWS_CONTAINER_CREDENTIALS_FULL_URI.
// `collector demo` and the tests use it.
//
// Begin at [New], add an [Account] with users, roles and instances, then serve it with [AWS.Start] over loopback or
// with [AWS.InMemory] inside a testing/synctest bubble. [Demo] builds a complete example. Time is package time:
// sessions, one-time codes and token buckets follow the clock of a bubble.
//
// # Checked
//
// Signatures: Signature Version 4 is recomputed from headers and body; a temporary key needs its session token; a date
// more than five minutes off is refused. Service and region are those of the credential scope, as one endpoint serves
// all.
//
// Partitions and regions: a key of one partition is unknown in the others; ARNs carry the partition; a region that the
// account has not opted in to refuses its keys.
//
// Identity: access keys (inactive and deleted ones too), MFA devices by RFC 6238 (each code is accepted once), role
// trust (account root, user and role ARNs, services, external id, MFA present), session durations and their limits, the
// form of session names, GetSessionToken's refusal of session credentials, expiry, tags and source identities of
// sessions (the trust policy must allow them), web identity tokens, SSO logins with rotating refresh tokens, denials
// per principal × action × region. GetCallerIdentity is never denied.
//
// EC2: pages (MaxResults' bounds, opaque tokens bound to account, region and action), DryRun, token buckets per account
// × region × action. Instances, volumes, interfaces, subnets, groups and addresses refer to each other correctly.
//
// Auto Scaling: pages (MaxRecords' bounds, tokens), one token bucket per account × region; the groups that launched
// instances, with what belongs to them.
//
// Elastic Load Balancing, both versions: pages (PageSize's bounds, markers), one token bucket per account × region ×
// version; load balancers in front of those groups, with listeners, rules, target groups and the health of the targets;
// tags by a call of their own, for at most 20 names, which refuses all names if one does not exist.
//
// RDS, ElastiCache and Redshift: pages (MaxRecords' bounds, markers), one token bucket per account × region × service.
// Each region has a handful of resources, and what [Account.AddDatabases] adds.
//
// CloudFormation: pages (MaxResults' bounds, tokens), one token bucket per account × region; stacks of the network, in
// another one, and of those groups, with their resources; a change set, a stack set, exports, a private type.
//
// AWS Organizations: the lists of accounts, units, parents and tags, for the management account and delegated
// administrators only, in the one region of the partition, in pages of at most 20; closed and suspended members, whose
// credentials are refused.
//
// Metadata: IMDSv2 with its tokens; version 1 is refused. Container credentials with their authorization token.
//
// # Not checked
//
// Policy documents: everything is allowed that no [Denial] takes away. Filters, except DescribeRegions' and the owners
// of images and snapshots: others are refused. Request parameters beyond those named above. Tokens of the global STS
// endpoint: one endpoint cannot tell global from regional. A login in a browser: [AWS.SSOLogin] replaces it. Writes:
// only [AWS.Evolve] changes resources. A subnet's addresses lie in its block for the first 4,000 instances of a region
// only.
package awsfake
