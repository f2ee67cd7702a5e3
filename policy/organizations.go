package policy

// organizationsActions is everything that a block of organizations may need.
var organizationsActions = StringList{
	"organizations:ListAccounts", "organizations:ListAccountsForParent", "organizations:ListOrganizationalUnitsForParent",
	"organizations:ListParents", "organizations:ListRoots", "organizations:ListTagsForResource",
}

// OrganizationsPolicy is what the user or role that asks AWS Organizations must be allowed: these actions; none: all that any filter or
// template needs. It works in the management account, and in a member that was made a delegated administrator; in no other.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsorganizations.html
func OrganizationsPolicy(actions []string) Document {
	if len(actions) == 0 {
		actions = organizationsActions
	}
	return Document{Version, []Statement{AllowStatement("CollectorOrganization", actions)}}
}
