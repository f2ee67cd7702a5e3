package plan

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
)

// shownCosts is the number of kinds in the table of costs; JSON has all.
const shownCosts = 10

// Print prints the plan as tables. Adjacent regions with the same cost share a line.
func (p *Plan) Print(w io.Writer) error {
	regions := printer.Table{Columns: []string{
		"account", "schedule", "region", "kinds", "calls_per_run", "takes", "calls_per_day",
	}}
	for i := 0; i < len(p.Regions); {
		r, n := p.Regions[i], 1
		for i+n < len(p.Regions) && r.sameCost(p.Regions[i+n]) {
			n++
		}
		name := r.Region
		if n > 1 {
			name = fmt.Sprintf("%s … %s: %d, each", r.Region, p.Regions[i+n-1].Region, n)
		}
		if r.OptIn {
			name += " (opt-in)"
		}
		regions.Rows = append(regions.Rows, map[string]any{
			"account": r.Account, "schedule": r.Schedule, "region": name, "kinds": r.Kinds,
			"calls_per_run": atLeast(float64(r.Calls)), "takes": "≥ " + formatSeconds(r.Seconds),
			"calls_per_day": atLeast(r.CallsPerDay),
		})
		i += n
	}
	accounts := printer.Table{Columns: []string{
		"account", "schedule", "regions", "calls_per_run", "takes", "runs_per_day", "calls_per_day", "with_opt-in",
	}}
	for _, a := range p.Accounts {
		row := map[string]any{
			"account": a.Account, "schedule": a.Schedule, "regions": a.Regions,
			"calls_per_run": atLeast(float64(a.Calls)), "takes": "≥ " + formatSeconds(a.Seconds),
			"runs_per_day": formatNumber(a.RunsPerDay), "calls_per_day": atLeast(a.CallsPerDay), "with_opt-in": "",
		}
		if a.OptInRegions > 0 {
			row["with_opt-in"] = atLeast(a.CallsPerDay + a.OptInCallsPerDay)
		}
		accounts.Rows = append(accounts.Rows, row)
	}
	services := printer.Table{Columns: []string{"service", "kinds", "calls_per_run", "calls_per_day", "budget"}}
	for _, s := range p.Services {
		services.Rows = append(services.Rows, map[string]any{
			"service": s.Service, "kinds": s.Kinds, "calls_per_run": atLeast(float64(s.Calls)),
			"calls_per_day": atLeast(s.CallsPerDay), "budget": s.budget(),
		})
	}
	costs := printer.Table{Columns: []string{"highest_costs", "action", "calls_per_run", "calls_per_day"}}
	for _, c := range p.Costs[:min(shownCosts, len(p.Costs))] {
		costs.Rows = append(costs.Rows, map[string]any{
			"highest_costs": c.Kind, "action": c.Action,
			"calls_per_run": atLeast(float64(c.Calls)), "calls_per_day": atLeast(c.CallsPerDay),
		})
	}
	for _, l := range []printer.Table{regions, accounts, services, costs} {
		if err := l.Print(w, "table"); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	t := p.Total
	fmt.Fprintf(w, "Total: %s calls if every schedule runs once, which takes ≥ %s",
		atLeast(float64(t.Calls)), formatSeconds(t.Seconds))
	if t.CallsPerDay > 0 {
		fmt.Fprintf(w, "; %s calls per day", atLeast(t.CallsPerDay))
	}
	if t.OptInCallsPerDay > 0 {
		fmt.Fprintf(w, ", %s if every account has opted in to every region", atLeast(t.CallsPerDay+t.OptInCallsPerDay))
	}
	fmt.Fprint(w, ".\n")
	for _, s := range p.Warnings {
		_ = printer.Fprintf(w, "warning: %s\n", s)
	}
	for _, s := range p.Assumptions {
		_ = printer.Fprintf(w, "- %s\n", s)
	}
	return nil
}

// sameCost reports whether two regions of an account have the same cost.
func (r Region) sameCost(o Region) bool {
	return r.Account == o.Account && r.Schedule == o.Schedule && r.OptIn == o.OptIn &&
		r.cost == o.cost && r.discoveryCalls == o.discoveryCalls
}

func atLeast(f float64) string { return "≥ " + formatNumber(f) }

// formatNumber rounds numbers from 10 on.
func formatNumber(f float64) string {
	if f >= 10 {
		f = math.Round(f)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func formatSeconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
