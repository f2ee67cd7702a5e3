// Package importers turns the configuration of another tool into one of collector: the blocks that sign in to the same
// accounts, and a note for what cannot be carried over. A secret that the other file contains is replaced by a
// reference to an environment variable, and never printed. It makes no calls. There is a file a tool; begin at
// [Formats].
package importers

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"github.com/aws-collector/collector/config"
)

// A Format is the configuration of a tool.
type Format struct {
	Name  string
	About string // what the file is
	read  func(b *builder, text []byte) error
}

// Formats are the formats that can be imported, sorted by name.
var Formats = []Format{
	{"aws-config", "the AWS CLI's config or credentials file", readAWSConfig},
	{"cloudquery", "a source of CloudQuery's AWS plugin", readCloudQuery},
	{"ec2-sd", "a Prometheus configuration with ec2_sd_configs", readEC2SD},
	{"guance", "a Python script with the account of Guance's AWS integration, or of a boto3 script", readGuance},
	{"yace", "the configuration of yet-another-cloudwatch-exporter", readYACE},
}

// Import returns the YAML of a configuration, with comments that name the variables to set and what was not carried
// over. kinds are all kinds that collector lists. The error says why the file cannot be read.
func (f Format) Import(file string, text []byte, kinds []string) (string, error) {
	if !utf8.Valid(text) {
		return "", fmt.Errorf("%s: it is not text in UTF-8", file)
	}
	b := &builder{kinds: kinds, references: map[string]string{}, variables: map[string]bool{}, names: map[string]bool{}}
	if err := f.read(b, text); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if len(b.out.Accounts)+len(b.out.Organizations) == 0 {
		return "", fmt.Errorf("%s: no account is found in it; is it %s?", file, f.About)
	}
	return b.render(f.Name, file)
}

// A configuration has the keys that imports set, in the order of the file.
type configuration struct {
	Schedule      string         `yaml:"schedule,omitempty"`
	Accounts      []block        `yaml:"accounts,omitempty"`
	Organizations []organization `yaml:"organizations,omitempty"`
	Outputs       []output       `yaml:"outputs,omitempty"`
}

type collect struct {
	Regions []string `yaml:"regions,omitempty,flow"`
	Kinds   []string `yaml:"kinds,omitempty,flow"`
}

type block struct {
	Name      string `yaml:"name,omitempty"`
	signIn    `yaml:",inline"`
	ExtraTags map[string]string `yaml:"extra_tags,omitempty"`
	Collect   *collect          `yaml:"collector_configs,omitempty"`
	Schedule  string            `yaml:"schedule,omitempty"`
}

// signIn is comparable, so that blocks that sign in alike are found.
type signIn struct {
	AKID             string `yaml:"ak_id,omitempty"`
	AKSecret         string `yaml:"ak_secret,omitempty"`
	SessionToken     string `yaml:"session_token,omitempty"`
	Profile          string `yaml:"profile,omitempty"`
	CredentialSource string `yaml:"credential_source,omitempty"`
	RoleARN          string `yaml:"assume_role_arn,omitempty"`
	ExternalID       string `yaml:"external_id,omitempty"`
	SessionName      string `yaml:"role_session_name,omitempty"`
	AccountID        string `yaml:"account_id,omitempty"`
	Role             string `yaml:"role,omitempty"`
	Partition        string `yaml:"partition,omitempty"`
	STSRegion        string `yaml:"sts_region,omitempty"`
	SerialNumber     string `yaml:"serial_number,omitempty"`
	TokenCode        string `yaml:"token_code,omitempty"`
}

type organization struct {
	Via         signIn   `yaml:"via,omitempty"`
	Role        string   `yaml:"role"`
	SessionName string   `yaml:"role_session_name,omitempty"`
	ExternalID  string   `yaml:"external_id,omitempty"`
	Include     *members `yaml:"include,omitempty"`
	Exclude     *members `yaml:"exclude,omitempty"`
	Collect     *collect `yaml:"collector_configs,omitempty"`
}

type members struct {
	OUs      []string `yaml:"ous,omitempty,flow"`
	Accounts []string `yaml:"accounts,omitempty,flow"`
}

type output struct {
	Type  string `yaml:"type"`
	Name  string `yaml:"name"`
	Port  int    `yaml:"port,omitempty"`
	Where string `yaml:"where,omitempty"`
}

// A builder collects what an import finds.
type builder struct {
	kinds      []string
	out        configuration
	settings   []string          // comments: how to set each variable
	left, todo []remark          // what is not carried over; what a person has to do
	references map[string]string // by secret
	variables  map[string]bool
	names      map[string]bool
}

// A remark is about something in the file. line 0 is not shown.
type remark struct {
	line int
	text string
}

// note says what is not carried over, and why.
func (b *builder) note(line int, what, why string) {
	b.left = append(b.left, remark{line, what + ": " + why})
}

// advise says what a person has to do about something that is carried over.
func (b *builder) advise(line int, what, action string) {
	b.todo = append(b.todo, remark{line, what + ": " + action})
}

// secret returns the reference that stands for a secret, which the file has on this line.
func (b *builder) secret(line int, account, key, value string) string {
	if ref, ok := environmentReference(value); ok {
		return ref
	}
	if ref, ok := b.references[value]; ok {
		return ref
	}
	name := strings.ToUpper(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.Trim(account+"_"+key, "_")))
	if name[0] >= '0' && name[0] <= '9' {
		name = "ACCOUNT_" + name
	}
	for base, n := name, 2; b.variables[name]; n++ {
		name = fmt.Sprintf("%s_%d", base, n)
	}
	b.variables[name] = true
	b.settings = append(b.settings, fmt.Sprintf("read -rs %s && export %s  # %s, line %d", name, name, key, line))
	b.references[value] = "${env:" + name + "}"
	return b.references[value]
}

// environmentReference recognizes a value that another tool reads from its environment or a file.
func environmentReference(value string) (string, bool) {
	name, ok := strings.CutPrefix(value, "${")
	name, closed := strings.CutSuffix(name, "}")
	switch {
	case !ok || !closed || name == "" || strings.ContainsAny(name, "{}$"):
		return "", false
	case strings.HasPrefix(name, "file:"), strings.HasPrefix(name, "env:"):
		return value, true
	case strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "":
		return "", false
	}
	return "${env:" + name + "}", true
}

// add adds a block, or its regions and kinds to an earlier one that signs in alike.
func (b *builder) add(a block) {
	for i := range b.out.Accounts {
		old := &b.out.Accounts[i]
		if old.signIn != a.signIn || !maps.Equal(old.ExtraTags, a.ExtraTags) {
			continue
		}
		old.Collect = old.Collect.union(a.Collect)
		return
	}
	if a.Name != "" {
		for base, n := a.Name, 2; b.names[a.Name]; n++ {
			a.Name = fmt.Sprintf("%s-%d", base, n)
		}
		b.names[a.Name] = true
	}
	b.out.Accounts = append(b.out.Accounts, a)
}

// union covers what both cover. None, as a set or a list, is all.
func (c *collect) union(o *collect) *collect {
	if c == nil || o == nil {
		return nil
	}
	join := func(a, b []string) []string {
		if len(a) == 0 || len(b) == 0 {
			return nil
		}
		out := slices.Clone(a)
		for _, s := range b {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		return out
	}
	return newCollect(join(c.Regions, o.Regions), join(c.Kinds, o.Kinds))
}

// newCollect returns nil if it would say nothing.
func newCollect(regions, kinds []string) *collect {
	if len(regions)+len(kinds) == 0 {
		return nil
	}
	return &collect{Regions: regions, Kinds: kinds}
}

// kindPattern returns the kind, or the glob of kinds, that another tool calls name. It takes instance, instances and
// ec2_instances.
func (b *builder) kindPattern(name string) (string, bool) {
	name = strings.ToLower(strings.ReplaceAll(name, "-", "_"))
	for _, prefix := range []string{"", "ec2_"} {
		for _, singular := range []string{
			name, strings.TrimSuffix(name, "s"), strings.TrimSuffix(name, "es"), strings.TrimSuffix(name, "ies") + "y",
		} {
			pattern := prefix + singular
			if slices.ContainsFunc(b.kinds, func(k string) bool { return config.Matches([]string{pattern}, k) }) {
				return pattern, true
			}
		}
	}
	return "", false
}

// onlyEC2 is why something is not carried over.
const onlyEC2 = "collector inventories EC2 resources only"

// render returns the file.
func (b *builder) render(format, file string) (string, error) {
	var out bytes.Buffer
	comment := func(text string) { out.WriteString(strings.TrimRight("# "+text, " ") + "\n") }
	comment(fmt.Sprintf(
		"Made from %s by \"collector import %s\". Check it with \"collector validate\".", plain(file), format))
	if len(b.settings) > 0 {
		comment("")
		comment("Set these variables in the environment of collector. Each command waits for the value, which is in")
		comment("the line of " + plain(file) + " that it names:")
		for _, s := range b.settings {
			comment("  " + plain(s))
		}
	}
	for _, group := range []struct {
		title   string
		remarks []remark
	}{{"Not carried over:", b.left}, {"What is left to do:", b.todo}} {
		if len(group.remarks) == 0 {
			continue
		}
		comment("")
		comment(group.title)
		slices.SortStableFunc(group.remarks, func(a, b remark) int { return cmp.Compare(a.line, b.line) })
		for _, r := range slices.Compact(group.remarks) {
			at := ""
			if r.line > 0 {
				at = fmt.Sprintf("line %d, ", r.line)
			}
			comment("- " + at + plain(r.text))
		}
	}
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if err := e.Encode(b.out); err != nil {
		return "", err
	}
	return out.String(), nil
}

// plain keeps a text on one line, of characters that a comment may have.
func plain(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || unicode.IsSpace(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)), " ")
}
