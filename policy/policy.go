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
	"maps"
	"slices"
	"sort"
	"strings"
	"unicode"
)

// Version is the version of the policy language. Without it, variables such as ${aws:username} are plain text.
//
//	https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html
const Version = "2012-10-17"

// IAM's limits; those of sizes in characters without white space.
//
//	https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const (
	ManagedLimit = 6144  // a managed policy
	RoleLimit    = 10240 // all policies embedded in a role, together
	AttachLimit  = 10    // managed policies attached to a role: their number; the default quota, 20 at most
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

// A ListingPolicy is one of the policies that [ListingPolicies] returns.
type ListingPolicy struct {
	Name     string
	Managed  bool // a managed policy that is attached to the role; else it is embedded in the role
	Document Document
}

// ListingPolicies returns the least permissions that listing with the given actions needs, ec2:DescribeRegions
// included: a statement for each service, and a policy for each group of services. The group of a service does not
// depend on the other actions, so a service that is added to a configuration adds a statement or a policy and leaves
// the others as they are.
//
// The policy of EC2 comes first and is embedded in the role. All services together are too large for that, so the
// others are managed policies. A test checks that every group fits with all its actions; if one does not, its policy is
// split between two statements, and a statement that is too large by itself between two actions.
func ListingPolicies(actions []string) []ListingPolicy { return listingPolicies(actions, ManagedLimit) }

func listingPolicies(actions []string, limit int) []ListingPolicy {
	byPrefix := map[string][]string{}
	for _, a := range append([]string{regionsAction}, actions...) {
		prefix, _, _ := strings.Cut(a, ":")
		byPrefix[prefix] = append(byPrefix[prefix], a)
	}
	groups := map[string][]Statement{}
	for _, prefix := range slices.Sorted(maps.Keys(byPrefix)) {
		name := groupOf(prefix)
		groups[name] = append(groups[name], AllowStatement(listingSid(prefix), byPrefix[prefix]))
	}
	var all []ListingPolicy
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		for i, d := range fill(groups[name], limit) {
			p := ListingPolicy{Name: name, Managed: name != ec2Group, Document: d}
			if i > 0 {
				p.Name = fmt.Sprintf("%s-%d", name, i+1)
			}
			all = append(all, p)
		}
	}
	return all
}

// ec2Group is the name of EC2's policy. It is the first in the order of names.
const ec2Group = "collector-list"

// groupOf returns the name of the policy that has a service's statement. A service must stay in its group: it would
// move between two policies of every user.
func groupOf(prefix string) string {
	switch prefix {
	case "ec2":
		return ec2Group
	case "elasticache", "rds", "redshift":
		return "list-databases"
	}
	return "list-services"
}

// listingSid returns the Sid of a service's statement: letters and digits only.
func listingSid(prefix string) string {
	if prefix == "ec2" {
		return "CollectorList"
	}
	prefix = strings.ReplaceAll(prefix, "-", "")
	return "CollectorList" + strings.ToUpper(prefix[:1]) + prefix[1:]
}

// fill puts statements into as few documents as the limit allows, in their order. It divides a statement only if a
// document has no space for it alone.
func fill(statements []Statement, limit int) []Document {
	var docs []Document
	for _, s := range statements {
		if n := len(docs); n > 0 {
			if more := (Document{Version, append(slices.Clone(docs[n-1].Statement), s)}); more.Size() <= limit {
				docs[n-1] = more
				continue
			}
		}
		for rest := s.Action; len(rest) > 0; {
			n := sort.Search(len(rest), func(n int) bool { return oneStatement(s, rest[:n+1]).Size() > limit })
			n = max(n, 1) // an action that fits nowhere is left for IAM to reject
			docs, rest = append(docs, oneStatement(s, rest[:n])), rest[n:]
		}
	}
	return docs
}

func oneStatement(s Statement, actions []string) Document {
	s.Action = actions
	return Document{Version, []Statement{s}}
}
