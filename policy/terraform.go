package policy

import (
	"bytes"
	_ "embed"
	"fmt"
	"text/template"
)

//go:embed role.tf.tmpl
var roleTemplate string

// Terraform returns a module of one file that creates the role in the provider's account, with the policies of
// [ListingPolicies]. The fields of a become the variables' defaults; without a.Home that variable has no default.
func Terraform(a Access, listing []ListingPolicy) ([]byte, error) {
	if err := checkFits(a, listing); err != nil {
		return nil, err
	}
	t, err := template.New("role.tf").Parse(roleTemplate)
	if err != nil {
		return nil, fmt.Errorf("terraform: %w", err)
	}
	var b bytes.Buffer
	// Validate accepts no character that would need escaping between quotation marks.
	data := map[string]any{"Access": a, "Caller": callerOrRoot(a), "Policies": listing, "Version": Version}
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("terraform: %w", err)
	}
	return b.Bytes(), nil
}
