package policy

import (
	"slices"
	"strings"
	"testing"
)

// Who asks the organization needs its lists and nothing else; who enters, and what is entered, can be bound to it.
func TestOrganizations(t *testing.T) {
	if got := OrganizationsPolicy([]string{"organizations:ListRoots", "organizations:ListAccounts", "organizations:ListRoots"}).Statement[0].Action; !slices.Equal(got, StringList{"organizations:ListAccounts", "organizations:ListRoots"}) {
		t.Error(got)
	}
	all := OrganizationsPolicy(nil)
	if s := all.Statement[0]; len(s.Action) != 6 || slices.ContainsFunc(s.Action, func(a string) bool { return !strings.HasPrefix(a, "organizations:List") }) {
		t.Errorf("%+v", s)
	}
	a := Access{Partition: "aws", Home: "111111111111", Role: DefaultRole, ExternalID: "word", Organization: "o-exampleorgid", Roles: []string{"arn:aws:iam::*:role/reader"}}
	if err := a.Validate(); err != nil {
		t.Fatal(err)
	}
	equal := a.TrustPolicy().Statement[0].Condition["StringEquals"]
	if !slices.Equal(equal["aws:PrincipalOrgID"], StringList{"o-exampleorgid"}) || !slices.Equal(equal["sts:ExternalId"], StringList{"word"}) {
		t.Errorf("%v", equal)
	}
	s := a.AssumePolicy().Statement[0]
	if !slices.Equal(s.Resource, StringList{"arn:aws:iam::*:role/reader"}) || !slices.Equal(s.Condition["StringEquals"]["aws:ResourceOrgID"], StringList{"o-exampleorgid"}) {
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
