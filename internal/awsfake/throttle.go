package awsfake

import (
	"net/http"
	"sync"
	"time"
)

// A Bucket is a token bucket: so many calls at once, so many a second after that.
type Bucket struct{ Burst, PerSecond float64 }

// Throttle is EC2's token buckets, one for each account × region × action.
// https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
type Throttle struct {
	Off      bool
	Paged    Bucket            // calls with MaxResults; 100 and 20/s where zero
	Unpaged  Bucket            // calls without; 50 and 10/s where zero
	ByAction map[string]Bucket // "DescribeImages": its own bucket, whichever way it is called
}

type buckets struct {
	mu    sync.Mutex
	rules Throttle
	full  map[bucketKey]*level
}

type bucketKey struct {
	account, region, action string
	paged                   bool
}

type level struct {
	tokens float64
	at     time.Time
}

// SetThrottle changes the buckets and fills them all.
func (a *AWS) SetThrottle(t Throttle) {
	if t.Paged == (Bucket{}) {
		t.Paged = Bucket{100, 20}
	}
	if t.Unpaged == (Bucket{}) {
		t.Unpaged = Bucket{50, 10}
	}
	a.buckets.mu.Lock()
	defer a.buckets.mu.Unlock()
	a.buckets.rules, a.buckets.full = t, make(map[bucketKey]*level)
}

// take takes a token, or refuses.
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
	case paged:
		rule = b.rules.Paged
	default:
		rule = b.rules.Unpaged
	}
	k, now := bucketKey{account, region, action, paged}, time.Now()
	l := b.full[k]
	if l == nil {
		l = &level{rule.Burst, now}
		b.full[k] = l
	}
	l.tokens = min(rule.Burst, l.tokens+now.Sub(l.at).Seconds()*rule.PerSecond)
	l.at = now
	if l.tokens < 1 {
		return refuse(http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded.")
	}
	l.tokens--
	return nil
}
