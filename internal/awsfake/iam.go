package awsfake

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/record"
)

// An Account is one AWS account. Its methods build it. They panic on what AWS cannot contain (an id that is not twelve
// digits, a duplicate name), because the test or the simulation is wrong then.
type Account struct {
	ID        string
	Partition string

	aws       *AWS
	optedIn   map[string]bool // guarded by aws.mu, like all fields below
	users     map[string]*User
	roles     map[string]*Role
	denials   []Denial
	resources map[string]*regionResources // by region
	suspended bool
}

// AddAccount adds an account to a partition: "aws", "aws-cn", "aws-us-gov", ….
func (a *AWS) AddAccount(id, partition string) *Account {
	if len(id) != 12 || strings.Trim(id, "0123456789") != "" {
		panic(fmt.Sprintf("awsfake: account id %q is not 12 digits", id))
	}
	if _, ok := record.PartitionNamed(partition); !ok {
		panic(fmt.Sprintf("awsfake: no partition %q", partition))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.accounts[id] != nil {
		panic(fmt.Sprintf("awsfake: account %s twice", id))
	}
	c := &Account{
		ID: id, Partition: partition, aws: a,
		optedIn: make(
			map[string]bool,
		), users: make(map[string]*User), roles: make(map[string]*Role), resources: make(map[string]*regionResources),
	}
	a.accounts[id] = c
	return c
}

// OptIn enables regions that are not enabled by default. OptOut disables them again.
func (c *Account) OptIn(regions ...string)  { c.setOptIn(true, regions) }
func (c *Account) OptOut(regions ...string) { c.setOptIn(false, regions) }

func (c *Account) setOptIn(in bool, regions []string) {
	c.aws.mu.Lock()
	defer c.aws.mu.Unlock()
	for _, r := range regions {
		c.optedIn[r] = in
	}
}

// optInRegions are the regions that an account must enable first: those opened after 20 March 2019.
// https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html
var optInRegions = []string{
	"af-south-1", "ap-east-1", "ap-east-2", "ap-south-2",
	"ap-southeast-3", "ap-southeast-4", "ap-southeast-5", "ap-southeast-6", "ap-southeast-7",
	"ca-west-1", "eu-central-2", "eu-south-1", "eu-south-2", "il-central-1", "me-central-1", "me-south-1", "mx-central-1",
}

// optInStatus is the OptInStatus that DescribeRegions reports for a region of the account's partition. The caller holds
// aws.mu.
func (c *Account) optInStatus(region string) string {
	if !slices.Contains(optInRegions, region) {
		return "opt-in-not-required"
	}
	if c.optedIn[region] {
		return "opted-in"
	}
	return "not-opted-in"
}

// enabled reports whether the account's keys work in a region: the region is in its partition and, if it must be opted
// in to, it is. The caller holds aws.mu.
func (c *Account) enabled(region string) bool {
	p, _ := record.PartitionNamed(c.Partition)
	return slices.Contains(p.Regions, region) && c.optInStatus(region) != "not-opted-in"
}

func (c *Account) arn(service, resource string) string {
	return "arn:" + c.Partition + ":" + service + "::" + c.ID + ":" + resource
}

// A User is an IAM user.
type User struct {
	Name string
	ARN  string

	account *Account
	id      string // AIDA…
	devices []*MFA
}

// A Key is an access key. Generated ids contain EXAMPLE.
type Key struct{ ID, Secret string }

type key struct {
	Key
	user     *User
	inactive bool
	created  time.Time
}

// AddUser adds an IAM user without keys.
func (c *Account) AddUser(name string) *User {
	c.aws.mu.Lock()
	defer c.aws.mu.Unlock()
	if c.users[name] != nil {
		panic(fmt.Sprintf("awsfake: user %s twice in %s", name, c.ID))
	}
	u := &User{Name: name, ARN: c.arn("iam", "user/"+name), account: c, id: c.aws.keyID("AIDA", c.ID, name)}
	c.users[name] = u
	return u
}

// NewKey makes an access key for the user.
func (u *User) NewKey() Key {
	a := u.account.aws
	id := a.keyID("AKIA", u.ARN, fmt.Sprint(a.keysMade.Add(1)))
	k := Key{ID: id, Secret: a.secretKey(id)}
	u.AddKey(k)
	return k
}

// AddKey adds a given key, such as the examples of AWS's documentation.
func (u *User) AddKey(k Key) {
	a := u.account.aws
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.keys[k.ID] != nil {
		panic(fmt.Sprintf("awsfake: key %s twice", k.ID))
	}
	a.keys[k.ID] = &key{Key: k, user: u, created: a.Now()}
}

// DeleteKey deletes a key. Callers cannot tell a deleted key from an inactive one, see SetKeyActive.
func (u *User) DeleteKey(id string) {
	a := u.account.aws
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.keys, id)
}

// SetKeyActive activates or deactivates a key.
func (u *User) SetKeyActive(id string, active bool) {
	a := u.account.aws
	a.mu.Lock()
	defer a.mu.Unlock()
	if k := a.keys[id]; k != nil {
		k.inactive = !active
	}
}

// Trust is a statement of a role's trust policy: who may assume the role, and on what condition.
type Trust struct {
	// Principals: an account id or its root ARN (any principal of the account without a denial), the ARN of a user or a
	// role, a service such as "ec2.amazonaws.com" or "ecs-tasks.amazonaws.com", or "*".
	Principals     []string
	ExternalID     string   // sts:ExternalId must equal it
	MFA            bool     // aws:MultiFactorAuthPresent must be true
	SessionTags    bool     // sts:TagSession is granted too
	SourceIdentity bool     // sts:SetSourceIdentity is granted too
	WebIdentities  []string // subjects (sub of the token) allowed to AssumeRoleWithWebIdentity; "*" is any
}

// RoleOptions are the optional properties of a role.
type RoleOptions struct {
	Path       string        // "/" where empty; else "/…/"
	Trust      []Trust       // empty: nobody may assume the role
	MaxSession time.Duration // MaxSessionDuration, 1 h to 12 h; 1 h where 0
}

// A Role is an IAM role.
type Role struct {
	Name string
	ARN  string
	RoleOptions

	account       *Account
	id            string // AROA…
	revokedBefore time.Time
}

// AddRole adds a role.
func (c *Account) AddRole(name string, o RoleOptions) *Role {
	if o.MaxSession == 0 {
		o.MaxSession = time.Hour
	}
	if o.Path == "" {
		o.Path = "/"
	}
	c.aws.mu.Lock()
	defer c.aws.mu.Unlock()
	if c.roles[name] != nil {
		panic(fmt.Sprintf("awsfake: role %s twice in %s", name, c.ID))
	}
	r := &Role{
		Name:        name,
		ARN:         c.arn("iam", "role"+o.Path+name),
		RoleOptions: o,
		account:     c,
		id:          c.aws.keyID("AROA", c.ID, name),
	}
	c.roles[name] = r
	return r
}

// SetTrust replaces a role's trust policy.
func (r *Role) SetTrust(trust ...Trust) {
	r.account.aws.mu.Lock()
	defer r.account.aws.mu.Unlock()
	r.Trust = trust
}

// Revoke denies everything to the sessions of the role that began before now, like IAM's "revoke active sessions".
func (r *Role) Revoke() {
	r.account.aws.mu.Lock()
	defer r.account.aws.mu.Unlock()
	r.revokedBefore = r.account.aws.Now()
}

// DeleteRole removes a role. Its sessions are no longer valid.
func (c *Account) DeleteRole(name string) {
	c.aws.mu.Lock()
	defer c.aws.mu.Unlock()
	delete(c.roles, name)
}

// Suspend suspends the account or reactivates it. While it is suspended, its keys are refused like unknown ones.
func (c *Account) Suspend(suspended bool) {
	c.aws.mu.Lock()
	defer c.aws.mu.Unlock()
	c.suspended = suspended
}

// A Denial takes actions away. Each field is a glob; an empty one matches everything.
type Denial struct {
	Principal  string // the ARN of the user or of the role (not of its session)
	Action     string // "ec2:DescribeInstances", "ec2:*", "sts:AssumeRole"
	Region     string
	WithoutMFA bool // only for callers who have not signed in with MFA
	SCP        bool // denied by a service control policy, which the message then mentions
}

// Deny adds denials to the account.
func (c *Account) Deny(d ...Denial) {
	c.aws.mu.Lock()
	defer c.aws.mu.Unlock()
	c.denials = append(c.denials, d...)
}

// Allow removes all denials of the account.
func (c *Account) Allow() {
	c.aws.mu.Lock()
	defer c.aws.mu.Unlock()
	c.denials = nil
}

func glob(pattern, s string) bool {
	if pattern == "" || pattern == "*" {
		return true
	}
	// In path.Match a star stops at "/", which ARNs contain.
	flat := strings.NewReplacer("/", "\x00")
	ok, err := path.Match(flat.Replace(pattern), flat.Replace(s))
	return err == nil && ok
}

const explicitDeny = "with an explicit deny in an identity-based policy"

// denied returns why the principal may not execute the action, in AWS's words, or "".
// https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
func (a *AWS) denied(p *principal, action, region string) string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if p.revoked {
		return explicitDeny
	}
	for _, d := range p.account.denials {
		if !glob(d.Principal, p.iamARN) || !glob(d.Action, action) || !glob(d.Region, region) || d.WithoutMFA && p.mfa {
			continue
		}
		switch {
		case d.SCP:
			return "with an explicit deny in a service control policy"
		case d.WithoutMFA:
			return explicitDeny
		}
		return "because no identity-based policy allows the " + action + " action"
	}
	return ""
}

// An MFA is a virtual MFA device of a user.
type MFA struct {
	Serial string // its ARN
	Seed   string // base32, as AWS shows it when the device is made

	aws          *AWS
	secret       []byte
	usedCounters map[int64]bool // counters whose code was accepted; guarded by aws.mu
}

// AddMFA gives the user a virtual MFA device.
func (u *User) AddMFA(name string) *MFA {
	a := u.account.aws
	serial := u.account.arn("iam", "mfa/"+name)
	raw := append(a.derive("totp", serial), a.derive("totp 2", serial)...)[:40] // 64 characters of base32, as AWS's seeds
	m := &MFA{
		Serial:       serial,
		Seed:         base32NoPad.EncodeToString(raw),
		aws:          a,
		secret:       raw,
		usedCounters: make(map[int64]bool),
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	u.devices = append(u.devices, m)
	return m
}

const codePeriod = 30 // seconds

// Code is the one-time code that the device shows at an instant (RFC 6238, SHA-1, 30 s, 6 digits).
func (m *MFA) Code(at time.Time) string { return m.code(at.Unix() / codePeriod) }

// Now is the code that the device shows at the present by AWS's clock.
func (m *MFA) Now() string { return m.Code(m.aws.Now()) }

func (m *MFA) code(counter int64) string {
	h := hmac.New(sha1.New, m.secret)
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(counter)))
	sum := h.Sum(nil)
	at := sum[len(sum)-1] & 15
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	return fmt.Sprintf("%06d", n%1_000_000)
}

// consume accepts a code of this time window, the previous or the next, once. The caller holds aws.mu for writing.
func (m *MFA) consume(code string, now time.Time) bool {
	c := now.Unix() / codePeriod
	for used := range m.usedCounters {
		if used < c-1 {
			delete(m.usedCounters, used)
		}
	}
	for _, at := range []int64{c, c - 1, c + 1} {
		if hmac.Equal([]byte(m.code(at)), []byte(code)) && !m.usedCounters[at] {
			m.usedCounters[at] = true
			return true
		}
	}
	return false
}

// SetKeyCreated sets the creation date of a key.
func (u *User) SetKeyCreated(id string, at time.Time) {
	a := u.account.aws
	a.mu.Lock()
	defer a.mu.Unlock()
	if k := a.keys[id]; k != nil {
		k.created = at
	}
}

const iamNamespace = "https://iam.amazonaws.com/doc/2010-05-08/"
