package plan

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/runner"
)

// makePlan returns the plan of a configuration.
func makePlan(t *testing.T, text string, o Options) *Plan {
	t.Helper()
	f, err := config.Parse([]byte(text), "config.yaml", configfile.KnownNames())
	if err != nil {
		t.Fatal(err)
	}
	o.CallsInFlight = f.Limits.CallsInFlight
	path := accounts.MembersPath(t.TempDir())
	p, err := Make(f, accounts.NewDirectory(nil, path, slog.New(slog.DiscardHandler)), o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

const planKeys = `ak_id: AKIAIOSFODNN7EXAMPLE, ak_secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"`

// The regions of a plan, a line each: account, region, kinds, calls per run, calls per day. A star marks an opt-in
// region.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		name, config string
		opt          Options
		want         []string
		seconds      float64 // of the first account's first run
		calls        float64 // a day, in all
	}{
		{"two regions by name, one kind, and the question which regions there are",
			`collector_configs: {regions: [eu-west-1, us-east-1]}`, Options{},
			[]string{"a eu-west-1 1 2 192", "a us-east-1 1 1 96"}, 0.16, 288},
		{"a region that must be opted in to counts when it is named",
			`collector_configs: {regions: [me-south-1]}`, Options{},
			[]string{"a me-south-1 1 2 192"}, 0.16, 192},
		{"a glob takes in what is enabled by default; the rest is shown; the question goes to the partition's first region",
			`collector_configs: {regions: ["eu-central-*", "af-*"]}`, Options{},
			[]string{"a eu-central-1 1 1 96", "a af-south-1* 1 1 96", "a eu-central-2* 1 1 96", "a us-east-1 0 1 96"},
			0.16, 192},
		{"a kind that one region speaks for: the first",
			`collector_configs: {regions: [us-west-1, eu-west-1], kinds: [ec2_region, ec2_vpc]}`, Options{},
			[]string{"a eu-west-1 2 2 192", "a us-west-1 1 2 192"}, 0.16, 384},
		{"a parent that is not listed for itself is asked for its ids; children are not known",
			`collector_configs: {regions: [eu-west-1], kinds: [ec2_launch_template_version]}`, Options{},
			[]string{"a eu-west-1 1 2 192"}, 0.16, 192},
		{"nor is it asked for twice",
			`collector_configs: {regions: [eu-west-1], kinds: ["ec2_client_vpn_*"]}`, Options{},
			[]string{"a eu-west-1 5 2 192"}, 0.16, 192},
		{"children and pages of what is assumed",
			`collector_configs: {regions: [eu-west-1], kinds: [ec2_launch_template_version, ec2_volume, ec2_address]}`,
			Options{Assume: map[string]int{"ec2_launch_template": 7, "ec2_volume": 501, "ec2_address": 3000}},
			[]string{"a eu-west-1 3 12 1152"}, 0.16, 1152}, // for several parents at once
		{"a kind with a schedule of its own is a run of its own",
			`collector_configs: {regions: [eu-west-1], kinds: [ec2_instance, ec2_image, ec2_snapshot], ` +
				`schedules: {"ec2_im*": "@daily", ec2_snapshot: "0 */6 * * *"}}`,
			Options{}, []string{"a eu-west-1 1 2 192", "a eu-west-1 1 2 8", "a eu-west-1 1 2 2"}, 0.16, 202},
		{"faster than cron, and as fast as it gets",
			"schedule: '@every 10s'\ncollector_configs: {regions: [eu-west-1]}", Options{},
			[]string{"a eu-west-1 1 2 17280"}, 0.16, 17280},
		{"a summer time is as long as a winter time",
			"schedule: '0 * * * *'\ntimezone: Europe/Berlin\ncollector_configs: {regions: [eu-west-1]}", Options{},
			[]string{"a eu-west-1 1 2 48"}, 0.16, 48},
		{"once has no day",
			`collector_configs: {regions: [eu-west-1], schedules: {"*": "@daily"}}`, Options{Once: true},
			[]string{"a eu-west-1 1 2 0"}, 0.16, 0},
		{"narrowed", `collector_configs: {regions: [eu-west-1, us-east-1], kinds: [ec2_instance, ec2_vpc]}`,
			Options{Selection: account.Selection{Regions: []string{"us-*"}, Kinds: []string{"ec2_v*"}}},
			[]string{"a us-east-1 1 1 96", "a eu-west-1 0 1 96"}, 0.16, 192},
		{"China has no opt-in", "", Options{Selection: account.Selection{Accounts: []string{"china"}}},
			[]string{"china cn-north-1 1 2 192", "china cn-northwest-1 1 1 96"}, 0.16, 288},
		{"the budget: 50 calls at once, then 10 a second",
			`collector_configs: {regions: [eu-west-1], kinds: [ec2_image_reference]}`,
			Options{Assume: map[string]int{"ec2_image": 1000}}, []string{"a eu-west-1 1 1002 96192"}, 95.08, 96192},
		{"a bucket of its own: one call at once, one in four seconds",
			`collector_configs: {regions: [eu-west-1], kinds: [ec2_byoip_cidr]}`,
			Options{Assume: map[string]int{"ec2_byoip_cidr": 201}}, []string{"a eu-west-1 1 4 384"}, 8.08, 384},
		{"calls in flight: one", "limits: {calls_in_flight: 1}\n" +
			"collector_configs: {regions: [eu-west-1, us-east-1], kinds: [ec2_vpc, ec2_subnet]}",
			Options{}, []string{"a eu-west-1 2 3 288", "a us-east-1 2 2 192"}, 0.4, 480},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := c.config + "\naccounts: [{name: a, " + planKeys + "}, " +
				"{name: china, partition: aws-cn, collector_configs: {regions: ['*']}}]\n"
			if c.opt.Selection.Accounts == nil {
				c.opt.Selection.Accounts = []string{"a"}
			}
			p := makePlan(t, text, c.opt)
			var got []string
			for _, r := range p.Regions {
				star := ""
				if r.OptIn {
					star = "*"
				}
				got = append(got, fmt.Sprintf("%s %s%s %d %d %v", r.Account, r.Region, star, r.Kinds, r.Calls, r.CallsPerDay))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("regions (-want +got):\n%s", diff)
			}
			if p.Accounts[0].Seconds != c.seconds {
				t.Errorf("takes %v s, want %v", p.Accounts[0].Seconds, c.seconds)
			}
			if p.Total.CallsPerDay != c.calls {
				t.Errorf("%v calls a day, want %v", p.Total.CallsPerDay, c.calls)
			}
			sum := 0.0
			for _, k := range p.Costs {
				sum += k.CallsPerDay
			}
			for _, s := range p.Services {
				sum -= s.CallsPerDay
			}
			if of := p.Services[0]; sum != 0 || len(p.Services) != 1 || of.Service != "ec2" || of.CallsPerDay != c.calls {
				t.Errorf("by service: %+v, want %v calls a day", p.Services, c.calls)
			}
		})
	}
}

// A plan counts by service and has the budgets: of each API, or of all together.
func TestPlanByService(t *testing.T) {
	text := "collector_configs: {regions: [eu-west-1], kinds: [ec2_vpc, 'autoscaling_*']}\naccounts: [{name: a, " +
		planKeys + "}]\n"
	p := makePlan(t, text, Options{Assume: map[string]int{"autoscaling_group": 3}})
	want := []Service{
		{Service: "autoscaling", Kinds: 7, Calls: 9, CallsPerDay: 9 * 96, PerSecond: 5, AtOnce: 25, Shared: true},
		{Service: "ec2", Kinds: 1, Calls: 2, CallsPerDay: 2 * 96, PerSecond: 10, AtOnce: 50},
	}
	if diff := cmp.Diff(want, p.Services); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	var b strings.Builder
	if err := p.Print(&b); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"all APIs together: 5/s, 25 at once", "each API: 10/s, 50 at once"} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("%s: does not contain %q", b.String(), line)
		}
	}
}

// A plan warns about a run that takes longer than its period or its timeout.
func TestPlanWarns(t *testing.T) {
	text := "schedule: '@every 1m'\ntimeout: 30s\n" +
		"collector_configs: {regions: [eu-west-1], kinds: [ec2_image_reference]}\n" +
		"accounts: [{name: a, " + planKeys + "}]\n"
	if w := makePlan(t, text, Options{Assume: map[string]int{"ec2_image": 300}}).Warnings; len(w) != 0 {
		t.Errorf("warns about a run of 25 s: %q", w)
	}
	w := makePlan(t, text, Options{Assume: map[string]int{"ec2_image": 1000}}).Warnings
	if len(w) != 2 || !strings.Contains(w[0], "longer than until the next run") ||
		!strings.Contains(w[1], "longer than its timeout of 30s") {
		t.Errorf("warnings about a run of 95 s: %q", w)
	}
}

// The schedules of the example name existing kinds, and list slow or large kinds less often.
func TestExampleSchedulesNameKinds(t *testing.T) {
	b, err := os.ReadFile("../../../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, err := config.Parse(b, "config.example.yaml", configfile.KnownNames())
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range slices.Sorted(maps.Keys(f.Defaults.Schedules)) {
		if len(config.Match([]string{pattern}, configfile.KnownNames().Kinds)) == 0 {
			t.Errorf("schedules: unknown kind %q", pattern)
		}
	}
	for _, kind := range []string{
		"ec2_image", "ec2_image_usage_report", "ec2_snapshot", "ec2_ipam_pool", "ec2_network_insights_path",
		"ec2_reserved_instances", "ec2_capacity_block",
	} {
		if _, ok := collectors.KindNamed(kind); !ok {
			t.Errorf("no kind %q", kind)
		}
		if spec, ok := f.Defaults.ScheduleOf(kind); !ok ||
			(&planner{now: time.Now(), rates: map[string]float64{}}).runsADay(tickOf(t, spec)) > 4 {
			t.Errorf("%s: listed by schedule %q; want at most four times a day", kind, spec)
		}
	}
}

func tickOf(t *testing.T, spec string) runner.Tick {
	t.Helper()
	s, err := config.ParseSchedule(spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return runner.Tick{Spec: spec, Schedule: s}
}
