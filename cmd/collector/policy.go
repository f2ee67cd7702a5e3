package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
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
		Long: `Prints an IAM policy that you can paste:

  list    lets the collector list the kinds of an account, and nothing else (the default)
  trust   the trust policy of the role in an account: who may assume it
  assume  lets the collector's own user or role assume those roles
  host    the trust policy of a role for the EC2 instances that run the collector
  mfa     lets users manage their own MFA device, and requires them to sign in with it
  organization
          lets a user or role list the members of an organization, in the management account or in the account of a
          delegated administrator
  all     all of these, as one JSON object

With --format, prints the role with its policies instead: as a CloudFormation template, which a StackSet can create in
every account, or as a Terraform module.

The kinds, the role ARNs and the partition come from the configuration file. Without a file, the policy is for every
kind, and for roles named --role-name in any account. Variables and files that the configuration refers to may be
missing: the command needs no secrets.`,
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
	f.StringSliceVar(&o.accounts, "account", nil,
		"only accounts of the configuration that match this `GLOB`; can be repeated")
	f.Var(kindsValue{&o.kinds}, "kind", "these kinds instead of the configured ones, as a `GLOB`; can be repeated")
	f.StringVar(&o.access.Home, "account-id", "", "`ID` of the account that has the collector's own user or role")
	f.StringVar(&o.access.Caller, "caller", "", "the collector's own user or role: `user/NAME` or role/NAME; "+
		"default: every user and role that the administrators of --account-id allow")
	f.StringVar(&o.access.Role, "role-name", policy.DefaultRole, "`NAME` of the role in each account")
	f.StringSliceVar(&o.access.Accounts, "role-account-id", nil, "for assume: `ID` of an account that has the role; "+
		"can be repeated; default: the accounts of the configuration, else any account")
	f.StringVar(&o.access.ExternalID, "external-id", "",
		"the external id that callers must send: external_id of the configuration")
	f.StringVar(&o.access.Organization, "organization-id", "", "`ID` of an organization (o-...): "+
		"only its members may assume the role, and only roles of its members may be assumed")
	f.BoolVar(&o.access.MFA, "mfa", false, "only for callers that signed in with MFA")
	f.StringVar(&o.access.Partition, "partition", "", "aws, aws-cn, aws-us-gov or another partition; "+
		"default: the partition of the configuration if there is only one, else aws")
	return cmd
}

func (c *cli) policy(ctx context.Context, what string, o policyOptions, configNamed, roleNamed bool) error {
	if !slices.Contains([]string{"json", "cloudformation", "terraform"}, o.format) {
		return usageError(fmt.Errorf("--format %q is not json, cloudformation or terraform", o.format))
	}
	if o.format != "json" && what != "" {
		return usageError(fmt.Errorf("--format %s prints the whole role; remove %q, which prints one JSON policy",
			o.format, what))
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
		return usageError(errors.New(
			"--account-id is required: a trust policy names the account of the collector's own user or role"))
	}
	listing := policy.ListingPolicies(actions)
	var docs []policy.Document
	for _, p := range listing {
		docs = append(docs, p.Document)
	}
	var out []byte
	switch {
	case o.format == "cloudformation":
		out, err = policy.CloudFormation(a, listing)
	case o.format == "terraform":
		out, err = policy.Terraform(a, listing)
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
		var all bytes.Buffer
		err = printer.JSON(&all, map[string]any{
			"organization": policy.OrganizationsPolicy(o.organization), "list": docs, "trust": a.TrustPolicy(),
			"assume": a.AssumePolicy(), "host": a.InstanceTrustPolicy(), "mfa": a.SelfMFAPolicy(),
		})
		out = all.Bytes()
	default:
		for _, d := range docs {
			out = append(out, d.JSON()...)
		}
	}
	if err != nil {
		return usageError(err)
	}
	if what == "list" && o.format == "json" && len(docs) > 1 {
		fmt.Fprintf(c.stderr, "%d policies, one after the other: a managed policy can have %d characters, "+
			"and by default %d can be attached to a role\n", len(docs), policy.ManagedLimit, policy.AttachLimit)
	}
	_, err = c.out("json").Write(out)
	return err
}

// policyActions returns the actions of the selected kinds. It fills in options from the configuration that no flag
// sets.
func (c *cli) policyActions(
	ctx context.Context, o *policyOptions, configNamed, roleNamed bool,
) (actions []string, err error) {
	f, err := c.policyConfig(ctx, configNamed)
	if err != nil {
		return nil, err
	}
	kinds := configfile.KnownNames().Kinds
	if f != nil {
		only := account.Selection{Accounts: o.accounts, File: c.config.Path}
		blocks, err := only.Blocks(&accounts.Set{Accounts: slices.Concat(f.Accounts, policy.MemberTemplates(f))})
		if err != nil {
			return nil, usageError(err)
		}
		for _, org := range f.Organizations {
			o.organization = append(o.organization, auth.OrganizationsActions(org)...)
		}
		kinds = account.Kinds(blocks)
		if n := o.access.Fill(blocks, roleNamed); n > 0 {
			fmt.Fprintf(c.stderr, "%d role ARNs are references that do not resolve here; they are omitted\n", n)
		}
	} else if len(o.accounts) > 0 {
		return nil, usageError(fmt.Errorf("--account %q: there is no %s", o.accounts, c.config.Path))
	}
	if len(o.kinds) > 0 {
		kinds = config.Match(o.kinds, configfile.KnownNames().Kinds)
	}
	if len(kinds) == 0 {
		return nil, usageError(fmt.Errorf("--kind %q matches no kind; run %q to list them", o.kinds, "collector kinds"))
	}
	if o.access.Partition == "" {
		o.access.Partition = record.Partitions[0].ID
	}
	return account.Actions(kinds), nil
}

// policyConfig reads the configuration file. References need not resolve: a policy contains no secret, and the author
// of policies has no access to secrets. Without a file, and without a flag that names one, it is nil.
func (c *cli) policyConfig(ctx context.Context, named bool) (*config.File, error) {
	f, err := c.config.Parse(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return nil, nil
	case err != nil:
		return nil, usageError(err)
	}
	if err := c.config.Resolve(ctx, f); err != nil {
		fmt.Fprintln(c.stderr, "some references of the configuration do not resolve here; they are left as they are")
	}
	return f, nil
}
