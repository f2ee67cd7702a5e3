package awsfake

import (
	"net/http"
	"sync"
	"time"
)

// A Bucket is a token bucket: its size in calls and its refill rate.
type Bucket struct{ Burst, PerSecond float64 }

// Throttle configures EC2's token buckets, one for each account × region × action.
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
type Throttle struct {
	Off      bool
	Describe Bucket            // calls without a bucket of their own; 100 and 20/s where zero
	Unpaged  Bucket            // calls of the actions in unpaged without MaxResults and filters; 50 and 10/s where zero
	ByAction map[string]Bucket // by action, paged or not; uncategorized where nil
}

// unpaged are the actions for which AWS has a smaller bucket where they are neither paged nor filtered.
var unpaged = map[string]bool{
	"DescribeInstances": true, "DescribeInstanceStatus": true,
	"DescribeNetworkInterfaces": true, "DescribeSecurityGroups": true,
	"DescribeSnapshots": true, "DescribeSpotInstanceRequests": true, "DescribeVolumes": true,
}

// uncategorized are the read-only actions that have buckets of their own.
var uncategorized = map[string]Bucket{
	"DescribeAggregateIdFormat":                           {10, 10},
	"DescribeByoipCidrs":                                  {1, 0.5},
	"DescribeCapacityBlockExtensionOfferings":             {10, 0.15},
	"DescribeCapacityBlockOfferings":                      {10, 0.15},
	"DescribeDeclarativePoliciesReports":                  {5, 5},
	"DescribeHostReservations":                            {5, 2},
	"DescribeHostReservationOfferings":                    {5, 2},
	"DescribeIdentityIdFormat":                            {10, 10},
	"DescribeIdFormat":                                    {10, 10},
	"DescribeInstanceTopology":                            {1, 1},
	"DescribeMovingAddresses":                             {1, 1},
	"DescribePrincipalIdFormat":                           {10, 10},
	"DescribeReservedInstancesOfferings":                  {10, 10},
	"DescribeSecurityGroupReferences":                     {20, 5},
	"DescribeSpotDatafeedSubscription":                    {100, 13},
	"DescribeSpotFleetInstances":                          {100, 5},
	"DescribeSpotFleetRequestHistory":                     {100, 5},
	"DescribeSpotFleetRequests":                           {50, 3},
	"DescribeStaleSecurityGroups":                         {20, 5},
	"DescribeStoreImageTasks":                             {50, 0.5},
	"DescribeVerifiedAccessInstanceLoggingConfigurations": {10, 2},
}

type buckets struct {
	mu     sync.Mutex
	rules  Throttle
	levels map[bucketKey]*level
}

type bucketKey struct {
	account, region, action string
	paged                   bool
}

type level struct {
	tokens float64
	at     time.Time
}

// SetThrottle replaces the configuration of the buckets and fills them.
func (a *AWS) SetThrottle(t Throttle) {
	if t.Describe == (Bucket{}) {
		t.Describe = Bucket{100, 20}
	}
	if t.Unpaged == (Bucket{}) {
		t.Unpaged = Bucket{50, 10}
	}
	if t.ByAction == nil {
		t.ByAction = uncategorized
	}
	a.buckets.mu.Lock()
	defer a.buckets.mu.Unlock()
	a.buckets.rules, a.buckets.levels = t, make(map[bucketKey]*level)
}

// take removes a token, or returns EC2's throttling error.
func (b *buckets) take(account, region, action string, paged bool) *apiError {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rules.Off {
		return nil
	}
	rule, own := b.rules.ByAction[action]
	switch {
	case own:
		paged = false
	case unpaged[action] && !paged:
		rule = b.rules.Unpaged
	default:
		rule, paged = b.rules.Describe, true
	}
	k, now := bucketKey{account, region, action, paged}, time.Now()
	l := b.levels[k]
	if l == nil {
		l = &level{rule.Burst, now}
		b.levels[k] = l
	}
	l.tokens = min(rule.Burst, l.tokens+now.Sub(l.at).Seconds()*rule.PerSecond)
	l.at = now
	if l.tokens < 1 {
		return refuse(http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded.")
	}
	l.tokens--
	return nil
}
