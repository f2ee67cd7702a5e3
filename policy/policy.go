// Package policy writes the IAM policies that the collector needs: what it may do in an account, who may enter the account
// as the role, who may assume that role, and what a user with an MFA device may do without it. It writes them as
// JSON documents, as a CloudFormation template and as a Terraform module.
//
// It knows IAM's grammar and IAM's limits. Which actions a kind needs is the catalogue's affair, and so actions come in.
// It does no I/O. Begin at [List] and [Access].
package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"unicode"
)

// Version is the version of the policy language. Without it variables such as ${aws:username} are plain text.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html
const Version = "2012-10-17"

// IAM's limits, in characters that are not white space.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const (
	ManagedLimit = 6144  // a managed policy
	RoleLimit    = 10240 // all policies together that are embedded in a role
	TrustLimit   = 2048  // a role's trust policy, as long as nobody asked AWS for more
)

// A Document is a policy, in the order in which people read one.
type Document struct {
	Version   string
	Statement []Statement
}

// A Statement allows or denies.
type Statement struct {
	Sid       string `json:",omitempty"` // letters and digits, unique in its document
	Effect    string
	Principal map[string]StringList            `json:",omitempty"` // in a trust policy, and nowhere else
	Action    StringList                       `json:",omitempty"`
	NotAction StringList                       `json:",omitempty"`
	Resource  StringList                       `json:",omitempty"` // in every policy but a trust policy
	Condition map[string]map[string]StringList `json:",omitempty"` // operator → key → values
}

// StringList is one word or several. IAM takes a single one with and without brackets; without is how people write it.
type StringList []string

// MarshalJSON implements [json.Marshaler].
func (w StringList) MarshalJSON() ([]byte, error) {
	if len(w) == 1 {
		return json.Marshal(w[0])
	}
	return json.Marshal([]string(w))
}

// JSON is the document as a file: indented, with a line break at its end.
func (d Document) JSON() []byte { return encodeIndented(d) }

// encodeIndented encodes what cannot fail to be encoded. Nothing is escaped for HTML: a policy is read by people.
func encodeIndented(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("policy: %T: %v", v, err)) // the types of this package hold strings and nothing else
	}
	return b.Bytes()
}

// Size is the document's length as IAM counts it: without white space.
func (d Document) Size() int {
	n := 0
	for _, r := range string(d.JSON()) {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// regionsAction is asked once a run, to know the account's regions.
const regionsAction = "ec2:DescribeRegions"

// AllowStatement is the statement that allows actions on everything: the Describe actions of EC2 that list know no narrower resource.
// https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
func AllowStatement(sid string, actions []string) Statement {
	actions = slices.Clone(actions)
	slices.Sort(actions)
	return Statement{Sid: sid, Effect: "Allow", Action: slices.Compact(actions), Resource: StringList{"*"}}
}

// ListingPolicies is the least that an account must allow so that the actions can be listed, ec2:DescribeRegions included. It is as few
// documents as fit into managed policies; today every action of EC2 that lists fits into one.
func ListingPolicies(actions []string) []Document { return splitActions(actions, ManagedLimit) }

func splitActions(actions []string, limit int) []Document {
	all := AllowStatement("CollectorList", append([]string{regionsAction}, actions...))
	var docs []Document
	for rest := all.Action; len(rest) > 0; {
		d := Document{Version, []Statement{{Sid: all.Sid, Effect: all.Effect, Resource: all.Resource}}}
		available := limit - d.Size() - len(`"Action":[],`)
		n := 0
		for n < len(rest) && available >= len(rest[n])+len(`"",`) {
			available -= len(rest[n]) + len(`"",`)
			n++
		}
		n = max(n, 1) // an action that fits nowhere is IAM's to refuse
		d.Statement[0].Action, rest = rest[:n], rest[n:]
		docs = append(docs, d)
	}
	return docs
}
