package config

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/config/internal/yamldoc"
	"github.com/aws-collector/collector/record"
)

const roleARNHint = "write arn:aws:iam::123456789012:role/name"

var tagForm = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$`)

// checkShorthand checks role and is_global.
func (d *decoder) checkShorthand(a *SignIn) {
	if p, ok := d.Position(&a.IsGlobal); ok && d.IsSet(&a.Partition) {
		d.Report(p, "is_global is set together with partition", "remove is_global, the older of the two")
	}
	p, ok := d.Position(&a.RoleName)
	if !ok {
		return
	}
	switch {
	case d.IsSet(&a.ARN) || d.IsSet(&a.Roles):
		d.Report(p, "role is set together with the role's ARN",
			"keep one of them: role is short for the ARN of a role in account_id")
	case !d.IsSet(&a.AccountID):
		d.Report(p, "role is set without account_id", "add account_id, the role's account, or use assume_role_arn")
	case p.State != yamldoc.Valid:
	case strings.HasPrefix(a.RoleName, "arn:"):
		d.Report(p, "is an ARN, but role is a name", "move it to assume_role_arn")
	default:
		d.checkRoleName(p, a.RoleName)
	}
}

func (d *decoder) checkRoleName(p yamldoc.Position, name string) {
	if !roleNameForm.MatchString(name[strings.LastIndexByte(name, '/')+1:]) || strings.HasPrefix(name, "/") {
		d.Report(p, d.Show(p, name)+" is not the name of a role", "write a name such as manage-role, or path/name")
	}
}

// checkRequireRole checks require_role as far as possible before signing in.
func (d *decoder) checkRequireRole(a *SignIn) {
	p, ok := d.Checkable(&a.RequireRole)
	if !ok || !a.RequireRole || d.IsSet(&a.ARN) || d.IsSet(&a.Roles) || d.IsSet(&a.RoleName) {
		return
	}
	if d.IsSet(&a.AKID) && !d.IsSet(&a.SessionToken) && !d.IsSet(&a.Profile) {
		d.Report(p, "the block signs in with a long-lived key and without a role",
			"add account_id and role, or assume_role_arn")
	}
}

// expandShorthand sets Partition from is_global and Role.ARN from role.
func (a *SignIn) expandShorthand(regions []string) {
	if a.IsGlobal != nil && a.Partition == "" {
		a.Partition = globalPartition(*a.IsGlobal)
	}
	if a.RoleName != "" && a.ARN == "" {
		a.ARN = "arn:" + a.partitionIn(regions) + ":iam::" + a.AccountID + ":role/" + a.RoleName
	}
}

func globalPartition(is bool) string {
	if is {
		return "aws"
	}
	return "aws-cn"
}

// PartitionID returns the partition that the block implies: by its first role, partition, MFA device or regions, else
// "aws".
func (a Account) PartitionID() string { return a.partitionIn(a.Collect.Regions) }

// partitionIn is PartitionID for the given regions.
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

// checkRoles checks the role chain.
func (d *decoder) checkRoles(a *SignIn) {
	chain, chained := d.Position(&a.Roles)
	if chained && d.IsSet(&a.ARN) {
		d.Report(chain, "is set together with assume_role_arn", "make that role the first of assume_roles")
	}
	if chained && chain.State == yamldoc.Valid && len(a.Roles) == 0 {
		d.Report(chain, "is empty", "name the roles, or remove the key")
	}
	if !d.IsSet(&a.ARN) && !d.IsSet(&a.RoleName) {
		for _, extra := range []any{
			&a.SessionName, &a.ExternalID, &a.Role.Duration, &a.SourceIdentity, &a.SessionTags, &a.SessionPolicy,
		} {
			if p, ok := d.Position(extra); ok {
				d.Warn(p, "is not used without assume_role_arn", "set it in the block of a role of assume_roles, or remove it")
			}
		}
	}
	shortened := d.shortSessionReason(a)
	if p, ok := d.Checkable(&a.ARN); ok {
		d.checkRoleARN(p, a.ARN)
	}
	d.checkRoleSession(&a.RoleSession, shortened)
	for i := range a.Roles {
		r := &a.Roles[i]
		if p, ok := d.Checkable(r); ok && !d.IsSet(&r.ARN) {
			d.Report(p, "has no assume_role_arn", "add assume_role_arn: arn:aws:iam::123456789012:role/name")
		}
		if i > 0 {
			shortened = "that is assumed from another role"
		}
		if p, ok := d.Checkable(&r.ARN); ok {
			d.checkRoleARN(p, r.ARN)
		}
		d.checkRoleSession(&r.RoleSession, shortened)
	}
}

// shortSessionReason returns why the first role's session is limited to one hour, or "". AWS sets this limit for
// credentials that belong to a session:
//
//	https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
func (d *decoder) shortSessionReason(a *SignIn) string {
	switch {
	case d.IsSet(&a.SerialNumber):
		return "that is assumed from an MFA session"
	case d.IsSet(&a.Profile):
		return ""
	case d.IsSet(&a.SessionToken):
		return "that is assumed with a temporary key"
	case d.IsSet(&a.AKID):
		return ""
	case a.CredentialSource == "Ec2InstanceMetadata" || a.CredentialSource == "EcsContainer":
		return "that is assumed from another role, here the machine's"
	}
	return ""
}

func (d *decoder) checkRoleARN(p yamldoc.Position, arn string) {
	if text, remedy := d.roleARNProblem(p, arn); text != "" {
		d.Report(p, text, remedy)
	}
}

// checkRoleSession checks the parameters of AssumeRole.
func (d *decoder) checkRoleSession(r *RoleSession, shortened string) {
	if p, ok := d.Checkable(&r.SessionName); ok && !sessionNameForm.MatchString(r.SessionName) {
		d.Report(p, d.Show(p, r.SessionName)+" is not the name of a role session",
			"write 2 to 64 letters, digits and _+=,.@-")
	}
	if p, ok := d.Checkable(&r.ExternalID); ok {
		wellFormed := externalIDForm.MatchString(r.ExternalID) && len(r.ExternalID) >= 2 && len(r.ExternalID) <= 1224
		if !wellFormed {
			d.Report(p, "is not an external id", "write 2 to 1224 letters, digits and _+=,.@:/-")
		}
	}
	if p, ok := d.Checkable(&r.Duration); ok && shortened != "" && time.Duration(r.Duration) > time.Hour {
		long := r.Duration.String()
		if p.References != "" {
			long = d.Show(p, long)
		}
		d.Report(p, long+" is longer than AWS allows for a role "+shortened, "write at most 1h")
	}
	if p, ok := d.Checkable(&r.SourceIdentity); ok && !sessionNameForm.MatchString(r.SourceIdentity) {
		d.Report(p, d.Show(p, r.SourceIdentity)+" is not a source identity", "write 2 to 64 letters, digits and _+=,.@-")
	}
	d.checkSessionTags(r)
	if p, ok := d.Checkable(&r.SessionPolicy); ok {
		var policy struct{ Statement any }
		switch err := json.Unmarshal([]byte(r.SessionPolicy), &policy); {
		case err != nil || policy.Statement == nil:
			d.Report(p, "is not an IAM policy",
				`write JSON: {"Version": "2012-10-17", "Statement": [...]}; for a file write ${file:/path}`)
		case len(r.SessionPolicy) > 2048:
			d.Report(p, "has "+quantity(len(r.SessionPolicy), "character"), "shorten it to at most 2048 characters")
		}
	}
}

// checkSessionTags checks tags, see https://docs.aws.amazon.com/STS/latest/APIReference/API_Tag.html.
func (d *decoder) checkSessionTags(r *RoleSession) {
	if p, ok := d.Checkable(&r.SessionTags); ok && len(r.SessionTags) > 50 {
		d.Report(p, "has "+quantity(len(r.SessionTags), "tag"), "keep at most 50 tags")
	}
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(r.SessionTags)) {
		p, ok := d.Position(yamldoc.Entry(&r.SessionTags, key))
		if !ok {
			continue
		}
		const want = "write letters, digits, spaces and _.:/=+-@"
		switch value := r.SessionTags[key]; {
		case !tagForm.MatchString(key) || len([]rune(key)) > 128:
			d.Report(p, "is not a key of a session tag", want+", 128 at most")
		case p.State == yamldoc.Valid && (!tagForm.MatchString(value) || len([]rune(value)) > 256):
			d.Report(p, "is not a value of a session tag", want+", 256 at most")
		case seen[strings.ToLower(key)]:
			d.Report(p, "duplicate key except for upper and lower case", "remove one of them: STS ignores case")
		}
		seen[strings.ToLower(key)] = true
	}
}

// roleARNProblem returns what is wrong with a role's ARN, or "".
func (d *decoder) roleARNProblem(p yamldoc.Position, arn string) (text, remedy string) {
	f := strings.SplitN(arn, ":", 6)
	if len(f) != 6 || f[0] != "arn" {
		return d.Show(p, arn) + " is not an ARN", roleARNHint
	}
	service, region, account, resource := f[2], f[3], f[4], f[5]
	typ, name, _ := strings.Cut(resource, "/")
	if text, remedy := d.partitionProblem(p, f[1]); text != "" {
		return text, remedy
	}
	switch {
	case service == "sts" && typ == "assumed-role":
		return d.Show(p, arn) + " is a role session",
			"write the role itself: arn:" + f[1] + ":iam::" + shortID(p, account) + ":role/name"
	case service != "iam":
		return d.Show(p, arn) + " is not an ARN of IAM", roleARNHint
	case region != "":
		return d.Show(p, arn) + " has a region, but ARNs of IAM have none", roleARNHint
	case !accountIDForm.MatchString(account):
		return d.Show(p, arn) + " has an account id of " + quantity(len(account), "character"),
			"write the account id with 12 digits"
	case typ == "user":
		return d.Show(p, arn) + " is a user", "name a role: a user cannot be assumed"
	case typ == "instance-profile":
		return d.Show(p, arn) + " is an instance profile", "name the role in it"
	case typ != "role":
		return d.Show(p, arn) + " lacks role/", roleARNHint
	case !roleNameForm.MatchString(name[strings.LastIndexByte(name, '/')+1:]):
		return d.Show(p, arn) + " has no valid name after role/", roleARNHint
	}
	return "", ""
}

// shortID returns an account id for an example.
func shortID(p yamldoc.Position, id string) string {
	if p.References == "" && accountIDForm.MatchString(id) {
		return id
	}
	return "123456789012"
}
