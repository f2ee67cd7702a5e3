package account

import (
	"slices"
	"strings"

	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/query"
)

// Catalogue returns the kinds of this program.
func Catalogue() query.Catalogue {
	all := make(query.Catalogue, len(collectors.Kinds))
	for i := range collectors.Kinds {
		k := &collectors.Kinds[i]
		all[i] = query.KindLine{
			Kind: k.Name, Operation: k.Op, Parent: k.Parent, Action: strings.Join(k.Actions(), ", "), Doc: k.DocURL(),
			Service: k.Service().Name, Global: k.Global || k.Service().Global,
		}
	}
	return all
}

// Kinds returns the kinds that any account lists, sorted.
func Kinds(blocks []config.Account) []string {
	var all []string
	for _, b := range blocks {
		all = append(all, config.Match(b.Collect.Kinds, configfile.KnownNames().Kinds)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Actions returns the IAM actions of the kinds and of their parents.
func Actions(kinds []string) []string {
	var actions []string
	for _, name := range kinds {
		for name != "" {
			k, ok := collectors.KindNamed(name)
			if !ok {
				break
			}
			actions = append(actions, k.Actions()...)
			name = k.Parent
		}
	}
	return actions
}
