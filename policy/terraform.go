package policy

import (
	"bytes"
	_ "embed"
	"fmt"
	"text/template"
)

//go:embed role.tf.tmpl
var roleTemplate string

// Terraform returns a module of one file that creates the role in the provider's account, with the documents of
// [ListingPolicies]. The fields of a become the variables' defaults; without a.Home that variable has no default.
func Terraform(a Access, docs []Document) ([]byte, error) {
	if err := checkSize(a, docs); err != nil {
		return nil, err
	}
	t, err := template.New("role.tf").Parse(roleTemplate)
	if err != nil {
		return nil, fmt.Errorf("terraform: %w", err)
	}
	type named struct {
		Name    string
		Actions []string
		Sid     string
	}
	var policies []named
	for i, d := range docs {
		policies = append(policies, named{policyName(i), d.Statement[0].Action, d.Statement[0].Sid})
	}
	var b bytes.Buffer
	// Validate accepts no character that would need escaping between quotation marks.
	data := map[string]any{"Access": a, "Caller": callerOrRoot(a), "Policies": policies, "Version": Version}
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("terraform: %w", err)
	}
	return b.Bytes(), nil
}
