package local

import (
	"context"
	"maps"
	"testing"
	"testing/synctest"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// withGlobalKinds adds kinds of a global service to an account's regional kind.
func withGlobalKinds(a *runner.Account) {
	a.Kinds = append(a.Kinds, runner.Kind{Name: "iam_user", Service: "iam", GlobalService: true},
		runner.Kind{Name: "iam_access_key", Service: "iam", GlobalService: true, Parent: "iam_user"})
}

func TestGlobalServices(t *testing.T) {
	global := map[string]string{"global iam_user": "ok", "global iam_access_key": "ok"}
	with := func(regional map[string]string) map[string]string {
		maps.Copy(regional, global)
		return regional
	}
	plan := func(p runner.Plan, err error) func(context.Context, *runner.Gate) (runner.Plan, error) {
		return func(context.Context, *runner.Gate) (runner.Plan, error) { return p, err }
	}
	for _, c := range []struct {
		name   string
		f      *fakeAccount
		want   map[string]string
		status record.Status
	}{
		{"with regions", &fakeAccount{}, with(map[string]string{
			"us-east-1 ec2_instance": "ok", "eu-west-1 ec2_instance": "ok",
		}), record.Success},
		{"the regions are not known", &fakeAccount{regions: plan(runner.Plan{}, code("RequestLimitExceeded"))},
			with(map[string]string{" ec2_instance": "throttled throttled"}), record.RunPartial},
		{"no region is enabled", &fakeAccount{regions: plan(runner.Plan{Disabled: []string{"ap-east-1"}}, nil)},
			with(map[string]string{"ap-east-1 ec2_instance": "region_disabled region_disabled"}), record.RunPartial},
		{"no sign-in", &fakeAccount{open: func(context.Context) error { return code("AccessDenied") }}, map[string]string{
			" ec2_instance": "auth_failed access_denied", "global iam_user": "auth_failed access_denied",
			"global iam_access_key": "auth_failed access_denied",
		}, record.RunFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newHarness(t, runner.Options{}, Options{})
				g.runner.Swap(buildConfiguration(t, account("a", c.f, withGlobalKinds)))
				res := g.once()
				g.want(c.want)
				if res[0].Status != c.status {
					t.Errorf("status %s, want %s", res[0].Status, c.status)
				}
			})
		})
	}
}

// An account that lists only global services needs no permission to list its regions.
func TestGlobalServicesNeedNoRegions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{}, Options{})
		f := &fakeAccount{regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
			t.Error("the regions were listed")
			return runner.Plan{}, nil
		}}
		a := account("a", f, withGlobalKinds)
		a.Kinds = a.Kinds[1:]
		a.Regions = []string{"eu-north-1"}
		g.runner.Swap(buildConfiguration(t, a))
		g.once()
		g.want(map[string]string{"global iam_user": "ok", "global iam_access_key": "ok"})

		f.open = func(context.Context) error { return code("AccessDenied") }
		g.once()
		g.want(map[string]string{
			"global iam_user": "auth_failed access_denied", "global iam_access_key": "auth_failed access_denied",
		})
	})
}

// AWS does not list the region of global services. Its targets are retired only with their kinds.
func TestGlobalServicesAreNotRetiredWithRegions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{}, Options{})
		f := &fakeAccount{}
		both := account("a", f, withGlobalKinds)
		g.runner.Swap(buildConfiguration(t, both))
		g.once()
		f.regions = func(context.Context, *runner.Gate) (runner.Plan, error) {
			return runner.Plan{Regions: []string{"eu-west-1"}, Complete: true}, nil
		}
		g.once()
		stored := func(want ...string) {
			t.Helper()
			known, err := g.store.ActiveTargets(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			got, on := map[string]bool{}, map[string]bool{}
			for _, k := range known {
				got[k.Region+" "+k.Kind] = true
			}
			for o := range g.board.Targets() {
				on[o.Region+" "+o.Kind] = true
			}
			set := map[string]bool{}
			for _, w := range want {
				set[w] = true
			}
			if !maps.Equal(got, set) || !maps.Equal(on, set) {
				t.Errorf("the store has %v, the board %v; want %v", got, on, set)
			}
		}
		stored("eu-west-1 ec2_instance", "global iam_user", "global iam_access_key")

		// A run of global services only does not know the regions, but it knows the kinds.
		only := account("a", f, withGlobalKinds)
		only.Kinds = only.Kinds[1:2]
		g.runner.Swap(buildConfiguration(t, only))
		g.once()
		stored("global iam_user")
	})
}
