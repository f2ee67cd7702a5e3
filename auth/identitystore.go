package auth

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

// IdentityStore stores the AWS account that each block signed in to.
type IdentityStore interface {
	// Check is called before a block gets the first credentials of an account, and whenever they may belong to another
	// account. Its error holds a [record.Fault], with reason wrong_account if the block was another account before. path
	// lists the steps of the sign-in, for messages.
	Check(a config.Account, identity record.Identity, path []string) error
}

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

// IdentityStoreOptions says where and how identities are stored.
type IdentityStoreOptions struct {
	Path     string // of the file; "": in memory, until the process ends
	ReadOnly bool   // the file is never written
	Checking bool   // only refusals are written
	Log      *slog.Logger
}

// FileIdentityStore stores identities in a JSON file that several processes may change: a change is applied, under a
// lock, to what the file holds at that time. The file holds no secret.
type FileIdentityStore struct {
	options IdentityStoreOptions

	writeMu sync.Mutex // held while the file is written

	mu         sync.Mutex
	identities map[blockKey]*BlockIdentity // as last read or written, and unwritten ones; immutable values
	fileInfo   fs.FileInfo                 // at that time; nil: no file
	pending    map[blockKey]bool           // to be written
	timer      *time.Timer                 // of the scheduled flush
	lastErr    error                       // of the last write
}

type blockKey struct{ block, fingerprint string }

func (c *BlockIdentity) key() blockKey { return blockKey{c.Block, c.Fingerprint} }

// NewFileIdentityStore does not read the file yet.
func NewFileIdentityStore(o IdentityStoreOptions) *FileIdentityStore {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &FileIdentityStore{options: o, identities: map[blockKey]*BlockIdentity{}, pending: map[blockKey]bool{}}
}

// identityFileVersion is the version of the file format.
const identityFileVersion = 1

type identityFile struct {
	Version    int              `json:"version"`
	Identities []*BlockIdentity `json:"claims"`
}

// Load reads the file. A damaged file is moved aside, or ignored if the store must not write it.
func (f *FileIdentityStore) Load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loadLocked()
}

// loadLocked is Load if the file has changed since. f.mu is held.
func (f *FileIdentityStore) loadLocked() error {
	if f.options.Path == "" {
		return nil
	}
	info, err := os.Lstat(f.options.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if f.fileInfo != nil { // it was removed while this process had it loaded
			f.rewriteAll()
		}
		f.fileInfo = nil
		return nil
	case err != nil:
		return fmt.Errorf("read the identity file: %w", err)
	case unchanged(f.fileInfo, info):
		return nil
	}
	saved, damage, err := readIdentityFile(f.options.Path)
	if err == nil && damage != nil {
		if err = f.moveDamaged(damage); err == nil {
			f.fileInfo = nil
			if f.options.ReadOnly || f.options.Checking {
				f.fileInfo = info // it stays in place, and is logged once
			}
			f.rewriteAll() // it was damaged while this process had it loaded
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("read the identity file: %w", err)
	}
	fresh := make(map[blockKey]*BlockIdentity, len(saved.Identities))
	for _, c := range saved.Identities {
		if c != nil && c.Block != "" && c.AccountID != "" {
			fresh[c.key()] = c
		}
	}
	for key := range f.pending { // not in the file yet
		mine := f.identities[key]
		if theirs := fresh[key]; theirs != nil && theirs.Since.After(mine.Since) {
			delete(f.pending, key) // a person has accepted another account meanwhile
			continue
		}
		fresh[key] = mine
	}
	for key, c := range f.identities { // a process that does not write keeps its own
		if fresh[key] == nil && (f.options.Checking || f.options.ReadOnly) {
			fresh[key] = c
		}
	}
	f.identities, f.fileInfo = fresh, info
	return nil
}

// rewriteAll schedules all identities for writing after the file was lost. f.mu is held.
func (f *FileIdentityStore) rewriteAll() {
	if !f.canWrite() {
		return
	}
	for _, c := range f.identities {
		f.put(c)
	}
	f.scheduleFlush()
}

// unchanged reports whether the file is still the one that was read.
func unchanged(previous, current fs.FileInfo) bool {
	return previous != nil && os.SameFile(previous, current) && previous.ModTime().Equal(current.ModTime()) &&
		previous.Size() == current.Size()
}

// readIdentityFile returns the content of the file; damage is why it cannot be used.
func readIdentityFile(path string) (saved identityFile, damage, err error) {
	b, err := statefile.Read(path)
	switch {
	case errors.Is(err, statefile.ErrNotRegular):
		return saved, err, nil
	case err != nil:
		return saved, nil, err
	}
	if err := json.Unmarshal(b, &saved); err != nil {
		return identityFile{}, err, nil
	}
	if saved.Version != identityFileVersion {
		return identityFile{}, fmt.Errorf("unknown version %d", saved.Version), nil
	}
	return saved, nil, nil
}

func (f *FileIdentityStore) moveDamaged(cause error) error {
	if f.options.ReadOnly || f.options.Checking {
		f.options.Log.Warn("identity file not usable", "path", f.options.Path, "error", cause,
			"hint", "Make sure that each block is the right account: the next `collector run` accepts what it finds.")
		return nil
	}
	aside, err := statefile.MoveDamaged(f.options.Path)
	if err != nil {
		return errors.Join(cause, err)
	}
	hint := "Run `collector check` and make sure that each block is the right account: the next run accepts what it finds."
	if len(f.identities) > 0 {
		hint = "Nothing to do: the file is written again from memory."
	}
	f.options.Log.Error("identity file damaged; moved aside",
		"path", f.options.Path, "moved_to", aside, "error", cause, "hint", hint)
	return nil
}

// Lookup returns the account that a block was before; nil: it never signed in.
func (f *FileIdentityStore) Lookup(block, fingerprint string) *BlockIdentity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.identities[blockKey{block, fingerprint}]
}

// Check implements [IdentityStore].
func (f *FileIdentityStore) Check(a config.Account, identity record.Identity, path []string) error {
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
func (f *FileIdentityStore) put(c *BlockIdentity) {
	f.identities[c.key()] = c
	if f.options.Checking && (c.Refused == nil || c.unsaved) {
		c.unsaved = true
		return
	}
	f.pending[c.key()] = true
}

// SetBlocks sets the blocks of the configuration in force: names, with the fingerprints of their sign-ins. A renamed
// block that signs in as before keeps its identity.
func (f *FileIdentityStore) SetBlocks(blocks map[string]string) error {
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
func (f *FileIdentityStore) keys() []blockKey {
	return slices.SortedFunc(maps.Keys(f.identities), func(a, b blockKey) int {
		return cmp.Or(cmp.Compare(a.block, b.block), cmp.Compare(a.fingerprint, b.fingerprint))
	})
}

// Refusals returns the blocks that signed in to another account than before, and wait for a person.
func (f *FileIdentityStore) Refusals() []*BlockIdentity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refusalsLocked()
}

// refusalsLocked is Refusals; f.mu is held.
func (f *FileIdentityStore) refusalsLocked() []*BlockIdentity {
	var all []*BlockIdentity
	for _, key := range f.keys() {
		if c := f.identities[key]; c.Refused != nil && !c.Removed {
			all = append(all, c)
		}
	}
	return all
}

// ForBlock returns the identities of a block, if it is in the last configuration in force.
func (f *FileIdentityStore) ForBlock(block string) []*BlockIdentity {
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
func (f *FileIdentityStore) Accept(block string) (previous *BlockIdentity, err error) {
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

const writeHint = "Make data_dir writable, and free space there."

const flushDelay = 2 * time.Second // for changes that can wait

// scheduleFlush schedules a write after flushDelay, for changes that the next run would find again if they were lost.
// f.mu is held.
func (f *FileIdentityStore) scheduleFlush() {
	if len(f.pending) > 0 && f.timer == nil && f.options.Path != "" && !f.options.ReadOnly {
		f.timer = time.AfterFunc(flushDelay, func() { _ = f.Flush() })
	}
}

// flushNow starts a write at once, and does not wait for it. f.mu is held.
func (f *FileIdentityStore) flushNow() {
	if f.timer != nil {
		f.timer.Stop()
	}
	f.timer = nil
	if f.options.Path != "" && !f.options.ReadOnly {
		f.timer = time.AfterFunc(0, func() { _ = f.Flush() })
	}
}

func (f *FileIdentityStore) canWrite() bool {
	return f.options.Path != "" && !f.options.ReadOnly && !f.options.Checking
}

// save returns when the identity is on disk. Concurrent calls share one write.
func (f *FileIdentityStore) save(key blockKey) error {
	if !f.canWrite() {
		return nil
	}
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	f.mu.Lock()
	written := !f.pending[key]
	f.mu.Unlock()
	if written {
		return nil
	}
	if err := f.update(nil); err != nil {
		f.mu.Lock()
		delete(f.identities, key) // else the next Check would take it for a stored one
		delete(f.pending, key)
		f.mu.Unlock()
		return &record.Fault{
			Reason: record.Other, Err: fmt.Errorf("write the identity file: %w", err),
			Hint: writeHint + " Without the file, the program would not notice that a block signs in to another account.",
		}
	}
	return nil
}

// Flush writes pending changes.
func (f *FileIdentityStore) Flush() error {
	f.writeMu.Lock()
	defer f.writeMu.Unlock()
	f.mu.Lock()
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
	nothing := len(f.pending) == 0
	f.mu.Unlock()
	if nothing || f.options.Path == "" || f.options.ReadOnly {
		return nil
	}
	err := f.update(nil)
	f.mu.Lock()
	first := err != nil && f.lastErr == nil
	f.lastErr = err
	f.mu.Unlock()
	if first {
		f.options.Log.Error("identity file not written", "path", f.options.Path, "error", err, "hint", writeHint)
	}
	return err
}

// update writes the file: its current content, with the pending changes and those of change. f.writeMu is held.
func (f *FileIdentityStore) update(change func() error) error {
	errLocked := fmt.Errorf("%s.lock is locked by another process", f.options.Path)
	ctx, cancel := context.WithTimeoutCause(context.Background(), identityLockTimeout, errLocked)
	defer cancel()
	unlock, err := lockFile(ctx, f.options.Path+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	chownToDirOwner(f.options.Path + ".lock")
	f.mu.Lock()
	if err = f.loadLocked(); err == nil && change != nil {
		err = change()
	}
	var s identityFile
	var done []*BlockIdentity
	if err == nil {
		s, done = f.snapshot()
	}
	f.mu.Unlock()
	if err != nil || len(done) == 0 {
		return err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := statefile.Write(f.options.Path, append(text, '\n')); err != nil {
		return err
	}
	chownToDirOwner(f.options.Path)
	info, err := os.Lstat(f.options.Path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.fileInfo = info
	}
	for _, c := range done {
		if f.identities[c.key()] == c {
			delete(f.pending, c.key())
		}
	}
	return nil
}

const (
	identityLockTimeout  = 10 * time.Second
	maxRemovedIdentities = 1000 // of blocks that are in no configuration: a block may come back
)

// snapshot returns the content to write, and which of it is pending. f.mu is held.
func (f *FileIdentityStore) snapshot() (s identityFile, done []*BlockIdentity) {
	s.Version = identityFileVersion
	var removed []*BlockIdentity
	for _, key := range f.keys() {
		c := f.identities[key]
		if f.pending[key] {
			done = append(done, c)
		}
		if c.Removed {
			removed = append(removed, c)
			continue
		}
		s.Identities = append(s.Identities, c)
	}
	slices.SortStableFunc(removed, func(a, b *BlockIdentity) int { return b.Since.Compare(a.Since) })
	s.Identities = append(s.Identities, removed[:min(len(removed), maxRemovedIdentities)]...)
	return s, done
}
