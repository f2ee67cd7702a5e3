package awsfake

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A list of Elastic Load Balancing whose revision is the same has the same content: the demo lists it only when it has
// changed.
func TestBalancerListsHaveRevisions(t *testing.T) {
	a := New(Options{Seed: 3})
	c := a.AddAccount("111111111111", "aws")
	const region = "eu-west-1"
	c.AddInstances(region, 12)
	f := a.resourcesOf(c, region)
	contents := func() map[string]string {
		f.mu.Lock()
		defer f.mu.Unlock()
		all := map[string]string{}
		add := func(action string, l elbList, form url.Values) {
			members, err := l.members(f, &request{form: form})
			if err != nil {
				t.Fatalf("%s of %v: %s", action, form, err.message)
			}
			m := new(xmlWriter)
			m.members(l.element, members...)
			all[action+form.Encode()] = string(m.buf)
		}
		for _, group := range f.balanced(false) {
			for _, action := range []string{
				"DescribeInstanceHealth", "DescribeLoadBalancers", "DescribeLoadBalancerPolicies",
			} {
				add(action, elbLists[action], url.Values{"LoadBalancerName": {classicName(group)}})
			}
			add("DescribeTags", elbLists["DescribeTags"], url.Values{"LoadBalancerNames.member.1": {classicName(group)}})
		}
		for _, group := range f.balanced(true) {
			form := url.Values{"LoadBalancerArn": {f.balancerARN(group)}, "TargetGroupArn": {f.targetGroupARN(group)},
				"ListenerArn": {f.httpsARN(group)}, "TrustStoreArn": {f.trustStoreARN()},
				"ResourceArns.member.1": {f.targetGroupARN(group)}}
			for action, l := range elbv2Lists {
				add(action, l, form)
			}
		}
		return all
	}
	last, revisions, changed := contents(), f.currentRevisions(), map[string]int{}
	for round := range 200 {
		a.Evolve(1)
		now, current := contents(), f.currentRevisions()
		for list, content := range now {
			action := actionOf(list)
			if content == last[list] {
				continue
			}
			changed[action]++
			if current[action] == revisions[action] {
				t.Fatalf("round %d: %s has changed and its revision %d has not", round, action, current[action])
			}
		}
		last, revisions = now, current
	}
	if changed["DescribeTargetHealth"] < 10 || changed["DescribeInstanceHealth"] < 10 ||
		changed["DescribeLoadBalancers"] < 5 {
		t.Errorf("changes: %v", changed)
	}
}

// actionOf is the action of a key of contents: the longest that it begins with.
func actionOf(list string) (longest string) {
	for _, lists := range []map[string]elbList{elbLists, elbv2Lists} {
		for action := range lists {
			if strings.HasPrefix(list, action) && len(action) > len(longest) {
				longest = action
			}
		}
	}
	return longest
}

// AWS takes at most 20 names, and refuses all of them if one does not exist.
func TestTagsOfLoadBalancers(t *testing.T) {
	a := New(Options{Seed: 3})
	c := a.AddAccount("111111111111", "aws")
	c.AddInstances("eu-west-1", 40)
	f := a.resourcesOf(c, "eu-west-1")
	tags := func(names ...string) *apiError {
		form := url.Values{}
		for i, name := range names {
			form.Set("ResourceArns.member."+strconv.Itoa(i+1), name)
		}
		_, err := f.balancerTags(&request{form: form})
		return err
	}
	arn := f.balancerARN(f.balanced(true)[0])
	if err := tags(arn); err != nil {
		t.Error(err.message)
	}
	for code, arn := range map[string]string{
		"LoadBalancerNotFound": arn + "1", "TargetGroupNotFound": "arn:aws:elasticloadbalancing:::targetgroup/x/1",
		"ListenerNotFound": "arn:aws:elasticloadbalancing:::listener/app/x/1/2", "ValidationError": "x",
		"RuleNotFound": "arn:aws:elasticloadbalancing:::listener-rule/app/x/1/2/3",
	} {
		if err := tags(arn); err == nil || err.code != code {
			t.Errorf("%s: %+v, want %s", arn, err, code)
		}
	}
	if err := tags(arn, arn+"1"); err == nil || err.code != "LoadBalancerNotFound" {
		t.Errorf("one of two: %+v", err)
	}
	for _, n := range []int{0, 21} {
		if err := tags(slices.Repeat([]string{arn}, n)...); err == nil || err.code != "ValidationError" {
			t.Errorf("%d names: %+v", n, err)
		}
	}
}
