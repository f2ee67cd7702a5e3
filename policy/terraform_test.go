package policy

import (
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// A module is a Terraform file, parsed and evaluated by Terraform's own libraries. They do not know the provider's
// resources: TestTerraformCLI checks those with terraform itself.
type module struct {
	t      *testing.T
	blocks hclsyntax.Blocks
	ctx    *hcl.EvalContext
}

func parseModule(t *testing.T, text []byte, partition string, given map[string]cty.Value) *module {
	t.Helper()
	f, diags := hclparse.NewParser().ParseHCL(text, "main.tf")
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	object := func(name string, v cty.Value) cty.Value { return cty.ObjectVal(map[string]cty.Value{name: v}) }
	m := &module{t: t, blocks: f.Body.(*hclsyntax.Body).Blocks, ctx: &hcl.EvalContext{
		Variables: map[string]cty.Value{
			"data": object("aws_partition", object("current", object("partition", cty.StringVal(partition)))),
			"aws_iam_role": object("collector", cty.ObjectVal(map[string]cty.Value{
				"id":  cty.StringVal("the role"),
				"arn": cty.StringVal("its ARN"), "name": cty.StringVal("its name"),
			})),
		},
		Functions: map[string]function.Function{
			"can": tryfunc.CanFunc, "jsonencode": stdlib.JSONEncodeFunc, "merge": stdlib.MergeFunc, "regex": stdlib.RegexFunc,
			"length": function.New(&function.Spec{ // the library's version does not accept objects, Terraform's does
				Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType}},
				Type:   function.StaticReturnType(cty.Number),
				Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
					return cty.NumberIntVal(int64(args[0].LengthInt())), nil
				},
			}),
		},
	}}
	arns := map[string]cty.Value{}
	for _, b := range m.of("resource") {
		if b.Labels[0] == "aws_iam_policy" {
			arns[b.Labels[1]] = object("arn", cty.StringVal("ARN of "+b.Labels[1]))
		}
	}
	m.ctx.Variables["aws_iam_policy"] = cty.ObjectVal(arns)
	vars := map[string]cty.Value{}
	for _, b := range m.of("variable") {
		name := b.Labels[0]
		if v, ok := given[name]; ok {
			vars[name] = v
		} else if d, ok := b.Body.Attributes["default"]; ok {
			vars[name] = m.eval(d.Expr)
		}
	}
	m.ctx.Variables["var"] = cty.ObjectVal(vars)
	locals := map[string]cty.Value{}
	for len(m.of("locals")) == 1 {
		n := len(locals)
		for name, a := range m.of("locals")[0].Body.Attributes {
			m.ctx.Variables["local"] = cty.ObjectVal(locals)
			if v, diags := a.Expr.Value(m.ctx); !diags.HasErrors() { // another local may have to be evaluated first
				locals[name] = v
			}
		}
		if len(locals) == n {
			break
		}
	}
	m.ctx.Variables["local"] = cty.ObjectVal(locals)
	return m
}

func (m *module) of(kind string) hclsyntax.Blocks {
	var out hclsyntax.Blocks
	for _, b := range m.blocks {
		if b.Type == kind {
			out = append(out, b)
		}
	}
	return out
}

func (m *module) eval(e hclsyntax.Expression) cty.Value {
	m.t.Helper()
	v, diags := e.Value(m.ctx)
	if diags.HasErrors() {
		m.t.Fatal(diags)
	}
	return v
}

// refused returns the variables whose validation fails, and those without a value.
func (m *module) refused() (names []string) {
	for _, b := range m.of("variable") {
		for _, v := range b.Body.Blocks {
			if v.Type == "validation" && m.eval(v.Body.Attributes["condition"].Expr).False() {
				names = append(names, b.Labels[0])
			}
		}
	}
	return names
}

func (m *module) resources(kind string) []*hclsyntax.Body {
	var out []*hclsyntax.Body
	for _, b := range m.of("resource") {
		if b.Labels[0] == kind {
			out = append(out, b.Body)
		}
	}
	return out
}

// policies returns the names and documents of the role's policies, embedded and managed ones.
func (m *module) policies() (all []namedDocument) {
	m.t.Helper()
	text := func(b *hclsyntax.Body, attribute string) string {
		return m.eval(b.Attributes[attribute].Expr).AsString()
	}
	for _, p := range m.resources("aws_iam_role_policy") {
		if text(p, "role") != "the role" {
			m.t.Errorf("the policy is not the role's")
		}
		all = append(all, namedDocument{text(p, "name"), []byte(text(p, "policy"))})
	}
	attached := m.resources("aws_iam_role_policy_attachment")
	for i, p := range m.resources("aws_iam_policy") {
		name := text(p, "name")
		if i >= len(attached) || text(attached[i], "role") != "its name" ||
			text(attached[i], "policy_arn") != "ARN of "+strings.TrimPrefix(name, DefaultRole+"-") {
			m.t.Errorf("%s is not attached to the role", name)
		}
		all = append(all, namedDocument{name, []byte(text(p, "policy"))})
	}
	return all
}

// With any variables, the module creates the same documents that `policy` prints.
func TestTerraform(t *testing.T) {
	listing := ListingPolicies(severalServices)
	plain, err := Terraform(Access{Partition: "aws", Role: DefaultRole}, listing)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range accessVariants() {
		text, err := Terraform(a, listing)
		if err != nil {
			t.Fatal(err)
		}
		for name, m := range map[string]*module{
			"defaults": parseModule(t, text, a.Partition, nil),
			"variables": parseModule(t, plain, a.Partition, map[string]cty.Value{
				"home_account_id": cty.StringVal(a.Home),
				"home_caller":     cty.StringVal(callerOrRoot(a)),
				"external_id":     cty.StringVal(a.ExternalID),
				"organization_id": cty.StringVal(a.Organization),
				"require_mfa":     cty.BoolVal(a.MFA),
			}),
		} {
			if bad := m.refused(); bad != nil {
				t.Errorf("%s: %+v: refused %v", name, a, bad)
			}
			role := m.resources("aws_iam_role")
			if len(role) != 1 || m.eval(role[0].Attributes["name"].Expr).AsString() != DefaultRole {
				t.Fatalf("%s: %d roles", name, len(role))
			}
			doc := []byte(m.eval(role[0].Attributes["assume_role_policy"].Expr).AsString())
			if err := check(doc, trust); err != nil {
				t.Errorf("%s: %+v: %v", name, a, err)
			}
			checkSameDocument(t, doc, a.TrustPolicy())
			checkSameListing(t, m.policies(), listing)
			if out := m.of("output"); len(out) != 1 || m.eval(out[0].Body.Attributes["value"].Expr).AsString() != "its ARN" {
				t.Errorf("%s: outputs %v", name, out)
			}
		}
	}
	for name, bad := range map[string]string{
		"home_account_id": "12345678901",
		"home_caller":     "alice",
		"external_id":     "a b",
		"organization_id": "ou-ab12-cdef3456",
	} {
		given := map[string]cty.Value{"home_account_id": cty.StringVal(home), name: cty.StringVal(bad)}
		m := parseModule(t, plain, "aws", given)
		if got := m.refused(); len(got) != 1 || got[0] != name {
			t.Errorf("%s = %q: refused %v", name, bad, got)
		}
	}
	for _, b := range parseModule(t, plain, "aws", nil).of("variable") {
		if _, ok := b.Body.Attributes["default"]; ok == (b.Labels[0] == "home_account_id") {
			t.Errorf("variable %s: default %t", b.Labels[0], ok)
		}
		if b.Body.Attributes["type"] == nil || b.Body.Attributes["description"] == nil {
			t.Errorf("variable %s has no type or no description", b.Labels[0])
		}
	}
}
