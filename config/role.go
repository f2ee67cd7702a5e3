package config

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/record"
)

const roleForm = "want arn:aws:iam::123456789012:role/name"

var tagForm = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// shorthand judges role and is_global.
func (d *decoder) shorthand(a *SignIn) {
	if p, ok := d.places[&a.IsGlobal]; ok && d.set(&a.Partition) {
		d.report(p, "is_global stands beside partition", "remove is_global, the older of the two")
	}
	p, ok := d.places[&a.RoleName]
	if !ok {
		return
	}
	switch {
	case d.set(&a.ARN) || d.set(&a.Roles):
		d.report(p, "role stands beside the role's ARN", "keep one: role is short for the ARN of a role in account_id")
	case !d.set(&a.AccountID):
		d.report(p, "role stands without account_id", "add account_id, the account that the role is in; or write assume_role_arn")
	case p.state != fine:
	case strings.HasPrefix(a.RoleName, "arn:"):
		d.report(p, "is an ARN, and role is a name in account_id", "write it as assume_role_arn")
	default:
		d.roleName(p, a.RoleName)
	}
}

func (d *decoder) roleName(p place, name string) {
	if !roleNameForm.MatchString(name[strings.LastIndexByte(name, '/')+1:]) || strings.HasPrefix(name, "/") {
		d.report(p, d.show(p, name)+" is no name of a role", "want a name such as manage-role, or path/name")
	}
}

// requireRole judges what can be known of it before signing in.
func (d *decoder) requireRole(a *SignIn) {
	p, ok := d.judged(&a.RequireRole)
	if !ok || !a.RequireRole || d.set(&a.ARN) || d.set(&a.Roles) || d.set(&a.RoleName) {
		return
	}
	if d.set(&a.AKID) && !d.set(&a.SessionToken) && !d.set(&a.Profile) {
		d.report(p, "a long-lived key signs in here without a role", "add account_id and role, or assume_role_arn")
	}
}

// expand writes out what is short: after it, Partition and Role.ARN say what is_global and role said.
func (a *SignIn) expand(regions []string) {
	if a.IsGlobal != nil && a.Partition == "" {
		a.Partition = global(*a.IsGlobal)
	}
	if a.RoleName != "" && a.ARN == "" {
		a.ARN = "arn:" + a.partitionIn(regions) + ":iam::" + a.AccountID + ":role/" + a.RoleName
	}
}

func global(is bool) string {
	if is {
		return "aws"
	}
	return "aws-cn"
}

// PartitionID is what the block says of its partition: by its role, by name, by its device, by its regions; else "aws".
func (a Account) PartitionID() string { return a.partitionIn(a.Collect.Regions) }

// partitionIn is the same, where these regions are listed.
func (a SignIn) partitionIn(regions []string) string {
	first := a.ARN
	if len(a.Roles) > 0 {
		first = a.Roles[0].ARN
	}
	for _, p := range []string{record.PartitionOfARN(first), a.Partition, record.PartitionOfARN(a.SerialNumber)} {
		if p != "" {
			return p
		}
	}
	for _, r := range append([]string{a.STSRegion}, regions...) {
		if p, ok := record.PartitionOf(r); ok {
			return p.ID
		}
	}
	return record.Partitions[0].ID
}

// roles judges the hops.
func (d *decoder) roles(a *SignIn) {
	chain, chained := d.places[&a.Roles]
	if chained && d.set(&a.ARN) {
		d.report(chain, "stands beside assume_role_arn", "make that the first of assume_roles")
	}
	if chained && chain.state == fine && len(a.Roles) == 0 {
		d.report(chain, "is empty", "name the roles, or remove the key")
	}
	if !d.set(&a.ARN) && !d.set(&a.RoleName) {
		for _, extra := range []any{&a.SessionName, &a.ExternalID, &a.Role.Duration, &a.SourceIdentity, &a.SessionTags, &a.SessionPolicy} {
			if p, ok := d.places[extra]; ok {
				d.warn(p, "is not used without assume_role_arn", "in a chain it stands in the role's own block")
			}
		}
	}
	shortened := d.temporary(a)
	if p, ok := d.judged(&a.ARN); ok {
		d.arn(p, a.ARN)
	}
	d.session(&a.RoleSession, shortened)
	for i := range a.Roles {
		r := &a.Roles[i]
		if p, ok := d.judged(r); ok && !d.set(&r.ARN) {
			d.report(p, "has no assume_role_arn", roleForm)
		}
		if i > 0 {
			shortened = "that is assumed from another role"
		}
		if p, ok := d.judged(&r.ARN); ok {
			d.arn(p, r.ARN)
		}
		d.session(&r.RoleSession, shortened)
	}
}

// temporary says why the first role's session is at most an hour, or "": AWS gives no more to credentials that are a session.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
func (d *decoder) temporary(a *SignIn) string {
	switch {
	case d.set(&a.SerialNumber):
		return "that is assumed from an MFA session"
	case d.set(&a.Profile):
		return ""
	case d.set(&a.SessionToken):
		return "that is assumed by a temporary key"
	case d.set(&a.AKID):
		return ""
	case a.CredentialSource == "Ec2InstanceMetadata" || a.CredentialSource == "EcsContainer":
		return "that is assumed from another role, here the machine's"
	}
	return ""
}

func (d *decoder) arn(p place, arn string) {
	if text, remedy := d.roleARN(p, arn); text != "" {
		d.report(p, text, remedy)
	}
}

// session judges what a role is assumed with.
func (d *decoder) session(r *RoleSession, shortened string) {
	if p, ok := d.judged(&r.SessionName); ok && !sessionNameForm.MatchString(r.SessionName) {
		d.report(p, d.show(p, r.SessionName)+" is no name of a role session", "want 2 to 64 letters, digits and _+=,.@-")
	}
	if p, ok := d.judged(&r.ExternalID); ok && (!externalIDForm.MatchString(r.ExternalID) || len(r.ExternalID) < 2 || len(r.ExternalID) > 1224) {
		d.report(p, "is no external id", "want 2 to 1224 letters, digits and _+=,.@:/-")
	}
	if p, ok := d.judged(&r.Duration); ok && shortened != "" && time.Duration(r.Duration) > time.Hour {
		long := r.Duration.String()
		if p.from != "" {
			long = d.show(p, long)
		}
		d.report(p, long+" is more than AWS gives to a role "+shortened, "the most is 1h")
	}
	if p, ok := d.judged(&r.SourceIdentity); ok && !sessionNameForm.MatchString(r.SourceIdentity) {
		d.report(p, d.show(p, r.SourceIdentity)+" is no source identity", "want 2 to 64 letters, digits and _+=,.@-")
	}
	d.sessionTags(r)
	if p, ok := d.judged(&r.SessionPolicy); ok {
		var policy struct{ Statement any }
		switch err := json.Unmarshal([]byte(r.SessionPolicy), &policy); {
		case err != nil || policy.Statement == nil:
			d.report(p, "is no policy", `want JSON: {"Version": "2012-10-17", "Statement": [...]}; a file is ${file:/path}`)
		case len(r.SessionPolicy) > 2048:
			d.report(p, "is "+count(len(r.SessionPolicy), "character")+" long", "the most is 2048")
		}
	}
}

// sessionTags judges tags by https://docs.aws.amazon.com/STS/latest/APIReference/API_Tag.html.
func (d *decoder) sessionTags(r *RoleSession) {
	if p, ok := d.judged(&r.SessionTags); ok && len(r.SessionTags) > 50 {
		d.report(p, "there are "+count(len(r.SessionTags), "tag"), "the most is 50")
	}
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(r.SessionTags)) {
		p, ok := d.places[entry{&r.SessionTags, key}]
		if !ok {
			continue
		}
		const want = "want letters, digits, spaces and _.:/=+-@"
		switch value := r.SessionTags[key]; {
		case !tagForm.MatchString(key) || len([]rune(key)) > 128:
			d.report(p, "is no key of a session's tag", want+", 128 at most")
		case p.state == fine && (!tagForm.MatchString(value) || len([]rune(value)) > 256):
			d.report(p, "is no value of a session's tag", want+", 256 at most")
		case seen[strings.ToLower(key)]:
			d.report(p, "the key stands here twice but for upper and lower case", "STS takes them for the same")
		}
		seen[strings.ToLower(key)] = true
	}
}

// roleARN says what is wrong with a role's ARN.
func (d *decoder) roleARN(p place, arn string) (text, remedy string) {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 || f[0] != "arn" {
		return d.show(p, arn) + " is no ARN", roleForm
	}
	service, region, account, resource := f[2], f[3], f[4], f[5]
	typ, name, _ := strings.Cut(resource, "/")
	if text, remedy := d.knownPartition(p, f[1]); text != "" {
		return text, remedy
	}
	switch {
	case service == "sts" && typ == "assumed-role":
		return d.show(p, arn) + " is a session of a role", "want the role itself: arn:" + f[1] + ":iam::" + shortID(p, account) + ":role/name"
	case service != "iam":
		return d.show(p, arn) + " is no ARN of IAM", roleForm
	case region != "":
		return d.show(p, arn) + " names a region, and IAM has none", roleForm
	case !accountIDForm.MatchString(account):
		return d.show(p, arn) + " holds an account id of " + count(len(account), "character"), "an account id is 12 digits"
	case typ == "user":
		return d.show(p, arn) + " is a user", "a user cannot be assumed; name a role"
	case typ == "instance-profile":
		return d.show(p, arn) + " is an instance profile", "name the role in it"
	case typ != "role":
		return d.show(p, arn) + " lacks role/", roleForm
	case !roleNameForm.MatchString(name[strings.LastIndexByte(name, '/')+1:]):
		return d.show(p, arn) + " has no name of a role after role/", roleForm
	}
	return "", ""
}

// shortID is an account id for an example.
func shortID(p place, id string) string {
	if p.from == "" && accountIDForm.MatchString(id) {
		return id
	}
	return "123456789012"
}
