package awsfake

import (
	"net/http"
	"strconv"
)

// A queryService is a service with the protocol awsquery whose pages have 20 to 100 records and a Marker.
type queryService struct {
	namespace string
	lists     map[string]queryList // by action
}

// A queryList is how such a service lists one kind of resource.
type queryList struct {
	element, member string // around the members, and around each
	// members are written in the order of the list, each by one func; nil: a region has none. The caller holds the lock.
	members func(f *regionResources) []func(*xmlWriter)
}

// queryServices are these services, by the name in signatures and the prefix of IAM actions.
var queryServices = map[string]queryService{
	"elasticache": {"http://elasticache.amazonaws.com/doc/2015-02-02/", elasticacheLists},
	"rds":         {"http://rds.amazonaws.com/doc/2014-10-31/", rdsLists},
	"redshift":    {"http://redshift.amazonaws.com/doc/2012-12-01/", redshiftLists},
}

// queryBucket is the bucket of all calls of an account in a region to one service. AWS does not document its size.
var queryBucket = Bucket{Burst: 50, PerSecond: 10}

func (a *AWS) query(q *request, s queryService) (*response, *apiError) {
	l, ok := s.lists[q.action]
	if !ok {
		return nil, refuse(http.StatusBadRequest, "InvalidAction", "Could not find operation %s for version %s", q.action,
			q.form.Get("Version"))
	}
	if !a.buckets.takeFrom(queryBucket, bucketKey{q.caller.account.ID, q.region, q.service, true}) {
		return nil, refuse(http.StatusBadRequest, "Throttling", "Rate exceeded")
	}
	if why := a.denied(q.caller, q.service+":"+q.action, q.region); why != "" {
		return nil, accessDenied("User: %s is not authorized to perform: %s:%s %s", q.caller.arn, q.service, q.action, why)
	}
	size, from, err := a.queryPage(q)
	if err != nil {
		return nil, err
	}
	var members []func(*xmlWriter)
	if f := a.resourcesOf(q.caller.account, q.region); f != nil && l.members != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		members = l.members(f)
	}
	from = min(from, len(members))
	to := min(len(members), from+size)
	q.call.Items = to - from
	return queryResponse(q, s.namespace, func(m *xmlWriter) {
		m.element(l.element, func() {
			for _, write := range members[from:to] {
				m.element(l.member, func() { write(m) })
			}
		})
		if to < len(members) {
			m.text("Marker", a.pageToken(q, to))
		}
	}), nil
}

// queryPage returns the size of the page that a call asks for and where it begins. The bounds are those of the API
// references.
func (a *AWS) queryPage(q *request) (size, from int, _ *apiError) {
	size = 100
	if s := q.form.Get("MaxRecords"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 20 || n > 100 {
			return 0, 0, refuse(http.StatusBadRequest, "InvalidParameterValue",
				"Invalid value %s for MaxRecords. Must be between 20 and 100", s)
		}
		size = n
	}
	if token := q.form.Get("Marker"); token != "" {
		at, ok := a.readPageToken(q, token)
		if !ok {
			return 0, 0, refuse(http.StatusBadRequest, "InvalidParameterValue", "The marker '%s' is invalid.", token)
		}
		from = at
	}
	return size, from, nil
}
