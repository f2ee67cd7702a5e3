package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/policy"
	"github.com/aws-collector/collector/record"
)

//go:generate env UPDATE_DEPLOY=1 go test -count 1 -run ^TestDeployedPolicies$ .

type policyOptions struct {
	accounts, kinds []string // globs
	format          string
	access          policy.Access
	organization    []string // actions of AWS Organizations that the configuration needs
}

func (c *cli) policyCommand() *cobra.Command {
	var o policyOptions
	cmd := &cobra.Command{
		Use:   "policy [list|trust|assume|host|mfa|organization|all]",
		Short: "Print the IAM policies that the configuration needs",
		Long: `Prints an IAM policy, ready to be pasted:

  list    what an account must allow so that its kinds can be listed, and no more (the default)
  trust   who may enter an account: the trust policy of the role there
  assume  what the collector's own user or role must be allowed: to enter those roles
  host    the trust policy of a role for the EC2 instances that the collector runs on
  mfa     for users who look after an MFA device of their own, and must sign in with it
  organization
          what the user or role that asks AWS Organizations must be allowed, in the management account or a delegated administrator's
  all     each of these, as one JSON object

or, with --format, the role with its policies: as a CloudFormation template that a StackSet brings into every account, or as a
Terraform module.

Kinds, role ARNs and partition are those of the configuration file, if there is one; without one it is every kind, and roles named
--role-name in any account. The file's references need not lead anywhere: no secret is needed here.`,
		Example: `  collector policy > collector-list.json
  collector policy trust --account-id 123456789012 --external-id example-id
  collector policy --kind 'ec2_v*' --format cloudformation --account-id 123456789012 > role.json
  collector policy --format terraform > collector-role/main.tf`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"list", "trust", "assume", "host", "mfa", "organization", "all"},
		RunE: func(cmd *cobra.Command, args []string) error {
			named := cmd.Flags().Changed("config") || c.getenv("COLLECTOR_CONFIG") != ""
			what := ""
			if len(args) > 0 {
				what = args[0]
			}
			return c.policy(cmd.Context(), what, o, named, cmd.Flags().Changed("role-name"))
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.format, "format", "json", "`FORMAT`: json, cloudformation or terraform")
	f.StringSliceVar(&o.accounts, "account", nil, "only for accounts of the configuration that match this `GLOB`; repeatable")
	f.StringSliceVar(&o.kinds, "kind", nil, "these kinds, by `GLOB`, whatever the configuration says; repeatable")
	f.StringVar(&o.access.Home, "account-id", "", "`ID` of the account that the collector's own user or role lives in")
	f.StringVar(&o.access.Caller, "caller", "", "that user or role: `user/NAME` or role/NAME; default: whomever that account's administrators let")
	f.StringVar(&o.access.Role, "role-name", policy.DefaultRole, "`NAME` of the role in each account")
	f.StringSliceVar(&o.access.Accounts, "role-account-id", nil, "`ID` of an account that has the role, for assume; repeatable; default: those of the configuration, else any")
	f.StringVar(&o.access.ExternalID, "external-id", "", "what callers must bring: external_id of the configuration")
	f.StringVar(&o.access.Organization, "organization-id", "", "`ID` of an organization (o-...): only its members may enter, and only its members' roles are entered")
	f.BoolVar(&o.access.MFA, "mfa", false, "only callers that have signed in with MFA")
	f.StringVar(&o.access.Partition, "partition", "", "aws, aws-cn, aws-us-gov…; default: the configuration's if it has one alone, else aws")
	return cmd
}

func (c *cli) policy(ctx context.Context, what string, o policyOptions, configNamed, roleNamed bool) error {
	if !slices.Contains([]string{"json", "cloudformation", "terraform"}, o.format) {
		return usageError(fmt.Errorf("--format %q is not json, cloudformation or terraform", o.format))
	}
	if o.format != "json" && what != "" {
		return usageError(fmt.Errorf("--format %s is the whole role: %q is a document of its own, as JSON", o.format, what))
	}
	if what == "" {
		what = "list"
	}
	actions, err := c.policyActions(ctx, &o, configNamed, roleNamed)
	if err != nil {
		return err
	}
	a := o.access
	if err := a.Validate(); err != nil {
		return usageError(err)
	}
	if a.Home == "" && (what == "trust" || what == "all") {
		return usageError(errors.New("--account-id: a trust policy names the account that the collector's own user or role lives in"))
	}
	docs := policy.ListingPolicies(actions)
	var out []byte
	switch {
	case o.format == "cloudformation":
		out, err = policy.CloudFormation(a, docs)
	case o.format == "terraform":
		out, err = policy.Terraform(a, docs)
	case what == "trust":
		out = a.TrustPolicy().JSON()
	case what == "assume":
		out = a.AssumePolicy().JSON()
	case what == "host":
		out = a.InstanceTrustPolicy().JSON()
	case what == "mfa":
		out = a.SelfMFAPolicy().JSON()
	case what == "organization":
		out = policy.OrganizationsPolicy(o.organization).JSON()
	case what == "all":
		out, err = indentedJSON(map[string]any{"organization": policy.OrganizationsPolicy(o.organization), "list": docs, "trust": a.TrustPolicy(), "assume": a.AssumePolicy(), "host": a.InstanceTrustPolicy(), "mfa": a.SelfMFAPolicy()})
	default:
		for _, d := range docs {
			out = append(out, d.JSON()...)
		}
	}
	if err != nil {
		return usageError(err)
	}
	if what == "list" && o.format == "json" && len(docs) > 1 {
		fmt.Fprintf(c.stderr, "%d policies, one after the other: a managed policy holds %d characters\n", len(docs), policy.ManagedLimit)
	}
	_, err = c.out("json").Write(out)
	return err
}

func indentedJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return b.Bytes(), err
}

// policyActions is the actions of the kinds that are asked for, and fills in what the flags leave to the configuration.
func (c *cli) policyActions(ctx context.Context, o *policyOptions, configNamed, roleNamed bool) (actions []string, err error) {
	f, err := c.policyConfig(ctx, configNamed)
	if err != nil {
		return nil, err
	}
	kinds := knownNames().Kinds
	if f != nil {
		p := program{cli: c, opt: runOptions{accounts: o.accounts}}
		blocks, err := p.selectedBlocks(&accountSet{accounts: slices.Concat(f.Accounts, config.PackAccounts(memberTemplates(f)))})
		if err != nil {
			return nil, err
		}
		for _, org := range f.Organizations {
			o.organization = append(o.organization, auth.OrganizationsActions(org)...)
		}
		accounts := accountsOf(blocks)
		kinds = kindsOf(accounts)
		c.fillAccess(&o.access, accounts, roleNamed)
	} else if len(o.accounts) > 0 {
		return nil, usageError(fmt.Errorf("--account %q: there is no %s", o.accounts, c.configPath))
	}
	if len(o.kinds) > 0 {
		kinds = config.Match(o.kinds, knownNames().Kinds)
	}
	if len(kinds) == 0 {
		return nil, usageError(fmt.Errorf("--kind %q names no kind; %q lists them", o.kinds, "collector kinds"))
	}
	if o.access.Partition == "" {
		o.access.Partition = record.Partitions[0].ID
	}
	return actionsOf(kinds), nil
}

// memberTemplates is a block for each organization, as its members' would be, in any account.
func memberTemplates(f *config.File) (blocks []config.Account) {
	for _, o := range f.Organizations {
		b := config.Account{Name: o.Label, SignIn: o.Via, Collect: o.Collect}
		hop := config.Role{ARN: "arn:" + b.PartitionID() + ":iam::*:role/" + o.MemberRole, RoleSession: o.RoleSession}
		b.Roles, b.Role = append(slices.Clone(o.Via.Hops()), hop), config.Role{}
		blocks = append(blocks, b)
	}
	return blocks
}

// policyConfig reads the configuration file without needing what its references lead to: a policy holds no secret, and who writes
// policies has none. Without a file, and without one having been asked for, it is nil.
func (c *cli) policyConfig(ctx context.Context, named bool) (*config.File, error) {
	b, _, err := c.configText(ctx)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return nil, nil
	}
	if err != nil {
		return nil, usageError(err)
	}
	f, err := config.Parse(b, c.configName(), knownNames())
	if err != nil {
		return nil, usageError(err)
	}
	lookup := func(name string) (string, bool) { v := c.getenv(name); return v, v != "" }
	if err := f.Resolve(lookup, referenceReader(ctx)); err != nil {
		fmt.Fprintln(c.stderr, "the configuration's references are left open here: not all of them lead somewhere")
	}
	return f, nil
}

// kindsOf is every kind that some account lists, sorted.
func kindsOf(blocks []config.Account) []string {
	var all []string
	for _, b := range blocks {
		all = append(all, config.Match(b.Collect.Kinds, knownNames().Kinds)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// actionsOf is the IAM actions of the kinds and of the kinds that they are listed under.
func actionsOf(kinds []string) []string {
	var actions []string
	for _, name := range kinds {
		for name != "" {
			k, ok := collectors.KindNamed(name)
			if !ok {
				break
			}
			actions = append(actions, k.Action())
			name = k.Parent
		}
	}
	return actions
}

// fillAccess takes the partition and the roles from the configuration, where the flags do not say. A role is taken that is
// assumed first: the later ones of a chain are assumed by roles.
func (c *cli) fillAccess(a *policy.Access, blocks []config.Account, roleNamed bool) {
	byPartition := map[string][]string{}
	open := 0
	for _, b := range blocks {
		arn := b.Role.ARN
		if len(b.Roles) > 0 {
			arn = b.Roles[0].ARN
		}
		if arn == "" {
			continue
		}
		p := record.PartitionOfARN(arn)
		if p == "" || strings.Contains(arn, "${") {
			open++
			continue
		}
		byPartition[p] = append(byPartition[p], arn)
	}
	if open > 0 {
		fmt.Fprintf(c.stderr, "%d role ARNs are references that are not resolved here; they are left out\n", open)
	}
	if a.Partition == "" && len(byPartition) == 1 {
		for p := range byPartition {
			a.Partition = p
		}
	}
	if a.Partition == "" {
		a.Partition = commonPartition(blocks)
	}
	if !roleNamed && len(a.Accounts) == 0 {
		a.Roles = byPartition[a.Partition]
	}
}

// commonPartition is the one partition that all accounts are of, by what they say of it or by the regions that they name; aws
// where they differ or say nothing.
func commonPartition(blocks []config.Account) string {
	var found []string
	for _, b := range blocks {
		if b.Partition != "" {
			found = append(found, b.Partition)
			continue
		}
		for _, r := range append([]string{b.STSRegion}, b.Collect.Regions...) {
			if p, ok := record.PartitionOf(r); ok {
				found = append(found, p.ID)
			}
		}
	}
	slices.Sort(found)
	if found = slices.Compact(found); len(found) == 1 {
		return found[0]
	}
	return record.Partitions[0].ID
}
