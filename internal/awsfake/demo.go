package awsfake

import "strconv"

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
	Container    Container // append its Path to the server's URL; its Token is the value of the Authorization header
}

// A SimulatedAccount is one account of a simulation and how to sign in to it.
type SimulatedAccount struct {
	Name       string
	SignIn     SignIn
	Account    *Account
	Key        Key    // see SignIn
	RoleARN    string // see SignIn
	ExternalID string
	MFA        *MFA
	Regions    []string // with instances
	Instances  int      // in all regions
	Problem    string   // what fails, in a few words; "" for nothing
}

// A SimulatedOrganization is an organization and how to sign in to its members.
type SimulatedOrganization struct {
	Management *Account // the management account
	Key        Key      // of a user in the management account who may list members and assume their roles
	Role       string   // name of the role in each member
	Units      []string // whose accounts are to be collected
	Members    []SimulatedAccount
}

// Demo builds the simulation of `collector demo`: ten accounts in two partitions, which cover all ways to sign in. One
// account is denied in some regions, one has a deleted key. Of the members of its organization one is suspended and one
// lacks the role.
func Demo(o Options) *Simulation {
	a := New(o)
	s := &Simulation{AWS: a}
	add := func(name, id, partition string, in SignIn, per int, regions ...string) *SimulatedAccount {
		c := a.AddAccount(id, partition)
		for i, r := range regions {
			c.AddInstances(r, per+i)
		}
		s.Accounts = append(s.Accounts, SimulatedAccount{Name: name, SignIn: in, Account: c, Regions: regions,
			Instances: len(regions)*per + len(regions)*(len(regions)-1)/2})
		return &s.Accounts[len(s.Accounts)-1]
	}
	hub := a.AddAccount("123456789012", "aws") // holds the organization's users

	x := add("prod", "111111111111", "aws", ByKey, 24, "us-east-1", "us-west-2", "eu-west-1")
	x.Key = x.Account.AddUser("collector").NewKey()

	x = add("staging", "222222222222", "aws", ByKeyAndRole, 12, "us-east-1", "eu-central-1")
	robot := hub.AddUser("collector")
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
	x.Account.Deny(Denial{Action: "ec2:Describe*", Region: "eu-*", SCP: true})
	x.Problem = "a service control policy denies EC2 in eu-*"

	x = add("legacy", "101010101010", "aws", ByKey, 5, "us-east-1")
	u = x.Account.AddUser("collector")
	x.Key = u.NewKey()
	u.DeleteKey(x.Key.ID)
	x.Problem = "its access key was deleted"
	s.addOrganization(hub, robot, x.Account)
	return s
}

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
	for i, m := range []struct {
		name, id, unit, state, problem string
		instances                      int
	}{
		{name: "shop", id: "121212121212", unit: prod, instances: 11},
		{name: "shop-test", id: "131313131313", unit: test, instances: 4},
		{name: "search", id: "141414141414", unit: prod, instances: 8},
		{name: "new-team", id: "151515151515", unit: test, problem: "the role does not exist yet"},
		{name: "old-shop", id: "161616161616", unit: prod, state: "SUSPENDED", problem: "suspended: reported, not collected"},
	} {
		a := s.AWS.AddAccount(m.id, "aws")
		if m.instances > 0 {
			a.AddInstances("us-east-1", m.instances)
			a.AddRole(s.Organization.Role, RoleOptions{Trust: []Trust{{Principals: []string{hub.ID}}}})
		}
		env := "prod"
		if m.unit == test {
			env = "test"
		}
		of.Join(a, Member{
			Name:  m.name,
			Unit:  m.unit,
			State: m.state,
			Tags:  map[string]string{"env": env, "cost-center": strconv.Itoa(4200 + i)},
		})
		s.Organization.Members = append(s.Organization.Members, SimulatedAccount{
			Name:      m.name,
			Account:   a,
			Regions:   []string{"us-east-1"},
			Instances: m.instances,
			Problem:   m.problem,
		})
	}
}
