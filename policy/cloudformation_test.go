package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A cfn evaluates a template. It implements the few CloudFormation functions that the template uses, and their checks.
type cfn struct {
	AWSTemplateFormatVersion, Description string
	Metadata                              map[string]any
	Parameters                            map[string]struct {
		Type, Description, AllowedPattern, ConstraintDescription string
		Default                                                  any
		AllowedValues                                            []any
		MinValue, MaxValue                                       float64
	}
	Conditions map[string]any
	Resources  map[string]struct {
		Type       string
		Properties map[string]any
	}
	Outputs map[string]struct {
		Description string
		Value       any
	}

	given map[string]any
	used  map[string]bool // parameters and conditions
}

// deploy evaluates the role's properties with the given parameters and the defaults of the others.
func deploy(
	t *testing.T, text []byte, partition string, given map[string]any,
) (properties map[string]any, c *cfn, err error) {
	t.Helper()
	c = &cfn{given: map[string]any{"AWS::Partition": partition}, used: map[string]bool{}}
	if err := decodeStrict(text, c); err != nil {
		t.Fatal(err)
	}
	for name, p := range c.Parameters {
		v, ok := given[name]
		if !ok {
			v = p.Default
		}
		if v == nil {
			return nil, c, fmt.Errorf("%s has no value", name)
		}
		pattern := strings.Replace(p.AllowedPattern, "{2,1224}", "{2,}", 1) // too large for package regexp
		if pattern != "" && !regexp.MustCompile(pattern).MatchString(fmt.Sprint(v)) {
			return nil, c, fmt.Errorf("%s: %v", name, v)
		}
		if p.AllowedValues != nil && !slices.Contains(p.AllowedValues, v) {
			return nil, c, fmt.Errorf("%s: %v", name, v)
		}
		c.given[name] = v
	}
	v, keep := c.eval(t, c.Resources["Role"].Properties)
	if !keep {
		t.Fatal("the role has no properties")
	}
	return v.(map[string]any), c, nil
}

func (c *cfn) eval(t *testing.T, v any) (_ any, keep bool) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		var out []any
		for _, e := range v {
			if e, keep := c.eval(t, e); keep {
				out = append(out, e)
			}
		}
		return out, true
	case map[string]any:
		if ref, ok := v["Ref"]; ok {
			if ref == "AWS::NoValue" {
				return nil, false
			}
			return c.parameter(t, ref.(string)), true
		}
		if sub, ok := v["Fn::Sub"]; ok {
			return regexp.MustCompile(`\$\{([\w:]+)\}`).ReplaceAllStringFunc(sub.(string), func(s string) string {
				return fmt.Sprint(c.parameter(t, s[2:len(s)-1]))
			}), true
		}
		if cond, ok := v["Fn::If"]; ok {
			branch := cond.([]any)
			if len(branch) != 3 {
				t.Fatalf("Fn::If of %d", len(branch))
			}
			if c.condition(t, map[string]any{"Condition": branch[0]}) {
				return c.eval(t, branch[1])
			}
			return c.eval(t, branch[2])
		}
		out := map[string]any{}
		for k, e := range v {
			if strings.HasPrefix(k, "Fn::") {
				t.Fatalf("%s is not known here", k)
			}
			if e, keep := c.eval(t, e); keep {
				out[k] = e
			}
		}
		return out, true
	}
	return v, true
}

// parameter returns the value of a parameter. That of a resource is its logical id.
func (c *cfn) parameter(t *testing.T, name string) any {
	t.Helper()
	if _, ok := c.Resources[name]; ok {
		return name
	}
	v, ok := c.given[name]
	if !ok {
		t.Fatalf("no parameter %s", name)
	}
	c.used[name] = true
	return v
}

func (c *cfn) condition(t *testing.T, v any) bool {
	t.Helper()
	for f, arg := range v.(map[string]any) {
		switch f {
		case "Condition":
			named, ok := c.Conditions[arg.(string)]
			if !ok {
				t.Fatalf("no condition %v", arg)
			}
			c.used[arg.(string)] = true
			return c.condition(t, named)
		case "Fn::Not":
			return !c.condition(t, arg.([]any)[0])
		case "Fn::Or":
			return slices.ContainsFunc(arg.([]any), func(v any) bool { return c.condition(t, v) })
		case "Fn::Equals":
			a, _ := c.eval(t, arg.([]any)[0])
			b, _ := c.eval(t, arg.([]any)[1])
			return a == b
		}
	}
	t.Fatalf("no condition: %v", v)
	return false
}

// With any parameters, the template creates the same documents that `policy` prints.
func TestCloudFormation(t *testing.T) {
	listing := ListingPolicies(severalServices)
	plain, err := CloudFormation(Access{Partition: "aws", Role: DefaultRole}, listing)
	if err != nil {
		t.Fatal(err)
	}
	if err := checkUniqueKeys(json.NewDecoder(strings.NewReader(string(plain)))); err != nil {
		t.Error(err)
	}
	used := map[string]bool{}
	for _, a := range accessVariants() {
		given := map[string]any{
			"HomeAccountId":  a.Home,
			"HomeCaller":     callerOrRoot(a),
			"ExternalId":     a.ExternalID,
			"OrganizationId": a.Organization,
			"RequireMfa":     fmt.Sprint(a.MFA),
		}
		role, c, err := deploy(t, plain, a.Partition, given)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(used, c.used)
		checkSameTrust(t, role["AssumeRolePolicyDocument"], a)
		checkSameListing(t, c.policies(t, role), listing)
		if role["RoleName"] != DefaultRole {
			t.Errorf("role %v", role["RoleName"])
		}

		text, err := CloudFormation(a, listing) // the same parameters, as defaults
		if err != nil {
			t.Fatal(err)
		}
		role, _, err = deploy(t, text, a.Partition, nil)
		if err != nil {
			t.Fatal(err)
		}
		checkSameTrust(t, role["AssumeRolePolicyDocument"], a)
	}
	_, c, err := deploy(t, plain, "aws", nil)
	if err == nil || !strings.Contains(err.Error(), "HomeAccountId has no value") {
		t.Errorf("deployed without a home: %v", err)
	}
	for name := range c.Parameters {
		if !used[name] {
			t.Errorf("parameter %s changes nothing", name)
		}
		_, _, err := deploy(t, plain, "aws", map[string]any{"HomeAccountId": home, name: "${x} y"})
		if err == nil && name != "MaxSessionDuration" {
			t.Errorf("parameter %s accepts any value", name)
		}
	}
	for name := range c.Conditions {
		if !used[name] {
			t.Errorf("condition %s is not used", name)
		}
	}
	if c.AWSTemplateFormatVersion != "2010-09-09" || c.Resources["Role"].Type != "AWS::IAM::Role" ||
		len(c.Resources) != len(listing) || len(c.Outputs) != 1 {
		t.Errorf("template: %s", plain[:200])
	}
	if len(c.Description) == 0 || len(c.Description) > 1024 || len(plain) > 51200 {
		t.Errorf("description of %d bytes, template of %d", len(c.Description), len(plain))
	}
}

// policies returns the names and documents of the role's policies, embedded and managed ones.
func (c *cfn) policies(t *testing.T, role map[string]any) []namedDocument {
	t.Helper()
	var all []namedDocument
	add := func(name, document any) {
		b, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, namedDocument{name.(string), b})
	}
	for _, p := range role["Policies"].([]any) {
		add(p.(map[string]any)["PolicyName"], p.(map[string]any)["PolicyDocument"])
	}
	for _, id := range role["ManagedPolicyArns"].([]any) {
		r := c.Resources[id.(string)]
		properties, _ := c.eval(t, r.Properties)
		p := properties.(map[string]any)
		if r.Type != "AWS::IAM::ManagedPolicy" || len(p) != 2 {
			t.Errorf("%v: %+v", id, r)
		}
		add(p["ManagedPolicyName"], p["PolicyDocument"])
	}
	return all
}

type namedDocument struct {
	name     string
	document []byte
}

// checkSameListing compares the policies of a template with those of [ListingPolicies]. A managed policy has the role's
// name before its own, because its name is unique in an account.
func checkSameListing(t *testing.T, got []namedDocument, want []ListingPolicy) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d policies of %d", len(got), len(want))
	}
	for i, p := range want {
		name := p.Name
		if p.Managed {
			name = DefaultRole + "-" + name
		}
		if got[i].name != name {
			t.Errorf("policy %s, want %s", got[i].name, name)
		}
		if err := check(got[i].document, identity); err != nil {
			t.Error(err)
		}
		checkSameDocument(t, got[i].document, p.Document)
	}
}

func checkSameTrust(t *testing.T, got any, a Access) {
	t.Helper()
	doc, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if err := check(doc, trust); err != nil {
		t.Errorf("%+v: %v", a, err)
	}
	checkSameDocument(t, doc, a.TrustPolicy())
}
