package awsxml_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/collectors/internal/awsxml"
)

// The members of a response of awsquery are in one element of the root. A response without it has no members: it is an
// error, because an empty list would mean that everything is gone.
func TestAWSQueryDocuments(t *testing.T) {
	g, err := awsxml.Compile(awsxml.AWSQuery("autoscaling"), awsxml.Spec{
		Op: "DescribeAutoScalingGroups", Items: "AutoScalingGroups", ID: []string{"AutoScalingGroupName"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const (
		result   = "DescribeAutoScalingGroupsResult"
		metadata = "<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata>"
		groups   = "<AutoScalingGroups><member><AutoScalingGroupName>web</AutoScalingGroupName><MinSize>1</MinSize>" +
			"</member></AutoScalingGroups>"
		web = `{"AutoScalingGroupName":"web","MinSize":1}`
	)
	in := func(name, s string) string { return "<" + name + ">" + s + "</" + name + ">" }
	root := func(s string) string { return in("DescribeAutoScalingGroupsResponse", s) }
	for _, c := range []struct {
		name, xml string
		data      []string
		next      string
		err       error
	}{
		{name: "metadata after", xml: root(in(result, groups+"<NextToken>n</NextToken>") + metadata),
			data: []string{web}, next: "n"},
		{name: "metadata before", xml: root(metadata + in(result, groups)), data: []string{web}},
		{name: "no metadata", xml: root(in(result, groups)), data: []string{web}},
		{name: "no groups", xml: root(in(result, "<AutoScalingGroups/>") + metadata)},
		{name: "an empty result", xml: root("<" + result + "/>" + metadata)},
		{name: "another case", xml: root(in(strings.ToLower(result), groups)), data: []string{web}},
		{name: "an unknown list", xml: root(in(result, "<AutoScalingGroups><member><AutoScalingGroupName>web"+
			"</AutoScalingGroupName><New><member>1</member><member>2</member></New></member></AutoScalingGroups>")),
			data: []string{`{"AutoScalingGroupName":"web","New":["1","2"]}`}},
		{name: "no result", xml: root(metadata), err: awsxml.ErrMarkup},
		{name: "nothing", xml: "<DescribeAutoScalingGroupsResponse/>", err: awsxml.ErrMarkup},
		{name: "another result", xml: root(in("DescribePoliciesResult", groups)), err: awsxml.ErrMarkup},
		{name: "the members in the root", xml: root(groups), err: awsxml.ErrMarkup},
		{name: "another root", xml: in("DescribePoliciesResponse", in(result, groups)), err: awsxml.ErrMarkup},
		{name: "a wrong end", xml: "<DescribeAutoScalingGroupsResponse>" + in(result, groups) + "</Response>",
			err: awsxml.ErrSyntax},
		{name: "a second result", xml: root(in(result, groups) + in(result, groups)), data: []string{web}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, next, err := decode(t, g, awsxml.Options{}, c.xml)
			if !errors.Is(err, c.err) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if err == nil && (!slices.Equal(dataOf(p), c.data) || next != c.next) {
				t.Errorf("%s, token %q", dataOf(p), next)
			}
		})
	}
}

// Two policies whose group and name are divided elsewhere have two ids.
func TestEscapedMembersOfIDs(t *testing.T) {
	spec := awsxml.Spec{
		Op: "DescribePolicies", Items: "ScalingPolicies", ID: []string{"AutoScalingGroupName", "PolicyName"},
		Escaped: []string{"AutoScalingGroupName"},
	}
	g, err := awsxml.Compile(awsxml.AWSQuery("autoscaling"), spec)
	if err != nil {
		t.Fatal(err)
	}
	policy := func(group, name string) string {
		return "<member><AutoScalingGroupName>" + group + "</AutoScalingGroupName><PolicyName>" + name +
			"</PolicyName></member>"
	}
	p, _, err := decode(t, g, awsxml.Options{}, "<DescribePoliciesResponse><DescribePoliciesResult><ScalingPolicies>"+
		policy("a/b", "c")+policy("a", "b/c")+policy("a%2Fb", "c")+
		"</ScalingPolicies></DescribePoliciesResult></DescribePoliciesResponse>")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for v := range p.Views() {
		ids = append(ids, string(v.ID()))
	}
	if want := []string{`"a%2Fb/c"`, `"a/b/c"`, `"a%252Fb/c"`}; !slices.Equal(ids, want) {
		t.Errorf("ids %s, want %s", ids, want)
	}
	spec.Escaped = []string{"Cooldown"}
	if _, err := awsxml.Compile(awsxml.AWSQuery("autoscaling"), spec); err == nil {
		t.Error("a member that is not in the id is escaped")
	}
}

// The services have tables of their own, also for operations of the same name.
func TestServicesHaveTheirOwnTables(t *testing.T) {
	ec2, ok1 := awsxml.Describe("ec2", "DescribeTags")
	scaling, ok2 := awsxml.Describe("autoscaling", "DescribeTags")
	if !ok1 || !ok2 || !ec2.Has("MaxResults") || !scaling.Has("MaxRecords") || scaling.Has("MaxResults") {
		t.Errorf("%+v, %+v", ec2.Inputs, scaling.Inputs)
	}
	if _, ok := awsxml.Describe("ec2", "DescribeAutoScalingGroups"); ok {
		t.Error("EC2 has an operation of Auto Scaling")
	}
	if _, ok := awsxml.Describe("none", "DescribeTags"); ok || len(awsxml.Operations("none")) > 0 {
		t.Error("a service without tables has operations")
	}
}
