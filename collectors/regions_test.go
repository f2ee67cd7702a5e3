package collectors

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws-collector/collector/record"
)

func regions(rs ...[2]string) string {
	var b strings.Builder
	b.WriteString("<DescribeRegionsResponse><regionInfo>")
	for _, r := range rs {
		fmt.Fprintf(&b, "<item><regionName>%s</regionName><regionEndpoint>e</regionEndpoint>", r[0])
		if r[1] != "" {
			fmt.Fprintf(&b, "<optInStatus>%s</optInStatus>", r[1])
		}
		b.WriteString("</item>")
	}
	b.WriteString("</regionInfo></DescribeRegionsResponse>")
	return b.String()
}

func TestRegions(t *testing.T) {
	ok := text(
		regions(
			[2]string{"us-east-1", "opt-in-not-required"}, [2]string{"me-south-1", "not-opted-in"},
			[2]string{"ap-east-1", "opted-in"}, [2]string{"eu-old-1", ""},
		),
	)
	want := Regions{
		Enabled:  []string{"ap-east-1", "eu-old-1", "us-east-1"},
		Disabled: []string{"me-south-1"},
		Complete: true,
	}
	h := newTestLister(t, Options{}, ok)
	rs, err := h.l.Regions(context.Background(), h.callOptions(kind(t, "ec2_region"), "us-east-1"))
	if err != nil || h.forms[0].Get("AllRegions") != "true" {
		t.Fatalf("%v %v", h.forms, err)
	}
	wantEqual(t, "regions", rs, want)

	// The first region is not enabled; the second call goes to the partition's default.
	h = newTestLister(t, Options{}, refuse(401, "AuthFailure", "no"), ok)
	if rs, err = h.l.Regions(context.Background(), h.callOptions(kind(t, "ec2_region"), "me-south-1")); err != nil {
		t.Fatal(err)
	}
	wantEqual(t, "regions", rs, want)
	wantEqual(t, "asked", h.asked, []string{"me-south-1", "us-east-1"})

	h = newTestLister(t, Options{}, refuse(403, "UnauthorizedOperation", "no"))
	rs, err = h.l.Regions(context.Background(), h.callOptions(kind(t, "ec2_region"), "cn-northwest-1"))
	if err != nil || rs.Complete || record.ReasonOf(rs.Warning) != record.AccessDenied ||
		!strings.Contains(record.HintOf(rs.Warning), "ec2:DescribeRegions") {
		t.Errorf("%+v, %v", rs, err)
	}
	wantEqual(t, "fallback", rs.Enabled, []string{"cn-north-1", "cn-northwest-1"})
	rs.Enabled[0] = "x" // belongs to the caller
	if p, _ := record.PartitionNamed("aws-cn"); p.Regions[0] != "cn-north-1" {
		t.Error("the result shares the partition's list")
	}

	for name, a := range map[string]response{"none": text(regions()), "a bad key": refuse(401, "AuthFailure", "no")} {
		h = newTestLister(t, Options{}, a)
		if rs, err := h.l.Regions(context.Background(), h.callOptions(kind(t, "ec2_region"), "us-east-1")); err == nil {
			t.Errorf("%s: %+v", name, rs)
		}
	}
	if _, err := h.l.Regions(context.Background(), h.callOptions(kind(t, "ec2_region"), "bogus")); err == nil {
		t.Error("a region of an unknown partition")
	}
}
