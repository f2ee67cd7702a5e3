package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws-collector/collector/record"
)

// An Access describes how the collector reaches the accounts that it lists from its home account.
type Access struct {
	Partition  string   // that of all accounts: a role cannot be assumed from another partition
	Home       string   // the id of the account of the collector's own user or role
	Caller     string   // that user or role, user/NAME or role/NAME; "": the administrators of Home decide
	Role       string   // the name of the role in each account
	Accounts   []string // ids of the accounts that have the role; empty: any
	Roles      []string // ARNs of the roles, instead of Role and Accounts
	ExternalID string   // required by the trust policy; "": none
	MFA        bool     // only callers that signed in with MFA

	Organization string // o-…: the organization of the callers and of the roles' accounts; "": any
}

// DefaultRole is the default name of the role.
const DefaultRole = "collector-readonly"

// AWS's formats of names and of external ids:
//
//	https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html#reference_iam-quotas-names
//	https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
var (
	accountIDForm    = regexp.MustCompile(`^[0-9]{12}$`)
	roleNameForm     = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	callerForm       = regexp.MustCompile(`^(user|role)(/[\w+=,.@-]+)*/[\w+=,.@-]{1,64}$`)
	organizationForm = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)
	externalIDForm   = regexp.MustCompile(`^[\w+=,.@:/-]{2,}$`)
	roleARNForm      = regexp.MustCompile(`^arn:[\w-]+:iam::([0-9]{12}|\*):role(/[\w+=,.@-]+)+$`)
)

// Validate checks an Access. Its errors use the words of the command line's flags.
func (a Access) Validate() error {
	if _, ok := record.PartitionNamed(a.Partition); !ok {
		return fmt.Errorf("unknown partition %q; the common ones are aws, aws-cn and aws-us-gov", a.Partition)
	}
	if a.Home != "" && !accountIDForm.MatchString(a.Home) {
		return fmt.Errorf("account id %q is not 12 digits", a.Home)
	}
	if a.Caller != "" && !callerForm.MatchString(a.Caller) {
		return fmt.Errorf("caller %q is neither user/NAME nor role/NAME", a.Caller)
	}
	if !roleNameForm.MatchString(a.Role) {
		return fmt.Errorf("role name %q is not 1 to 64 letters, digits or any of _+=,.@-", a.Role)
	}
	if a.ExternalID != "" && (len(a.ExternalID) > 1224 || !externalIDForm.MatchString(a.ExternalID)) {
		return fmt.Errorf("external id %q is not 2 to 1224 letters, digits or any of _+=,.@:/-", a.ExternalID)
	}
	if a.MFA && strings.HasPrefix(a.Caller, "role/") {
		return fmt.Errorf("%s: a role has no MFA device, so no caller could assume the role; use MFA with a user", a.Caller)
	}
	if a.Organization != "" && !organizationForm.MatchString(a.Organization) {
		return fmt.Errorf("organization id %q is not o- and 10 to 32 lowercase letters or digits", a.Organization)
	}
	for _, id := range a.Accounts {
		if !accountIDForm.MatchString(id) {
			return fmt.Errorf("account id %q is not 12 digits", id)
		}
	}
	for _, arn := range a.Roles {
		if !roleARNForm.MatchString(arn) {
			return fmt.Errorf("role %q is not the ARN of a role", arn)
		}
		if p := record.PartitionOfARN(arn); p != a.Partition {
			return fmt.Errorf("role %s is of partition %s, not %s", arn, p, a.Partition)
		}
	}
	return nil
}

func (a Access) arn(account, resource string) string {
	return "arn:" + a.Partition + ":iam::" + account + ":" + resource
}

// TrustPolicy returns the trust policy of the role in each account: it says who may assume the role.
//
// If a caller is given, the policy names it, and the caller must exist: IAM stores the caller's internal id. A user or
// role that is deleted and created again has another id, so the policy must then be written again. Without a caller the
// policy names the home account; its administrators then decide with the policy of [Access.AssumePolicy].
//
//	https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
func (a Access) TrustPolicy() Document {
	return Document{Version, []Statement{{
		Sid:       "CollectorMayEnter",
		Effect:    "Allow",
		Principal: map[string]StringList{"AWS": {a.arn(a.Home, callerOrRoot(a))}},
		Action:    StringList{"sts:AssumeRole"},
		Condition: a.conditions(),
	}}}
}

// conditions returns the conditions of the trust policy. All of them must hold.
func (a Access) conditions() map[string]map[string]StringList {
	c, equal := map[string]map[string]StringList{}, map[string]StringList{}
	if a.ExternalID != "" {
		equal["sts:ExternalId"] = StringList{a.ExternalID}
	}
	if a.Organization != "" {
		equal[principalOrgKey] = StringList{a.Organization}
	}
	if len(equal) > 0 {
		c["StringEquals"] = equal
	}
	if a.MFA {
		c["Bool"] = map[string]StringList{mfaPresentKey: {"true"}}
	}
	if len(c) == 0 {
		return nil
	}
	return c
}

// mfaPresentKey is true for a session that began with a one-time code, and absent for a long-lived key.
//
//	https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
const mfaPresentKey = "aws:MultiFactorAuthPresent"

// principalOrgKey is the organization of the caller's account.
//
//	https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
const principalOrgKey = "aws:PrincipalOrgID"

// AssumePolicy returns the permission policy of the collector's own user or role: it may assume the role in each
// account, and do nothing else. Without account ids, or with more roles than a managed policy can name, it allows the
// role's name in any account; then only the trust policies restrict access.
func (a Access) AssumePolicy() Document {
	d := a.assumePolicy(a.roleARNs())
	if d.Size() > ManagedLimit {
		d = a.assumePolicy(inAnyAccount(d.Statement[0].Resource))
	}
	return d
}

func (a Access) roleARNs() []string {
	if len(a.Roles) > 0 {
		return a.Roles
	}
	if len(a.Accounts) == 0 {
		return []string{a.arn("*", "role/"+a.Role)}
	}
	var arns []string
	for _, id := range a.Accounts {
		arns = append(arns, a.arn(id, "role/"+a.Role))
	}
	return arns
}

func (a Access) assumePolicy(roles []string) Document {
	roles = slices.Clone(roles)
	slices.Sort(roles)
	s := Statement{
		Sid:       "CollectorAssume",
		Effect:    "Allow",
		Action:    StringList{"sts:AssumeRole"},
		Resource:  slices.Compact(roles),
		Condition: map[string]map[string]StringList{},
	}
	if a.MFA {
		s.Condition["Bool"] = map[string]StringList{mfaPresentKey: {"true"}}
	}
	if a.Organization != "" {
		s.Condition["StringEquals"] = map[string]StringList{"aws:ResourceOrgID": {a.Organization}}
	}
	return Document{Version, []Statement{s}}
}

// inAnyAccount replaces the account id of ARNs by "*".
func inAnyAccount(arns []string) []string {
	out := make([]string, len(arns))
	for i, arn := range arns {
		f := strings.SplitN(arn, ":", 6)
		f[4] = "*"
		out[i] = strings.Join(f, ":")
	}
	return out
}

// InstanceTrustPolicy returns the trust policy of a role for EC2 instances that run the collector. In China and in two
// isolated partitions the EC2 principal ends in the partition's own DNS suffix. Elsewhere it is that of partition aws:
// IAM of the European Sovereign Cloud rejects ec2.amazonaws.eu as an invalid principal.
//
//	https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_switch-role-ec2.html
func (a Access) InstanceTrustPolicy() Document {
	ec2 := "ec2.amazonaws.com"
	switch a.Partition {
	case "aws-cn", "aws-iso", "aws-iso-b":
		p, _ := record.PartitionNamed(a.Partition)
		ec2 = "ec2." + p.DNSSuffix
	}
	return Document{Version, []Statement{{
		Sid:       "InstancesMayHold",
		Effect:    "Allow",
		Principal: map[string]StringList{"Service": {ec2}},
		Action:    StringList{"sts:AssumeRole"},
	}}}
}

// SelfMFAPolicy returns the policy of a user who manages their own MFA device: before signing in with it, they can only
// set it up and open a session with it.
//
// Two rules of IAM explain its form. GetSessionToken takes the one-time code together with the long-lived key, so it
// cannot be denied. And requests with a long-lived key have no aws:MultiFactorAuthPresent at all, so the denial must
// use BoolIfExists.
//
//	https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa_configure-api-require.html
func (a Access) SelfMFAPolicy() Document {
	own := a.arn("*", "user/${aws:username}")
	create := StringList{"iam:CreateVirtualMFADevice"}
	lists := StringList{"iam:ListUsers", "iam:ListVirtualMFADevices"}
	manage := StringList{"iam:EnableMFADevice", "iam:GetMFADevice", "iam:ListMFADevices", "iam:ResyncMFADevice"}
	withoutMFA := slices.Concat(create, lists, manage, StringList{"sts:GetSessionToken"})
	slices.Sort(withoutMFA)
	return Document{Version, []Statement{
		{Sid: "ListDevices", Effect: "Allow", Action: lists, Resource: StringList{"*"}},
		{Sid: "CreateDevice", Effect: "Allow", Action: create, Resource: StringList{a.arn("*", "mfa/*")}},
		{Sid: "ManageOwnDevice", Effect: "Allow", Action: manage, Resource: StringList{own}},
		{
			Sid:       "DeactivateOwnDeviceWithMFA",
			Effect:    "Allow",
			Action:    StringList{"iam:DeactivateMFADevice"},
			Resource:  StringList{own},
			Condition: map[string]map[string]StringList{"Bool": {mfaPresentKey: {"true"}}},
		},
		{
			Sid:       "DenyTheRestWithoutMFA",
			Effect:    "Deny",
			NotAction: withoutMFA,
			Resource:  StringList{"*"},
			Condition: map[string]map[string]StringList{"BoolIfExists": {mfaPresentKey: {"false"}}},
		},
	}}
}
