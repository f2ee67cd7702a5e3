package policy

import (
	"bytes"
	_ "embed"
	"fmt"
	"text/template"
)

//go:embed role.tf.tmpl
var roleTemplate string

// Terraform is a module of one file that makes the role in the provider's account, with the documents of [List] in it. What a says are
// the variables' defaults; without a.Home the variable has none.
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
	// Check has let nothing through that would have to be escaped between quotation marks.
	if err := t.Execute(&b, map[string]any{"Access": a, "Caller": callerOrRoot(a), "Policies": policies, "Version": Version}); err != nil {
		return nil, fmt.Errorf("terraform: %w", err)
	}
	return b.Bytes(), nil
}
