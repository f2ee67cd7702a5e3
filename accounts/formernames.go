package accounts

import (
	"context"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/runner/local"
)

// A FormerNames loads the ticks of an earlier process under the current names of the blocks: earlier versions named
// blocks without a name by their position.
type FormerNames struct {
	local.Ticks
	File       func() *config.File    // the configuration in force
	Named      func(name string) bool // it has an account or a task with this name
	Identities *Identities
	Store      AccountStore // nil: it cannot tell which account had a name
}

// Load implements [local.Ticks].
func (n FormerNames) Load() (map[local.TickKey]time.Time, error) {
	last, err := n.Ticks.Load()
	if err != nil {
		return nil, err
	}
	renamed := n.renamed(slices.Collect(maps.Keys(last)))
	for key, at := range last {
		if name, ok := renamed[key.Account]; ok {
			delete(last, key)
			last[local.TickKey{Account: name, Spec: key.Spec}] = at
		}
	}
	return last, nil
}

// positionalName matches the names that earlier versions gave to blocks without a name.
var positionalName = regexp.MustCompile(`^(account-|organization:)`)

// renamed maps positional names of earlier versions to the current names of the blocks. A block is the same one if the
// store has its account under the old name. If the store cannot tell, the file must have the same unnamed positions as
// before.
func (n FormerNames) renamed(ticks []local.TickKey) map[string]string {
	f := n.File()
	unclaimed, saved := map[string]bool{}, map[string]map[string]bool{}
	for _, key := range ticks {
		kind := positionalName.FindString(key.Account)
		if kind != "" && !n.Named(key.Account) {
			unclaimed[key.Account] = true
			addName(saved, kind, key.Account)
		}
	}
	if len(unclaimed) == 0 {
		return nil
	}
	current := map[string]map[string]bool{}
	for _, old := range f.FormerNames {
		addName(current, positionalName.FindString(old), old)
	}
	stored := n.storedAccountIDs(unclaimed)
	renamed := map[string]string{}
	for name, old := range f.FormerNames {
		kind := positionalName.FindString(old)
		same := maps.Equal(saved[kind], current[kind])
		if i := slices.IndexFunc(f.Accounts, func(b config.Account) bool { return b.Name == name }); i >= 0 {
			a := f.Accounts[i]
			id := a.KnownAccountID()
			if id == "" {
				id = n.Identities.Last(a).AccountID
			}
			if ids := stored[old]; id != "" && len(ids) > 0 {
				same = slices.Contains(ids, id)
			}
		}
		if unclaimed[old] && same {
			renamed[old] = name
		}
	}
	return renamed
}

func addName(to map[string]map[string]bool, kind, name string) {
	if to[kind] == nil {
		to[kind] = map[string]bool{}
	}
	to[kind][name] = true
}

// storedAccountIDs returns the ids of the accounts that the store has under these names.
func (n FormerNames) storedAccountIDs(names map[string]bool) map[string][]string {
	if n.Store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	accounts, err := n.Store.Accounts(ctx)
	if err != nil {
		return nil // the store reports its errors itself
	}
	ids := map[string][]string{}
	for _, a := range accounts {
		if names[a.Name] {
			ids[a.Name] = append(ids[a.Name], a.AccountID)
		}
	}
	return ids
}
