package config

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// An Organization is a block that stands for an account block a member of an AWS organization. Who the members are, AWS says at
// each run; what becomes of one, [Organization.Accounts].
type Organization struct {
	Via SignIn `yaml:"via" doc:"How the organization is asked and what the members' role is assumed from: any way to sign in that an account block has, to the management account or to a delegated administrator's. Default: the SDK's default chain."`

	MemberRole  string `yaml:"role" doc:"The name of the role in each member, or path/name. The account that via signs in to is entered as via stands."`
	RoleSession `yaml:",inline"`

	Include Members `yaml:"include" doc:"Which members are collected: those for which each of these keys holds. Default: every active member."`
	Exclude Members `yaml:"exclude" doc:"Which members are left out: those for which any of these keys holds."`

	Name      string            `yaml:"name" doc:"A template of the account's name: {{.ID}}, {{.Name}}, {{.Email}}, {{.OU}} (the names of the OUs above it, joined by /), {{.Tags.env}}. Default: {{.ID}}, as names repeat in an organization."`
	ExtraTags map[string]string `yaml:"extra_tags" doc:"Tags that are put on every record of the account: templates, as name is."`
	Collect   Collect           `yaml:"collector_configs" doc:"What is listed in these accounts, where it differs from the file's."`
	Schedule  string            `yaml:"schedule" doc:"These accounts' own schedule."`
	Timezone  string            `yaml:"timezone" doc:"These accounts' own time zone."`
	Timeout   Duration          `yaml:"timeout" range:"1s..7d" doc:"These accounts' own timeout."`
	Overlap   string            `yaml:"overlap" enum:"skip,queue,cancel" doc:"These accounts' own overlap."`

	Label string `yaml:"-" json:"-"` // what the block itself is called: organization:management
	Line  int    `yaml:"-" json:"-"` // where it begins, for messages
}

// Members tells some members of an organization from the others.
type Members struct {
	OUs      []string          `yaml:"ous" doc:"Organizational units (ou-...) or the root (r-...): their accounts, and those of all units below."`
	Accounts []string          `yaml:"accounts" doc:"Account ids: 12 digits, in quotes."`
	Tags     map[string]string `yaml:"tags" doc:"Tags of the account in AWS Organizations: key and value, or a glob of values; \"*\" is any."`
}

// empty reports whether nothing is asked for.
func (m Members) empty() bool { return len(m.OUs)+len(m.Accounts)+len(m.Tags) == 0 }

// ouForm is an id of a unit or of the root: https://docs.aws.amazon.com/organizations/latest/APIReference/API_OrganizationalUnit.html,
// with shorter endings, as documents abbreviate them.
var ouForm = regexp.MustCompile(`^(r-[0-9a-z]{4,32}|ou-[0-9a-z]{4,32}-[0-9a-z]{4,32})$`)

// organization judges a block.
func (d *decoder) organization(o *Organization, f *File, loc *time.Location) {
	own := d.places[o]
	if own.state != fine {
		return
	}
	if d.set(&o.Timezone) {
		loc = d.timezone(&o.Timezone)
	}
	d.schedule(&o.Schedule, o.Schedule, loc)
	d.collect(&o.Collect, loc)
	d.signIn(&o.Via)
	switch p, ok := d.places[&o.MemberRole]; {
	case !ok:
		d.report(own, "has no role", "add role: the name of the role that every member has, as in role: collector-readonly")
	case p.state != fine:
	case strings.HasPrefix(o.MemberRole, "arn:"):
		d.report(p, "is an ARN, and every member's is another", "want the role's name, which is the same in each member")
	default:
		d.roleName(p, o.MemberRole)
	}
	shortened := d.temporary(&o.Via)
	if d.set(&o.Via.ARN) || d.set(&o.Via.Roles) || d.set(&o.Via.RoleName) {
		shortened = "that is assumed from another role"
	}
	d.session(&o.RoleSession, shortened)
	d.members(&o.Include)
	d.members(&o.Exclude)
	if p, ok := d.judged(&o.Name); ok {
		d.template(p, o.Name)
	}
	d.tags(&o.ExtraTags)
	for key, text := range o.ExtraTags {
		if p, ok := d.judged(entry{&o.ExtraTags, key}); ok {
			d.template(p, text)
		}
	}
	d.onePartition(&o.Via, &o.Collect, f, own)
}

// members judges a filter.
func (d *decoder) members(m *Members) {
	if p, ok := d.judged(m); ok && m.empty() && !d.set(&m.OUs) && !d.set(&m.Accounts) && !d.set(&m.Tags) {
		d.report(p, "names nobody", "name ous, accounts or tags, or remove the key")
	}
	for _, list := range []*[]string{&m.OUs, &m.Accounts} {
		if p, ok := d.judged(list); ok && len(*list) == 0 {
			d.report(p, "is empty", "name one, or remove the key")
		}
	}
	if p, ok := d.judged(&m.Tags); ok && len(m.Tags) == 0 {
		d.report(p, "is empty", "name one, or remove the key")
	}
	for i := range m.OUs {
		p, ok := d.judged(&m.OUs[i])
		switch ou := m.OUs[i]; {
		case !ok || ouForm.MatchString(ou):
		case accountIDForm.MatchString(ou):
			d.report(p, d.show(p, ou)+" is the id of an account", "move it to accounts")
		default:
			d.report(p, d.show(p, ou)+" is no id of an organizational unit", "want the id, not the name: ou-ab12-cdefgh34, or r-ab12 for the root")
		}
	}
	for i := range m.Accounts {
		if p, ok := d.judged(&m.Accounts[i]); ok {
			d.anAccountID(p, m.Accounts[i])
		}
	}
}

// OrganizationPrefix begins the name of a block of organizations itself, and of no account.
const OrganizationPrefix = "organization:"

// labels gives each organization's block a name of its own, which none of the accounts has and which is not its position. It
// notes what earlier versions called it.
func labels(orgs []Organization, formerly map[string]string) {
	names := make([]string, len(orgs))
	for i := range orgs {
		names[i] = OrganizationPrefix + signInName(&orgs[i].Via)
	}
	for i, name := range distinct(names, nil, func(i int) string { return orgs[i].mark() }) {
		orgs[i].Label = name
	}
	taken, count := map[string]bool{}, map[string]int{}
	for i := range orgs {
		old := free(taken, count, OrganizationPrefix+cmp.Or(orgs[i].Via.Profile, strconv.Itoa(i+1)))
		if old != orgs[i].Label {
			formerly[orgs[i].Label] = old
		}
	}
}

// mark tells blocks of one organization, asked in one way, from each other: by which members they select.
func (o *Organization) mark() string {
	text, err := json.Marshal([]any{o.Via.which(), o.MemberRole, o.Include, o.Exclude})
	if err != nil {
		panic(err) // texts, and lists and maps of them
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// inherit fills in what the block leaves to the file.
func (o *Organization) inherit(f *File) {
	a := Account{Schedule: o.Schedule, Timezone: o.Timezone, Timeout: o.Timeout, Overlap: o.Overlap, Collect: o.Collect}
	a.inherit(f)
	o.Schedule, o.Timezone, o.Timeout, o.Overlap, o.Collect = a.Schedule, a.Timezone, a.Timeout, a.Overlap, a.Collect
	o.Via.complete(o.Collect.Regions)
	o.RoleSession.complete()
	if o.Name == "" {
		o.Name = "{{.ID}}"
	}
}
