package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/record"
)

func organization(t *testing.T, text string) Organization {
	t.Helper()
	f, err := load([]byte(text), "")
	if err != nil {
		t.Fatal(err)
	}
	return f.Organizations[0]
}

var via = record.Identity{AccountID: "111111111111", Partition: "aws-us-gov"}

// An organization block makes an account block of each member.
func TestMemberAccounts(t *testing.T) {
	o := organization(t, `
schedule: "@hourly"
collector_configs: {kinds: [ec2_volume]}
organizations:
  - via:
      ak_id: AKIAIOSFODNN7EXAMPLE
      ak_secret: ${file:/run/secrets/ak}
      serial_number: arn:aws-us-gov:iam::111111111111:mfa/alice
      totp_seed: ${env:SEED}
      account_id: "111111111111"
      role: hub
      partition: aws-us-gov
    role: team/reader
    external_id: word
    name: "{{.Name}}"
    timeout: 5m
    extra_tags:
      tag: "{{.Tags.env}}"
      dotted: '{{index .Tags "a.b"}}'
      or: '{{or .Tags.env "none"}}'
      if: '{{if eq .OU ""}}root{{else}}{{.OU}}{{end}}'
      all: "{{.ID}} {{.Email}} {{$.Name}}"
`)
	if o.Label != "organization:111111111111" ||
		o.RequiredDetails() != (MemberDetails{ParentIDs: true, OU: true, Tags: true}) {
		t.Errorf("%s requires %+v", o.Label, o.RequiredDetails())
	}
	long := strings.Repeat("ü", 100)
	as, err := o.MemberAccounts(via, []Member{
		{
			ID:    "222222222222",
			Name:  "shop",
			Email: "a@example.com",
			OU:    "Prod",
			Tags:  map[string]string{"env": "prod", "a.b": "x"},
		},
		{ID: "111111111111", Name: "hub"},
		{ID: "444444444444", Name: "twin"}, {ID: "333333333333", Name: "twin"},
		{ID: "555555555555", Name: " !*odd?\n "}, {ID: "666666666666"}, {ID: "777777777777", Name: long},
	})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range as {
		names = append(names, a.Name)
		if a.Schedule != "@hourly" || a.Timeout.String() != "5m" || !slices.Equal(a.Collect.Kinds, []string{"ec2_volume"}) {
			t.Errorf("%s: %+v", a.Name, a)
		}
		if len(a.Name) > maxNameLength || isGlob(a.Name) {
			t.Errorf("%q is not a valid name", a.Name)
		}
	}
	checkEqual(t, "names", names[:6], []string{
		"hub", "shop", "twin-333333333333", "twin-444444444444", "_odd_", "666666666666",
	})
	if !strings.HasPrefix(long, names[6]) {
		t.Errorf("name %q", names[6])
	}
	hops := func(a Account) (arns []string) {
		for _, h := range a.Hops() {
			arns = append(arns, h.ARN+" "+h.ExternalID+" "+h.SessionName)
		}
		return arns
	}
	checkEqual(t, "the organization's account",
		hops(as[0]),
		[]string{"arn:aws-us-gov:iam::111111111111:role/hub  collector"},
	)
	checkEqual(t, "a member", hops(as[1]), []string{
		"arn:aws-us-gov:iam::111111111111:role/hub  collector",
		"arn:aws-us-gov:iam::222222222222:role/team/reader word collector",
	})
	checkEqual(t, "account_id", as[1].AccountID, "222222222222")
	checkEqual(t, "mfa", as[1].SerialNumber, "arn:aws-us-gov:iam::111111111111:mfa/alice")
	known := []string{as[0].KnownAccountID(), as[1].KnownAccountID(), Account{}.KnownAccountID()}
	checkEqual(t, "known", known, []string{"111111111111", "222222222222", ""})
	checkEqual(t, "tags", maps.Clone(as[1].ExtraTags), map[string]string{
		"tag": "prod", "dotted": "x", "or": "prod", "if": "Prod", "all": "222222222222 a@example.com shop",
	})
	checkEqual(t, "tags without values", maps.Clone(as[0].ExtraTags), map[string]string{
		"tag": "", "dotted": "", "or": "none", "if": "root", "all": "111111111111  hub",
	})
}

// Only the details that a filter or a template uses are required, because each costs calls.
func TestRequiredDetails(t *testing.T) {
	for text, want := range map[string]MemberDetails{
		`role: r`:                               {},
		`name: "{{.Name}}"`:                     {},
		`include: {ous: [r-ab12]}`:              {ParentIDs: true},
		`exclude: {ous: [r-ab12]}`:              {ParentIDs: true},
		`include: {tags: {a: b}}`:               {Tags: true},
		`exclude: {accounts: ["222222222222"]}`: {},
		`extra_tags: {a: "{{if .OU}}x{{end}}"}`: {ParentIDs: true, OU: true},
		`extra_tags: {a: "{{printf .Tags.x}}"}`: {Tags: true},
		`extra_tags: {a: "{{.Name | len}}"}`:    {},
		`name: '{{index .Tags "cost-center"}}'`: {Tags: true},
	} {
		if !strings.HasPrefix(text, "role:") {
			text = "role: r\n    " + text
		}
		if got := organization(t, "organizations:\n  - "+text+"\n").RequiredDetails(); got != want {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

// The label of a block comes from its sign-in, never from its position.
func TestOrganizationLabels(t *testing.T) {
	f, err := load([]byte(`
organizations:
  - {via: {profile: management}, role: r}
  - {role: r}
  - {via: {profile: management}, role: r2}
`), "")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range f.Organizations {
		got = append(got, fmt.Sprint(o.Label, " ", o.Line, " ", o.Name))
	}
	checkEqual(t, "labels", got, []string{
		"organization:management-abf90795 3 {{.ID}}",
		"organization:default 4 {{.ID}}",
		"organization:management-1fcd33d6 5 {{.ID}}",
	})
}
