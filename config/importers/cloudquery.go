package importers

import (
	"cmp"
	"strings"
)

// readCloudQuery makes a block of each account, or an organization, of the sources that use CloudQuery's AWS plugin.
// https://docs.cloudquery.io/docs/core-concepts/configuration
func readCloudQuery(b *builder, text []byte) error {
	docs, err := documents(text)
	if err != nil {
		return err
	}
	for _, doc := range docs {
		spec := doc.at("spec")
		switch path := spec.at("path").text(); {
		case doc.at("kind").text() == "destination":
			b.note(doc.line(), "destination "+spec.at("name").text(),
				"records go to the outputs of collector: see docs/outputs.md; queries need no database of their own")
		case !strings.HasSuffix(path, "/aws"):
			b.note(doc.line(), "source "+spec.at("name").text(), "it is not of the AWS plugin")
		default:
			b.cloudQuerySource(spec)
		}
	}
	return nil
}

func (b *builder) cloudQuerySource(source node) {
	spec := source.at("spec")
	kinds, ok := b.cloudQueryTables(source)
	if !ok {
		return
	}
	regions := spec.at("regions").texts()
	accounts := spec.at("accounts").items()
	for _, c := range accounts {
		a := block{Name: cmp.Or(c.at("account_name").text(), c.at("id").text()), signIn: b.cloudQuerySignIn(c)}
		a.Collect = cloudQueryCollect(c.at("regions").texts(), regions, kinds)
		b.add(a)
	}
	org := spec.at("org")
	if org.exists() {
		b.cloudQueryOrganization(org, cloudQueryCollect(org.at("member_regions").texts(), regions, kinds))
	}
	if len(accounts) == 0 && !org.exists() {
		// the plugin then uses the default credentials
		b.add(block{Name: "default", Collect: cloudQueryCollect(nil, regions, kinds)})
	}
	const ours = "collector has its own limits, from EC2's documented rates"
	b.noteOthers(spec, "spec.", []string{"regions", "accounts", "org"}, map[string]string{
		"concurrency": ours, "max_retries": ours, "max_backoff": ours, "max_concurrency": ours, "scheduler": ours,
		"initialization_concurrency": ours,
		"aws_debug":                  "use --log-level debug",
		"custom_endpoint_url":        "set AWS_ENDPOINT_URL in the environment",
		"use_paid_apis":              onlyEC2,
		"table_options":              "every resource is collected; select with `collector list --where CONDITION`",
	})
	b.noteOthers(source, "", []string{
		"name", "path", "registry", "version", "tables", "skip_tables", "destinations", "spec",
		"skip_dependent_tables", // kinds with a parent are chosen by their own names
	}, nil)
}

// cloudQueryCollect has the regions of an account, else those of its source. "*" is all.
func cloudQueryCollect(own, others, kinds []string) *collect {
	if len(own) == 0 {
		own = others
	}
	if len(own) == 1 && own[0] == "*" {
		own = nil
	}
	return newCollect(own, kinds)
}

func (b *builder) cloudQuerySignIn(c node) (s signIn) {
	s.Profile, s.RoleARN = c.at("local_profile").text(), c.at("role_arn").text()
	s.SessionName, s.ExternalID = c.at("role_session_name").text(), c.at("external_id").text()
	b.noteOthers(c, "accounts.", []string{
		"id", "account_name", "local_profile", "role_arn", "role_session_name", "external_id", "regions",
	}, map[string]string{
		"default_region": "collector calls STS in the first region that the block names; else set sts_region",
	})
	return s
}

func (b *builder) cloudQueryOrganization(org node, c *collect) {
	o := organization{
		Via: b.cloudQuerySignIn(org.at("admin_account")), Role: org.at("member_role_name").text(),
		SessionName: org.at("member_role_session_name").text(), ExternalID: org.at("member_external_id").text(),
		Collect: c,
	}
	if m := (members{org.at("organization_units").texts(), nil}); len(m.OUs) > 0 {
		o.Include = &m
	}
	skipped := members{org.at("skip_organization_units").texts(), org.at("skip_member_accounts").texts()}
	if len(skipped.OUs)+len(skipped.Accounts) > 0 {
		o.Exclude = &skipped
	}
	b.out.Organizations = append(b.out.Organizations, o)
	b.noteOthers(org, "org.", []string{
		"admin_account", "member_role_name", "member_role_session_name", "member_external_id", "member_regions",
		"organization_units", "skip_organization_units", "skip_member_accounts",
	}, map[string]string{
		"member_trusted_principal": "set assume_role_arn of that role in via: it then assumes the members' roles",
	})
}

// cloudQueryKinds are the kinds of tables whose names differ.
var cloudQueryKinds = map[string]string{
	"ec2_ebs_volumes": "ec2_volume", "ec2_ebs_snapshots": "ec2_snapshot", "ec2_eips": "ec2_address",
}

// cloudQueryTables returns the kinds of the tables; nil: all. ok is false if none of them is of EC2.
func (b *builder) cloudQueryTables(source node) (kinds []string, ok bool) {
	for _, t := range source.at("tables").items() {
		switch kind := b.cloudQueryKind(t); kind {
		case "":
		case "*":
			b.note(t.line(), "table "+t.text(), "all kinds of EC2 are collected: "+onlyEC2)
			kinds = append(kinds, kind)
		default:
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) == 0 {
		return nil, false
	}
	for _, t := range source.at("skip_tables").items() {
		if kind := b.cloudQueryKind(t); kind != "" {
			kinds = append(kinds, "!"+kind)
		}
	}
	if len(kinds) == 1 && kinds[0] == "*" {
		return nil, true
	}
	return kinds, true
}

// cloudQueryKind returns the kind of a table, or a glob; "": it is not of EC2.
func (b *builder) cloudQueryKind(table node) string {
	name := strings.TrimPrefix(table.text(), "aws_")
	if name == "*" || name == "ec2_*" {
		return "*"
	}
	if kind := cloudQueryKinds[name]; kind != "" {
		return kind
	}
	if kind, ok := b.kindPattern(name); ok && strings.HasPrefix(name, "ec2_") {
		return kind
	}
	b.note(table.line(), "table "+table.text(), onlyEC2+`; "collector kinds" lists them`)
	return ""
}
