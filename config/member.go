package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode"

	"github.com/aws-collector/collector/config/internal/yamldoc"
	"github.com/aws-collector/collector/record"
)

// A Member is an account of an organization, as AWS Organizations describes it.
type Member struct {
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Email     string            `json:"email,omitempty"`
	State     string            `json:"state"` // ACTIVE, SUSPENDED, PENDING_CLOSURE…
	ParentIDs []string          `json:"above,omitempty"`
	OU        string            `json:"ou,omitempty"` // names of the units in ParentIDs, joined by /
	Tags      map[string]string `json:"tags,omitempty"`
}

// MemberActive is the state of the members that are collected.
const MemberActive = "ACTIVE"

// MemberDetails says what must be known of a member in addition to the list of accounts. Each detail costs calls.
type MemberDetails struct {
	ParentIDs bool `json:"Above"` // the units that it is in; its name is part of the key of a saved member list
	OU        bool // and the units' names
	Tags      bool
}

// RequiredDetails returns the details that the filters and the templates use.
func (o Organization) RequiredDetails() MemberDetails {
	n := MemberDetails{
		ParentIDs: len(o.Include.OUs)+len(o.Exclude.OUs) > 0,
		Tags:      len(o.Include.Tags)+len(o.Exclude.Tags) > 0,
	}
	for _, text := range o.templates() {
		if t, err := parseTemplate(text); err == nil {
			_ = walkFields(t.Root, func(field []string) error {
				n.OU, n.Tags = n.OU || field[0] == "OU", n.Tags || field[0] == "Tags"
				return nil
			})
		}
	}
	n.ParentIDs = n.ParentIDs || n.OU
	return n
}

func (o Organization) templates() []string {
	all := []string{o.Name}
	for _, text := range o.ExtraTags {
		all = append(all, text)
	}
	return all
}

// SelectsByID reports whether the filters select the member by its id and its units. [Organization.SelectsByTags] does
// so by its tags. A member is collected if both hold. They are separate because tags cost one call for each member.
func (o Organization) SelectsByID(m Member) bool {
	in, out := o.Include, o.Exclude
	under := func(ous []string) bool {
		return slices.ContainsFunc(m.ParentIDs, func(id string) bool { return slices.Contains(ous, id) })
	}
	return (len(in.OUs) == 0 || under(in.OUs)) && (len(in.Accounts) == 0 || slices.Contains(in.Accounts, m.ID)) &&
		!under(out.OUs) && !slices.Contains(out.Accounts, m.ID)
}

// SelectsByTags is the second condition of [Organization.SelectsByID].
func (o Organization) SelectsByTags(m Member) bool {
	has := func(key, pattern string) bool {
		value, ok := m.Tags[key]
		return ok && Matches([]string{pattern}, value)
	}
	for key, pattern := range o.Include.Tags {
		if !has(key, pattern) {
			return false
		}
	}
	for key, pattern := range o.Exclude.Tags {
		if has(key, pattern) {
			return false
		}
	}
	return true
}

// MemberAccounts returns an account block for each member. via is the identity of the organization block's own sign-in:
// that account is collected without the members' role, which usually does not exist in the account that assumes it. If
// names repeat, the account id is appended.
func (o Organization) MemberAccounts(via record.Identity, members []Member) ([]Account, error) {
	members = slices.SortedFunc(slices.Values(members), func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	compiled := map[string]*template.Template{}
	for _, text := range o.templates() {
		t, err := parseTemplate(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Label, err)
		}
		compiled[text] = t
	}
	accounts := make([]Account, 0, len(members))
	named := map[string]int{}
	for _, m := range members {
		a := Account{
			SignIn:    o.memberSignIn(via, m.ID),
			Collect:   o.Collect,
			Schedule:  o.Schedule,
			Timezone:  o.Timezone,
			Timeout:   o.Timeout,
			Overlap:   o.Overlap,
			Line:      o.Line,
			ExtraTags: make(map[string]string, len(o.ExtraTags)),
		}
		name, err := render(compiled[o.Name], m)
		if err != nil {
			return nil, fmt.Errorf("%s: name of %s: %w", o.Label, m.ID, err)
		}
		a.Name = cmp.Or(sanitizeName(name), m.ID)
		named[a.Name]++
		for key, text := range o.ExtraTags {
			if a.ExtraTags[key], err = render(compiled[text], m); err != nil {
				return nil, fmt.Errorf("%s: extra_tags.%s of %s: %w", o.Label, key, m.ID, err)
			}
		}
		accounts = append(accounts, a)
	}
	for i := range accounts {
		if a := &accounts[i]; named[a.Name] > 1 {
			a.Name += "-" + a.AccountID
		}
	}
	return accounts, nil
}

// memberSignIn returns the sign-in of a member: that of via, then the role.
func (o Organization) memberSignIn(via record.Identity, id string) SignIn {
	s := o.Via
	s.AccountID, s.RoleName, s.Fingerprint = id, "", "" // the account id identifies a member
	if via.AccountID == id {
		return s
	}
	hop := Role{ARN: "arn:" + via.Partition + ":iam::" + id + ":role/" + o.MemberRole, RoleSession: o.RoleSession}
	s.Roles = append(slices.Clone(s.Hops()), hop)
	s.Role = Role{}
	return s
}

// Hops returns the roles of a sign-in, first to last.
func (a SignIn) Hops() []Role {
	if len(a.Roles) > 0 {
		return a.Roles
	}
	if a.ARN != "" {
		return []Role{a.Role}
	}
	return nil
}

// KnownAccountID returns the AWS account that the block certainly signs in to, by its last role or its account_id, or
// "" if only signing in can tell.
func (a SignIn) KnownAccountID() string {
	if hops := a.Hops(); len(hops) > 0 {
		return record.AccountOfARN(hops[len(hops)-1].ARN)
	}
	return a.AccountID
}

// sanitizeName returns a name that checkAccountName accepts: AWS allows any text as an account's name.
func sanitizeName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsControl(r):
			return -1
		case r == '*' || r == '?':
			return '_'
		}
		return r
	}, name)
	name = strings.TrimRightFunc(strings.TrimLeft(name, "! "), unicode.IsSpace)
	for len(name) > maxNameLength-len("-123456789012") {
		name = strings.TrimSpace(strings.TrimSuffix(name, lastRune(name)))
	}
	return name
}

func lastRune(s string) string {
	r := []rune(s)
	return string(r[len(r)-1:])
}

// memberFields holds the fields that a template may use.
type memberFields struct {
	ID, Name, Email, OU string
	Tags                map[string]string
}

const templateFieldsHint = `{{.ID}}, {{.Name}}, {{.Email}}, {{.OU}}, {{.Tags.env}} or {{index .Tags "cost-center"}}`

// parseTemplate parses a template, which may use only a member's fields.
func parseTemplate(text string) (*template.Template, error) {
	t, err := template.New("").Option("missingkey=zero").Parse(text)
	if err != nil {
		what := strings.TrimPrefix(err.Error(), "template: ")
		if _, rest, ok := strings.Cut(what, ": "); ok { // without the line within the text
			what = rest
		}
		return nil, Problem{Text: "is not a valid template: " + what, Remedy: "use " + templateFieldsHint}
	}
	if len(t.Templates()) > 1 {
		return nil, Problem{Text: "the template defines other templates", Remedy: "use " + templateFieldsHint}
	}
	if t.Tree == nil || t.Root == nil {
		return t, nil // only white space
	}
	if err := walkFields(t.Root, checkField); err != nil {
		return nil, err
	}
	if _, err := render(t, Member{ID: "123456789012"}); err != nil {
		return nil, Problem{
			Text:   "the template fails: " + strings.TrimPrefix(err.Error(), "template: "),
			Remedy: "use " + templateFieldsHint,
		}
	}
	return t, nil
}

func render(t *template.Template, m Member) (string, error) {
	if t == nil || t.Tree == nil {
		return "", nil
	}
	var b strings.Builder
	err := t.Execute(&b, memberFields{m.ID, m.Name, m.Email, m.OU, m.Tags})
	return b.String(), err
}

func checkField(field []string) error {
	switch name := field[0]; name {
	case "ID", "Name", "Email", "OU":
		if len(field) > 1 {
			return Problem{Text: "." + name + " is text and has no ." + field[1], Remedy: "use " + templateFieldsHint}
		}
	case "Tags":
		if len(field) > 2 {
			return Problem{
				Text:   ".Tags." + field[1] + " is text and has no ." + field[2],
				Remedy: `write a key with a dot as {{index .Tags "` + strings.Join(field[1:], ".") + `"}}`,
			}
		}
	default:
		remedy := "use " + templateFieldsHint
		if near := yamldoc.Nearest(name, []string{"ID", "Name", "Email", "OU", "Tags"}); near != "" {
			remedy = "did you mean {{." + near + "}}?"
		}
		return Problem{Text: "a member has no ." + name, Remedy: remedy}
	}
	return nil
}

// walkFields calls use with each member field of the template. It rejects with, range and template: inside them a dot
// has another meaning.
func walkFields(n parse.Node, use func(field []string) error) error {
	all := func(nodes ...parse.Node) error {
		for _, n := range nodes {
			if err := walkFields(n, use); err != nil {
				return err
			}
		}
		return nil
	}
	branch := func(b *parse.BranchNode) error {
		if err := all(b.Pipe, b.List); err != nil || b.ElseList == nil {
			return err
		}
		return walkFields(b.ElseList, use)
	}
	switch n := n.(type) {
	case *parse.ListNode:
		return all(n.Nodes...)
	case *parse.ActionNode:
		return walkFields(n.Pipe, use)
	case *parse.IfNode:
		return branch(&n.BranchNode)
	case *parse.PipeNode:
		for _, c := range n.Cmds {
			if err := all(c.Args...); err != nil {
				return err
			}
		}
	case *parse.FieldNode:
		return use(n.Ident)
	case *parse.VariableNode:
		if n.Ident[0] == "$" && len(n.Ident) > 1 {
			return use(n.Ident[1:])
		}
	case *parse.ChainNode:
		return walkFields(n.Node, use)
	case *parse.DotNode:
		return Problem{Text: "{{.}} is the whole member", Remedy: "use " + templateFieldsHint}
	case *parse.RangeNode, *parse.WithNode, *parse.TemplateNode, *parse.BreakNode, *parse.ContinueNode:
		return Problem{
			Text:   "range, with and template are not allowed",
			Remedy: "use {{if}}, {{or}}, {{and}}, {{eq}} and {{printf}}",
		}
	}
	return nil
}

// checkTemplate checks a template.
func (d *decoder) checkTemplate(p yamldoc.Position, text string) {
	switch _, err := parseTemplate(text); {
	case err == nil:
	case p.References != "":
		d.Report(p, d.Show(p, text)+" is not a valid template", "use "+templateFieldsHint)
	default:
		d.ReportError(p, "", err)
	}
}
