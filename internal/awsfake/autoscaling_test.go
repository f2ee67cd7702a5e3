package awsfake

import (
	"net/url"
	"testing"
)

// A list of Auto Scaling whose revision is the same has the same content: the demo lists it only when it has changed.
func TestScalingListsHaveRevisions(t *testing.T) {
	a := New(Options{Seed: 3})
	c := a.AddAccount("111111111111", "aws")
	const region = "eu-west-1"
	c.AddInstances(region, 12)
	f := a.resourcesOf(c, region)
	render := func(action, group string) string {
		f.mu.Lock()
		defer f.mu.Unlock()
		m := new(xmlWriter)
		q := &request{form: url.Values{"AutoScalingGroupName": {group}}}
		for _, write := range scalingLists[action].members(f, q) {
			write(m)
		}
		return string(m.buf)
	}
	type list struct{ action, group string }
	last, revisions, changed := map[list]string{}, map[string]int{}, map[string]int{}
	for round := range 200 {
		now := f.currentRevisions()
		for action := range scalingLists {
			for _, group := range append([]string{""}, f.groups...) {
				if (action == "DescribeLifecycleHooks") != (group != "") {
					continue
				}
				key := list{action, group}
				content := render(action, group)
				if content != last[key] {
					changed[action]++
					if round > 0 && now[action] == revisions[action] {
						t.Fatalf("round %d: %s has changed and its revision %d has not", round, action, now[action])
					}
				}
				last[key] = content
			}
		}
		revisions = now
		a.Evolve(1)
	}
	if changed["DescribeAutoScalingGroups"] < 20 || changed["DescribeLifecycleHooks"] < 2 ||
		changed["DescribeLaunchConfigurations"] != 1 {
		t.Errorf("changes: %v", changed)
	}
}
