package collectors

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/record"
)

// listed is what a test wants of a record.
type listed struct{ name, state, typ string }

// listAll lists a kind and returns its records by id, and their data.
func listAll(
	t *testing.T, l *Lister, o CallOptions, k *Kind, parent string,
) (records map[string]listed, data map[string]map[string]any, st record.ListStats) {
	t.Helper()
	unquoted := func(b []byte) string {
		if b == nil {
			return ""
		}
		s, err := record.Unquote(b)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	records, data = map[string]listed{}, map[string]map[string]any{}
	st, err := l.each(context.Background(), o, k, parent, func(p *record.Page) error {
		for v := range p.Views() {
			var members map[string]any
			if err := json.Unmarshal(v.Data(), &members); err != nil {
				return err
			}
			id := unquoted(v.ID())
			records[id], data[id] = listed{unquoted(v.Name()), unquoted(v.State()), unquoted(v.Type())}, members
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", k.Name, err)
	}
	return records, data, st
}

// Auto Scaling's resources are listed by its own API, in pages, and fit to EC2's instances.
func TestAutoScaling(t *testing.T) {
	withFakeAWS(t, awsfake.Options{}, func(
		a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions,
	) {
		const region = "eu-west-1"
		c.AddInstances(region, 400)
		list := func(name, parent string) (map[string]listed, map[string]map[string]any, record.ListStats) {
			k := kind(t, name)
			return listAll(t, l, w(k, region), k, parent)
		}
		groups, groupData, _ := list("autoscaling_group", "")
		instances, instanceData, st := list("autoscaling_instance", "")
		if len(groups) < 5 || len(instances) < 60 || st.Pages != (len(instances)+49)/50 || st.Unknown > 0 {
			t.Fatalf("%d groups, %d instances, %+v", len(groups), len(instances), st)
		}
		all, _, _ := list("ec2_instance", "")
		inGroups := map[string]string{}
		for group, data := range groupData {
			if groups[group].name != group {
				t.Errorf("%s is named %q", group, groups[group].name)
			}
			for _, i := range data["Instances"].([]any) {
				inGroups[i.(map[string]any)["InstanceId"].(string)] = group
			}
		}
		for id, x := range instances {
			if all[id].typ != x.typ || x.state != "InService" && x.state != "Standby" ||
				inGroups[id] != instanceData[id]["AutoScalingGroupName"] {
				t.Errorf("%s: %+v in %q, of EC2 %+v", id, x, inGroups[id], all[id])
			}
		}
		if len(inGroups) != len(instances) {
			t.Errorf("%d instances in groups, %d instances", len(inGroups), len(instances))
		}
		hooks := 0
		for group := range groups {
			found, _, _ := list("autoscaling_lifecycle_hook", group)
			if _, ok := found[group+"/drain"]; ok != (len(found) == 1) {
				t.Errorf("hooks of %s: %v", group, found)
			}
			hooks += len(found)
		}
		policies, _, _ := list("autoscaling_policy", "")
		if hooks == 0 || hooks == len(groups) || len(policies) != len(groups) {
			t.Errorf("%d hooks and %d policies of %d groups", hooks, len(policies), len(groups))
		}
		_, configurations, _ := list("autoscaling_launch_configuration", "")
		for id, data := range configurations {
			if s := data["UserData"].(string); !strings.HasPrefix(s, "hmac:") {
				t.Errorf("%s: user data %q", id, s)
			}
		}
		for _, name := range []string{"autoscaling_scheduled_action", "autoscaling_notification_configuration"} {
			if found, _, _ := list(name, ""); len(found) != 1 {
				t.Errorf("%s: %v", name, found)
			}
		}
		for _, call := range a.Calls(func(c *awsfake.Call) bool { return c.Service == "autoscaling" }) {
			if call.Params["Version"] != "2011-01-01" || !strings.Contains(call.UserAgent, " api/autoscaling ") {
				t.Fatalf("%s: version %s of %s", call.Action, call.Params["Version"], call.UserAgent)
			}
		}
	})
}

// The tags of a group are its record's.
func TestAutoScalingTags(t *testing.T) {
	withFakeAWS(t, awsfake.Options{}, func(
		_ *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions,
	) {
		c.AddInstances("eu-west-1", 50)
		k := kind(t, "autoscaling_group")
		n := 0
		_, err := l.each(context.Background(), w(k, "eu-west-1"), k, "", func(p *record.Page) error {
			for v := range p.Views() {
				n++
				var line struct {
					ID   string
					Tags map[string]string
				}
				if err := json.Unmarshal(v.Line(), &line); err != nil {
					return err
				}
				if !maps.Equal(line.Tags, map[string]string{"workload": strings.TrimSuffix(line.ID, "-asg")}) {
					t.Errorf("%s: %v", line.ID, line.Tags)
				}
			}
			return nil
		})
		if err != nil || n == 0 {
			t.Errorf("%d groups, %v", n, err)
		}
	})
}

// What Auto Scaling refuses is classified as for EC2, and its hints name the service and its action.
func TestAutoScalingRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		prepare func(*awsfake.AWS, *awsfake.Account)
		region  string
		state   record.State
		reason  record.Reason
		hint    string
	}{
		"denied": {func(_ *awsfake.AWS, c *awsfake.Account) { c.Deny(awsfake.Denial{Action: "autoscaling:*"}) }, "eu-west-1",
			record.Denied, record.AccessDenied, `"Action": "autoscaling:DescribeAutoScalingGroups"`},
		"EC2 denied": {func(_ *awsfake.AWS, c *awsfake.Account) { c.Deny(awsfake.Denial{Action: "ec2:*"}) }, "eu-west-1",
			record.OK, "", ""},
		"a region that is not enabled": {func(*awsfake.AWS, *awsfake.Account) {}, "me-south-1",
			record.RegionDisabled, record.DisabledRegion, "Enable me-south-1"},
		"throttled": {func(a *awsfake.AWS, _ *awsfake.Account) {
			a.Inject(awsfake.Fault{Kind: awsfake.Throttling, Action: "DescribeAutoScalingGroups"})
		}, "eu-west-1", record.Throttled, record.Throttling, "Set a slower schedule for autoscaling_group"},
		"a proxy": {func(a *awsfake.AWS, _ *awsfake.Account) {
			a.Inject(awsfake.Fault{Kind: awsfake.ProxyPage, Action: "DescribeAutoScalingGroups"})
		}, "eu-west-1", record.Error, record.Network, "responded in place of Auto Scaling"},
		"a failure": {func(a *awsfake.AWS, _ *awsfake.Account) {
			a.Inject(awsfake.Fault{Kind: awsfake.ServerError, Action: "DescribeAutoScalingGroups"})
		}, "eu-west-1", record.Error, record.ServiceError, "Auto Scaling failed in all attempts"},
	} {
		t.Run(name, func(t *testing.T) {
			withFakeAWS(t, awsfake.Options{}, func(
				a *awsfake.AWS, acct *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions,
			) {
				acct.AddInstances("eu-west-1", 30)
				c.prepare(a, acct)
				k := kind(t, "autoscaling_group")
				st, err := l.each(context.Background(), w(k, c.region), k, "", nil)
				if got := record.StateOf(err, st.Records); got != c.state || record.ReasonOf(err) != c.reason ||
					!strings.Contains(record.HintOf(err), c.hint) {
					t.Errorf("%s, %s: %v\nhint: %s", got, record.ReasonOf(err), err, record.HintOf(err))
				}
			})
		})
	}
}

// Check asks for the first page; a group that does not exist shows that the hooks may be listed.
func TestCheckAutoScaling(t *testing.T) {
	withFakeAWS(t, awsfake.Options{}, func(
		a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions,
	) {
		c.AddInstances("eu-west-1", 30)
		check := func() (denied []string) {
			for i := range Kinds {
				k := &Kinds[i]
				if k.Service().Name != "autoscaling" {
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
		c.Deny(awsfake.Denial{Action: "autoscaling:Describe*s"})
		if denied := check(); len(denied) != 7 || !slices.Contains(denied, "autoscaling:DescribeLifecycleHooks") {
			t.Errorf("denied: %q", denied)
		}
	})
}

// A page whose body is cut is asked for again, and each instance is delivered once.
func TestAutoScalingCutPage(t *testing.T) {
	withFakeAWS(t, awsfake.Options{}, func(
		a *awsfake.AWS, c *awsfake.Account, l *Lister, w func(*Kind, string) CallOptions,
	) {
		c.AddInstances("eu-west-1", 600)
		k := kind(t, "autoscaling_instance")
		want, _, _ := listAll(t, l, w(k, "eu-west-1"), k, "")
		a.Inject(awsfake.Fault{Kind: awsfake.TruncatedBody, Action: k.Op, After: 1, Count: 1})
		got, _, st := listAll(t, l, w(k, "eu-west-1"), k, "")
		if !maps.Equal(got, want) || st.Records != len(want) {
			t.Errorf("%d of %d instances in %d records", len(got), len(want), st.Records)
		}
	})
}
