package awsfake

import (
	"slices"
	"time"
)

// A SignIn is the way in which the collector signs in to an account of a [Simulation].
type SignIn string

// The ways to sign in. The comments name the fields that hold the credentials.
const (
	ByKey           SignIn = "key"            // Key
	ByKeyAndRole    SignIn = "key+role"       // Key, RoleARN, ExternalID
	ByMFA           SignIn = "key+mfa"        // Key, MFA
	ByMFAAndRole    SignIn = "key+mfa+role"   // Key, MFA, RoleARN
	ByInstance      SignIn = "instance"       // the metadata service
	ByInstanceRole  SignIn = "instance+role"  // the metadata service, then RoleARN
	ByContainer     SignIn = "container"      // Simulation.Container
	ByContainerRole SignIn = "container+role" // Simulation.Container, then RoleARN
)

// A Simulation is an AWS and everything that a configuration for it needs.
type Simulation struct {
	AWS          *AWS
	Accounts     []SimulatedAccount
	Organization SimulatedOrganization
	Incidents    []Incident
	Container    Container // append its Path to the server's URL; its Token is the value of the Authorization header
}

// A SimulatedAccount is one account of a simulation and how to sign in to it.
type SimulatedAccount struct {
	Name       string
	SignIn     SignIn
	Team       string
	Account    *Account
	Key        Key    // see SignIn
	RoleARN    string // see SignIn
	ExternalID string
	MFA        *MFA
	Regions    []string // with instances
	Instances  int      // in all regions
	Problem    string   // what fails, in a few words; "" for nothing
}

// An Incident is a failure of an account that begins some time before the present.
type Incident struct {
	Account    string
	Region     string // a glob of the regions that cannot be listed; "": nobody can sign in
	Began      time.Duration
	Ended      time.Duration // 0: it lasts
	Begin, End func()        // End is nil if it lasts
}

// A SimulatedOrganization is an organization and how to sign in to its members.
type SimulatedOrganization struct {
	Management *Account // the management account
	Key        Key      // of a user in the management account who may list members and assume their roles
	Role       string   // name of the role in each member
	Units      []string // whose accounts are to be collected
	Members    []SimulatedAccount

	of         *Organization
	prod, test string // units
}

// day is the unit of the incidents.
const day = 24 * time.Hour

// Demo builds the simulation of `collector demo` with few accounts, in which the incidents that last have begun.
func Demo(o Options) *Simulation {
	s := DemoWithPast(o, 0)
	s.BeginLasting()
	return s
}

// All returns the accounts that are not the organization's, and its members.
func (s *Simulation) All() []SimulatedAccount {
	return slices.Concat(s.Accounts, s.Organization.Members)
}

// BeginLasting begins the incidents that last.
func (s *Simulation) BeginLasting() {
	for _, x := range s.Incidents {
		if x.Ended == 0 {
			x.Begin()
		}
	}
}

// DemoWithPast builds the simulation of `collector demo`: ten accounts in two partitions, which cover all ways to sign
// in, and an organization with five members and some more. Nothing has failed yet: see Incidents. In the end one
// account is denied in some regions, and one has a deleted key. Of the members one is suspended and one lacks the role.
func DemoWithPast(o Options, moreMembers int) *Simulation {
	s := &Simulation{AWS: New(o)}
	hub := s.AWS.AddAccount("123456789012", "aws") // holds the organization's users
	robot := hub.AddUser("collector")
	s.addAccounts(hub, robot)
	s.addOrganization(hub, robot, s.Accounts[len(s.Accounts)-1].Account)
	s.addMembers(moreMembers)
	for i := range s.Accounts {
		a := &s.Accounts[i]
		a.Team = demoTeams[i%len(demoTeams)]
		switch a.Name {
		case "data":
			s.denied(a, "us-east-1", Denial{Action: "ec2:DescribeInstances"}, 20*time.Hour, 15*time.Hour)
		case "web":
			s.denied(a, "us-west-2", Denial{Action: "ec2:Describe*"}, 4*day, 3*day)
		}
	}
	return s
}

// addAccounts adds the accounts that are configured one by one.
func (s *Simulation) addAccounts(hub *Account, robot *User) {
	a := s.AWS
	add := func(name, id, partition string, in SignIn, per int, regions ...string) *SimulatedAccount {
		c := a.AddAccount(id, partition)
		for i, r := range regions {
			c.AddInstances(r, per+i)
		}
		s.Accounts = append(s.Accounts, SimulatedAccount{Name: name, SignIn: in, Account: c, Regions: regions,
			Instances: len(regions)*per + len(regions)*(len(regions)-1)/2})
		return &s.Accounts[len(s.Accounts)-1]
	}
	x := add("prod", "111111111111", "aws", ByKey, 24, "us-east-1", "us-west-2", "eu-west-1")
	x.Key = x.Account.AddUser("collector").NewKey()

	x = add("staging", "222222222222", "aws", ByKeyAndRole, 12, "us-east-1", "eu-central-1")
	x.Key, x.ExternalID = robot.NewKey(), "collector-7f3a"
	x.RoleARN = x.Account.AddRole(
		"collector-readonly",
		RoleOptions{Trust: []Trust{{Principals: []string{robot.ARN}, ExternalID: x.ExternalID}}},
	).ARN

	x = add("payments", "333333333333", "aws", ByMFA, 9, "eu-west-1", "eu-central-1")
	u := x.Account.AddUser("alice")
	x.Key, x.MFA = u.NewKey(), u.AddMFA("alice")
	x.Account.Deny(Denial{Principal: u.ARN, Action: "ec2:*", WithoutMFA: true})

	x = add("audit", "444444444444", "aws", ByMFAAndRole, 7, "us-east-1", "ap-northeast-1")
	u = hub.AddUser("bob")
	x.Key, x.MFA = u.NewKey(), u.AddMFA("bob")
	x.RoleARN = x.Account.AddRole("auditor", RoleOptions{Trust: []Trust{{Principals: []string{u.ARN}, MFA: true}}}).ARN

	x = add("platform", "555555555555", "aws", ByInstance, 18, "us-east-1", "us-east-2")
	host := x.Account.AddRole("collector-host", RoleOptions{Trust: []Trust{{Principals: []string{"ec2.amazonaws.com"}}}})
	a.SetIMDS(&IMDS{Role: host, Region: "us-east-1", InstanceID: "i-0c0ffee0c0ffee000"})

	x = add("data", "666666666666", "aws", ByInstanceRole, 15, "us-east-1", "ap-southeast-1")
	x.RoleARN = x.Account.AddRole("collector-readonly", RoleOptions{Trust: []Trust{{Principals: []string{host.ARN}}}}).ARN

	x = add("web", "777777777777", "aws", ByContainer, 10, "us-west-2", "af-south-1")
	x.Account.OptIn("af-south-1")
	task := x.Account.AddRole(
		"collector-task",
		RoleOptions{Trust: []Trust{{Principals: []string{"ecs-tasks.amazonaws.com"}}}},
	)
	s.Container = Container{
		Path:  "/v2/credentials/0f1e2d3c",
		Role:  task,
		Token: "demo-task-token",
		Task:  "0123456789abcdef0123456789abcdef",
	}
	a.AddContainer(s.Container)

	x = add("china", "888888888888", "aws-cn", ByKey, 14, "cn-north-1", "cn-northwest-1")
	x.Key = x.Account.AddUser("collector").NewKey()

	x = add("sandbox", "999999999999", "aws", ByKey, 6, "us-east-1", "us-west-2", "eu-west-1")
	x.Key = x.Account.AddUser("collector").NewKey()
	x.Problem = "a service control policy denies EC2 in eu-*"
	s.denied(x, "eu-*", Denial{Action: "ec2:Describe*", SCP: true}, 9*day, 0)

	x = add("legacy", "101010101010", "aws", ByKey, 5, "us-east-1")
	u = x.Account.AddUser("collector")
	key := u.NewKey()
	x.Key = key
	x.Problem = "its access key was deleted"
	s.Incidents = append(s.Incidents, Incident{
		Account: x.Name, Began: 6 * day, Begin: func() { u.DeleteKey(key.ID) },
	})
}

// denied adds an incident: a policy denies something in some regions.
func (s *Simulation) denied(a *SimulatedAccount, region string, d Denial, began, ended time.Duration) {
	of := a.Account
	d.Region = region
	x := Incident{Account: a.Name, Region: region, Began: began, Ended: ended, Begin: func() { of.Deny(d) }}
	if ended > 0 {
		x.End = of.Allow
	}
	s.Incidents = append(s.Incidents, x)
}
