package policy

import "fmt"

// A block is an object of a template. Its keys come out sorted.
type object map[string]any

// A stack is what makes one: a CloudFormation template, in the order in which people read one.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-anatomy.html
type stackTemplate struct {
	AWSTemplateFormatVersion string
	Description              string
	Metadata                 object
	Parameters               object
	Conditions               object
	Resources                object
	Outputs                  object
}

// CloudFormation is a template that makes the role in an account, with the documents of [List] in it. Deployed as a StackSet
// it does so in every account, those that join later included. What a says are the parameters' defaults.
//
// The policies are embedded in the role, so that they come and go with it; what does not fit there is an error.
func CloudFormation(a Access, docs []Document) ([]byte, error) {
	if err := checkSize(a, docs); err != nil {
		return nil, err
	}
	var policies []any
	for i, d := range docs {
		policies = append(policies, object{"PolicyName": policyName(i), "PolicyDocument": d})
	}
	equal := object{"sts:ExternalId": ifCondition("HasExternalId", object{"Ref": "ExternalId"}), principalOrgKey: ifCondition("HasOrganization", object{"Ref": "OrganizationId"})}
	trust := object{"Version": Version, "Statement": []any{object{
		"Sid": "CollectorMayEnter", "Effect": "Allow", "Action": "sts:AssumeRole",
		"Principal": object{"AWS": object{"Fn::Sub": "arn:${AWS::Partition}:iam::${HomeAccountId}:${HomeCaller}"}},
		"Condition": ifCondition("HasCondition", object{
			"StringEquals": ifCondition("HasEqual", equal),
			"Bool":         ifCondition("NeedsMfa", object{mfaPresentKey: "true"}),
		}),
	}}}
	return encodeIndented(stackTemplate{
		AWSTemplateFormatVersion: "2010-09-09",
		Description: "The role by which collector lists EC2 in this account. IAM is global: deploy it in one region of each account, with the " +
			"capability CAPABILITY_NAMED_IAM.",
		Metadata: object{"AWS::CloudFormation::Interface": object{"ParameterGroups": []any{
			object{"Label": object{"default": "Who may enter"}, "Parameters": []any{"HomeAccountId", "HomeCaller", "ExternalId", "OrganizationId", "RequireMfa"}},
			object{"Label": object{"default": "The role"}, "Parameters": []any{"RoleName", "MaxSessionDuration"}},
		}}},
		Parameters: object{
			"HomeAccountId": parameter("The id of the account that the collector's own user or role lives in.", a.Home,
				"AllowedPattern", "^[0-9]{12}$", "ConstraintDescription", "12 digits"),
			"HomeCaller": parameter("Who in that account may enter: user/NAME, role/NAME, who must exist, or root for whomever its administrators let.",
				callerOrRoot(a), "AllowedPattern", "^(root|(user|role)(/[\\w+=,.@-]+)+)$", "ConstraintDescription", "root, user/NAME or role/NAME"),
			"ExternalId": parameter("What the collector must bring (external_id in its configuration); empty for none.", &a.ExternalID,
				"AllowedPattern", "^([\\w+=,.@:/-]{2,1224})?$", "ConstraintDescription", "2 to 1224 letters, digits or any of _+=,.@:/-"),
			"OrganizationId": parameter("Only callers of this organization (o-...); empty for any.", &a.Organization,
				"AllowedPattern", "^(o-[a-z0-9]{10,32})?$", "ConstraintDescription", "o- and 10 to 32 small letters or digits"),
			"RequireMfa": parameter("true: only users that have signed in with MFA. A role cannot.", fmt.Sprint(a.MFA), "AllowedValues", []any{"true", "false"}),
			"RoleName":   parameter("The role's name, the same in every account.", a.Role, "AllowedPattern", "^[\\w+=,.@-]{1,64}$"),
			"MaxSessionDuration": object{"Type": "Number", "Description": "How long a session of the role may last at most, in seconds; role_duration in the configuration may be no longer.",
				"Default": 3600, "MinValue": 3600, "MaxValue": 43200},
		},
		Conditions: object{
			"HasExternalId":   object{"Fn::Not": []any{object{"Fn::Equals": []any{object{"Ref": "ExternalId"}, ""}}}},
			"HasOrganization": object{"Fn::Not": []any{object{"Fn::Equals": []any{object{"Ref": "OrganizationId"}, ""}}}},
			"HasEqual":        object{"Fn::Or": []any{object{"Condition": "HasExternalId"}, object{"Condition": "HasOrganization"}}},
			"NeedsMfa":        object{"Fn::Equals": []any{object{"Ref": "RequireMfa"}, "true"}},
			"HasCondition":    object{"Fn::Or": []any{object{"Condition": "HasEqual"}, object{"Condition": "NeedsMfa"}}},
		},
		Resources: object{"Role": object{"Type": "AWS::IAM::Role", "Properties": object{
			"RoleName":                 object{"Ref": "RoleName"},
			"Description":              "collector lists EC2 by it; it can change nothing",
			"MaxSessionDuration":       object{"Ref": "MaxSessionDuration"},
			"AssumeRolePolicyDocument": trust,
			"Policies":                 policies,
		}}},
		Outputs: object{"RoleArn": object{"Description": "assume_role_arn in the collector's configuration", "Value": object{"Fn::GetAtt": []any{"Role", "Arn"}}}},
	}), nil
}

// ifCondition is value where the condition holds, and nothing at all elsewhere.
func ifCondition(condition string, value any) object {
	return object{"Fn::If": []any{condition, value, object{"Ref": "AWS::NoValue"}}}
}

// parameter is a parameter of text. A default of "" is no default: CloudFormation then asks; a pointer's "" is one.
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

func policyName(i int) string {
	if i == 0 {
		return "collector-list"
	}
	return fmt.Sprintf("collector-list-%d", i+1)
}

// checkSize reports whether a role can hold the documents.
func checkSize(a Access, docs []Document) error {
	if err := a.Validate(); err != nil {
		return err
	}
	n := 0
	for _, d := range docs {
		n += d.Size()
	}
	if n > RoleLimit {
		return fmt.Errorf("the policies are %d characters long, and a role holds %d; name fewer kinds", n, RoleLimit)
	}
	return nil
}
