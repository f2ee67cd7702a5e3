package collectors

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/record"
)

// checkedSession is a session that can say whether AWS knows its key.
type checkedSession struct {
	session
	renews, valid bool
	asked         []string
}

func (s *checkedSession) CheckKey(_ context.Context, c aws.Credentials) (renewed, valid bool) {
	s.asked = append(s.asked, c.AccessKeyID)
	if s.renews {
		s.renews = false
		s.RejectCurrent()
		return true, false
	}
	return false, s.valid
}

// An AuthFailure is about the key only if AWS does not know the key: it may be about one image, or about a region that
// was enabled just now. A key that was rotated is used at once.
func TestAuthFailure(t *testing.T) {
	const first, second = "ASIAIOSFODNN0EXAMPLE", "ASIAIOSFODNN1EXAMPLE"
	no := refuse(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
	oneImage := refuse(403, "AuthFailure", "Not authorized for image:ami-2")
	for name, c := range map[string]struct {
		kind, parent, region string
		enabled              bool
		responses            []response
		renews, valid        bool
		want                 record.Reason
		hint, asked          string
	}{
		"rotated": {kind: "ec2_volume", region: "eu-west-1", enabled: true, renews: true,
			responses: []response{no, text(volumes("", "vol-1"))}, asked: first},
		"rotated, and still refused": {kind: "ec2_volume", region: "eu-west-1", enabled: true,
			renews: true, responses: []response{no}, asked: first + " " + second,
			want: record.BadKey, hint: "after the sign-in"},
		"a deleted key": {kind: "ec2_volume", region: "us-east-1", responses: []response{no}, asked: first,
			want: record.BadKey, hint: "after the sign-in"},
		"a region that is new": {kind: "ec2_volume", region: "me-south-1", enabled: true, responses: []response{no},
			valid: true, asked: first, want: record.Inactive, hint: "me-south-1 was enabled just now"},
		"a region that is not enabled": {kind: "ec2_volume", region: "me-south-1", responses: []response{no},
			valid: true, want: record.DisabledRegion, hint: "Enable me-south-1"},
		"one image": {kind: "ec2_launch_template_version", parent: "lt-1", region: "eu-west-1", enabled: true,
			responses: []response{oneImage}, valid: true, asked: first,
			want: record.AccessDenied, hint: "a single ec2_launch_template"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newTestLister(t, Options{}, c.responses...)
			k := kind(t, c.kind)
			o := h.callOptions(k, c.region)
			s := &checkedSession{renews: c.renews, valid: c.valid}
			o.Session, o.RegionEnabled = s, c.enabled
			_, err := h.l.each(t.Context(), o, k, c.parent, nil)
			if record.ReasonOf(err) != c.want || !strings.Contains(record.HintOf(err), c.hint) ||
				strings.Join(s.asked, " ") != c.asked {
				t.Errorf("%s, asked %q: %v (%s)", record.ReasonOf(err), s.asked, err, record.HintOf(err))
			}
			if c.parent != "" {
				if r := h.l.Check(t.Context(), o, k); r.MissingAction != "" {
					t.Errorf("an Allow of %s is suggested, which would not help", r.MissingAction)
				}
			}
		})
	}
}

// An Allow is suggested for DescribeRegions only if it would help.
func TestRegionsDeniedByTheOrganization(t *testing.T) {
	for text, want := range map[string]string{
		"not authorized": "ec2:DescribeRegions",
		"not authorized with an explicit deny in a service control policy": "",
	} {
		h := newTestLister(t, Options{}, refuse(403, "UnauthorizedOperation", text))
		rs, err := h.l.Regions(t.Context(), h.callOptions(kind(t, "ec2_region"), "us-east-1"))
		if err != nil || rs.MissingAction != want {
			t.Errorf("%s: %q, %v", text, rs.MissingAction, err)
		}
	}
}
