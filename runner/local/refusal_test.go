package local

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// An API that refuses a parent has nothing to list only if the parent is gone. What it lists under the others is
// delivered.
func TestRefusedParent(t *testing.T) {
	twelve := make([]string, 12)
	for i := range twelve {
		twelve[i] = fmt.Sprintf("t-%d", i)
	}
	shared := &record.Fault{Reason: record.AccessDenied, Hint: "Nothing to do.", Err: code("AuthFailure")}
	unsupported := &record.Fault{Reason: record.Unsupported, Hint: "Remove it.", Err: code("UnsupportedOperation")}
	for name, c := range map[string]struct {
		tables, second []string
		refused        func(parent string) error
		want, text     string
		calls          int32 // under a table
	}{
		"the parent is gone": {[]string{"t-1", "t-2"}, []string{"t-2"}, only("t-1", code("InvalidAMIID.Unavailable")),
			"ok", "", 2},
		"not shared any more": {[]string{"t-1", "t-2"}, []string{"t-2"}, only("t-1", shared), "ok", "", 2},
		"the parent stays": {[]string{"t-1", "t-2"}, nil, only("t-1", code("InvalidTable.NotFound")),
			"partial error", "under t-1: ", 2},
		"shared, and refused": {[]string{"t-1", "t-2"}, nil, only("t-1", shared), "partial access_denied", "under t-1: ", 2},
		"all refused": {twelve[:3], nil, func(string) error { return code("InvalidParameterValue") },
			"error bad_request", "and 2 others: ", 3},
		"no such API in the region": {twelve, nil, func(string) error { return unsupported },
			"region_disabled unsupported", "others: ", jobWidth},
		"not for one parent": {[]string{"t-1", "t-2"}, nil, only("t-1", unsupported), "partial error", "under t-1: ", 2},
		"another kind of failure": {[]string{"t-1"}, []string{}, func(string) error { return errDenied },
			"denied access_denied", "under t-1: ", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var tables, routes atomic.Int32
				f := &fakeAccount{
					regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
						return runner.Plan{Regions: []string{"r"}}, nil
					},
					list: func(ctx context.Context, _ *runner.Gate, t record.Target, parent string, emit emitFunc) error {
						if t.Kind == "ec2_table" {
							if tables.Add(1) > 1 && c.second != nil {
								return emit(ctx, page(c.second...))
							}
							return emit(ctx, page(c.tables...))
						}
						routes.Add(1)
						if err := c.refused(parent); err != nil {
							return err
						}
						return emit(ctx, page(parent+"-r"))
					}}
				g := newHarness(t, runner.Options{}, Options{})
				g.runner.Swap(buildConfiguration(t, account("a", f, func(a *runner.Account) {
					a.Kinds = []runner.Kind{{Name: "ec2_table"}, {Name: "ec2_route", Parent: "ec2_table"}}
				})))
				g.once()
				g.want(map[string]string{"r ec2_table": "ok", "r ec2_route": c.want})
				if o := g.recorder.all()["a r ec2_route"]; !strings.Contains(o.Error, c.text) || routes.Load() != c.calls {
					t.Errorf("%d calls: %s", routes.Load(), o.Error)
				}
			})
		})
	}
}

func only(id string, err error) func(string) error {
	return func(parent string) error {
		if parent == id {
			return err
		}
		return nil
	}
}

// A resource that was set aside is named in the log. What was listed stays complete, and its children are listed.
func TestSetAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var under atomic.Value
		f := &fakeAccount{
			regions: func(context.Context, *runner.Gate) (runner.Plan, error) {
				return runner.Plan{Regions: []string{"r"}}, nil
			},
			list: func(ctx context.Context, _ *runner.Gate, t record.Target, parent string, emit emitFunc) error {
				if t.Kind == "ec2_route" {
					under.Store(parent)
					return nil
				}
				p := page()
				p.BeginItem(1)
				p.Items.Buf = append(p.Items.Buf, `"t-1"`...)
				p.SetID(0, record.SpanOf(0, len(p.Items.Buf)))
				p.SetItemAside(true, "the character U+0007")
				return emit(ctx, p)
			}}
		g := newHarness(t, runner.Options{}, Options{})
		output := &fakeOutput{}
		conf := buildConfiguration(t, account("a", f, func(a *runner.Account) {
			a.Kinds = []runner.Kind{{Name: "ec2_table"}, {Name: "ec2_route", Parent: "ec2_table"}}
		}))
		conf.Output = output
		g.runner.Swap(conf)
		g.once()
		g.want(map[string]string{"r ec2_table": "ok", "r ec2_route": "ok"})
		log := strings.Join(g.logs.lines, "")
		if strings.Count(log, "resources set aside") != 1 || !strings.Contains(log, "t-1: the character U+0007") {
			t.Error(log)
		}
		if under.Load() != "t-1" || len(output.pages) != 0 {
			t.Errorf("listed under %v, %d pages sent", under.Load(), len(output.pages))
		}
	})
}
