package policy

import (
	"slices"
	"strings"
	"testing"
)

// The policy for the organization allows only its list calls. Callers and roles can be restricted to the organization.
func TestOrganizationsPolicy(t *testing.T) {
	some := OrganizationsPolicy([]string{
		"organizations:ListRoots", "organizations:ListAccounts", "organizations:ListRoots",
	}).Statement[0].Action
	if !slices.Equal(some, StringList{"organizations:ListAccounts", "organizations:ListRoots"}) {
		t.Error(some)
	}
	all := OrganizationsPolicy(nil).Statement[0].Action
	notList := func(action string) bool { return !strings.HasPrefix(action, "organizations:List") }
	if len(all) != 6 || slices.ContainsFunc(all, notList) {
		t.Error(all)
	}
	a := Access{
		Partition:    "aws",
		Home:         "111111111111",
		Role:         DefaultRole,
		ExternalID:   "word",
		Organization: "o-exampleorgid",
		Roles:        []string{"arn:aws:iam::*:role/reader"},
	}
	if err := a.Validate(); err != nil {
		t.Fatal(err)
	}
	equal := a.TrustPolicy().Statement[0].Condition["StringEquals"]
	if !slices.Equal(equal["aws:PrincipalOrgID"], StringList{"o-exampleorgid"}) ||
		!slices.Equal(equal["sts:ExternalId"], StringList{"word"}) {
		t.Errorf("%v", equal)
	}
	s := a.AssumePolicy().Statement[0]
	if !slices.Equal(s.Resource, StringList{"arn:aws:iam::*:role/reader"}) ||
		!slices.Equal(s.Condition["StringEquals"]["aws:ResourceOrgID"], StringList{"o-exampleorgid"}) {
		t.Errorf("%+v", s)
	}
	if s := (Access{Partition: "aws", Role: DefaultRole}).AssumePolicy(); strings.Contains(string(s.JSON()), "Condition") {
		t.Errorf("%s", s.JSON())
	}
	a.Organization = "ou-ab12-cdef"
	if err := a.Validate(); err == nil || !strings.Contains(err.Error(), "organization id") {
		t.Error(err)
	}
}
