package awsfake

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDescribeRegions(t *testing.T) {
	x := newTestClient(t, Options{})
	x.acct.OptIn("af-south-1")
	china := longTerm(x.aws.AddAccount("222222222222", "aws-cn").AddUser("c").NewKey())
	name := func(r *reply) []string { return between(r.body, "<regionName>", "</regionName>") }
	enabled := name(x.ec2("us-east-1", longTerm(x.key), "DescribeRegions"))
	if len(enabled) != 18 || !slices.Contains(enabled, "af-south-1") || slices.Contains(enabled, "me-south-1") {
		t.Errorf("enabled: %v", enabled)
	}
	all := x.ec2("us-east-1", longTerm(x.key), "DescribeRegions", "AllRegions", "true")
	for _, s := range []string{"opt-in-not-required", "opted-in", "not-opted-in"} {
		if !strings.Contains(all.body, "<optInStatus>"+s+"</optInStatus>") {
			t.Errorf("AllRegions shows no region that is %s", s)
		}
	}
	some := x.ec2("us-east-1", longTerm(x.key), "DescribeRegions", "AllRegions", "true",
		"Filter.1.Name", "opt-in-status", "Filter.1.Value.1", "opted-in", "Filter.1.Value.2", "opt-in-not-required")
	if got := name(some); !slices.Equal(got, enabled) {
		t.Errorf("filtered: %v, want %v", got, enabled)
	}
	got := name(x.ec2("us-east-1", longTerm(x.key), "DescribeRegions", "RegionName.1", "eu-west-1"))
	if !slices.Equal(got, []string{"eu-west-1"}) {
		t.Errorf("by name: %v", got)
	}
	fromChina := x.ec2("cn-north-1", china, "DescribeRegions")
	if !slices.Equal(name(fromChina), []string{"cn-north-1", "cn-northwest-1"}) ||
		!strings.Contains(fromChina.body, "ec2.cn-north-1.amazonaws.com.cn") {
		t.Errorf("China: %s", fromChina.body)
	}
	other := x.ec2("us-east-1", longTerm(x.key), "DescribeRegions", "RegionName.1", "cn-north-1")
	if other.code != "InvalidParameterValue" {
		t.Errorf("another partition's region: %+v", other)
	}
}

// Pages have the requested size and contain every instance once. Their tokens are valid for this listing only.
func TestPages(t *testing.T) {
	x := newTestClient(t, Options{})
	x.acct.AddInstances("us-east-1", 57)
	x.acct.AddInstances("us-west-2", 30)
	whole := between(x.ec2("us-east-1", longTerm(x.key), "DescribeInstances").body, "<instanceId>", "</instanceId>")
	if len(whole) != 57 {
		t.Fatalf("%d instances in one response", len(whole))
	}
	var got []string
	var tokens []string
	for token := ""; ; {
		params := []string{"MaxResults", "10"}
		if token != "" {
			params = append(params, "NextToken", token)
		}
		r := x.ec2("us-east-1", longTerm(x.key), "DescribeInstances", params...)
		page := between(r.body, "<instanceId>", "</instanceId>")
		if len(page) > 10 || len(page) == 0 {
			t.Errorf("a page of %d", len(page))
		}
		got = append(got, page...)
		if token = element(r.body, "nextToken"); token == "" {
			break
		}
		tokens = append(tokens, token)
	}
	if !slices.Equal(got, whole) {
		t.Errorf("by pages %d instances, or in another order", len(got))
	}
	other := longTerm(x.aws.AddAccount("222222222222", "aws").AddUser("c").NewKey())
	for what, r := range map[string]*reply{
		"garbage": x.ec2("us-east-1", longTerm(x.key), "DescribeInstances", "MaxResults", "10", "NextToken", "AAAA"),
		"another region": x.ec2(
			"us-west-2", longTerm(x.key), "DescribeInstances", "MaxResults", "10", "NextToken", tokens[0],
		),
		"another action":  x.ec2("us-east-1", longTerm(x.key), "DescribeVolumes", "MaxResults", "10", "NextToken", tokens[0]),
		"another account": x.ec2("us-east-1", other, "DescribeInstances", "MaxResults", "10", "NextToken", tokens[0]),
	} {
		if r.status != 400 || r.code != "InvalidParameterValue" ||
			!strings.Contains(r.message, "for parameter NextToken is invalid") {
			t.Errorf("%s: %+v", what, r)
		}
	}
	for n, want := range map[string]string{
		"4": "greater than or equal to 5", "5": "", "1000": "", "1001": "less than or equal to 1000",
		"x": "Expecting an integer",
	} {
		r := x.ec2("us-east-1", longTerm(x.key), "DescribeInstances", "MaxResults", n)
		if want == "" && r.status != 200 ||
			want != "" && (r.status != 400 || r.code != "InvalidParameterValue" || !strings.Contains(r.message, want)) {
			t.Errorf("MaxResults %s: %d %s %s", n, r.status, r.code, r.message)
		}
	}
	r := x.ec2("us-east-1", longTerm(x.key), "DescribeInstances", "MaxResults", "10", "InstanceId.1", whole[0])
	if r.code != "InvalidParameterCombination" {
		t.Errorf("ids with a page size: %+v", r)
	}
	r = x.ec2("us-east-1", longTerm(x.key), "DescribeInstances", "InstanceId.1", whole[3])
	if !strings.Contains(r.body, whole[3]) ||
		strings.Contains(r.body, whole[20]) {
		t.Errorf("by id: %s", r.body)
	}
	r = x.ec2("us-east-1", longTerm(x.key), "DescribeInstances", "InstanceId.1", "i-0123")
	if r.code != "InvalidInstanceID.NotFound" {
		t.Errorf("unknown id: %+v", r)
	}
}

// While resources change, a listing continues where it was: no instance appears twice, none that stays is missing.
func TestPagesOfAChangingFleet(t *testing.T) {
	x := newTestClient(t, Options{Throttle: Throttle{Off: true}})
	x.acct.AddInstances("us-east-1", 60)
	before := between(x.ec2("us-east-1", longTerm(x.key), "DescribeInstances").body, "<instanceId>", "</instanceId>")
	seen := make(map[string]int)
	for token := ""; ; {
		params := []string{"MaxResults", "5"}
		if token != "" {
			params = append(params, "NextToken", token)
		}
		r := x.ec2("us-east-1", longTerm(x.key), "DescribeInstances", params...)
		for _, id := range between(r.body, "<instanceId>", "</instanceId>") {
			seen[id]++
		}
		if token = element(r.body, "nextToken"); token == "" {
			break
		}
		x.aws.Evolve(3)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was listed %d times", id, n)
		}
	}
	for _, id := range before {
		if seen[id] == 0 {
			t.Errorf("%s is missing", id)
		}
	}
}

func TestOtherCalls(t *testing.T) {
	x := newTestClient(t, Options{})
	x.acct.AddInstances("us-east-1", 20)
	for action, marks := range map[string][]string{
		"DescribeHosts": {
			`<DescribeHostsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">`, "<requestId>",
		},
		"DescribeAvailabilityZones": {"<zoneName>us-east-1a</zoneName>", "<zoneId>use1-az1</zoneId>"},
		"DescribeSnapshots":         {"<snapshotId>snap-", "<ownerId>111111111111</ownerId>"},
		"DescribeVpnConnections":    {"<preSharedKey>psk.", "&lt;pre_shared_key&gt;psk."},
		"DescribeLaunchTemplates":   {"<launchTemplateId>lt-"},
		"DescribeKeyPairs":          {"<keyPairId>key-", "deploy &amp; &lt;build&gt;"},
		"DescribeAddresses":         {"<allocationId>eipalloc-"},
	} {
		r := x.ec2("us-east-1", longTerm(x.key), action)
		for _, m := range marks {
			if r.status != 200 || !strings.Contains(r.body, m) {
				t.Errorf("%s: %d, no %s in %s", action, r.status, m, r.body)
			}
		}
	}
	id := element(x.ec2("us-east-1", longTerm(x.key), "DescribeLaunchTemplates").body, "launchTemplateId")
	r := x.ec2("us-east-1", longTerm(x.key), "DescribeLaunchTemplateVersions", "LaunchTemplateId", id)
	if strings.Count(r.body, "<userData>") != 2 {
		t.Errorf("versions: %s", r.body)
	}
	if r := x.ec2("us-east-1", longTerm(x.key), "DescribeLaunchTemplateVersions"); r.code != "MissingParameter" {
		t.Errorf("versions without a template: %+v", r)
	}
	r = x.ec2("us-east-1", longTerm(x.key), "DescribeImages", "Owner.1", "self")
	if strings.Count(r.body, "<imageId>") != 2 {
		t.Errorf("own images: %s", r.body)
	}
	r = x.ec2("us-east-1", longTerm(x.key), "DescribeImages", "Owner.1", "amazon")
	if strings.Count(r.body, "<imageId>") != 1 ||
		!strings.Contains(r.body, "<isPublic>true") {
		t.Errorf("Amazon's images: %s", r.body)
	}
	if r := x.ec2("us-east-1", longTerm(x.key), "DescribeImages"); strings.Count(r.body, "<imageId>") != 3 {
		t.Errorf("images of all owners: %s", r.body)
	}
	r = x.ec2("us-east-1", longTerm(x.key), "DescribeVpcs", "Filter.1.Name", "tag:Name", "Filter.1.Value.1", "x")
	if r.code != "InvalidParameterValue" {
		t.Errorf("a filter that is not supported: %+v", r)
	}
	if r := x.ec2("us-east-1", longTerm(x.key), "TerminateInstances"); r.status != 400 || r.code != "InvalidAction" {
		t.Errorf("a write: %+v", r)
	}
}

// There is a bucket for each account, region and action, with AWS's documented size and refill (in fake time).
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTestClient(t, Options{})
		other := longTerm(x.aws.AddAccount("222222222222", "aws").AddUser("c").NewKey())
		burst := func(who Credential, region, action string, params ...string) (n int) {
			for ; ; n++ {
				r := x.ec2(region, who, action, params...)
				if r.status == 200 {
					continue
				}
				if r.status != http.StatusServiceUnavailable || r.code != "RequestLimitExceeded" ||
					r.message != "Request limit exceeded." {
					t.Fatalf("%+v", r)
				}
				return n
			}
		}
		paged := []string{"MaxResults", "5"}
		for _, c := range []struct {
			what           string
			who            Credential
			region, action string
			params         []string
			want           int
		}{
			{"with MaxResults", longTerm(x.key), "us-east-1", "DescribeVpcs", paged, 100},
			{"again", longTerm(x.key), "us-east-1", "DescribeVpcs", paged, 0},
			{"another region", longTerm(x.key), "us-west-2", "DescribeVpcs", paged, 100},
			{"another action", longTerm(x.key), "us-east-1", "DescribeSubnets", paged, 100},
			{"another account", other, "us-east-1", "DescribeVpcs", paged, 100},
			{"without MaxResults, where it does not matter", longTerm(x.key), "us-east-1", "DescribeHosts", nil, 100},
			{"an action with a bucket of its own", longTerm(x.key), "us-east-1", "DescribeHostReservations", paged, 5},
			{"without MaxResults", longTerm(x.key), "us-east-1", "DescribeInstances", nil, 50},
		} {
			if got := burst(c.who, c.region, c.action, c.params...); got != c.want {
				t.Errorf("%s: %d calls, want %d", c.what, got, c.want)
			}
		}
		time.Sleep(time.Second)
		if got := burst(longTerm(x.key), "us-east-1", "DescribeVpcs", paged...); got != 20 {
			t.Errorf("after a second with MaxResults: %d calls", got)
		}
		if got := burst(longTerm(x.key), "us-east-1", "DescribeInstances"); got != 10 {
			t.Errorf("after a second without: %d calls", got)
		}
		if s := x.aws.Stats(); s.Throttled != 10 {
			t.Errorf("%d throttled", s.Throttled)
		}
		x.aws.SetThrottle(Throttle{ByAction: map[string]Bucket{"DescribeVpcs": {Burst: 3, PerSecond: 1}}})
		if got := burst(longTerm(x.key), "us-east-1", "DescribeVpcs", paged...); got != 3 {
			t.Errorf("own bucket: %d calls", got)
		}
	})
}

// A compressed response has the content of the uncompressed one, from the cache or not.
func TestGzip(t *testing.T) {
	x := newTestClient(t, Options{Throttle: Throttle{Off: true}})
	x.acct.AddInstances("us-east-1", 40)
	strip := func(s string) string { // removes the request id
		id := element(s, "requestId")
		return strings.ReplaceAll(s, id, "")
	}
	compressed := func(params ...string) (string, int64) {
		t.Helper()
		x.aws.ResetCalls()
		h := *x.http
		h.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			r.Header.Set("Accept-Encoding", "gzip") // explicit, so the transport does not decompress
			return x.http.Transport.RoundTrip(r)
		})
		y := *x
		y.http = &h
		r := y.ec2("us-east-1", longTerm(x.key), "DescribeInstances", params...)
		if r.header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("not compressed: %v", r.header)
		}
		z, err := gzip.NewReader(strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false) // one member, which every reader reads to the end
		b, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		return strip(string(b)), x.aws.Stats().Bytes
	}
	first, n := compressed("MaxResults", "1000")
	again, _ := compressed("MaxResults", "1000")
	plain := x.plain("DescribeInstances", "MaxResults", "1000")
	x.aws.SetGzipLevel(6)
	if level6, m := compressed("MaxResults", "1000"); level6 != first || m >= n {
		t.Errorf("at level 6 %d bytes of %d, the same: %v", m, n, level6 == first)
	}
	if first != again || first != strip(plain) {
		t.Error("the responses differ")
	}
	if n*5 > int64(len(plain)) {
		t.Errorf("%d bytes became %d", len(plain), n)
	}
	for _, id := range between(plain, "<instanceId>", "</instanceId>")[:2] { // selected items must not come from the cache
		if single, _ := compressed("InstanceId.1", id); single != strip(x.plain("DescribeInstances", "InstanceId.1", id)) {
			t.Errorf("%s alone: the compressed response differs", id)
		}
	}
	x.aws.Evolve(5)
	if after, _ := compressed("MaxResults", "1000"); after == first ||
		after != strip(x.plain("DescribeInstances", "MaxResults", "1000")) {
		t.Error("the cache returns an outdated response")
	}
}

// plain makes a call and returns the response, which must be uncompressed.
func (x *testClient) plain(action string, params ...string) string {
	x.t.Helper()
	tr := x.http.Transport.(*http.Transport)
	tr.DisableCompression = true
	defer func() { tr.DisableCompression = false }()
	r := x.ec2("us-east-1", longTerm(x.key), action, params...)
	if r.header.Get("Content-Encoding") != "" {
		x.t.Fatal("compressed although the request does not accept it")
	}
	return r.body
}

func TestCallLog(t *testing.T) {
	x := newTestClient(t, Options{KeepCalls: 3})
	x.acct.AddInstances("us-east-1", 7)
	x.ec2("us-east-1", longTerm(x.key), "DescribeInstances", "MaxResults", "5")
	x.ec2("eu-west-1", longTerm(x.key), "DescribeVpcs")
	x.ec2("us-east-1", longTerm(Key{x.key.ID, "wrong"}), "DescribeSubnets")
	calls := x.aws.Calls(nil)
	if len(calls) != 3 {
		t.Fatalf("%d calls", len(calls))
	}
	c := calls[0]
	if c.AccountID != "111111111111" || c.ARN != x.user.ARN || c.Region != "us-east-1" || c.Service != "ec2" ||
		c.Action != "DescribeInstances" || c.MaxResults != "5" || c.Params["Version"] != "2016-11-15" ||
		c.Status != 200 || c.Code != "" || c.Items == 0 ||
		c.Bytes == 0 || c.End.Before(c.Start) {
		t.Errorf("%+v", c)
	}
	if c := calls[2]; c.Status != 401 || c.Code != "AuthFailure" || c.AccountID != "111111111111" {
		t.Errorf("%+v", c)
	}
	for i := range 4 {
		x.ec2("us-east-1", longTerm(x.key), fmt.Sprintf("DescribeThing%d", i))
	}
	if got := x.aws.Calls(nil); len(got) != 3 || got[0].Action != "DescribeThing1" || got[2].Action != "DescribeThing3" {
		t.Errorf("the ring holds %+v", got)
	}
	if got := x.aws.Calls(func(c *Call) bool { return c.Action == "DescribeThing2" }); len(got) != 1 {
		t.Errorf("filtered: %+v", got)
	}
	if s := x.aws.Stats(); s.Calls != 7 || s.Errors != 1 || s.Connections != 1 || s.OpenConnections != 1 ||
		s.InFlight != 0 ||
		s.MaxInFlight != 1 {
		t.Errorf("%+v", s)
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTestClient(t, Options{Latency: 80 * time.Millisecond})
		begun := time.Now()
		x.ec2("us-east-1", longTerm(x.key), "DescribeVpcs")
		if d := time.Since(begun); d != 80*time.Millisecond {
			t.Errorf("took %v", d)
		}
		x.aws.SetLatency(time.Hour, time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := x.ec2At(ctx, time.Now(), "us-east-1", longTerm(x.key), "DescribeVpcs"); err == nil {
			t.Error("no time-out")
		}
	})
}
