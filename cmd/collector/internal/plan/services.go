package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/runner"
)

// A Service is the cost of the kinds of one service, and the budget of its calls in one account and region.
type Service struct {
	Service     string  `json:"service"`
	Kinds       int     `json:"kinds"`
	Calls       int     `json:"calls"` // if each schedule runs once
	CallsPerDay float64 `json:"calls_per_day"`
	PerSecond   float64 `json:"budget_calls_per_second"`
	AtOnce      int     `json:"budget_calls_at_once"`
	Shared      bool    `json:"budget_shared"` // one budget for all APIs of the service; else one for each, or more
}

// services returns the costs by service, the highest first. Finding the regions is a call of EC2.
func (c costs) services() []Service {
	byName := map[string]*Service{}
	for kind, cost := range c {
		k, ok := collectors.KindNamed(kind)
		if !ok {
			k, _ = collectors.KindNamed("ec2_region") // the same API
		}
		of := k.Service()
		s := byName[of.Name]
		if s == nil {
			s = &Service{Service: of.Name, Shared: of.Shared}
			s.PerSecond, s.AtOnce = runner.BudgetOf(of.Refill, of.Burst)
			byName[of.Name] = s
		}
		if ok {
			s.Kinds++
		}
		s.Calls += cost.Calls
		s.CallsPerDay += cost.CallsPerDay
	}
	var all []Service
	for _, s := range byName {
		all = append(all, *s)
	}
	slices.SortFunc(all, func(a, b Service) int {
		return cmp.Or(cmp.Compare(b.CallsPerDay, a.CallsPerDay), cmp.Compare(b.Calls, a.Calls),
			cmp.Compare(a.Service, b.Service))
	})
	return all
}

// budget describes the budget of a service.
func (s Service) budget() string {
	of := "each API"
	if s.Shared {
		of = "all APIs together"
	}
	return fmt.Sprintf("%s: %s/s, %d at once", of, formatNumber(s.PerSecond), s.AtOnce)
}
