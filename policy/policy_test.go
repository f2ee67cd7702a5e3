package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/aws-collector/collector/record"
)

const home = "123456789012"

// accessVariants returns every combination of the flags, in each partition.
func accessVariants() []Access {
	var all []Access
	for _, p := range record.Partitions {
		for _, caller := range []string{"", "user/collector", "role/hosts/collector"} {
			for _, external := range []string{"", "a-1:b/c@d"} {
				for _, mfa := range []bool{false, true} {
					a := Access{Partition: p.ID, Home: home, Caller: caller, Role: DefaultRole, ExternalID: external, MFA: mfa}
					if mfa && strings.HasPrefix(caller, "role/") {
						continue
					}
					all = append(all, a)
					a.Accounts = []string{"222222222222", "111111111111"}
					all = append(all, a)
					a.Roles = []string{"arn:" + p.ID + ":iam::333333333333:role/path/other"}
					all = append(all, a)
					a.Accounts, a.Roles, a.Organization = nil, nil, "o-exampleorgid"
					all = append(all, a)
				}
			}
		}
	}
	return all
}

func someActions(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("ec2:DescribeSomethingNumber%d", i))
	}
	return all
}

func TestDocumentsFollowGrammar(t *testing.T) {
	for _, a := range accessVariants() {
		if err := a.Validate(); err != nil {
			t.Fatal(err)
		}
		for name, d := range map[string]struct {
			doc  Document
			form string
		}{
			"trust":  {a.TrustPolicy(), trust},
			"host":   {a.InstanceTrustPolicy(), trust},
			"assume": {a.AssumePolicy(), identity},
			"mfa":    {a.SelfMFAPolicy(), identity},
			"list":   {ListingPolicies(someActions(9))[0].Document, identity},
		} {
			if err := check(d.doc.JSON(), d.form); err != nil {
				t.Errorf("%s of %+v: %v\n%s", name, a, err, d.doc.JSON())
			}
			for _, word := range strings.FieldsFunc(string(d.doc.JSON()), func(r rune) bool { return r == '"' }) {
				if p := record.PartitionOfARN(word); p != "" && p != a.Partition {
					t.Errorf("%s of %+v names %s", name, a, word)
				}
			}
		}
	}
	for partition, ec2 := range map[string]string{
		"aws": "amazonaws.com", "aws-us-gov": "amazonaws.com", "aws-cn": "amazonaws.com.cn", "aws-eusc": "amazonaws.com",
		"aws-iso": "c2s.ic.gov", "aws-iso-b": "sc2s.sgov.gov", "aws-iso-e": "amazonaws.com", "aws-iso-f": "amazonaws.com",
	} {
		got := string((Access{Partition: partition}).InstanceTrustPolicy().JSON())
		if !strings.Contains(got, `"ec2.`+ec2+`"`) {
			t.Errorf("%s: %s", partition, got)
		}
	}
}

// A request is what IAM evaluates.
type request struct {
	action, resource string
	keys             map[string]string // condition keys
}

// evaluate is IAM's evaluation of one identity's policies: an explicit denial wins, and what is not allowed is denied.
//
//	https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
func evaluate(r request, docs ...Document) (effect, sid string) {
	effect = "implicit deny"
	for _, d := range docs {
		for _, s := range d.Statement {
			match := func(patterns []string, word string) bool {
				return slices.ContainsFunc(patterns, func(p string) bool {
					p = strings.ReplaceAll(strings.ReplaceAll(p, "${aws:username}", r.keys["aws:username"]), "/", "\x00")
					ok, _ := path.Match(p, strings.ReplaceAll(word, "/", "\x00")) // IAM's star does not stop at a slash
					return ok
				})
			}
			if len(s.Action) > 0 && !match(s.Action, r.action) || len(s.NotAction) > 0 && match(s.NotAction, r.action) ||
				len(s.Resource) > 0 && !match(s.Resource, r.resource) || !conditionHolds(s.Condition, r.keys) {
				continue
			}
			if s.Effect == "Deny" {
				return s.Effect, s.Sid
			}
			effect, sid = s.Effect, s.Sid
		}
	}
	return effect, sid
}

func conditionHolds(c map[string]map[string]StringList, keys map[string]string) bool {
	for op, conds := range c {
		for key, values := range conds {
			have, there := keys[key]
			if !there && strings.HasSuffix(op, "IfExists") {
				continue
			}
			if !there || !slices.Contains(values, have) {
				return false
			}
		}
	}
	return true
}

// severalServices needs an embedded policy and two managed ones, of which one has two statements.
var severalServices = append(someActions(120), "rds:DescribeDBInstances", "iam:ListUsers", "iam:ListRoles",
	"autoscaling:DescribePolicies")

func documentsOf(listing []ListingPolicy) (docs []Document) {
	for _, p := range listing {
		docs = append(docs, p.Document)
	}
	return docs
}

func TestListingPoliciesAllowOnlyTheActions(t *testing.T) {
	docs := documentsOf(ListingPolicies([]string{"ec2:DescribeVolumes", "ec2:DescribeInstances", "ec2:DescribeVolumes"}))
	actions := []string{"ec2:DescribeInstances", "ec2:DescribeRegions", "ec2:DescribeVolumes"}
	if len(docs) != 1 || !slices.Equal(docs[0].Statement[0].Action, actions) {
		t.Fatalf("%+v", docs)
	}
	for action, want := range map[string]string{
		"ec2:DescribeVolumes": "Allow",
		"ec2:DescribeRegions": "Allow",
		"ec2:DescribeVpcs":    "implicit deny",
		"ec2:DeleteVolume":    "implicit deny",
	} {
		r := request{action: action, resource: "arn:aws:ec2:us-east-1:111111111111:volume/x"}
		if got, _ := evaluate(r, docs...); got != want {
			t.Errorf("%s: %s, want %s", action, got, want)
		}
	}
}

func TestListingPoliciesSplitAtLimit(t *testing.T) {
	for _, n := range []int{0, 1, 150, 400, 1000} {
		listing := ListingPolicies(someActions(n))
		got := map[string]int{}
		for i, p := range listing {
			if err := check(p.Document.JSON(), identity); err != nil {
				t.Errorf("%d actions: %v", n, err)
			}
			if want := fmt.Sprintf("collector-list-%d", i+1); p.Managed || i > 0 && p.Name != want {
				t.Errorf("policy %d: %s, managed %t", i, p.Name, p.Managed)
			}
			for _, a := range p.Document.Statement[0].Action {
				got[a]++
			}
		}
		if len(got) != n+1 || got[regionsAction] != 1 || slices.Max(slices.Collect(maps.Values(got))) != 1 {
			t.Errorf("%d actions: %d in %d documents", n, len(got), len(listing))
		}
		if n >= 400 && len(listing) < 2 {
			t.Errorf("%d actions in %d documents", n, len(listing))
		}
	}
}

// For any actions, no document is over the limit, no action is lost, a document has space for nothing of the next one,
// and a statement is divided only if it is too large for a document.
func TestListingPoliciesFillDocuments(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		actions := rapid.SliceOfN(rapid.StringMatching(`(ec2|rds|iam|sns|redshift|x-y):Describe[A-Z][a-z]{1,60}`), 0, 60).
			Draw(t, "actions")
		limit := rapid.IntRange(250, 2000).Draw(t, "limit")
		listing := listingPolicies(actions, limit)
		var got []string
		for i, p := range listing {
			if p.Document.Size() > limit {
				t.Fatalf("%d characters, limit %d", p.Document.Size(), limit)
			}
			checkNotDivided(t, listing, i, limit)
			for _, s := range p.Document.Statement {
				got = append(got, s.Action...)
			}
		}
		want := slices.Compact(slices.Sorted(slices.Values(append(actions, regionsAction))))
		if !slices.Equal(slices.Sorted(slices.Values(got)), want) {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

// checkNotDivided fails if a policy has space for the first action of the next one of its group, or for the whole
// statement.
func checkNotDivided(t *rapid.T, listing []ListingPolicy, i, limit int) {
	if i+1 == len(listing) || !strings.HasPrefix(listing[i+1].Name, listing[i].Name) {
		return
	}
	d, next := listing[i].Document, listing[i+1].Document.Statement[0]
	last := &d.Statement[len(d.Statement)-1]
	if last.Sid != next.Sid {
		if more := (Document{Version, append(slices.Clone(d.Statement), next)}); more.Size() <= limit {
			t.Fatalf("policy %d could take statement %s", i, next.Sid)
		}
		return
	}
	if len(d.Statement) > 1 {
		t.Fatalf("statement %s begins in a policy with others and is divided", next.Sid)
	}
	more := *last
	more.Action = append(slices.Clone(more.Action), next.Action[0])
	if d := (Document{Version, []Statement{more}}); d.Size() <= limit {
		t.Fatalf("policy %d could take %q", i, next.Action[0])
	}
}

// A service that is added leaves the policies and statements of the others as they are.
func TestListingPoliciesAreStable(t *testing.T) {
	services := []string{"autoscaling", "cloudformation", "ec2", "elasticache", "iam", "new-service", "rds", "sns"}
	listing := func(names []string) map[string]string { // policy and Sid → statement
		var actions []string
		for _, name := range names {
			actions = append(actions, name+":DescribeOne", name+":DescribeTwo")
		}
		found := map[string]string{}
		for _, p := range ListingPolicies(actions) {
			if p.Managed != (p.Name != "collector-list") {
				t.Errorf("%s: managed %t", p.Name, p.Managed)
			}
			for _, s := range p.Document.Statement {
				found[p.Name+" "+s.Sid] = string(encodeIndented(s))
			}
		}
		return found
	}
	rapid.Check(t, func(t *rapid.T) {
		some := rapid.SliceOfDistinct(rapid.SampledFrom(services), rapid.ID[string]).Draw(t, "services")
		added := rapid.SampledFrom(services).Draw(t, "added")
		before, after := listing(append(some, "ec2")), listing(append(some, "ec2", added))
		for name, statement := range before {
			if after[name] != statement {
				t.Errorf("%s with %s too:\n%s\nbefore:\n%s", name, added, after[name], statement)
			}
		}
	})
}

func TestAssumePolicy(t *testing.T) {
	a := Access{Partition: "aws-us-gov", Home: home, Role: "auditor"}
	role := func(id string) request {
		return request{action: "sts:AssumeRole", resource: "arn:aws-us-gov:iam::" + id + ":role/auditor"}
	}
	ask := func(r request) string { e, _ := evaluate(r, a.AssumePolicy()); return e }
	otherRole := request{action: "sts:AssumeRole", resource: "arn:aws-us-gov:iam::111111111111:role/admin"}
	otherAction := request{action: "iam:CreateUser", resource: "arn:aws-us-gov:iam::111111111111:role/auditor"}
	if ask(role("111111111111")) != "Allow" || ask(otherRole) == "Allow" || ask(otherAction) == "Allow" {
		t.Errorf("any account: %s", a.AssumePolicy().JSON())
	}
	a.Accounts = []string{"111111111111"}
	if ask(role("111111111111")) != "Allow" || ask(role("222222222222")) == "Allow" {
		t.Errorf("one account: %s", a.AssumePolicy().JSON())
	}
	a.MFA = true
	with := role("111111111111")
	with.keys = map[string]string{mfaPresentKey: "true"}
	if ask(role("111111111111")) == "Allow" || ask(with) != "Allow" {
		t.Errorf("MFA: %s", a.AssumePolicy().JSON())
	}
	for i := range 1000 { // as many as an organization may have
		a.Accounts = append(a.Accounts, fmt.Sprintf("%012d", i))
	}
	d, anyAccount := a.AssumePolicy(), []string{"arn:aws-us-gov:iam::*:role/auditor"}
	if d.Size() > ManagedLimit || !slices.Equal(d.Statement[0].Resource, anyAccount) {
		t.Errorf("%d characters: %v", d.Size(), d.Statement[0].Resource)
	}
}

func TestTrustPolicy(t *testing.T) {
	for _, a := range accessVariants() {
		keys := map[string]string{}
		if a.ExternalID != "" {
			keys["sts:ExternalId"] = a.ExternalID
		}
		if a.Organization != "" {
			keys[principalOrgKey] = a.Organization
		}
		if a.MFA {
			keys[mfaPresentKey] = "true"
		}
		if e, _ := evaluate(request{action: "sts:AssumeRole", keys: keys}, a.TrustPolicy()); e != "Allow" {
			t.Errorf("%+v: %s", a, a.TrustPolicy().JSON())
		}
		for key := range keys {
			less := maps.Clone(keys)
			delete(less, key)
			if e, _ := evaluate(request{action: "sts:AssumeRole", keys: less}, a.TrustPolicy()); e == "Allow" {
				t.Errorf("%+v lets in without %s: %s", a, key, a.TrustPolicy().JSON())
			}
		}
		caller := a.Caller
		if caller == "" {
			caller = "root"
		}
		want := []string{"arn:" + a.Partition + ":iam::" + home + ":" + caller}
		if got := a.TrustPolicy().Statement[0].Principal["AWS"]; !slices.Equal(got, want) {
			t.Errorf("%+v trusts %v", a, got)
		}
	}
}

// A user with a long-lived key can only set a device up and open a session with it. With that session the other
// policies decide.
func TestSelfMFAPolicy(t *testing.T) {
	d := Access{Partition: "aws"}.SelfMFAPolicy()
	everything := Statement{Sid: "All", Effect: "Allow", Action: StringList{"*"}, Resource: StringList{"*"}}
	all := Document{Version, []Statement{everything}}
	key := map[string]string{"aws:username": "alice"}
	session := map[string]string{"aws:username": "alice", mfaPresentKey: "true"}
	for _, c := range []struct {
		action, resource string
		keys             map[string]string
		others           bool // other policies of the user allow everything
		want             string
	}{
		{"iam:CreateVirtualMFADevice", "arn:aws:iam::123456789012:mfa/alice", key, false, "Allow"},
		{"iam:EnableMFADevice", "arn:aws:iam::123456789012:user/alice", key, false, "Allow"},
		{"iam:EnableMFADevice", "arn:aws:iam::123456789012:user/bob", key, false, "implicit deny"},
		{"iam:DeactivateMFADevice", "arn:aws:iam::123456789012:user/alice", key, false, "Deny"},
		{"iam:DeactivateMFADevice", "arn:aws:iam::123456789012:user/alice", session, false, "Allow"},
		{"iam:DeactivateMFADevice", "arn:aws:iam::123456789012:user/bob", session, false, "implicit deny"},
		{"sts:GetSessionToken", "*", key, true, "Allow"},
		{"sts:AssumeRole", "arn:aws:iam::111111111111:role/collector-readonly", key, true, "Deny"},
		{"sts:AssumeRole", "arn:aws:iam::111111111111:role/collector-readonly", session, true, "Allow"},
		{"ec2:DescribeInstances", "*", key, true, "Deny"},
		{"ec2:DescribeInstances", "*", session, true, "Allow"},
	} {
		docs := []Document{d}
		if c.others {
			docs = append(docs, all)
		}
		if got, sid := evaluate(request{c.action, c.resource, c.keys}, docs...); got != c.want {
			t.Errorf("%s on %s with %v: %s (%s), want %s", c.action, c.resource, c.keys, got, sid, c.want)
		}
	}
}

func TestValidate(t *testing.T) {
	good := Access{Partition: "aws", Home: home, Role: "r"}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Access){
		`partition "moon"`:        func(a *Access) { a.Partition = "moon" },
		`"12345" is not 12`:       func(a *Access) { a.Home = "12345" },
		`"1" is not 12`:           func(a *Access) { a.Accounts = []string{"1"} },
		`caller "alice"`:          func(a *Access) { a.Caller = "alice" },
		`role name "a b"`:         func(a *Access) { a.Role = "a b" },
		`external id "${x}"`:      func(a *Access) { a.ExternalID = "${x}" },
		`external id "x"`:         func(a *Access) { a.ExternalID = "x" },
		`no MFA device`:           func(a *Access) { a.Caller, a.MFA = "role/x", true },
		`is not the ARN`:          func(a *Access) { a.Roles = []string{"role/x"} },
		`of partition aws-cn, no`: func(a *Access) { a.Roles = []string{"arn:aws-cn:iam::111111111111:role/x"} },
	} {
		a := good
		change(&a)
		if err := a.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", a, err, want)
		}
		if _, err := CloudFormation(a, nil); err == nil {
			t.Errorf("a template of %+v", a)
		}
		if _, err := Terraform(a, nil); err == nil {
			t.Errorf("a module of %+v", a)
		}
	}
	_, err := Terraform(good, ListingPolicies(someActions(1000)))
	if err == nil || !strings.Contains(err.Error(), "a role can hold 10240") {
		t.Errorf("policies too large for a role: %v", err)
	}
	_, err = CloudFormation(good, make([]ListingPolicy, 11))
	if err != nil {
		t.Errorf("11 empty policies in a role: %v", err)
	}
	_, err = CloudFormation(good, slices.Repeat([]ListingPolicy{{Name: "x", Managed: true}}, 11))
	if err == nil || !strings.Contains(err.Error(), "11 managed policies, but 10 can") {
		t.Errorf("too many policies for a role: %v", err)
	}
}

// checkSameDocument compares two documents, ignoring the order of members.
func checkSameDocument(t *testing.T, got []byte, want Document) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(want.JSON(), &w); err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(g)
	b, _ := json.Marshal(w)
	if string(a) != string(b) {
		t.Errorf("got  %s\nwant %s", a, b)
	}
}
