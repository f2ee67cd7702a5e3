// Package policy writes the IAM policies that the collector needs: what it may do in an account, who may assume the
// role there, which roles the collector's user may assume, and what a user may do before signing in with MFA. It writes
// them as JSON documents, as a CloudFormation template and as a Terraform module.
//
// It knows IAM's grammar and limits, and finds the roles and the partition in account blocks. It does not know which
// actions a kind needs: callers pass the actions. It does no I/O. Begin at [ListingPolicies] and [Access].
package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"unicode"
)

// Version is the version of the policy language. Without it, variables such as ${aws:username} are plain text.
//
//	https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html
const Version = "2012-10-17"

// IAM's limits, in characters without white space.
//
//	https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const (
	ManagedLimit = 6144  // a managed policy
	RoleLimit    = 10240 // all policies embedded in a role, together
	TrustLimit   = 2048  // a role's trust policy; the default quota
)

// A Document is a policy, with its members in the usual order.
type Document struct {
	Version   string
	Statement []Statement
}

// A Statement allows or denies.
type Statement struct {
	Sid       string `json:",omitempty"` // letters and digits, unique in its document
	Effect    string
	Principal map[string]StringList            `json:",omitempty"` // only in a trust policy
	Action    StringList                       `json:",omitempty"`
	NotAction StringList                       `json:",omitempty"`
	Resource  StringList                       `json:",omitempty"` // in every policy except a trust policy
	Condition map[string]map[string]StringList `json:",omitempty"` // operator → key → values
}

// StringList is one string or several. IAM accepts a single string with and without brackets; it is written without.
type StringList []string

// MarshalJSON implements [json.Marshaler].
func (w StringList) MarshalJSON() ([]byte, error) {
	if len(w) == 1 {
		return json.Marshal(w[0])
	}
	return json.Marshal([]string(w))
}

// JSON returns the document as a file: indented, with a line break at its end.
func (d Document) JSON() []byte { return encodeIndented(d) }

// encodeIndented encodes the types of this package, which cannot fail. It does not escape for HTML, because people read
// policies.
func encodeIndented(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("policy: %T: %v", v, err)) // the types of this package hold only strings
	}
	return b.Bytes()
}

// Size returns the document's length as IAM counts it: without white space.
func (d Document) Size() int {
	n := 0
	for _, r := range string(d.JSON()) {
		if !unicode.IsSpace(r) {
			n++
		}
	}
	return n
}

// regionsAction is called once in each run, to learn the account's regions.
const regionsAction = "ec2:DescribeRegions"

// AllowStatement returns a statement that allows actions on all resources: actions that list accept no narrower
// resource.
//
//	https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonec2.html
func AllowStatement(sid string, actions []string) Statement {
	actions = slices.Clone(actions)
	slices.Sort(actions)
	return Statement{Sid: sid, Effect: "Allow", Action: slices.Compact(actions), Resource: StringList{"*"}}
}

// ListingPolicies returns the least permissions that listing with the given actions needs, ec2:DescribeRegions
// included. The result has as few documents as managed policies allow; today all list actions fit into one.
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
		n = max(n, 1) // an action that fits nowhere is left for IAM to reject
		d.Statement[0].Action, rest = rest[:n], rest[n:]
		docs = append(docs, d)
	}
	return docs
}
