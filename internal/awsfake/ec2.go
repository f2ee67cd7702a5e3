package awsfake

import (
	"cmp"
	"crypto/hmac"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

const ec2Namespace = "http://ec2.amazonaws.com/doc/2016-11-15/"

// A listOperation describes how EC2 lists one kind of resource.
type listOperation struct {
	setElement             string // the element around the items
	minResults, maxResults int    // MaxResults' bounds; 0 where the call has no pages
	idParameter            string // the parameter that selects resources by id; it excludes MaxResults
}

// listOperations are the calls for which a region has resources. Any other Describe… call returns an empty list. The
// bounds are those of the API reference.
var listOperations = map[string]listOperation{
	"DescribeAddresses":              {setElement: "addressesSet"},
	"DescribeImages":                 {"imagesSet", 1, 1000, "ImageId"},
	"DescribeInstances":              {"reservationSet", 5, 1000, "InstanceId"},
	"DescribeKeyPairs":               {setElement: "keySet"},
	"DescribeLaunchTemplateVersions": {"launchTemplateVersionSet", 1, 200, ""},
	"DescribeLaunchTemplates":        {"launchTemplates", 1, 200, "LaunchTemplateId"},
	"DescribeNetworkInterfaces":      {"networkInterfaceSet", 5, 1000, "NetworkInterfaceId"},
	"DescribeSecurityGroupRules":     {"securityGroupRuleSet", 5, 1000, "SecurityGroupRuleId"},
	"DescribeSecurityGroups":         {"securityGroupInfo", 5, 1000, "GroupId"},
	"DescribeSnapshots":              {"snapshotSet", 5, 1000, "SnapshotId"},
	"DescribeSubnets":                {"subnetSet", 5, 1000, "SubnetId"},
	"DescribeTags":                   {"tagSet", 5, 1000, ""},
	"DescribeVolumes":                {"volumeSet", 5, 500, "VolumeId"},
	"DescribeVpcs":                   {"vpcSet", 5, 1000, "VpcId"},
	"DescribeVpnConnections":         {setElement: "vpnConnectionSet"},
}

func (a *AWS) ec2(q *request) (*response, *apiError) {
	if q.action == "" {
		return nil, refuse(http.StatusBadRequest, "MissingAction", "The request must contain the parameter Action")
	}
	if !strings.HasPrefix(q.action, "Describe") {
		return nil, refuse(
			http.StatusBadRequest, "InvalidAction", "The action %s is not valid for this web service.", q.action,
		)
	}
	maxResults := q.form.Get("MaxResults")
	paged := maxResults != "" || q.form.Has("Filter.1.Name")
	if err := a.buckets.take(q.caller.account.ID, q.region, q.action, paged); err != nil {
		return nil, err
	}
	if why := a.denied(q.caller, "ec2:"+q.action, q.region); why != "" {
		return nil, refuse(
			http.StatusForbidden, "UnauthorizedOperation",
			"You are not authorized to perform this operation. User: %s is not authorized to perform: ec2:%s %s",
			q.caller.arn, q.action, why,
		)
	}
	if q.form.Get("DryRun") == "true" {
		return nil, refuse(
			http.StatusPreconditionFailed,
			"DryRunOperation",
			"Request would have succeeded, but DryRun flag is set.",
		)
	}
	switch q.action {
	case "DescribeRegions":
		return a.describeRegions(q)
	case "DescribeAvailabilityZones":
		return a.describeZones(q), nil
	case "DescribeLaunchTemplateVersions":
		if q.form.Get("LaunchTemplateId") == "" && q.form.Get("LaunchTemplateName") == "" &&
			!slices.Contains([]string{"$Latest", "$Default"}, q.form.Get("LaunchTemplateVersion.1")) {
			return nil, refuse(
				http.StatusBadRequest,
				"MissingParameter",
				"The request must contain a launch template ID, a launch template name or a version of $Latest or $Default",
			)
		}
	}
	l, ok := listOperations[q.action]
	if !ok {
		return ec2Response(q, nil), nil
	}
	return a.list(q, l)
}

// list returns a page.
func (a *AWS) list(q *request, l listOperation) (*response, *apiError) {
	size := 0
	if s := q.form.Get("MaxResults"); s != "" && l.maxResults > 0 {
		n, err := strconv.Atoi(s)
		switch {
		case err != nil:
			return nil, badParameter("Value ( %s ) for parameter maxResults is invalid. Expecting an integer.", s)
		case n < l.minResults:
			return nil, badParameter(
				"Value ( %s ) for parameter maxResults is invalid. Expecting a value greater than or equal to %d.",
				s,
				l.minResults,
			)
		case n > l.maxResults:
			return nil, badParameter(
				"Value ( %s ) for parameter maxResults is invalid. Expecting a value less than or equal to %d.",
				s,
				l.maxResults,
			)
		}
		size = n
	}
	if size > 0 && l.idParameter != "" && q.form.Has(l.idParameter+".1") {
		return nil, refuse(
			http.StatusBadRequest, "InvalidParameterCombination",
			"The parameter %s cannot be used with the parameter maxResults",
			strings.ToLower(l.idParameter[:1])+l.idParameter[1:]+"sSet",
		)
	}
	after := 0
	if t := q.form.Get("NextToken"); t != "" {
		var ok bool
		if after, ok = a.readPageToken(q, t); !ok {
			return nil, badParameter("Value ( %s ) for parameter NextToken is invalid. The token is invalid.", t)
		}
	}
	f := a.resourcesOf(q.caller.account, q.region)
	if f == nil {
		return a.renderResponse(q, func(m *xmlWriter) { m.list(l.setElement, 0, nil) }), nil
	}
	items, version := f.items(q.action)
	all := len(items)
	items, err := selectItems(q, l, items)
	if err != nil {
		return nil, err
	}
	from := sort.Search(len(items), func(i int) bool { return items[i].seq > after })
	to, n := from, 0
	for to < len(items) && (size == 0 || n+items[to].count <= size || to == from) {
		n += items[to].count
		to++
	}
	out := ec2Response(q, items[from:to])
	q.call.Items = n
	next := ""
	if to < len(items) {
		next = a.pageToken(q, items[to-1].seq)
	}
	if sent := q.form.Get("NextToken"); sent != "" && q.fault != nil && q.fault.Kind == RepeatToken {
		next = sent
	}
	if next != "" {
		t := &xmlWriter{depth: 1}
		t.text("nextToken", next)
		out.tail = append(t.buf, out.tail...)
	}
	if to == from {
		out.head = append(out.head, "\n    <"+l.setElement+"/>"...)
		return out, nil
	}
	// The fixed parts of the response precede and follow the items, so that the compressed items can be cached.
	out.head = append(out.head, "\n    <"+l.setElement+">"...)
	out.tail = append([]byte("\n    </"+l.setElement+">"), out.tail...)
	if len(items) == all { // all items
		out.cacheKey = fmt.Sprint(f.owner, " ", f.region, " ", q.action, " ", version, " ", from, " ", to)
	}
	return out, nil
}

// selectItems returns the items that the request selects: all of them, or those whose ids it lists.
func selectItems(q *request, l listOperation, items []item) ([]item, *apiError) {
	if name := q.form.Get("Filter.1.Name"); name != "" { // a silently ignored filter would be worse
		return nil, badParameter("The filter '%s' is invalid", name)
	}
	if owners := listParameter(q, "Owner"); len(owners) > 0 {
		items = slices.DeleteFunc(slices.Clone(items), func(it item) bool {
			if it.public {
				return !slices.Contains(owners, "amazon")
			}
			return !slices.Contains(owners, "self") && !slices.Contains(owners, q.caller.account.ID)
		})
	}
	param := l.idParameter
	if q.action == "DescribeLaunchTemplateVersions" {
		id := q.form.Get("LaunchTemplateId")
		return slices.DeleteFunc(slices.Clone(items), func(it item) bool { return id != "" && it.id != id }), nil
	}
	if param == "" || !q.form.Has(param+".1") {
		return items, nil
	}
	var out []item
	for n := 1; q.form.Has(param + "." + strconv.Itoa(n)); n++ {
		id := q.form.Get(param + "." + strconv.Itoa(n))
		i := slices.IndexFunc(items, func(it item) bool { return it.id == id || slices.Contains(it.ids, id) })
		if i < 0 {
			return nil, notFound(param, id)
		}
		if !slices.ContainsFunc(out, func(it item) bool { return it.seq == items[i].seq }) {
			out = append(out, items[i])
		}
	}
	slices.SortFunc(out, func(x, y item) int { return cmp.Compare(x.seq, y.seq) })
	return out, nil
}

// notFound is EC2's error for an id that does not exist. Each kind has a code of its own.
func notFound(param, id string) *apiError {
	code := map[string]string{
		"GroupId":             "InvalidGroup.NotFound",
		"ImageId":             "InvalidAMIID.NotFound",
		"InstanceId":          "InvalidInstanceID.NotFound",
		"LaunchTemplateId":    "InvalidLaunchTemplateId.NotFound",
		"NetworkInterfaceId":  "InvalidNetworkInterfaceID.NotFound",
		"SecurityGroupRuleId": "InvalidSecurityGroupRuleId.NotFound",
		"SnapshotId":          "InvalidSnapshot.NotFound",
		"SubnetId":            "InvalidSubnetID.NotFound",
		"VolumeId":            "InvalidVolume.NotFound",
		"VpcId":               "InvalidVpcID.NotFound",
	}[param]
	noun := strings.ToLower(strings.TrimSuffix(param, "Id"))
	return refuse(http.StatusBadRequest, code, "The %s ID '%s' does not exist", noun, id)
}

func badParameter(format string, args ...any) *apiError {
	return refuse(http.StatusBadRequest, "InvalidParameterValue", format, args...)
}

// pageToken encodes where a listing continues. It is bound to the caller's account, the region and the action.
func (a *AWS) pageToken(q *request, seq int) string {
	at := strconv.Itoa(seq)
	mac := a.derive("page", q.caller.account.ID, q.region, q.action, at)[:16]
	return base64.StdEncoding.EncodeToString(append(mac, at...))
}

func (a *AWS) readPageToken(q *request, token string) (int, bool) {
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(raw) < 17 {
		return 0, false
	}
	at := string(raw[16:])
	if !hmac.Equal(raw[:16], a.derive("page", q.caller.account.ID, q.region, q.action, at)[:16]) {
		return 0, false
	}
	seq, err := strconv.Atoi(at)
	return seq, err == nil
}

// ec2Response wraps items in EC2's envelope.
func ec2Response(q *request, items []item) *response {
	m := new(xmlWriter)
	m.begin(q.action+"Response", ec2Namespace)
	m.text("requestId", q.id)
	out := &response{head: m.buf, tail: []byte("\n</" + q.action + "Response>\n")}
	for i := range items {
		out.items = append(out.items, items[i].xml)
	}
	return out
}

// listParameter reads the values of a list parameter: name.1, name.2, ….
func listParameter(q *request, name string) []string {
	var out []string
	for n := 1; q.form.Has(name + "." + strconv.Itoa(n)); n++ {
		out = append(out, q.form.Get(name+"."+strconv.Itoa(n)))
	}
	return out
}

func (a *AWS) describeRegions(q *request) (*response, *apiError) {
	c := q.caller.account
	p, _ := record.PartitionNamed(c.Partition)
	wanted := listParameter(q, "RegionName")
	for _, r := range wanted {
		if !slices.Contains(p.Regions, r) {
			return nil, badParameter("Invalid region: %s", r)
		}
	}
	filters := make(map[string][]string)
	for n := 1; q.form.Has(fmt.Sprintf("Filter.%d.Name", n)); n++ {
		filters[q.form.Get(fmt.Sprintf("Filter.%d.Name", n))] = listParameter(q, fmt.Sprintf("Filter.%d.Value", n))
	}
	type region struct{ name, endpoint, status string }
	var all []region
	a.mu.RLock()
	for _, r := range p.Regions {
		all = append(all, region{r, "ec2." + r + "." + p.DNSSuffix, c.optInStatus(r)})
	}
	a.mu.RUnlock()
	keep := func(r region) bool {
		if q.form.Get("AllRegions") != "true" && r.status == "not-opted-in" ||
			len(wanted) > 0 && !slices.Contains(wanted, r.name) {
			return false
		}
		for name, values := range filters {
			v := map[string]string{"opt-in-status": r.status, "region-name": r.name, "endpoint": r.endpoint}[name]
			if !slices.ContainsFunc(values, func(pattern string) bool { return glob(pattern, v) }) {
				return false
			}
		}
		return true
	}
	all = slices.DeleteFunc(all, func(r region) bool { return !keep(r) })
	q.call.Items = len(all)
	return a.renderResponse(q, func(m *xmlWriter) {
		m.list("regionInfo", len(all), func(i int) {
			m.text("regionName", all[i].name)
			m.text("regionEndpoint", all[i].endpoint)
			m.text("optInStatus", all[i].status)
		})
	}), nil
}

// renderResponse returns a response that is rendered for this call only.
func (a *AWS) renderResponse(q *request, f func(*xmlWriter)) *response {
	m := &xmlWriter{depth: 1}
	f(m)
	out := ec2Response(q, nil)
	out.head = append(out.head, m.buf...)
	return out
}

func (a *AWS) describeZones(q *request) *response {
	q.call.Items = len(zoneLetters)
	return a.renderResponse(q, func(m *xmlWriter) {
		m.list("availabilityZoneInfo", len(zoneLetters), func(i int) {
			m.text("optInStatus", "opt-in-not-required")
			m.text("groupName", q.region+"-zg-1")
			m.text("groupLongName", q.region+" 1")
			m.text("zoneName", q.region+zoneLetters[i])
			m.text("zoneId", zoneID(q.region, zoneLetters[i]))
			m.text("zoneState", "available")
			m.text("regionName", q.region)
			m.text("networkBorderGroup", q.region)
			m.list("messageSet", 0, nil)
			m.text("zoneType", "availability-zone")
		})
	})
}

var zoneLetters = []string{"a", "b", "c"}

// zoneID returns a zone's id in AWS's form: use1-az1 for us-east-1a.
func zoneID(region, letter string) string {
	f := strings.Split(region, "-")
	short := f[0]
	for _, w := range f[1 : len(f)-1] {
		switch w {
		case "northeast", "northwest", "southeast", "southwest":
			short += w[:1] + w[5:6]
		case "gov":
			short += "g"
		default:
			short += w[:1]
		}
	}
	return short + f[len(f)-1] + "-az" + strconv.Itoa(int(letter[0]-'a')+1)
}

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
	if !b.takeToken(rule, bucketKey{account, region, action, paged}) {
		return refuse(http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded.")
	}
	return nil
}

// takeFrom removes a token from a bucket of another service than EC2, if it has one.
func (b *buckets) takeFrom(rule Bucket, k bucketKey) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.rules.Off || b.takeToken(rule, k)
}

// takeToken removes a token, if the bucket has one. The caller holds b.mu.
func (b *buckets) takeToken(rule Bucket, k bucketKey) bool {
	now := time.Now()
	l := b.levels[k]
	if l == nil {
		l = &level{rule.Burst, now}
		b.levels[k] = l
	}
	l.tokens = min(rule.Burst, l.tokens+now.Sub(l.at).Seconds()*rule.PerSecond)
	l.at = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}
