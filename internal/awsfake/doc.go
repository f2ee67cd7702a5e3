// Package awsfake is an AWS to run against: one HTTP endpoint that answers EC2, STS, IAM Identity Center, AWS Organizations, the instance
// metadata service and the container credentials endpoint, and that enforces what AWS enforces, so that a program which is wrong about AWS
// fails here and not in production. The real aws-sdk-go-v2, boto3 and the AWS CLI work against it: set AWS_ENDPOINT_URL,
// AWS_EC2_METADATA_SERVICE_ENDPOINT or AWS_CONTAINER_CREDENTIALS_FULL_URI. It stands behind `collector demo` and the tests.
//
// Begin at [New], add an [Account] with users, roles and instances, then serve it with [AWS.Start] over loopback or with
// [AWS.InMemory] inside a testing/synctest bubble. [Demo] builds a whole scene. Time is package time: sessions,
// one-time codes and token buckets follow a bubble's clock.
//
// # Enforced
//
// Signatures: Signature Version 4 is recomputed from headers and body; a temporary key needs its session token; a date
// more than five minutes off is refused. Service and region are those of the credential scope, as one endpoint serves all.
//
// Partitions and regions: a key of one partition is unknown in the others; ARNs carry the partition; a region that the
// account has not opted in to refuses its keys.
//
// Identity: access keys (inactive and deleted ones too), MFA devices by RFC 6238 with each code good once, role trust (account root, user and role
// ARNs, services, external id, MFA present), session durations and their caps, the session name's form, GetSessionToken's
// refusal of session credentials, expiry, tags and source identities of sessions (the trust must name them), web identity
// tokens, SSO logins with refresh tokens that rotate, denials per principal × action × region. GetCallerIdentity is never denied.
//
// EC2: pages (MaxResults' bounds, opaque tokens bound to account, region and action), DryRun, token buckets per
// account × region × action. Instances, volumes, interfaces, subnets, groups and addresses fit each other.
//
// AWS Organizations: the lists of accounts, units, parents and tags, for the management account and delegated administrators alone, in the
// one region of the partition, in pages of 20 at most; closed and suspended members, who cannot be entered.
//
// Metadata: IMDSv2 with its tokens; version 1 is refused. Container credentials with their authorization token.
//
// # Not enforced
//
// Policies as documents: everything is allowed that no [Denial] takes away. Filters, except DescribeRegions' and the owners of
// images and snapshots: others are refused. Which members of the request AWS would check beyond those named. Tokens of the
// global STS endpoint: one endpoint cannot tell global from regional. What happens in a browser: [AWS.SSOLogin] stands for it.
// Writes: the fleet changes by [AWS.Evolve] only. A subnet's addresses are in its block for
// the first 4,000 instances of a region.
package awsfake
