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

// openClaims reads which account each block was before. A file that this user may not read is an error: without it
// nobody would notice that a block became another account.
func openClaims(o auth.ClaimsOptions, log *slog.Logger) (*auth.FileClaims, error) {
	o.Log = log
	c := auth.NewClaims(o)
	if err := c.Load(); err != nil {
		f := &record.Fault{Reason: record.Other, Err: err}
		if errors.Is(err, fs.ErrPermission) {
			f.Hint = "Let the user of this process read " + o.Path + "."
		}
		return nil, f
	}
	return c, nil
}

// inForce tells the claims which blocks the configuration has.
func (p *program) inForce(f *config.File) {
	blocks := make(map[string]string, len(f.Accounts)+len(f.Organizations))
	for i := range f.Accounts {
		a := f.Accounts[i].Account()
		blocks[a.Name] = a.Mark
	}
	for _, o := range f.Organizations {
		blocks[o.Label] = o.Via.Mark
	}
	if err := p.claims.Blocks(blocks); err != nil {
		p.log.Error("identity file not read", "error", err, "hint", record.HintOf(err))
	}
}

// was is the account that a block was when it was entered last; zero: not known, or the block says that it is another
// one now.
func (p *program) was(a config.Account) record.Identity {
	if p.claims == nil {
		return record.Identity{}
	}
	c := p.claims.Of(a.Name, a.Mark)
	if c == nil || a.IDKnown() != "" && a.IDKnown() != c.AccountID {
		return record.Identity{}
	}
	return record.Identity{AccountID: c.AccountID, Partition: c.Partition}
}

// identities is who the file's own blocks are, as far as that is known.
func (p *program) identities(f *config.File) map[string]record.Identity {
	all := map[string]record.Identity{}
	for i := range f.Accounts {
		a := f.Accounts[i].Account()
		if who := p.was(a); who.AccountID != "" {
			all[a.Name] = who
		}
	}
	return all
}

// carriedTicks are those of a process before, under the names of today.
type carriedTicks struct {
	runner.Ticks
	program *program
}

// Load is [runner.Ticks].
func (t carriedTicks) Load() (map[runner.TickKey]time.Time, error) {
	last, err := t.Ticks.Load()
	if err != nil {
		return nil, err
	}
	renamed := t.program.renamed(slices.Collect(maps.Keys(last)))
	for key, at := range last {
		if name, ok := renamed[key.Account]; ok {
			delete(last, key)
			last[runner.TickKey{Account: name, Spec: key.Spec}] = at
		}
	}
	return last, nil
}

// positional is what earlier versions called blocks without a name.
var positional = regexp.MustCompile(`^(account-|organization:)`)

// renamed is how blocks are called now that earlier versions called by their position, by their old names. A block is
// the same one if it is the account that the store has under the old name; where that cannot be told, if the file has
// the same positions without a name as the version before had.
func (p *program) renamed(ticks []runner.TickKey) map[string]string {
	f := p.now.file
	left, had := map[string]bool{}, map[string]map[string]bool{}
	for _, key := range ticks {
		if kind := positional.FindString(key.Account); kind != "" && p.runner.Fleet().Account(key.Account) == nil {
			left[key.Account] = true
			add(had, kind, key.Account)
		}
	}
	if len(left) == 0 {
		return nil
	}
	would := map[string]map[string]bool{}
	for _, old := range f.Formerly {
		add(would, positional.FindString(old), old)
	}
	stored := p.storedAs(left)
	renamed := map[string]string{}
	for name, old := range f.Formerly {
		kind := positional.FindString(old)
		same := maps.Equal(had[kind], would[kind])
		if i := slices.IndexFunc(f.Accounts, func(b config.Block) bool { return b.Name() == name }); i >= 0 {
			a := f.Accounts[i].Account()
			id := a.IDKnown()
			if id == "" {
				id = p.was(a).AccountID
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

func add(to map[string]map[string]bool, kind, name string) {
	if to[kind] == nil {
		to[kind] = map[string]bool{}
	}
	to[kind][name] = true
}

// storedAs is the ids of the accounts that the store has under these names.
func (p *program) storedAs(names map[string]bool) map[string][]string {
	if p.retire == nil || p.retire.ledger.store == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	known, err := p.retire.ledger.store.Accounts(ctx)
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

// claimOf is what check shows of a block's claim.
func claimOf(c *auth.Claim) map[string]any {
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

// blocksOf is the names of the blocks, in a sentence.
func blocksOf(claims []*auth.Claim) string {
	var names []string
	for _, c := range claims[:min(len(claims), 20)] {
		names = append(names, fmt.Sprintf("%q", c.Block))
	}
	if more := len(claims) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
