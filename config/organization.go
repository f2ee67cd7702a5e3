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

	"github.com/aws-collector/collector/config/internal/yamldoc"
)

// An Organization is a block that stands for an account block for each member of an AWS organization. Each run asks AWS
// for the members; [Organization.MemberAccounts] makes their blocks.
type Organization struct {
	Via SignIn `yaml:"via" doc:"The sign-in that lists the organization and assumes the members' role: any that an account block can have, to the management account or to a delegated administrator's account. Default: the SDK's default chain."`

	MemberRole  string `yaml:"role" doc:"The name of the role in each member, or path/name. The account that via signs in to is collected without this role."`
	RoleSession `yaml:",inline"`

	Include MemberFilter `yaml:"include" doc:"Which members are collected: those for which all of these keys hold. Default: every active member."`
	Exclude MemberFilter `yaml:"exclude" doc:"Which members are excluded: those for which any of these keys holds."`

	Name      string            `yaml:"name" doc:"A template of the account's name: {{.ID}}, {{.Name}}, {{.Email}}, {{.OU}} (the names of the OUs above it, joined by /), {{.Tags.env}}. Default: {{.ID}}, because names may repeat in an organization."`
	ExtraTags map[string]string `yaml:"extra_tags" doc:"Tags that are added to every record of the account: templates, like name."`
	Collect   Collect           `yaml:"collector_configs" doc:"What is listed in these accounts, where it differs from the file's."`
	Schedule  string            `yaml:"schedule" doc:"These accounts' own schedule."`
	Timezone  string            `yaml:"timezone" doc:"These accounts' own time zone."`
	Timeout   Duration          `yaml:"timeout" range:"1s..7d" doc:"These accounts' own timeout."`
	Overlap   string            `yaml:"overlap" enum:"skip,queue,cancel" doc:"These accounts' own overlap."`

	Label string `yaml:"-" json:"-"` // the name of the block itself: organization:management
	Line  int    `yaml:"-" json:"-"` // its first line, for messages
}

// A MemberFilter selects members of an organization.
type MemberFilter struct {
	OUs      []string          `yaml:"ous" doc:"Organizational units (ou-...) or the root (r-...): their accounts, and those of all units below."`
	Accounts []string          `yaml:"accounts" doc:"Account ids: 12 digits, in quotes."`
	Tags     map[string]string `yaml:"tags" doc:"Tags of the account in AWS Organizations: key and value, or a glob of values; \"*\" is any."`
}

// isEmpty reports whether the filter has no conditions.
func (m MemberFilter) isEmpty() bool { return len(m.OUs)+len(m.Accounts)+len(m.Tags) == 0 }

// ouForm matches the id of an organizational unit or of the root:
//
//	https://docs.aws.amazon.com/organizations/latest/APIReference/API_OrganizationalUnit.html
//
// It accepts shorter endings, which documents use as abbreviations.
var ouForm = regexp.MustCompile(`^(r-[0-9a-z]{4,32}|ou-[0-9a-z]{4,32}-[0-9a-z]{4,32})$`)

// checkOrganization checks an organization block.
func (d *decoder) checkOrganization(o *Organization, f *File, loc *time.Location) {
	own := d.At(o)
	if own.State != yamldoc.Valid {
		return
	}
	if d.IsSet(&o.Timezone) {
		loc = d.checkTimezone(&o.Timezone)
	}
	d.checkSchedule(&o.Schedule, o.Schedule, loc)
	d.checkCollect(&o.Collect, loc)
	d.checkSignIn(&o.Via)
	switch p, ok := d.Position(&o.MemberRole); {
	case !ok:
		d.Report(own, "has no role", "add role: the name of the role that every member has, as in role: collector-readonly")
	case p.State != yamldoc.Valid:
	case strings.HasPrefix(o.MemberRole, "arn:"):
		d.Report(p, "is an ARN, but each member has its own", "write the role's name, which is the same in each member")
	default:
		d.checkRoleName(p, o.MemberRole)
	}
	shortened := d.shortSessionReason(&o.Via)
	if d.IsSet(&o.Via.ARN) || d.IsSet(&o.Via.Roles) || d.IsSet(&o.Via.RoleName) {
		shortened = "that is assumed from another role"
	}
	d.checkRoleSession(&o.RoleSession, shortened)
	d.checkMemberFilter(&o.Include)
	d.checkMemberFilter(&o.Exclude)
	if p, ok := d.Checkable(&o.Name); ok {
		d.checkTemplate(p, o.Name)
	}
	d.checkExtraTags(&o.ExtraTags)
	for key, text := range o.ExtraTags {
		if p, ok := d.Checkable(yamldoc.Entry(&o.ExtraTags, key)); ok {
			d.checkTemplate(p, text)
		}
	}
	d.checkOnePartition(&o.Via, &o.Collect, f, own)
}

// checkMemberFilter checks a filter.
func (d *decoder) checkMemberFilter(m *MemberFilter) {
	if p, ok := d.Checkable(m); ok && m.isEmpty() && !d.IsSet(&m.OUs) && !d.IsSet(&m.Accounts) && !d.IsSet(&m.Tags) {
		d.Report(p, "selects nothing", "set ous, accounts or tags, or remove the key")
	}
	for _, list := range []*[]string{&m.OUs, &m.Accounts} {
		if p, ok := d.Checkable(list); ok && len(*list) == 0 {
			d.Report(p, "is empty", "name one, or remove the key")
		}
	}
	if p, ok := d.Checkable(&m.Tags); ok && len(m.Tags) == 0 {
		d.Report(p, "is empty", "name one, or remove the key")
	}
	for i := range m.OUs {
		p, ok := d.Checkable(&m.OUs[i])
		switch ou := m.OUs[i]; {
		case !ok || ouForm.MatchString(ou):
		case accountIDForm.MatchString(ou):
			d.Report(p, d.Show(p, ou)+" is the id of an account", "move it to accounts")
		default:
			d.Report(p, d.Show(p, ou)+" is not the id of an organizational unit",
				"write the id, not the name: ou-ab12-cdefgh34, or r-ab12 for the root")
		}
	}
	for i := range m.Accounts {
		if p, ok := d.Checkable(&m.Accounts[i]); ok {
			d.checkAccountIDFormat(p, m.Accounts[i])
		}
	}
}

// OrganizationPrefix begins the name of an organization block. No account's name begins with it.
const OrganizationPrefix = "organization:"

// labelOrganizations gives each organization block a name that no account has and that does not depend on its position.
// It records the names that earlier versions used.
func labelOrganizations(orgs []Organization, formerNames map[string]string) {
	names := make([]string, len(orgs))
	for i := range orgs {
		names[i] = OrganizationPrefix + signInName(&orgs[i].Via)
	}
	for i, name := range distinctNames(names, nil, func(i int) string { return orgs[i].selectionHash() }) {
		orgs[i].Label = name
	}
	taken, count := map[string]bool{}, map[string]int{}
	for i := range orgs {
		old := uniqueName(taken, count, OrganizationPrefix+cmp.Or(orgs[i].Via.Profile, strconv.Itoa(i+1)))
		if old != orgs[i].Label {
			formerNames[orgs[i].Label] = old
		}
	}
}

// selectionHash distinguishes blocks with the same organization and sign-in by the members that they select.
func (o *Organization) selectionHash() string {
	text, err := json.Marshal([]any{o.Via.nameHash(), o.MemberRole, o.Include, o.Exclude})
	if err != nil {
		panic(err) // strings, and lists and maps of them, cannot fail
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// inherit fills in the keys that the block leaves to the file.
func (o *Organization) inherit(f *File) {
	a := Account{Schedule: o.Schedule, Timezone: o.Timezone, Timeout: o.Timeout, Overlap: o.Overlap, Collect: o.Collect}
	a.inherit(f)
	o.Schedule, o.Timezone, o.Timeout, o.Overlap, o.Collect = a.Schedule, a.Timezone, a.Timeout, a.Overlap, a.Collect
	o.Via.applyDefaults(o.Collect.Regions)
	o.RoleSession.applyDefaults()
	if o.Name == "" {
		o.Name = "{{.ID}}"
	}
}
