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

// openIdentities reads which account each block was before. A file that this user may not read is an error: without it
// nobody would notice that a block became another account.
func openIdentities(o auth.IdentityStoreOptions, log *slog.Logger) (*auth.FileIdentityStore, error) {
	o.Log = log
	c := auth.NewFileIdentityStore(o)
	if err := c.Load(); err != nil {
		f := &record.Fault{Reason: record.Other, Err: err}
		if errors.Is(err, fs.ErrPermission) {
			f.Hint = "Let the user of this process read " + o.Path + "."
		}
		return nil, f
	}
	return c, nil
}

// setIdentityBlocks tells the claims which blocks the configuration has.
func (p *program) setIdentityBlocks(f *config.File) {
	blocks := make(map[string]string, len(f.Accounts)+len(f.Organizations))
	for i := range f.Accounts {
		a := f.Accounts[i].Account()
		blocks[a.Name] = a.Digest
	}
	for _, o := range f.Organizations {
		blocks[o.Label] = o.Via.Digest
	}
	if err := p.identities.SetBlocks(blocks); err != nil {
		p.log.Error("identity file not read", "error", err, "hint", record.HintOf(err))
	}
}

// previousIdentity is the account that a block was when it was entered last; zero: not known, or the block says that it is another
// one now.
func (p *program) previousIdentity(a config.Account) record.Identity {
	if p.identities == nil {
		return record.Identity{}
	}
	c := p.identities.Lookup(a.Name, a.Digest)
	if c == nil || a.KnownAccountID() != "" && a.KnownAccountID() != c.AccountID {
		return record.Identity{}
	}
	return record.Identity{AccountID: c.AccountID, Partition: c.Partition}
}

// knownIdentities is who the file's own blocks are, as far as that is known.
func (p *program) knownIdentities(f *config.File) map[string]record.Identity {
	all := map[string]record.Identity{}
	for i := range f.Accounts {
		a := f.Accounts[i].Account()
		if who := p.previousIdentity(a); who.AccountID != "" {
			all[a.Name] = who
		}
	}
	return all
}

// renamingTicks are those of a process before, under the names of today.
type renamingTicks struct {
	runner.Ticks
	program *program
}

// Load is [runner.Ticks].
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

// positionalName is what earlier versions called blocks without a name.
var positionalName = regexp.MustCompile(`^(account-|organization:)`)

// renamedAccounts is how blocks are called now that earlier versions called by their position, by their old names. A block is
// the same one if it is the account that the store has under the old name; where that cannot be told, if the file has
// the same positions without a name as the version before had.
func (p *program) renamedAccounts(ticks []runner.TickKey) map[string]string {
	f := p.config.file
	left, had := map[string]bool{}, map[string]map[string]bool{}
	for _, key := range ticks {
		if kind := positionalName.FindString(key.Account); kind != "" && p.runner.Configuration().Account(key.Account) == nil {
			left[key.Account] = true
			addName(had, kind, key.Account)
		}
	}
	if len(left) == 0 {
		return nil
	}
	would := map[string]map[string]bool{}
	for _, old := range f.FormerNames {
		addName(would, positionalName.FindString(old), old)
	}
	stored := p.storedAccountIDs(left)
	renamed := map[string]string{}
	for name, old := range f.FormerNames {
		kind := positionalName.FindString(old)
		same := maps.Equal(had[kind], would[kind])
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
		if left[old] && same {
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

// storedAccountIDs is the ids of the accounts that the store has under these names.
func (p *program) storedAccountIDs(names map[string]bool) map[string][]string {
	if p.retirer == nil || p.retirer.store.driver == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	known, err := p.retirer.store.driver.Accounts(ctx)
	if err != nil {
		return nil // the store says what is wrong with it
	}
	ids := map[string][]string{}
	for _, a := range known {
		if names[a.Name] {
			ids[a.Name] = append(ids[a.Name], a.AccountID)
		}
	}
	return ids
}

// identityJSON is what check shows of a block's claim.
func identityJSON(c *auth.BlockIdentity) map[string]any {
	if c == nil {
		return nil
	}
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	m := map[string]any{"account_id": c.AccountID, "partition": c.Partition, "since": stamp(c.Since)}
	if r := c.Refused; r != nil {
		m["refused"] = map[string]any{"account_id": r.AccountID, "partition": r.Partition, "arn": r.ARN, "at": stamp(r.At)}
	}
	return m
}

// quotedBlockNames is the names of the blocks, in a sentence.
func quotedBlockNames(claims []*auth.BlockIdentity) string {
	var names []string
	for _, c := range claims[:min(len(claims), 20)] {
		names = append(names, fmt.Sprintf("%q", c.Block))
	}
	if more := len(claims) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
