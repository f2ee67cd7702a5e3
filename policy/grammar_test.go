package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// The forms of a policy document: a trust policy names principals, an identity policy names resources.
const (
	trust    = "trust"
	identity = "identity"
)

// check validates a document against the grammar of IAM's policy language and against IAM's limits. It also enforces
// two conventions that IAM does not require: the current version, and a Sid for every statement.
//
//	https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
func check(doc []byte, form string) error {
	if err := checkUniqueKeys(json.NewDecoder(bytes.NewReader(doc))); err != nil {
		return err
	}
	limit := map[string]int{trust: TrustLimit, identity: ManagedLimit}[form]
	if n := len(strings.Join(strings.FieldsFunc(string(doc), unicode.IsSpace), "")); n > limit {
		return fmt.Errorf("%d characters, more than %d", n, limit)
	}
	var d struct {
		Version   string
		ID        *string `json:"Id"`
		Statement []map[string]json.RawMessage
	}
	if err := decodeStrict(doc, &d); err != nil {
		return err
	}
	if d.Version != "2012-10-17" {
		return fmt.Errorf("version %q", d.Version)
	}
	if len(d.Statement) == 0 {
		return errors.New("no statement")
	}
	sids := map[string]bool{}
	for i, s := range d.Statement {
		if err := checkStatement(s, form, sids); err != nil {
			return fmt.Errorf("statement %d: %w", i, err)
		}
	}
	return nil
}

var (
	sidForm    = regexp.MustCompile(`^[A-Za-z0-9]+$`)
	actionForm = regexp.MustCompile(`^[a-z0-9-]+:[A-Za-z0-9*?]+$`)
	arnForm    = regexp.MustCompile(`^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:` +
		`([0-9]{12}|\*?):[\w+=,.@/:*-]*(\$\{aws:[a-z]+\})?$`)
	awsForm   = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:(root|(user|role)/[\w+=,.@/-]+)$`)
	serveForm = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)
	keyForm   = regexp.MustCompile(`^(aws|sts|iam|ec2):[A-Za-z]+$`)
	operators = regexp.MustCompile(`^(ForAllValues:|ForAnyValue:)?` +
		`(String(Not)?(Equals|EqualsIgnoreCase|Like)|Numeric(Not)?Equals|Bool|Arn(Not)?(Equals|Like))(IfExists)?$`)
)

func checkStatement(s map[string]json.RawMessage, form string, sids map[string]bool) error {
	var sid, effect string
	if err := errors.Join(json.Unmarshal(s["Sid"], &sid), json.Unmarshal(s["Effect"], &effect)); err != nil {
		return err
	}
	switch {
	case !sidForm.MatchString(sid):
		return fmt.Errorf("Sid %q", sid)
	case sids[sid]:
		return fmt.Errorf("Sid %q twice", sid)
	case effect != "Allow" && effect != "Deny":
		return fmt.Errorf("Effect %q", effect)
	}
	sids[sid] = true
	needs := map[string][][]string{
		trust:    {{"Principal"}, {"Action"}},
		identity: {{"Action", "NotAction"}, {"Resource", "NotResource"}},
	}[form]
	may := slices.Concat(append(needs, []string{"Sid", "Effect", "Condition"})...)
	for _, one := range needs {
		n := 0
		for _, name := range one {
			if s[name] != nil {
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("%d of %v, want one", n, one)
		}
	}
	for name, raw := range s {
		if !slices.Contains(may, name) {
			return fmt.Errorf("%s is not allowed in a policy of this form", name)
		}
		var err error
		switch name {
		case "Action", "NotAction":
			err = each(raw, actionForm.MatchString)
		case "Resource", "NotResource":
			err = each(raw, func(r string) bool { return r == "*" || arnForm.MatchString(r) })
		case "Principal":
			err = checkPrincipal(raw)
		case "Condition":
			err = checkCondition(raw)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func checkPrincipal(raw json.RawMessage) error {
	var p map[string]json.RawMessage
	if err := json.Unmarshal(raw, &p); err != nil {
		return err
	}
	if len(p) == 0 {
		return errors.New("no principal")
	}
	for kind, ids := range p {
		ok := map[string]func(string) bool{"AWS": awsForm.MatchString, "Service": serveForm.MatchString}[kind]
		if ok == nil {
			return fmt.Errorf("%q", kind)
		}
		if err := each(ids, ok); err != nil {
			return err
		}
	}
	return nil
}

func checkCondition(raw json.RawMessage) error {
	var c map[string]map[string]json.RawMessage
	if err := json.Unmarshal(raw, &c); err != nil {
		return err
	}
	if len(c) == 0 {
		return errors.New("empty")
	}
	for op, keys := range c {
		if !operators.MatchString(op) || len(keys) == 0 {
			return fmt.Errorf("operator %q over %d keys", op, len(keys))
		}
		for key, values := range keys {
			if !keyForm.MatchString(key) {
				return fmt.Errorf("key %q", key)
			}
			bools := strings.HasPrefix(op, "Bool")
			if err := each(values, func(v string) bool { return !bools || v == "true" || v == "false" }); err != nil {
				return fmt.Errorf("%s %s: %w", op, key, err)
			}
		}
	}
	return nil
}

// each checks one string, or each string of a list. A list must not be empty or repeat a string.
func each(raw json.RawMessage, ok func(string) bool) error {
	var list []string
	if err := json.Unmarshal(raw, &list); err != nil {
		var one string
		if err := json.Unmarshal(raw, &one); err != nil {
			return err
		}
		list = []string{one}
	}
	if len(list) == 0 {
		return errors.New("an empty list")
	}
	for i, s := range list {
		if !ok(s) {
			return fmt.Errorf("%q", s)
		}
		if slices.Contains(list[:i], s) {
			return fmt.Errorf("%q twice", s)
		}
	}
	return nil
}

func decodeStrict(doc []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one document")
	}
	return nil
}

// checkUniqueKeys rejects duplicate keys: encoding/json takes the last one, IAM rejects the document.
func checkUniqueKeys(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			k, err := d.Token()
			if err != nil {
				return err
			}
			if name := k.(string); seen[name] {
				return fmt.Errorf("member %q twice", name)
			} else {
				seen[name] = true
			}
		}
		if err := checkUniqueKeys(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// The checker must reject bad documents, or the other tests prove nothing.
func TestCheckRejects(t *testing.T) {
	const good = `{"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Allow",` +
		`"Action":["ec2:DescribeVpcs","ec2:DescribeTags"],"Resource":"*",` +
		`"Condition":{"Bool":{"aws:SecureTransport":"true"}}}]}`
	if err := check([]byte(good), identity); err != nil {
		t.Fatal(err)
	}
	const goodTrust = `{"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Allow",` +
		`"Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":"sts:AssumeRole"}]}`
	if err := check([]byte(goodTrust), trust); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ form, good, old, new string }{
		{identity, good, `2012-10-17`, `2008-10-17`},
		{identity, good, `"Version":`, `"version2":"","Version":`},
		{identity, good, `"Sid":"A"`, `"Sid":"A b"`},
		{identity, good, `"Sid":"A"`, `"Sid":"A","Sid":"B"`},
		{identity, good, `"Allow"`, `"allow"`},
		{identity, good, `"Action":`, `"Actions":`},
		{identity, good, `"Action":`, `"NotAction":"ec2:*","Action":`},
		{identity, good, `ec2:DescribeTags`, `DescribeTags`},
		{identity, good, `ec2:DescribeTags`, `ec2:DescribeVpcs`},
		{identity, good, `["ec2:DescribeVpcs","ec2:DescribeTags"]`, `[]`},
		{identity, good, `"Resource":"*"`, `"Resource":"everything"`},
		{identity, good, `"Resource":"*"`, `"Resource":"arn:aws:iam::12345678901:role/x"`},
		{identity, good, `"Resource":"*",`, ``},
		{identity, good, `"Bool"`, `"Boolean"`},
		{identity, good, `"true"`, `"yes"`},
		{identity, good, `"aws:SecureTransport"`, `"SecureTransport"`},
		{identity, good, `{"Bool":{"aws:SecureTransport":"true"}}`, `{}`},
		{identity, good, `]}`, `]} {}`},
		{identity, good, `ec2:DescribeVpcs`, `ec2:` + strings.Repeat("D", ManagedLimit)},
		{identity, goodTrust, ``, ``},
		{trust, good, ``, ``},
		{trust, goodTrust, `:root`, `:admin`},
		{trust, goodTrust, `"AWS":"arn:aws:iam::123456789012:root"`, ``},
		{trust, goodTrust, `"AWS"`, `"Aws"`},
		{trust, goodTrust, `123456789012`, `12345678901`},
	} {
		bad := strings.Replace(c.good, c.old, c.new, 1)
		if err := check([]byte(bad), c.form); err == nil {
			t.Errorf("accepted as a policy of the form %s: %s", c.form, bad)
		}
	}
}
