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

// Claims remembers which AWS account each block turned out to be.
type Claims interface {
	// Hold is asked before the first credentials of an account are given to a block, and whenever they may have
	// become those of another. Its error holds a [record.Fault]: of reason wrong_account where the block was another
	// account before. path is how the block was entered, for people.
	Hold(a config.Account, who record.Identity, path []string) error
}

// A Claim is the account that a block was when it was entered last.
type Claim struct {
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
func (c *Claim) Saved() bool { return !c.unsaved }

// A Refusal is another account that a block turned out to be, which nobody has accepted yet.
type Refusal struct {
	AccountID string    `json:"account_id"`
	Partition string    `json:"partition"`
	ARN       string    `json:"arn"`
	At        time.Time `json:"at"` // when it was seen first
}

// Is reports whether the claim is of this account.
func (c *Claim) Is(who record.Identity) bool {
	return c.AccountID == who.AccountID && c.Partition == who.Partition
}

// ClaimsOptions says where claims are kept.
type ClaimsOptions struct {
	Path     string // of a file; "": in memory, until the process ends
	ReadOnly bool   // the file is read, and never written
	Checking bool   // what is refused is written, and nothing else
	Log      *slog.Logger
}

// FileClaims are claims in a JSON file, which several processes may change: each change is made to what the file
// holds then, under a lock. It holds no secret.
type FileClaims struct {
	o ClaimsOptions

	saving sync.Mutex // held by who writes the file

	mu      sync.Mutex
	all     map[claimKey]*Claim // as read or written last, and what is not written yet; no claim is changed in place
	file    fs.FileInfo         // as it was then; nil: none
	pending map[claimKey]bool   // to be written
	timer   *time.Timer         // until what can wait is written
	err     error               // of the last write
}

type claimKey struct{ block, mark string }

func (c *Claim) key() claimKey { return claimKey{c.Block, c.Mark} }

// NewClaims reads nothing yet.
func NewClaims(o ClaimsOptions) *FileClaims {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &FileClaims{o: o, all: map[claimKey]*Claim{}, pending: map[claimKey]bool{}}
}

// claimsVersion is the format's.
const claimsVersion = 1

type savedClaims struct {
	Version int      `json:"version"`
	Claims  []*Claim `json:"claims"`
}

// Load reads the file. One that cannot be used is moved aside, unless it may only be read: then nothing is remembered
// of it.
func (f *FileClaims) Load() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.load()
}

// load is Load, where the file changed since. f.mu is held.
func (f *FileClaims) load() error {
	if f.o.Path == "" {
		return nil
	}
	info, err := os.Lstat(f.o.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if f.file != nil { // it was removed under this process, which knows what was in it
			f.again()
		}
		f.file = nil
		return nil
	case err != nil:
		return fmt.Errorf("read which account each block is: %w", err)
	case unchanged(f.file, info):
		return nil
	}
	saved, damage, err := readClaims(f.o.Path)
	if err == nil && damage != nil {
		if err = f.setAside(damage); err == nil {
			f.file = nil
			if f.o.ReadOnly || f.o.Checking {
				f.file = info // it is still there, and was said
			}
			f.again() // it was damaged under this process, which knows what was in it
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("read which account each block is: %w", err)
	}
	fresh := make(map[claimKey]*Claim, len(saved.Claims))
	for _, c := range saved.Claims {
		if c != nil && c.Block != "" && c.AccountID != "" {
			fresh[c.key()] = c
		}
	}
	for key := range f.pending { // not written yet, and so not in the file
		mine := f.all[key]
		if theirs := fresh[key]; theirs != nil && theirs.Since.After(mine.Since) {
			delete(f.pending, key) // a person has accepted another account meanwhile
			continue
		}
		fresh[key] = mine
	}
	for key, c := range f.all { // of a process that does not write them
		if fresh[key] == nil && (f.o.Checking || f.o.ReadOnly) {
			fresh[key] = c
		}
	}
	f.all, f.file = fresh, info
	return nil
}

// again has what is known written once more, after the file was lost. f.mu is held.
func (f *FileClaims) again() {
	if !f.writes() {
		return
	}
	for _, c := range f.all {
		f.put(c)
	}
	f.later()
}

// unchanged reports whether the file is the one that was read.
func unchanged(was, is fs.FileInfo) bool {
	return was != nil && os.SameFile(was, is) && was.ModTime().Equal(is.ModTime()) && was.Size() == is.Size()
}

// readClaims is what the file holds; damage says that it cannot be used.
func readClaims(path string) (saved savedClaims, damage, err error) {
	b, err := statefile.Read(path)
	switch {
	case errors.Is(err, statefile.ErrNotRegular):
		return saved, err, nil
	case err != nil:
		return saved, nil, err
	}
	if err := json.Unmarshal(b, &saved); err != nil {
		return savedClaims{}, err, nil
	}
	if saved.Version != claimsVersion {
		return savedClaims{}, fmt.Errorf("version %d is not known", saved.Version), nil
	}
	return saved, nil, nil
}

func (f *FileClaims) setAside(why error) error {
	if f.o.ReadOnly || f.o.Checking {
		f.o.Log.Warn("identity file cannot be used", "path", f.o.Path, "error", why)
		return nil
	}
	aside, err := statefile.SetAside(f.o.Path)
	if err != nil {
		return errors.Join(why, err)
	}
	hint := "Run `collector check` and see that each block is the account that it should be: the next run takes what it finds."
	if len(f.all) > 0 {
		hint = "It is written again with what this process knows."
	}
	f.o.Log.Error("identity file damaged, moved aside", "path", f.o.Path, "moved_to", aside, "error", why,
		"hint", hint)
	return nil
}

// Of is who a block was before; nil: it was never entered.
func (f *FileClaims) Of(block, mark string) *Claim {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all[claimKey{block, mark}]
}

// Hold is [Claims].
func (f *FileClaims) Hold(a config.Account, who record.Identity, path []string) error {
	if a.Mark == "" {
		return nil // a member of an organization: its account id is in what it asks for
	}
	key := claimKey{a.Name, a.Mark}
	f.mu.Lock()
	was := f.all[key]
	if err := f.load(); err != nil && was != nil && !was.Is(who) && a.AccountID != who.AccountID { // a person may have accepted it
		f.mu.Unlock()
		return &record.Fault{
			Reason: record.Other, Err: err,
			Hint: "Let the user of this process read " + f.o.Path + ": there stands whether a person has accepted the account.",
		}
	}
	c := f.all[key]
	if was != nil && !was.Is(who) && c != nil && c.Is(who) {
		f.o.Log.Info("another account was accepted", "account", a.Name, "account_id", who.AccountID)
	}
	switch {
	case c != nil && c.Is(who):
		if c.Refused != nil || c.Gone {
			f.put(claimOf(a, who, c.Since))
			f.later()
		}
		f.mu.Unlock()
		return nil
	case c == nil || a.AccountID == who.AccountID:
		f.put(claimOf(a, who, time.Now()))
		if a.IDKnown() != "" { // it is in the block, and is only to be known at the next start
			f.later()
			f.mu.Unlock()
			return nil
		}
		f.mu.Unlock()
		return f.save(key)
	}
	defer f.mu.Unlock()
	if r := c.Refused; r == nil || r.AccountID != who.AccountID || r.ARN != who.ARN {
		refused := *c
		refused.Refused = &Refusal{AccountID: who.AccountID, Partition: who.Partition, ARN: who.ARN, At: second(time.Now())}
		f.put(&refused)
		f.now()
	} else if f.pending[key] { // it could not be written, and a person cannot accept what is not there
		f.later()
	}
	return &record.Fault{
		Reason: record.WrongAccount,
		Hint: fmt.Sprintf("Run `collector accept %s` if the block is to be account %s from now on, or write `account_id: %q` into it; "+
			"else give it back the credentials of account %s.", quoted(a.Name), who.AccountID, who.AccountID, c.AccountID),
		Err: fmt.Errorf("the credentials are those of account %s (%s, entered by %s), and the block was account %s since %s",
			who.AccountID, who.ARN, strings.Join(path, " → "), c.AccountID, c.Since.UTC().Format(time.DateOnly)),
	}
}

// quoted is a name as a shell takes it.
func quoted(name string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/@"
	if strings.Trim(name, plain) != "" {
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	return name
}

func claimOf(a config.Account, who record.Identity, since time.Time) *Claim {
	return &Claim{
		Block: a.Name, Mark: a.Mark, AccountID: who.AccountID, Partition: who.Partition, ARN: who.ARN, Since: second(since),
	}
}

func second(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// put notes a claim that is not written yet. f.mu is held.
func (f *FileClaims) put(c *Claim) {
	f.all[c.key()] = c
	if f.o.Checking && (c.Refused == nil || c.unsaved) {
		c.unsaved = true
		return
	}
	f.pending[c.key()] = true
}

// Blocks says which blocks the configuration in force has: names, and marks of sign-ins. A block that was renamed,
// and signs in as before, keeps its claim.
func (f *FileClaims) Blocks(blocks map[string]string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.load(); err != nil {
		return err
	}
	left, came := map[string][]*Claim{}, map[string][]string{} // by mark
	for _, key := range f.keys() {
		c := f.all[key]
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
		if f.all[claimKey{name, mark}] == nil && mark != "" {
			came[mark] = append(came[mark], name)
		}
	}
	for mark, claims := range left {
		for _, c := range claims {
			gone := *c
			gone.Gone = true
			f.put(&gone)
		}
		if slices.ContainsFunc(claims, func(c *Claim) bool { return c.AccountID != claims[0].AccountID }) {
			continue // nobody can say which of them was renamed
		}
		for _, name := range came[mark] {
			renamed := *claims[0]
			renamed.Block = name
			f.put(&renamed)
		}
	}
	f.later()
	return nil
}

// keys are those of all claims, in order. f.mu is held.
func (f *FileClaims) keys() []claimKey {
	return slices.SortedFunc(maps.Keys(f.all), func(a, b claimKey) int {
		return cmp.Or(cmp.Compare(a.block, b.block), cmp.Compare(a.mark, b.mark))
	})
}

// Refusals are the blocks that turned out to be another account, and wait for a person.
func (f *FileClaims) Refusals() []*Claim {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refused()
}

// refused is Refusals, where f.mu is held.
func (f *FileClaims) refused() []*Claim {
	var all []*Claim
	for _, key := range f.keys() {
		if c := f.all[key]; c.Refused != nil && !c.Gone {
			all = append(all, c)
		}
	}
	return all
}

// Named are the claims of a block of the configuration that was in force last.
func (f *FileClaims) Named(block string) []*Claim {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []*Claim
	for _, key := range f.keys() {
		if c := f.all[key]; key.block == block && !c.Gone {
			all = append(all, c)
		}
	}
	return all
}

// ErrNothingRefused says that a block did not turn out to be another account.
var ErrNothingRefused = errors.New("nothing was refused")

// Accept makes what was refused of a block the account that it is, for a collector that runs as well. It returns the
// claim before.
func (f *FileClaims) Accept(block string) (was *Claim, err error) {
	f.saving.Lock()
	defer f.saving.Unlock()
	err = f.locked(func() error {
		all := f.refused()
		i := slices.IndexFunc(all, func(c *Claim) bool { return c.Block == block })
		if i < 0 {
			return fmt.Errorf("block %q: %w", block, ErrNothingRefused)
		}
		was = all[i]
		r := was.Refused
		f.put(&Claim{
			Block: was.Block, Mark: was.Mark, AccountID: r.AccountID, Partition: r.Partition, ARN: r.ARN, Since: second(time.Now()),
		})
		return nil
	})
	return was, err
}

const writeHint = "Make data_dir writable, and make room there."

const claimsWait = 2 * time.Second // what can wait is written so long after it was noted

// later writes soon what can be found out again. f.mu is held.
func (f *FileClaims) later() {
	if len(f.pending) > 0 && f.timer == nil && f.o.Path != "" && !f.o.ReadOnly {
		f.timer = time.AfterFunc(claimsWait, func() { _ = f.Flush() })
	}
}

// now writes at once, and does not wait for it. f.mu is held.
func (f *FileClaims) now() {
	if f.timer != nil {
		f.timer.Stop()
	}
	f.timer = nil
	if f.o.Path != "" && !f.o.ReadOnly {
		f.timer = time.AfterFunc(0, func() { _ = f.Flush() })
	}
}

func (f *FileClaims) writes() bool { return f.o.Path != "" && !f.o.ReadOnly && !f.o.Checking }

// save returns when the claim is on the disk. Of many who come at once, one writes for all.
func (f *FileClaims) save(key claimKey) error {
	if !f.writes() {
		return nil
	}
	f.saving.Lock()
	defer f.saving.Unlock()
	f.mu.Lock()
	written := !f.pending[key]
	f.mu.Unlock()
	if written {
		return nil
	}
	if err := f.locked(nil); err != nil {
		f.mu.Lock()
		delete(f.all, key) // else it would be taken for one that is kept
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
func (f *FileClaims) Flush() error {
	f.saving.Lock()
	defer f.saving.Unlock()
	f.mu.Lock()
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
	nothing := len(f.pending) == 0
	f.mu.Unlock()
	if nothing || f.o.Path == "" || f.o.ReadOnly {
		return nil
	}
	err := f.locked(nil)
	f.mu.Lock()
	first := err != nil && f.err == nil
	f.err = err
	f.mu.Unlock()
	if first {
		f.o.Log.Error("identity file not written", "path", f.o.Path, "error", err, "hint", writeHint)
	}
	return err
}

// locked changes the file: what it holds now, with what is noted and what change does. f.saving is held.
func (f *FileClaims) locked(change func() error) error {
	held := fmt.Errorf("%s.lock: another process holds it", f.o.Path)
	ctx, cancel := context.WithTimeoutCause(context.Background(), claimsPatience, held)
	defer cancel()
	unlock, err := lockFile(ctx, f.o.Path+".lock")
	if err != nil {
		return err
	}
	defer unlock()
	giveToOwner(f.o.Path + ".lock")
	f.mu.Lock()
	if err = f.load(); err == nil && change != nil {
		err = change()
	}
	var s savedClaims
	var done []*Claim
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
	if err := statefile.Write(f.o.Path, append(text, '\n')); err != nil {
		return err
	}
	giveToOwner(f.o.Path)
	info, err := os.Lstat(f.o.Path)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.file = info
	}
	for _, c := range done {
		if f.all[c.key()] == c {
			delete(f.pending, c.key())
		}
	}
	return nil
}

const (
	claimsPatience = 10 * time.Second
	claimsGone     = 1000 // claims of blocks that no configuration has are kept, up to so many: a block may come back
)

// snapshot is what is to be written, and which of it is new. f.mu is held.
func (f *FileClaims) snapshot() (s savedClaims, done []*Claim) {
	s.Version = claimsVersion
	var gone []*Claim
	for _, key := range f.keys() {
		c := f.all[key]
		if f.pending[key] {
			done = append(done, c)
		}
		if c.Gone {
			gone = append(gone, c)
			continue
		}
		s.Claims = append(s.Claims, c)
	}
	slices.SortStableFunc(gone, func(a, b *Claim) int { return b.Since.Compare(a.Since) })
	s.Claims = append(s.Claims, gone[:min(len(gone), claimsGone)]...)
	return s, done
}
