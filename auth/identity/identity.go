// Package identity stores the AWS account that each block signed in to, in data_dir. Package auth compares each
// sign-in with it: another account behind an unchanged block is refused until a person accepts it. Begin at
// [Store.Check].
package identity

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// A BlockIdentity is the account that a block was when it last signed in.
type BlockIdentity struct {
	Block       string    `json:"block"`
	Fingerprint string    `json:"mark"` // of its sign-in, see [config.SignIn]
	AccountID   string    `json:"account_id"`
	Partition   string    `json:"partition"`
	ARN         string    `json:"arn"`
	Since       time.Time `json:"since"`
	Removed     bool      `json:"gone,omitempty"` // the last configuration in force does not have the block
	Refused     *Refusal  `json:"refused,omitempty"`

	unsaved bool // not to be written: found by a process that only checks
}

// Saved reports whether a run found the identity. false: a check found it.
func (c *BlockIdentity) Saved() bool { return !c.unsaved }

// A Refusal is another account that a block signed in to, and that no person has accepted yet.
type Refusal struct {
	AccountID string    `json:"account_id"`
	Partition string    `json:"partition"`
	ARN       string    `json:"arn"`
	At        time.Time `json:"at"` // when it was first seen
}

// Matches reports whether the block was this account.
func (c *BlockIdentity) Matches(identity record.Identity) bool {
	return c.AccountID == identity.AccountID && c.Partition == identity.Partition
}

// Options says where and how identities are stored.
type Options struct {
	Path     string // of the file; "": in memory, until the process ends
	ReadOnly bool   // the file is never written
	Checking bool   // only refusals are written
	Log      *slog.Logger
}

// A Store stores identities in a JSON file that several processes may change: a change is applied, under a lock, to
// what the file holds at that time. The file holds no secret.
type Store struct {
	options Options

	writeMu sync.Mutex // held while the file is written

	mu         sync.Mutex
	identities map[blockKey]*BlockIdentity // as last read or written, and unwritten ones; immutable values
	fileInfo   fs.FileInfo                 // at that time; nil: no file
	writing    bool                        // this process writes the file, and has read it under the file's lock
	pending    map[blockKey]bool           // to be written
	timer      *time.Timer                 // of the scheduled flush
	lastErr    error                       // of the last write
}

type blockKey struct{ block, fingerprint string }

func (c *BlockIdentity) key() blockKey { return blockKey{c.Block, c.Fingerprint} }

// New does not read the file yet.
func New(o Options) *Store {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Store{options: o, identities: map[blockKey]*BlockIdentity{}, pending: map[blockKey]bool{}}
}

// Lookup returns the account that a block was before; nil: it never signed in.
func (f *Store) Lookup(block, fingerprint string) *BlockIdentity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.identities[blockKey{block, fingerprint}]
}

// Check is called before a block gets the first credentials of an account, and whenever they may belong to another
// account. Its error holds a [record.Fault], with reason wrong_account if the block was another account before. path
// lists the steps of the sign-in, for messages.
func (f *Store) Check(a config.Account, identity record.Identity, path []string) error {
	if a.Fingerprint == "" {
		return nil // a member of an organization: its role names its account id
	}
	key := blockKey{a.Name, a.Fingerprint}
	f.mu.Lock()
	previous := f.identities[key]
	err := f.loadLocked()
	changed := previous != nil && !previous.Matches(identity)
	if err != nil && changed && a.AccountID != identity.AccountID { // a person may have accepted it
		f.mu.Unlock()
		return &record.Fault{
			Reason: record.Other,
			Hint: "Let the user of this process read " + f.options.Path +
				": it holds whether a person has accepted the account.",
			Err: err,
		}
	}
	c := f.identities[key]
	if changed && c != nil && c.Matches(identity) {
		f.options.Log.Info("another account was accepted", "account", a.Name, "account_id", identity.AccountID)
	}
	switch {
	case c != nil && c.Matches(identity):
		if c.Refused != nil || c.Removed {
			f.put(newBlockIdentity(a, identity, c.Since))
			f.scheduleFlush()
		}
		f.mu.Unlock()
		return nil
	case c == nil || a.AccountID == identity.AccountID:
		f.put(newBlockIdentity(a, identity, time.Now()))
		if a.KnownAccountID() != "" { // the block names the account, so the write can wait
			f.scheduleFlush()
			f.mu.Unlock()
			return nil
		}
		f.mu.Unlock()
		return f.save(key)
	}
	defer f.mu.Unlock()
	if r := c.Refused; r == nil || r.AccountID != identity.AccountID || r.ARN != identity.ARN {
		refused := *c
		refused.Refused = &Refusal{
			AccountID: identity.AccountID,
			Partition: identity.Partition,
			ARN:       identity.ARN,
			At:        truncateToSecond(time.Now()),
		}
		f.put(&refused)
		f.flushNow()
	} else if f.pending[key] { // it is not written yet, and a person can accept only what is in the file
		f.scheduleFlush()
	}
	return &record.Fault{
		Reason: record.WrongAccount,
		Hint: fmt.Sprintf(
			"Run `collector accept %s` if account %s is right from now on, or write `account_id: %q` into the block; "+
				"otherwise give the block the credentials of account %s again.",
			shellQuote(a.Name), identity.AccountID, identity.AccountID, c.AccountID,
		),
		Err: fmt.Errorf("the credentials belong to account %s (%s, signed in by %s), "+
			"but the block has been account %s since %s",
			identity.AccountID, identity.ARN, strings.Join(path, " → "), c.AccountID, c.Since.UTC().Format(time.DateOnly)),
	}
}

// shellQuote quotes a name for a shell.
func shellQuote(name string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@"
	if strings.Trim(name, plain) != "" {
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	return name
}

func newBlockIdentity(a config.Account, identity record.Identity, since time.Time) *BlockIdentity {
	return &BlockIdentity{
		Block:       a.Name,
		Fingerprint: a.Fingerprint,
		AccountID:   identity.AccountID,
		Partition:   identity.Partition,
		ARN:         identity.ARN,
		Since:       truncateToSecond(since),
	}
}

func truncateToSecond(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// put stores an identity in memory, and adds it to those to write. f.mu is held.
func (f *Store) put(c *BlockIdentity) {
	f.identities[c.key()] = c
	if f.options.Checking && (c.Refused == nil || c.unsaved) {
		c.unsaved = true
		return
	}
	f.pending[c.key()] = true
}

// SetBlocks sets the blocks of the configuration in force: names, with the fingerprints of their sign-ins. A renamed
// block that signs in as before keeps its identity.
func (f *Store) SetBlocks(blocks map[string]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.loadLocked(); err != nil {
		return err
	}
	removed, added := map[string][]*BlockIdentity{}, map[string][]string{} // by fingerprint
	for _, key := range f.keys() {
		c := f.identities[key]
		switch fingerprint, there := blocks[c.Block]; {
		case there && fingerprint == c.Fingerprint && c.Removed:
			back := *c
			back.Removed = false
			f.put(&back)
		case there && fingerprint == c.Fingerprint, c.Removed:
		default:
			removed[c.Fingerprint] = append(removed[c.Fingerprint], c)
		}
	}
	for name, fingerprint := range blocks {
		if f.identities[blockKey{name, fingerprint}] == nil && fingerprint != "" {
			added[fingerprint] = append(added[fingerprint], name)
		}
	}
	for fingerprint, identities := range removed {
		for _, c := range identities {
			old := *c
			old.Removed = true
			f.put(&old)
		}
		if slices.ContainsFunc(identities, func(c *BlockIdentity) bool { return c.AccountID != identities[0].AccountID }) {
			continue // ambiguous: any of them may be the renamed one
		}
		for _, name := range added[fingerprint] {
			renamed := *identities[0]
			renamed.Block = name
			f.put(&renamed)
		}
	}
	f.scheduleFlush()
	return nil
}

// keys returns the keys of all identities, sorted. f.mu is held.
func (f *Store) keys() []blockKey {
	return slices.SortedFunc(maps.Keys(f.identities), func(a, b blockKey) int {
		return cmp.Or(cmp.Compare(a.block, b.block), cmp.Compare(a.fingerprint, b.fingerprint))
	})
}

// Refusals returns the blocks that signed in to another account than before, and wait for a person.
func (f *Store) Refusals() []*BlockIdentity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refusalsLocked()
}

// refusalsLocked is Refusals; f.mu is held.
func (f *Store) refusalsLocked() []*BlockIdentity {
	var all []*BlockIdentity
	for _, key := range f.keys() {
		if c := f.identities[key]; c.Refused != nil && !c.Removed {
			all = append(all, c)
		}
	}
	return all
}

// ForBlock returns the identities of a block, if it is in the last configuration in force.
func (f *Store) ForBlock(block string) []*BlockIdentity {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*BlockIdentity
	for _, key := range f.keys() {
		if c := f.identities[key]; key.block == block && !c.Removed {
			all = append(all, c)
		}
	}
	return all
}

// ErrNothingRefused is returned by Accept for a block that did not sign in to another account.
var ErrNothingRefused = errors.New("nothing was refused")

// Accept makes the refused account of a block its account, also in a running collector. It returns the previous
// identity.
func (f *Store) Accept(block string) (previous *BlockIdentity, err error) {
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	err = f.update(func() error {
		all := f.refusalsLocked()
		i := slices.IndexFunc(all, func(c *BlockIdentity) bool { return c.Block == block })
		if i < 0 {
			return fmt.Errorf("block %q: %w", block, ErrNothingRefused)
		}
		previous = all[i]
		r := previous.Refused
		f.put(&BlockIdentity{
			Block:       previous.Block,
			Fingerprint: previous.Fingerprint,
			AccountID:   r.AccountID,
			Partition:   r.Partition,
			ARN:         r.ARN,
			Since:       truncateToSecond(time.Now()),
		})
		return nil
	})
	return previous, err
}
