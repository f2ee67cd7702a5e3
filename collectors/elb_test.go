package collectors

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// A found is a resource of a test's listing.
type found struct {
	listed
	tags string
	data map[string]any
}

// listBelow lists kinds that are sorted parents first, each below all ids of its parent.
func listBelow(
	t *testing.T, l *Lister, o func(*Kind, string) CallOptions, kinds ...string,
) map[string]map[string]found {
	t.Helper()
	const region = "eu-west-1"
	all := map[string]map[string]found{}
	for _, name := range kinds {
		k := kind(t, name)
		all[name] = map[string]found{}
		under := []string{""}
		if k.Parent != "" {
			under = slices.Collect(maps.Keys(all[k.Parent]))
		}
		for _, parent := range under {
			records, data, st := listAll(t, l, o(k, region), k, parent)
			for id, r := range records {
				tags := ""
				for _, tag := range asList(data[id]["Tags"]) {
					tags += fmt.Sprint(tag)
				}
				all[name][id] = found{r, tags, data[id]}
			}
			if st.Unknown > 0 || st.Records != len(records) {
				t.Errorf("%s: %+v", name, st)
			}
		}
	}
	return all
}

func asList(v any) []any { l, _ := v.([]any); return l }

// Both versions of the API list what is in front of the groups of Auto Scaling, to any depth, with tags.
func TestElasticLoadBalancing(t *testing.T) {
	withFakeAWS(t, awsfake.Options{}, func(
		a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions,
	) {
		c.AddInstances("eu-west-1", 200)
		all := listBelow(t, l, w, "autoscaling_group", "ec2_instance",
			"elb_load_balancer", "elb_instance_health", "elb_load_balancer_policy",
			"elbv2_load_balancer", "elbv2_listener", "elbv2_listener_certificate", "elbv2_rule",
			"elbv2_target_group", "elbv2_target_health",
			"elbv2_trust_store", "elbv2_trust_store_association", "elbv2_trust_store_revocation")
		classic, modern, groups := 0, 0, 0
		for name, group := range all["autoscaling_group"] {
			groups++
			instances := len(group.data["Instances"].([]any))
			for _, lb := range asList(group.data["LoadBalancerNames"]) {
				classic++
				r := all["elb_load_balancer"][lb.(string)]
				if r.name != lb || len(asList(r.data["Instances"])) != instances || r.data["Scheme"] != "internal" ||
					r.tags != "map[Key:workload Value:"+strings.TrimSuffix(name, "-asg")+"]" {
					t.Errorf("%s: %+v", name, r)
				}
			}
			for _, arn := range asList(group.data["TargetGroupARNs"]) {
				modern++
				r := all["elbv2_target_group"][arn.(string)]
				lb := all["elbv2_load_balancer"][asList(r.data["LoadBalancerArns"])[0].(string)]
				if r.typ != "instance" || lb.state != "active" || lb.typ != "application" || lb.tags != r.tags ||
					r.tags != "map[Key:workload Value:"+strings.TrimSuffix(name, "-asg")+"]" {
					t.Errorf("%s: %+v, %+v", name, r, lb)
				}
			}
		}
		count := map[string]int{}
		for name, records := range all {
			count[name] = len(records)
		}
		if classic+modern != groups || classic < 2 || modern < 2 {
			t.Errorf("%d groups, %d and %d behind load balancers", groups, classic, modern)
		}
		for name, want := range map[string]int{
			"elb_load_balancer": classic, "elb_load_balancer_policy": classic,
			"elbv2_load_balancer": modern, "elbv2_target_group": modern, "elbv2_listener": 2 * modern,
			"elbv2_listener_certificate": modern, "elbv2_rule": 3 * modern, "elbv2_trust_store": 1,
			"elbv2_trust_store_association": 1, "elbv2_trust_store_revocation": 1,
		} {
			if count[name] != want {
				t.Errorf("%d of %s, want %d", count[name], name, want)
			}
		}
		for id, r := range all["elbv2_target_health"] {
			arn := r.data["TargetGroupArn"].(string)
			instance := r.data["Target"].(map[string]any)["Id"].(string)
			if id != arn+"/"+instance+"/8080" || all["ec2_instance"][instance].typ == "" || r.state == "" {
				t.Errorf("%s: %+v", id, r)
			}
		}
		for _, call := range a.Calls(func(c *awsfake.Call) bool { return c.Service == "elasticloadbalancing" }) {
			if v := call.Params["Version"]; v != "2012-06-01" && v != "2015-12-01" {
				t.Fatalf("%s: version %s", call.Action, v)
			}
		}
	})
}

// Each kind can be checked: the sample ids have the form that the API wants. What is denied is named, tags included.
func TestCheckElasticLoadBalancing(t *testing.T) {
	withFakeAWS(t, awsfake.Options{}, func(
		a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions,
	) {
		c.AddInstances("eu-west-1", 30)
		check := func() (denied []string) {
			for i := range Kinds {
				k := &Kinds[i]
				if !strings.HasPrefix(k.Service().Name, "elb") {
					continue
				}
				if r := l.Check(context.Background(), w(k, "eu-west-1"), k); r.Err != nil {
					denied = append(denied, r.MissingAction)
				}
			}
			return denied
		}
		if denied := check(); denied != nil {
			t.Errorf("denied: %q", denied)
		}
		c.Deny(awsfake.Denial{Action: "elasticloadbalancing:DescribeTags"})
		denied := check()
		want := slices.Repeat([]string{"elasticloadbalancing:DescribeTags"}, 6)
		if !slices.Equal(denied, want) {
			t.Errorf("denied: %q", denied)
		}
	})
}

// With each fault in a call for tags, each load balancer is listed once, with its tags, or the listing says why not.
func TestFaultsOfTags(t *testing.T) {
	for name, c := range map[string]struct {
		fault awsfake.Fault
		ends  record.Reason
	}{
		"a reset":              {awsfake.Fault{Kind: awsfake.Reset, Count: 3}, ""},
		"half a body":          {awsfake.Fault{Kind: awsfake.TruncatedBody, Count: 2}, ""},
		"too fast":             {awsfake.Fault{Kind: awsfake.Throttling, Count: 4}, ""},
		"expired":              {awsfake.Fault{Kind: awsfake.Expire, Count: 1}, ""},
		"odd markup":           {awsfake.Fault{Kind: awsfake.UnusualMarkup}, ""},
		"half a body for ever": {awsfake.Fault{Kind: awsfake.TruncatedBody}, record.Network},
		"a proxy for ever":     {awsfake.Fault{Kind: awsfake.ProxyPage}, record.Network},
	} {
		t.Run(name, func(t *testing.T) {
			withFakeAWS(t, awsfake.Options{}, func(
				a *awsfake.AWS, acct *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions,
			) {
				acct.AddInstances("eu-west-1", 200)
				k := kind(t, "elbv2_target_group")
				want, _, _ := listAll(t, l, w(k, "eu-west-1"), k, "")
				c.fault.Action = "DescribeTags"
				a.Inject(c.fault)
				if c.ends == "" {
					if got, _, _ := listAll(t, l, w(k, "eu-west-1"), k, ""); !maps.Equal(got, want) || len(got) == 0 {
						t.Errorf("%v, want %v", got, want)
					}
					return
				}
				st, err := l.each(context.Background(), w(k, "eu-west-1"), k, "", nil)
				if record.ReasonOf(err) != c.ends || st.Records > 0 || !strings.Contains(err.Error(), "DescribeTags") {
					t.Errorf("%+v, %v", st, err)
				}
			})
		})
	}
}
