package policy

import (
	"fmt"
	"strings"
)

// An object is an object of a template. Its keys are sorted when encoded.
type object map[string]any

// A stackTemplate is a CloudFormation template, with its sections in the usual order.
//
//	https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-anatomy.html
type stackTemplate struct {
	AWSTemplateFormatVersion string
	Description              string
	Metadata                 object
	Parameters               object
	Conditions               object
	Resources                object
	Outputs                  object
}

// CloudFormation returns a template that creates the role in an account, with the policies of [ListingPolicies].
// Deployed as a StackSet it does so in every account, also in those that join later. The fields of a become the
// parameters' defaults. If the role cannot hold the policies, CloudFormation returns an error.
func CloudFormation(a Access, listing []ListingPolicy) ([]byte, error) {
	if err := checkFits(a, listing); err != nil {
		return nil, err
	}
	equal := object{
		"sts:ExternalId": ifCondition("HasExternalId", object{"Ref": "ExternalId"}),
		principalOrgKey:  ifCondition("HasOrganization", object{"Ref": "OrganizationId"}),
	}
	trust := object{"Version": Version, "Statement": []any{object{
		"Sid": "CollectorMayEnter", "Effect": "Allow", "Action": "sts:AssumeRole",
		"Principal": object{"AWS": object{"Fn::Sub": "arn:${AWS::Partition}:iam::${HomeAccountId}:${HomeCaller}"}},
		"Condition": ifCondition("HasCondition", object{
			"StringEquals": ifCondition("HasEqual", equal),
			"Bool":         ifCondition("NeedsMfa", object{mfaPresentKey: "true"}),
		}),
	}}}
	role := object{
		"RoleName":                 object{"Ref": "RoleName"},
		"Description":              "collector lists EC2 with this role; it cannot change anything",
		"MaxSessionDuration":       object{"Ref": "MaxSessionDuration"},
		"AssumeRolePolicyDocument": trust,
	}
	resources := object{"Role": object{"Type": "AWS::IAM::Role", "Properties": role}}
	addPolicies(resources, role, listing)
	return encodeIndented(stackTemplate{
		AWSTemplateFormatVersion: "2010-09-09",
		Description: "The role with which collector lists EC2 in this account. " +
			"IAM is global: deploy it in one region of each account, with the capability CAPABILITY_NAMED_IAM.",
		Metadata: object{"AWS::CloudFormation::Interface": object{"ParameterGroups": []any{
			object{
				"Label":      object{"default": "Who may assume the role"},
				"Parameters": []any{"HomeAccountId", "HomeCaller", "ExternalId", "OrganizationId", "RequireMfa"},
			},
			object{"Label": object{"default": "The role"}, "Parameters": []any{"RoleName", "MaxSessionDuration"}},
		}}},
		Parameters: object{
			"HomeAccountId": parameter("The id of the account of the collector's own user or role.", a.Home,
				"AllowedPattern", "^[0-9]{12}$",
				"ConstraintDescription", "12 digits"),
			"HomeCaller": parameter("Who in that account may assume the role: user/NAME or role/NAME, which must exist, "+
				"or root: its administrators decide.", callerOrRoot(a),
				"AllowedPattern", "^(root|(user|role)(/[\\w+=,.@-]+)+)$",
				"ConstraintDescription", "root, user/NAME or role/NAME"),
			"ExternalId": parameter("The external id that callers must send (external_id in the configuration); "+
				"empty for none.", &a.ExternalID,
				"AllowedPattern", "^([\\w+=,.@:/-]{2,1224})?$",
				"ConstraintDescription", "2 to 1224 letters, digits or any of _+=,.@:/-"),
			"OrganizationId": parameter("Only callers of this organization (o-...); empty for any.", &a.Organization,
				"AllowedPattern", "^(o-[a-z0-9]{10,32})?$",
				"ConstraintDescription", "o- and 10 to 32 lowercase letters or digits"),
			"RequireMfa": parameter("true: only users who signed in with MFA. Roles have no MFA.", fmt.Sprint(a.MFA),
				"AllowedValues", []any{"true", "false"}),
			"RoleName": parameter("The role's name, the same in every account.", a.Role,
				"AllowedPattern", "^[\\w+=,.@-]{1,64}$"),
			"MaxSessionDuration": object{
				"Type": "Number",
				"Description": "The longest session of the role, in seconds; " +
					"role_duration in the configuration may not be longer.",
				"Default":  3600,
				"MinValue": 3600,
				"MaxValue": 43200,
			},
		},
		Conditions: object{
			"HasExternalId":   object{"Fn::Not": []any{object{"Fn::Equals": []any{object{"Ref": "ExternalId"}, ""}}}},
			"HasOrganization": object{"Fn::Not": []any{object{"Fn::Equals": []any{object{"Ref": "OrganizationId"}, ""}}}},
			"HasEqual":        either("HasExternalId", "HasOrganization"),
			"NeedsMfa":        object{"Fn::Equals": []any{object{"Ref": "RequireMfa"}, "true"}},
			"HasCondition":    either("HasEqual", "NeedsMfa"),
		},
		Resources: resources,
		Outputs: object{"RoleArn": object{
			"Description": "assume_role_arn in the collector's configuration",
			"Value":       object{"Fn::GetAtt": []any{"Role", "Arn"}},
		}},
	}), nil
}

// addPolicies adds the embedded policies to the role, the managed ones to the resources, and references to them to the
// role.
func addPolicies(resources, role object, listing []ListingPolicy) {
	var embedded, attached []any
	for _, p := range listing {
		if !p.Managed {
			embedded = append(embedded, object{"PolicyName": p.Name, "PolicyDocument": p.Document})
			continue
		}
		id := logicalID(p.Name)
		// The role refers to the policy, so CloudFormation creates the policy first and deletes it last. A description
		// would replace the policy whenever it changes.
		resources[id] = object{"Type": "AWS::IAM::ManagedPolicy", "Properties": object{
			"ManagedPolicyName": object{"Fn::Sub": "${RoleName}-" + p.Name},
			"PolicyDocument":    p.Document,
		}}
		attached = append(attached, object{"Ref": id})
	}
	role["Policies"] = embedded
	if len(attached) > 0 {
		role["ManagedPolicyArns"] = attached
	}
}

// either is true if one of two conditions holds.
func either(a, b string) object {
	return object{"Fn::Or": []any{object{"Condition": a}, object{"Condition": b}}}
}

// ifCondition is value if the condition holds, else nothing.
func ifCondition(condition string, value any) object {
	return object{"Fn::If": []any{condition, value, object{"Ref": "AWS::NoValue"}}}
}

// parameter is a text parameter. A string default of "" means that there is no default and CloudFormation asks for a
// value; a pointer to "" is a default.
func parameter(description string, def any, more ...any) object {
	b := object{"Type": "String", "Description": description}
	switch d := def.(type) {
	case *string:
		b["Default"] = *d
	case string:
		if d != "" {
			b["Default"] = d
		}
	}
	for i := 0; i+1 < len(more); i += 2 {
		b[more[i].(string)] = more[i+1]
	}
	return b
}

func callerOrRoot(a Access) string {
	if a.Caller == "" {
		return "root"
	}
	return a.Caller
}

// logicalID returns the logical id of a policy with a name: list-services has ListServices.
func logicalID(name string) string {
	var id strings.Builder
	for word := range strings.SplitSeq(name, "-") {
		id.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return id.String()
}

// checkFits returns an error if a is invalid or a role cannot hold the policies.
func checkFits(a Access, listing []ListingPolicy) error {
	if err := a.Validate(); err != nil {
		return err
	}
	size, attached := 0, 0
	for _, p := range listing {
		if p.Managed {
			attached++
		} else {
			size += p.Document.Size()
		}
	}
	if size > RoleLimit {
		return fmt.Errorf("the embedded policies have %d characters, but a role can hold %d; select fewer kinds",
			size, RoleLimit)
	}
	if attached > AttachLimit {
		return fmt.Errorf("%d managed policies, but %d can be attached to a role by default; select fewer kinds",
			attached, AttachLimit)
	}
	return nil
}
