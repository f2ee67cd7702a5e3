package accounts

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// Identities knows which AWS account each block was in earlier runs. Package auth compares each sign-in with it.
type Identities struct{ *identity.Store }

// OpenIdentities reads the identities in data_dir, and sets the options' path and log. A file that this user may not
// read is an error: without it, nothing would detect that a block became another account.
func OpenIdentities(dataDir string, o identity.Options, log *slog.Logger) (*Identities, error) {
	o.Path, o.Log = filepath.Join(dataDir, "identities.json"), log
	store := identity.New(o)
	if err := store.Load(); err != nil {
		f := &record.Fault{Reason: record.Other, Err: err}
		if errors.Is(err, fs.ErrPermission) {
			f.Hint = "Let the user of this process read " + o.Path + "."
		}
		return nil, f
	}
	return &Identities{store}, nil
}

// SetConfiguration sets which blocks the configuration has.
func (i *Identities) SetConfiguration(f *config.File) error {
	blocks := make(map[string]string, len(f.Accounts)+len(f.Organizations))
	for n := range f.Accounts {
		a := f.Accounts[n]
		blocks[a.Name] = a.Fingerprint
	}
	for _, o := range f.Organizations {
		blocks[o.Label] = o.Via.Fingerprint
	}
	return i.SetBlocks(blocks)
}

// Last is the account that the block signed in to last. It is zero if that is unknown, or if the block now names
// another account.
func (i *Identities) Last(a config.Account) record.Identity {
	last := i.Lookup(a.Name, a.Fingerprint)
	if last == nil || a.KnownAccountID() != "" && a.KnownAccountID() != last.AccountID {
		return record.Identity{}
	}
	return record.Identity{AccountID: last.AccountID, Partition: last.Partition}
}

// LastOf has the last accounts of the file's own blocks, as far as they are known, by name.
func (i *Identities) LastOf(f *config.File) map[string]record.Identity {
	all := map[string]record.Identity{}
	for n := range f.Accounts {
		a := f.Accounts[n]
		if id := i.Last(a); id.AccountID != "" {
			all[a.Name] = id
		}
	}
	return all
}

// Claimants returns those blocks of a set that collected reports, in the set's order.
func (i *Identities) Claimants(s *Set, collected func(block string) bool) []Claimant {
	var all []Claimant
	for n := range s.Accounts {
		if a := s.Accounts[n]; collected(a.Name) {
			all = append(all, Claimant{Block: a.Name, Last: i.Last(a)})
		}
	}
	return all
}

// ErrNothingToAccept means that no other account was refused for the block.
var ErrNothingToAccept = errors.New("nothing to accept")

// AcceptRefused accepts the account that was refused last for a block, and returns what the block was before.
func (i *Identities) AcceptRefused(block string) (*identity.BlockIdentity, error) {
	refused := func(b *identity.BlockIdentity) bool { return b.Block == block }
	if !slices.ContainsFunc(i.Refusals(), refused) {
		return nil, i.nothingToAccept(block) // nothing is written
	}
	last, err := i.Accept(block)
	switch {
	case errors.Is(err, identity.ErrNothingRefused): // it was accepted meanwhile
		return nil, i.nothingToAccept(block)
	case errors.Is(err, fs.ErrPermission):
		return nil, &record.Fault{
			Reason: record.Other, Hint: "Run the command as the collector's user, who owns data_dir.",
			Err: fmt.Errorf("account %q: accept: %w", block, err),
		}
	case err != nil:
		return nil, fmt.Errorf("account %q: accept: %w", block, err)
	}
	return last, nil
}

func (i *Identities) nothingToAccept(block string) error {
	err := fmt.Errorf("account %q: %w", block, ErrNothingToAccept)
	if known := i.ForBlock(block); len(known) > 0 {
		return fmt.Errorf("%w: it is account %s since %s, and no other account was refused",
			err, known[0].AccountID, known[0].Since.UTC().Format(time.DateOnly))
	}
	if refused := i.Refusals(); len(refused) > 0 {
		return fmt.Errorf("%w; blocks with a refused account: %s", err, quotedBlocks(refused))
	}
	return fmt.Errorf("%w: no block signed in to another account", err)
}

// quotedBlocks lists the names of the blocks in a message.
func quotedBlocks(blocks []*identity.BlockIdentity) string {
	var names []string
	for _, b := range blocks[:min(len(blocks), 20)] {
		names = append(names, fmt.Sprintf("%q", b.Block))
	}
	if more := len(blocks) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}
