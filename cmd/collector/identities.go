package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

func identitiesPath(dataDir string) string { return filepath.Join(dataDir, "identities.json") }

// openIdentities reads which AWS account each block was in earlier runs. A file that this user may not read is an
// error: without it, nothing would detect that a block became another account.
func openIdentities(o auth.IdentityStoreOptions, log *slog.Logger) (*auth.FileIdentityStore, error) {
	o.Log = log
	identities := auth.NewFileIdentityStore(o)
	if err := identities.Load(); err != nil {
		f := &record.Fault{Reason: record.Other, Err: err}
		if errors.Is(err, fs.ErrPermission) {
			f.Hint = "Let the user of this process read " + o.Path + "."
		}
		return nil, f
	}
	return identities, nil
}

// setIdentityBlocks tells the identity store which blocks the configuration has.
func (p *program) setIdentityBlocks(f *config.File) {
	blocks := make(map[string]string, len(f.Accounts)+len(f.Organizations))
	for i := range f.Accounts {
		a := f.Accounts[i].Account()
		blocks[a.Name] = a.Fingerprint
	}
	for _, o := range f.Organizations {
		blocks[o.Label] = o.Via.Fingerprint
	}
	if err := p.identities.SetBlocks(blocks); err != nil {
		p.log.Error("identity file not read", "error", err, "hint", record.HintOf(err))
	}
}

// previousIdentity is the account that the block signed in to last. It is zero if that is unknown, or if the block now
// names another account.
func (p *program) previousIdentity(a config.Account) record.Identity {
	if p.identities == nil {
		return record.Identity{}
	}
	last := p.identities.Lookup(a.Name, a.Fingerprint)
	if last == nil || a.KnownAccountID() != "" && a.KnownAccountID() != last.AccountID {
		return record.Identity{}
	}
	return record.Identity{AccountID: last.AccountID, Partition: last.Partition}
}

// knownIdentities has the identities of the file's own blocks, as far as they are known.
func (p *program) knownIdentities(f *config.File) map[string]record.Identity {
	all := map[string]record.Identity{}
	for i := range f.Accounts {
		a := f.Accounts[i].Account()
		if id := p.previousIdentity(a); id.AccountID != "" {
			all[a.Name] = id
		}
	}
	return all
}

// renamingTicks loads the ticks of an earlier process under the current names of the blocks.
type renamingTicks struct {
	runner.Ticks
	program *program
}

// Load implements [runner.Ticks].
func (t renamingTicks) Load() (map[runner.TickKey]time.Time, error) {
	last, err := t.Ticks.Load()
	if err != nil {
		return nil, err
	}
	renamed := t.program.renamedAccounts(slices.Collect(maps.Keys(last)))
	for key, at := range last {
		if name, ok := renamed[key.Account]; ok {
			delete(last, key)
			last[runner.TickKey{Account: name, Spec: key.Spec}] = at
		}
	}
	return last, nil
}

// positionalName matches the names that earlier versions gave to blocks without a name.
var positionalName = regexp.MustCompile(`^(account-|organization:)`)

// renamedAccounts maps positional names of earlier versions to the current names of the blocks. A block is the same one
// if the store has its account under the old name. If the store cannot tell, the file must have the same unnamed
// positions as before.
func (p *program) renamedAccounts(ticks []runner.TickKey) map[string]string {
	f := p.config.file
	unclaimed, saved := map[string]bool{}, map[string]map[string]bool{}
	for _, key := range ticks {
		kind := positionalName.FindString(key.Account)
		if kind != "" && !p.runner.Configuration().Has(key.Account) {
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
	stored := p.storedAccountIDs(unclaimed)
	renamed := map[string]string{}
	for name, old := range f.FormerNames {
		kind := positionalName.FindString(old)
		same := maps.Equal(saved[kind], current[kind])
		if i := slices.IndexFunc(f.Accounts, func(b config.PackedAccount) bool { return b.Name() == name }); i >= 0 {
			a := f.Accounts[i].Account()
			id := a.KnownAccountID()
			if id == "" {
				id = p.previousIdentity(a).AccountID
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
func (p *program) storedAccountIDs(names map[string]bool) map[string][]string {
	if p.store == nil || p.store.driver == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	accounts, err := p.store.driver.Accounts(ctx)
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

// identityJSON is the identity of a block in the JSON output of check.
func identityJSON(c *auth.BlockIdentity) map[string]any {
	if c == nil {
		return nil
	}
	format := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	m := map[string]any{"account_id": c.AccountID, "partition": c.Partition, "since": format(c.Since)}
	if r := c.Refused; r != nil {
		m["refused"] = map[string]any{
			"account_id": r.AccountID, "partition": r.Partition, "arn": r.ARN, "at": format(r.At),
		}
	}
	return m
}

// quotedBlockNames lists the names of the blocks in a message.
func quotedBlockNames(blocks []*auth.BlockIdentity) string {
	var names []string
	for _, b := range blocks[:min(len(blocks), 20)] {
		names = append(names, fmt.Sprintf("%q", b.Block))
	}
	if more := len(blocks) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
