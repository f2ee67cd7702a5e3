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

// IdentityStore remembers which AWS account each block turned out to be.
type IdentityStore interface {
	// Check is asked before the first credentials of an account are given to a block, and whenever they may have
	// become those of another. Its error holds a [record.Fault]: of reason wrong_account where the block was another
	// account before. path is how the block was entered, for people.
	Check(a config.Account, who record.Identity, path []string) error
}

// A Claim is the account that a block was when it was entered last.
type BlockIdentity struct {
	Block     string    `json:"block"`
	Mark      string    `json:"mark"` // of its sign-in, see [config.SignIn]
	AccountID string    `json:"account_id"`
	Partition string    `json:"partition"`
	ARN       string    `json:"arn"`
	Since     time.Time `json:"since"`
	Gone      bool      `json:"gone,omitempty"` // the configuration that was in force last does not have the block
	Refused   *Refusal  `json:"refused,omitempty"`

	unsaved bool // it is not to be written: found out by one who only checks
}

// Saved reports whether a run made the claim, and not a check.
func (c *BlockIdentity) Saved() bool { return !c.unsaved }

// A Refusal is another account that a block turned out to be, which nobody has accepted yet.
type Refusal struct {
	AccountID string    `json:"account_id"`
	Partition string    `json:"partition"`
	ARN       string    `json:"arn"`
	At        time.Time `json:"at"` // when it was seen first
}

// Matches reports whether the claim is of this account.
func (c *BlockIdentity) Matches(who record.Identity) bool {
	return c.AccountID == who.AccountID && c.Partition == who.Partition
}

// IdentityStoreOptions says where claims are kept.
type IdentityStoreOptions struct {
	Path     string // of a file; "": in memory, until the process ends
	ReadOnly bool   // the file is read, and never written
	Checking bool   // what is refused is written, and nothing else
	Log      *slog.Logger
}

// FileIdentityStore are claims in a JSON file, which several processes may change: each change is made to what the file
// holds then, under a lock. It holds no secret.
type FileIdentityStore struct {
	options IdentityStoreOptions

	writeMu sync.Mutex // held by who writes the file

	mu         sync.Mutex
	identities map[blockKey]*BlockIdentity // as read or written last, and what is not written yet; no claim is changed in place
	fileInfo   fs.FileInfo                 // as it was then; nil: none
	pending    map[blockKey]bool           // to be written
	timer      *time.Timer                 // until what can wait is written
	lastErr    error                       // of the last write
}

type blockKey struct{ block, mark string }

func (c *BlockIdentity) key() blockKey { return blockKey{c.Block, c.Mark} }

// NewFileIdentityStore reads nothing yet.
func NewFileIdentityStore(o IdentityStoreOptions) *FileIdentityStore {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &FileIdentityStore{options: o, identities: map[blockKey]*BlockIdentity{}, pending: map[blockKey]bool{}}
}

// identityFileVersion is the format's.
const identityFileVersion = 1

type identityFile struct {
	Version    int              `json:"version"`
	Identities []*BlockIdentity `json:"claims"`
}

// Load reads the file. One that cannot be used is moved aside, unless it may only be read: then nothing is remembered
// of it.
func (f *FileIdentityStore) Load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loadLocked()
}

// loadLocked is Load, where the file changed since. f.mu is held.
func (f *FileIdentityStore) loadLocked() error {
	if f.options.Path == "" {
		return nil
	}
	info, err := os.Lstat(f.options.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if f.fileInfo != nil { // it was removed under this process, which knows what was in it
			f.rewriteAll()
		}
		f.fileInfo = nil
		return nil
	case err != nil:
		return fmt.Errorf("read which account each block is: %w", err)
	case unchanged(f.fileInfo, info):
		return nil
	}
	saved, damage, err := readIdentityFile(f.options.Path)
	if err == nil && damage != nil {
		if err = f.setAside(damage); err == nil {
			f.fileInfo = nil
			if f.options.ReadOnly || f.options.Checking {
				f.fileInfo = info // it is still there, and was said
			}
			f.rewriteAll() // it was damaged under this process, which knows what was in it
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("read which account each block is: %w", err)
	}
	fresh := make(map[blockKey]*BlockIdentity, len(saved.Identities))
	for _, c := range saved.Identities {
		if c != nil && c.Block != "" && c.AccountID != "" {
			fresh[c.key()] = c
		}
	}
	for key := range f.pending { // not written yet, and so not in the file
		mine := f.identities[key]
		if theirs := fresh[key]; theirs != nil && theirs.Since.After(mine.Since) {
			delete(f.pending, key) // a person has accepted another account meanwhile
			continue
		}
		fresh[key] = mine
	}
	for key, c := range f.identities { // of a process that does not write them
		if fresh[key] == nil && (f.options.Checking || f.options.ReadOnly) {
			fresh[key] = c
		}
	}
	f.identities, f.fileInfo = fresh, info
	return nil
}

// rewriteAll has what is known written once more, after the file was lost. f.mu is held.
func (f *FileIdentityStore) rewriteAll() {
	if !f.canWrite() {
		return
	}
	for _, c := range f.identities {
		f.put(c)
	}
	f.scheduleFlush()
}

// unchanged reports whether the file is the one that was read.
func unchanged(previous, is fs.FileInfo) bool {
	return previous != nil && os.SameFile(previous, is) && previous.ModTime().Equal(is.ModTime()) && previous.Size() == is.Size()
}

// readIdentityFile is what the file holds; damage says that it cannot be used.
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
		return identityFile{}, fmt.Errorf("version %d is not known", saved.Version), nil
	}
	return saved, nil, nil
}

func (f *FileIdentityStore) setAside(cause error) error {
	if f.options.ReadOnly || f.options.Checking {
		f.options.Log.Warn("identity file cannot be used", "path", f.options.Path, "error", cause)
		return nil
	}
	aside, err := statefile.MoveDamaged(f.options.Path)
	if err != nil {
		return errors.Join(cause, err)
	}
	hint := "Run `collector check` and see that each block is the account that it should be: the next run takes what it finds."
	if len(f.identities) > 0 {
		hint = "It is written again with what this process knows."
	}
	f.options.Log.Error("identity file damaged, moved aside", "path", f.options.Path, "moved_to", aside, "error", cause,
		"hint", hint)
	return nil
}

// Lookup is who a block was before; nil: it was never entered.
func (f *FileIdentityStore) Lookup(block, mark string) *BlockIdentity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.identities[blockKey{block, mark}]
}

// Check is [Claims].
func (f *FileIdentityStore) Check(a config.Account, who record.Identity, path []string) error {
	if a.Digest == "" {
		return nil // a member of an organization: its account id is in what it asks for
	}
	key := blockKey{a.Name, a.Digest}
	f.mu.Lock()
	previous := f.identities[key]
	if err := f.loadLocked(); err != nil && previous != nil && !previous.Matches(who) && a.AccountID != who.AccountID { // a person may have accepted it
		f.mu.Unlock()
		return &record.Fault{
			Reason: record.Other, Err: err,
			Hint: "Let the user of this process read " + f.options.Path + ": there stands whether a person has accepted the account.",
		}
	}
	c := f.identities[key]
	if previous != nil && !previous.Matches(who) && c != nil && c.Matches(who) {
		f.options.Log.Info("another account was accepted", "account", a.Name, "account_id", who.AccountID)
	}
	switch {
	case c != nil && c.Matches(who):
		if c.Refused != nil || c.Gone {
			f.put(newBlockIdentity(a, who, c.Since))
			f.scheduleFlush()
		}
		f.mu.Unlock()
		return nil
	case c == nil || a.AccountID == who.AccountID:
		f.put(newBlockIdentity(a, who, time.Now()))
		if a.KnownAccountID() != "" { // it is in the block, and is only to be known at the next start
			f.scheduleFlush()
			f.mu.Unlock()
			return nil
		}
		f.mu.Unlock()
		return f.save(key)
	}
	defer f.mu.Unlock()
	if r := c.Refused; r == nil || r.AccountID != who.AccountID || r.ARN != who.ARN {
		refused := *c
		refused.Refused = &Refusal{AccountID: who.AccountID, Partition: who.Partition, ARN: who.ARN, At: truncateToSecond(time.Now())}
		f.put(&refused)
		f.flushNow()
	} else if f.pending[key] { // it could not be written, and a person cannot accept what is not there
		f.scheduleFlush()
	}
	return &record.Fault{
		Reason: record.WrongAccount,
		Hint: fmt.Sprintf("Run `collector accept %s` if the block is to be account %s from now on, or write `account_id: %q` into it; "+
			"else give it back the credentials of account %s.", shellQuote(a.Name), who.AccountID, who.AccountID, c.AccountID),
		Err: fmt.Errorf("the credentials are those of account %s (%s, entered by %s), and the block was account %s since %s",
			who.AccountID, who.ARN, strings.Join(path, " → "), c.AccountID, c.Since.UTC().Format(time.DateOnly)),
	}
}

// shellQuote is a name as a shell takes it.
func shellQuote(name string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@"
	if strings.Trim(name, plain) != "" {
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	return name
}

func newBlockIdentity(a config.Account, who record.Identity, since time.Time) *BlockIdentity {
	return &BlockIdentity{
		Block: a.Name, Mark: a.Digest, AccountID: who.AccountID, Partition: who.Partition, ARN: who.ARN, Since: truncateToSecond(since),
	}
}

func truncateToSecond(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// put notes a claim that is not written yet. f.mu is held.
func (f *FileIdentityStore) put(c *BlockIdentity) {
	f.identities[c.key()] = c
	if f.options.Checking && (c.Refused == nil || c.unsaved) {
		c.unsaved = true
		return
	}
	f.pending[c.key()] = true
}

// SetBlocks says which blocks the configuration in force has: names, and marks of sign-ins. A block that was renamed,
// and signs in as before, keeps its claim.
func (f *FileIdentityStore) SetBlocks(blocks map[string]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.loadLocked(); err != nil {
		return err
	}
	left, came := map[string][]*BlockIdentity{}, map[string][]string{} // by mark
	for _, key := range f.keys() {
		c := f.identities[key]
		switch mark, there := blocks[c.Block]; {
		case there && mark == c.Mark && c.Gone:
			back := *c
			back.Gone = false
			f.put(&back)
		case there && mark == c.Mark, c.Gone:
		default:
			left[c.Mark] = append(left[c.Mark], c)
		}
	}
	for name, mark := range blocks {
		if f.identities[blockKey{name, mark}] == nil && mark != "" {
			came[mark] = append(came[mark], name)
		}
	}
	for mark, claims := range left {
		for _, c := range claims {
			gone := *c
			gone.Gone = true
			f.put(&gone)
		}
		if slices.ContainsFunc(claims, func(c *BlockIdentity) bool { return c.AccountID != claims[0].AccountID }) {
			continue // nobody can say which of them was renamed
		}
		for _, name := range came[mark] {
			renamed := *claims[0]
			renamed.Block = name
			f.put(&renamed)
		}
	}
	f.scheduleFlush()
	return nil
}

// keys are those of all claims, in order. f.mu is held.
func (f *FileIdentityStore) keys() []blockKey {
	return slices.SortedFunc(maps.Keys(f.identities), func(a, b blockKey) int {
		return cmp.Or(cmp.Compare(a.block, b.block), cmp.Compare(a.mark, b.mark))
	})
}

// Refusals are the blocks that turned out to be another account, and wait for a person.
func (f *FileIdentityStore) Refusals() []*BlockIdentity {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refusalsLocked()
}

// refusalsLocked is Refusals, where f.mu is held.
func (f *FileIdentityStore) refusalsLocked() []*BlockIdentity {
	var all []*BlockIdentity
	for _, key := range f.keys() {
		if c := f.identities[key]; c.Refused != nil && !c.Gone {
			all = append(all, c)
		}
	}
	return all
}

// ForBlock are the claims of a block of the configuration that was in force last.
func (f *FileIdentityStore) ForBlock(block string) []*BlockIdentity {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*BlockIdentity
	for _, key := range f.keys() {
		if c := f.identities[key]; key.block == block && !c.Gone {
			all = append(all, c)
		}
	}
	return all
}

// ErrNothingRefused says that a block did not turn out to be another account.
var ErrNothingRefused = errors.New("nothing was refused")

// Accept makes what was refused of a block the account that it is, for a collector that runs as well. It returns the
// claim before.
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
			Block: previous.Block, Mark: previous.Mark, AccountID: r.AccountID, Partition: r.Partition, ARN: r.ARN, Since: truncateToSecond(time.Now()),
		})
		return nil
	})
	return previous, err
}

const writeHint = "Make data_dir writable, and make room there."

const flushDelay = 2 * time.Second // what can wait is written so long after it was noted

// scheduleFlush writes soon what can be found out again. f.mu is held.
func (f *FileIdentityStore) scheduleFlush() {
	if len(f.pending) > 0 && f.timer == nil && f.options.Path != "" && !f.options.ReadOnly {
		f.timer = time.AfterFunc(flushDelay, func() { _ = f.Flush() })
	}
}

// flushNow writes at once, and does not wait for it. f.mu is held.
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

// save returns when the claim is on the disk. Of many who come at once, one writes for all.
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
		delete(f.identities, key) // else it would be taken for one that is kept
		delete(f.pending, key)
		f.mu.Unlock()
		return &record.Fault{
			Reason: record.Other, Err: fmt.Errorf("save which account the block is: %w", err),
			Hint: writeHint + " Without the file, nobody would notice that the block became another account.",
		}
	}
	return nil
}

// Flush writes what is not written yet.
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

// update changes the file: what it holds now, with what is noted and what change does. f.saving is held.
func (f *FileIdentityStore) update(change func() error) error {
	held := fmt.Errorf("%s.lock: another process holds it", f.options.Path)
	ctx, cancel := context.WithTimeoutCause(context.Background(), identityLockTimeout, held)
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
	identityLockTimeout = 10 * time.Second
	maxGoneIdentities   = 1000 // claims of blocks that no configuration has are kept, up to so many: a block may come back
)

// snapshot is what is to be written, and which of it is new. f.mu is held.
func (f *FileIdentityStore) snapshot() (s identityFile, done []*BlockIdentity) {
	s.Version = identityFileVersion
	var gone []*BlockIdentity
	for _, key := range f.keys() {
		c := f.identities[key]
		if f.pending[key] {
			done = append(done, c)
		}
		if c.Gone {
			gone = append(gone, c)
			continue
		}
		s.Identities = append(s.Identities, c)
	}
	slices.SortStableFunc(gone, func(a, b *BlockIdentity) int { return b.Since.Compare(a.Since) })
	s.Identities = append(s.Identities, gone[:min(len(gone), maxGoneIdentities)]...)
	return s, done
}
