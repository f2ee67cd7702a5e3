package awsfake

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Call is one logged call.
type Call struct {
	AccountID, ARN  string // "" where the key is unknown
	Region          string
	Service, Action string
	MaxResults      string
	NextToken       string
	RoleARN         string
	RoleSessionName string
	Params          map[string]string // every parameter, secrets included: only tests read it
	UserAgent       string
	RemoteAddr      string // identifies the connection
	Start, End      time.Time
	Status          int    // 0 where a fault broke the connection before a response
	Code            string // the error code; "" for a success
	Items           int    // resources in the response
	Bytes           int64  // of the body, as sent
}

// Stats are counters over all calls, logged or not.
type Stats struct {
	Calls, Errors, Throttled int64
	Bytes, Items             int64
	InFlight, MaxInFlight    int64
	Connections              int64 // accepted so far
	OpenConnections          int64
}

type callLog struct {
	limit int

	mu     sync.Mutex
	ring   []Call
	oldest int // index of the oldest call in a full ring

	calls, errors, throttled, bytes, items, inFlight, maxInFlight, conns, open atomic.Int64
}

func (l *callLog) begin(q *request, now time.Time) *Call {
	l.calls.Add(1)
	for n := l.inFlight.Add(1); ; {
		m := l.maxInFlight.Load()
		if n <= m || l.maxInFlight.CompareAndSwap(m, n) {
			break
		}
	}
	c := &Call{Region: q.region, Service: q.service, Action: q.action, Start: now}
	if l.limit < 0 {
		return c
	}
	c.MaxResults, c.NextToken = q.form.Get("MaxResults"), q.form.Get("NextToken")
	c.RoleARN, c.RoleSessionName = q.form.Get("RoleArn"), q.form.Get("RoleSessionName")
	c.UserAgent, c.RemoteAddr = q.http.UserAgent(), q.http.RemoteAddr
	c.Params = make(map[string]string, len(q.form))
	for k, v := range q.form {
		c.Params[k] = strings.Join(v, ",")
	}
	return c
}

func (l *callLog) end(q *request, now time.Time) {
	c := q.call
	c.End = now
	l.inFlight.Add(-1)
	l.bytes.Add(c.Bytes)
	l.items.Add(int64(c.Items))
	if c.Status != 200 {
		l.errors.Add(1)
	}
	if c.Code == "RequestLimitExceeded" {
		l.throttled.Add(1)
	}
	if l.limit < 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < l.limit {
		l.ring = append(l.ring, *c)
		return
	}
	l.ring[l.oldest] = *c
	l.oldest = (l.oldest + 1) % len(l.ring)
}

// Calls returns the logged calls that match (nil: all), in the order in which they ended.
func (a *AWS) Calls(match func(*Call) bool) []Call {
	l := &a.calls
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Call
	for i := range l.ring {
		c := &l.ring[(l.oldest+i)%len(l.ring)]
		if match == nil || match(c) {
			out = append(out, *c)
		}
	}
	return out
}

// ResetCalls clears the log and sets the counters to zero, except those of open calls and connections.
func (a *AWS) ResetCalls() {
	l := &a.calls
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring, l.oldest = nil, 0
	for _, n := range []*atomic.Int64{&l.calls, &l.errors, &l.throttled, &l.bytes, &l.items, &l.conns} {
		n.Store(0)
	}
	l.maxInFlight.Store(l.inFlight.Load())
}

// Stats returns the counters.
func (a *AWS) Stats() Stats {
	l := &a.calls
	return Stats{
		Calls: l.calls.Load(), Errors: l.errors.Load(), Throttled: l.throttled.Load(),
		Bytes: l.bytes.Load(), Items: l.items.Load(), InFlight: l.inFlight.Load(), MaxInFlight: l.maxInFlight.Load(),
		Connections: l.conns.Load(), OpenConnections: l.open.Load(),
	}
}
