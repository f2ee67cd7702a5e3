package account

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// A Selection restricts a command to a part of the configuration, by the globs of --account, --region and --kind. The
// zero value selects everything.
type Selection struct {
	Accounts, Regions, Kinds []string

	File string // the name of the configuration in errors
}

// Narrows reports whether the selection leaves something out. A run of it cannot tell what is gone.
func (s Selection) Narrows() bool { return len(s.Accounts)+len(s.Regions)+len(s.Kinds) > 0 }

// Blocks returns the account blocks of a file that are selected. A block that has none of the kinds or regions is left
// out without an error, but at least one block must match.
func (s Selection) Blocks(c *accounts.Set) ([]config.Account, error) {
	selected := c.Accounts
	narrow := func(flag, what string, globs []string, matches func(config.Account) bool) error {
		if len(globs) == 0 {
			return nil
		}
		var matching []config.Account
		for _, b := range selected {
			if matches(b) {
				matching = append(matching, b)
			}
		}
		if selected = matching; len(selected) == 0 && len(c.Unlisted) == 0 {
			return fmt.Errorf("%s %s: no account of %s has such a %s", flag, strings.Join(globs, ","), s.File, what)
		}
		return nil
	}
	hasName := func(a config.Account) bool { return config.Matches(s.Accounts, a.Name) }
	hasKind := func(a config.Account) bool { return len(s.kindsOf(a)) > 0 }
	hasRegion := func(a config.Account) bool { return len(s.kindsInRegions(a)) > 0 }
	for _, err := range []error{
		narrow("--account", "name", s.Accounts, hasName),
		narrow("--kind", "kind to list", s.Kinds, hasKind),
		narrow("--region", "region to list", s.Regions, hasRegion),
	} {
		if err != nil {
			return nil, err
		}
	}
	return selected, nil
}

// kindsOf returns the kinds of an account that match --kind.
func (s Selection) kindsOf(a config.Account) []string {
	names := config.Match(a.Collect.Kinds, configfile.KnownNames().Kinds)
	if len(s.Kinds) > 0 {
		names = config.Match(s.Kinds, names)
	}
	return names
}

// kindsInRegions returns the kinds of kindsOf that are listed in a region that matches --region.
func (s Selection) kindsInRegions(a config.Account) []string {
	global, regional := len(s.Regions) == 0 || config.Matches(s.Regions, record.GlobalRegion), s.mayMatchRegion(a)
	return slices.DeleteFunc(s.kindsOf(a), func(name string) bool {
		k, _ := collectors.KindNamed(name)
		if k.Service().Global {
			return !global
		}
		return !regional
	})
}

// mayMatchRegion reports whether --region matches a region that the account may have. A region that is newer than this
// version counts if a flag or the block spells it out.
func (s Selection) mayMatchRegion(a config.Account) bool {
	if len(s.Regions) == 0 {
		return true
	}
	part, _ := record.PartitionNamed(auth.PartitionOf(a))
	possible := slices.Clone(part.Regions)
	for _, r := range slices.Concat(a.Collect.Regions, s.Regions) {
		if other, ok := record.PartitionOf(r); ok && other.ID == part.ID {
			possible = append(possible, r)
		}
	}
	return len(config.Match(s.Regions, config.Match(a.Collect.Regions, possible))) > 0
}

// Organizations returns the organizations that --account may match. If it names only accounts of the file,
// there are none.
func (s Selection) Organizations(f *config.File) []config.Organization {
	if len(s.Accounts) == 0 {
		return f.Organizations
	}
	for _, name := range s.Accounts {
		if !slices.ContainsFunc(f.Accounts, func(b config.Account) bool { return b.Name == name }) {
			return f.Organizations
		}
	}
	return nil
}
