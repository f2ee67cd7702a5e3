package policy

// organizationsActions lists every action that an organizations block may need.
var organizationsActions = StringList{
	"organizations:ListAccounts", "organizations:ListAccountsForParent", "organizations:ListOrganizationalUnitsForParent",
	"organizations:ListParents", "organizations:ListRoots", "organizations:ListTagsForResource",
}

// OrganizationsPolicy returns the policy of the user or role that calls AWS Organizations: the given actions or, if
// there are none, all that any filter or template needs. These calls work only in the management account and in a
// member that is a delegated administrator.
//
//	https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsorganizations.html
func OrganizationsPolicy(actions []string) Document {
	if len(actions) == 0 {
		actions = organizationsActions
	}
	return Document{Version, []Statement{AllowStatement("CollectorOrganization", actions)}}
}
