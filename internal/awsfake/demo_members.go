package awsfake

import (
	"fmt"
	"strconv"
	"time"
)

const roleMissing = "the role does not exist yet"

// addOrganization creates an organization with the hub as its management account.
func (s *Simulation) addOrganization(hub *Account, robot *User, outside *Account) {
	of := hub.NewOrganization("example-hub")
	work := of.AddUnit("", "Workloads")
	prod, test := of.AddUnit(work, "Prod"), of.AddUnit(work, "Test")
	s.Organization = SimulatedOrganization{
		Management: hub,
		Key:        robot.NewKey(),
		Role:       "collector-member",
		Units:      []string{work},
	}
	of.Join(outside, Member{Name: "legacy"}) // in no unit that is to be collected
	s.Organization.of, s.Organization.prod, s.Organization.test = of, prod, test
	for _, m := range []struct {
		name, id, unit, state, problem string
		instances                      int
	}{
		{name: "shop", id: "121212121212", unit: prod, instances: 11},
		{name: "shop-test", id: "131313131313", unit: test, instances: 4},
		{name: "search", id: "141414141414", unit: prod, instances: 8},
		{name: "new-team", id: "151515151515", unit: test, problem: roleMissing},
		{name: "old-shop", id: "161616161616", unit: prod, state: "SUSPENDED", problem: "suspended: reported, not collected"},
	} {
		a := s.addMember(m.name, m.id, m.unit == prod, m.state)
		a.Problem = m.problem
		if m.problem == roleMissing {
			s.Incidents = append(s.Incidents, Incident{Account: m.name, Began: 1000 * day, Begin: func() {}})
		}
		if m.instances > 0 {
			a.addInstances("us-east-1", m.instances)
			a.Account.AddRole(s.Organization.Role, s.trust())
		}
	}
}

// addMember adds an account to the organization.
func (s *Simulation) addMember(name, id string, isProd bool, state string) *SimulatedAccount {
	o := &s.Organization
	a := s.AWS.AddAccount(id, "aws")
	unit, env := o.test, "test"
	if isProd {
		unit, env = o.prod, "prod"
	}
	n := len(o.Members)
	o.of.Join(a, Member{Name: name, Unit: unit, State: state, Tags: map[string]string{
		"env": env, "cost-center": strconv.Itoa(4200 + n), "team": demoTeams[n%len(demoTeams)],
	}})
	o.Members = append(o.Members, SimulatedAccount{Name: name, Account: a, Regions: []string{"us-east-1"}})
	return &o.Members[n]
}

// trust is the trust policy of the role in each member.
func (s *Simulation) trust() RoleOptions {
	return RoleOptions{Trust: []Trust{{Principals: []string{s.Organization.Management.ID}}}}
}

func (a *SimulatedAccount) addInstances(region string, n int) {
	a.Account.AddInstances(region, n)
	a.Instances += n
}

// The names of teams, and of what they run.
var (
	demoTeams    = []string{"platform", "payments", "search", "mobile", "data", "security"}
	demoProducts = []string{
		"ledger", "billing", "checkout", "catalogue", "pricing", "stock", "orders", "returns", "loyalty", "reviews",
		"media", "mail", "chat", "push", "maps", "routing", "weather", "forecast", "reports", "metrics",
		"logs", "traces", "builds", "artifacts", "registry", "secrets", "login", "profiles", "consent", "fraud",
		"risk", "invoices", "payroll", "travel", "benefits", "hiring", "learning", "wiki", "tickets", "status",
		"feeds", "crawler", "index", "ranking", "ads", "auctions", "partners", "gateway",
	}
	demoStages = []string{"prod", "test", "staging", "lab"}
)

// addMembers adds n members, each with some instances in one or two regions. A few fail.
func (s *Simulation) addMembers(n int) {
	regions := []string{"us-east-1", "eu-west-1"}
	for i := range n {
		stage := demoStages[i/len(demoProducts)%len(demoStages)]
		name := demoProducts[i%len(demoProducts)] + "-" + stage
		if round := i / len(demoProducts) / len(demoStages); round > 0 {
			name += "-" + strconv.Itoa(round+1)
		}
		a := s.addMember(name, fmt.Sprintf("%012d", 170_000_000_000+int64(i)*10_007), stage == "prod", "")
		a.Regions = []string{regions[i%2], regions[1-i%2]}[:1+i%5/3]
		for k, region := range a.Regions {
			a.addInstances(region, 2+(i*7+k*3)%6)
		}
		a.Account.AddRole(s.Organization.Role, s.trust())
		switch i % 60 {
		case 17:
			of, role := a.Account, s.Organization.Role
			a.Problem = "its role was deleted"
			s.Incidents = append(s.Incidents, Incident{
				Account: name, Began: 26 * time.Hour, Begin: func() { of.DeleteRole(role) },
			})
		case 32, 33:
			a.Problem = "its policy lacks ec2:DescribeVolumes"
			s.denied(a, "*", Denial{Action: "ec2:DescribeVolumes"}, 2*day, 0)
		}
	}
}
