package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws-collector/collector/record"
)

// An Access is how the collector gets from its home account into the accounts that it lists.
type Access struct {
	Partition  string   // of all the accounts: a role of one partition cannot be assumed from another
	Home       string   // the id of the account that the collector's own user or role lives in
	Caller     string   // that user or role: user/NAME or role/NAME; "": whomever Home's administrators let
	Role       string   // the name of the role in each account
	Accounts   []string // ids of the accounts that have the role; none: any
	Roles      []string // ARNs of the roles, in the place of Role and Accounts
	ExternalID string   // what AssumeRole must bring; "": nothing
	MFA        bool     // only callers that have signed in with MFA

	Organization string // o-…: callers must be of it, and so must the roles' accounts; "": any
}

// DefaultRole is the role's name where nobody gave one.
const DefaultRole = "collector-readonly"

// What AWS takes. The forms of names: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html#reference_iam-quotas-names
// The external id's: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
var (
	accountIDForm    = regexp.MustCompile(`^[0-9]{12}$`)
	roleNameForm     = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	callerForm       = regexp.MustCompile(`^(user|role)(/[\w+=,.@-]+)*/[\w+=,.@-]{1,64}$`)
	organizationForm = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)
	externalIDForm   = regexp.MustCompile(`^[\w+=,.@:/-]{2,}$`)
	roleARNForm      = regexp.MustCompile(`^arn:[\w-]+:iam::([0-9]{12}|\*):role(/[\w+=,.@-]+)+$`)
)

// Validate says what is wrong with an Access, in the words of the command line's flags.
func (a Access) Validate() error {
	if _, ok := record.PartitionNamed(a.Partition); !ok {
		return fmt.Errorf("partition %q is not known; aws, aws-cn and aws-us-gov are the common ones", a.Partition)
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
		return fmt.Errorf("%s: a role has no MFA device, so nobody could enter; MFA is for users", a.Caller)
	}
	if a.Organization != "" && !organizationForm.MatchString(a.Organization) {
		return fmt.Errorf("organization id %q is not o- and 10 to 32 small letters or digits", a.Organization)
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

// TrustPolicy is the trust policy of the role in each account: who may become it.
//
// It names the caller where one is given, who must exist by then: IAM keeps the caller's inner id, so that a user or role which
// is made again under the same name is another one and must be named anew. Else it names the home account, whose
// administrators then decide by the policy of [Access.Assume].
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
func (a Access) TrustPolicy() Document {
	who := a.Caller
	if who == "" {
		who = "root"
	}
	return Document{Version, []Statement{{
		Sid: "CollectorMayEnter", Effect: "Allow", Principal: map[string]StringList{"AWS": {a.arn(a.Home, who)}},
		Action: StringList{"sts:AssumeRole"}, Condition: a.conditions(),
	}}}
}

// conditions are those of the trust policy: together they hold, each for itself.
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
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-multifactorauthpresent
const mfaPresentKey = "aws:MultiFactorAuthPresent"

// principalOrgKey is the organization that the caller's account is a member of.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html#condition-keys-principalorgid
const principalOrgKey = "aws:PrincipalOrgID"

// AssumePolicy is the permission policy of the collector's own user or role: it may become the role in each account, and do
// nothing else. Without account ids, and where so many roles are named that they fit into no managed policy, it
// allows the role's name in any account; who enters is then the trust policies' matter alone.
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
	s := Statement{Sid: "CollectorAssume", Effect: "Allow", Action: StringList{"sts:AssumeRole"}, Resource: slices.Compact(roles)}
	s.Condition = map[string]map[string]StringList{}
	if a.MFA {
		s.Condition["Bool"] = map[string]StringList{mfaPresentKey: {"true"}}
	}
	if a.Organization != "" {
		s.Condition["StringEquals"] = map[string]StringList{"aws:ResourceOrgID": {a.Organization}}
	}
	return Document{Version, []Statement{s}}
}

// inAnyAccount is ARNs with any account id in the place of theirs.
func inAnyAccount(arns []string) []string {
	out := make([]string, len(arns))
	for i, arn := range arns {
		f := strings.SplitN(arn, ":", 6)
		f[4] = "*"
		out[i] = strings.Join(f, ":")
	}
	return out
}

// InstanceTrustPolicy is the trust policy of a role for the instances that the collector runs on: EC2 may give it to them. In China and in
// two of the isolated partitions EC2's name ends as the partition's other names do. Elsewhere it is the one of partition aws:
// IAM of the European Sovereign Cloud calls ec2.amazonaws.eu an invalid principal.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_switch-role-ec2.html
func (a Access) InstanceTrustPolicy() Document {
	ec2 := "ec2.amazonaws.com"
	switch a.Partition {
	case "aws-cn", "aws-iso", "aws-iso-b":
		p, _ := record.PartitionNamed(a.Partition)
		ec2 = "ec2." + p.DNSSuffix
	}
	return Document{Version, []Statement{{
		Sid: "InstancesMayHold", Effect: "Allow", Principal: map[string]StringList{"Service": {ec2}}, Action: StringList{"sts:AssumeRole"},
	}}}
}

// SelfMFAPolicy is the policy of a user who looks after an MFA device of their own: without having signed in with it, they can set it
// up and open a session with it, and nothing else.
//
// Two rules of IAM stand behind it. A one-time code is handed in by GetSessionToken, with the long-lived key, which therefore
// is among what is not denied. And a long-lived key brings no aws:MultiFactorAuthPresent at all, so that the denial must
// say BoolIfExists.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_mfa_configure-api-require.html
func (a Access) SelfMFAPolicy() Document {
	own := a.arn("*", "user/${aws:username}")
	lists := StringList{"iam:ListUsers", "iam:ListVirtualMFADevices"}
	manage := StringList{"iam:EnableMFADevice", "iam:GetMFADevice", "iam:ListMFADevices", "iam:ResyncMFADevice"}
	before := slices.Concat(StringList{"iam:CreateVirtualMFADevice"}, lists, manage, StringList{"sts:GetSessionToken"})
	slices.Sort(before)
	return Document{Version, []Statement{
		{Sid: "ListDevices", Effect: "Allow", Action: lists, Resource: StringList{"*"}},
		{Sid: "CreateDevice", Effect: "Allow", Action: StringList{"iam:CreateVirtualMFADevice"}, Resource: StringList{a.arn("*", "mfa/*")}},
		{Sid: "ManageOwnDevice", Effect: "Allow", Action: manage, Resource: StringList{own}},
		{Sid: "DeactivateOwnDeviceWithMFA", Effect: "Allow", Action: StringList{"iam:DeactivateMFADevice"}, Resource: StringList{own},
			Condition: map[string]map[string]StringList{"Bool": {mfaPresentKey: {"true"}}}},
		{Sid: "DenyTheRestWithoutMFA", Effect: "Deny", NotAction: before, Resource: StringList{"*"},
			Condition: map[string]map[string]StringList{"BoolIfExists": {mfaPresentKey: {"false"}}}},
	}}
}
