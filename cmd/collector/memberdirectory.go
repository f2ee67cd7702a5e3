package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

// A roster knows the members of each organization that the configuration names: by the last list that was whole, from this process
// or, after a restart, from the one before. A list that fails changes nothing of it.
type memberDirectory struct {
	listMembers func(context.Context, config.Organization) (auth.OrganizationMembers, error)
	path        string // "": it is not kept
	log         *slog.Logger

	background context.Context // of listings: they are for all who wait
	stop       context.CancelFunc
	wg         sync.WaitGroup

	mu     sync.Mutex
	loaded bool
	saved  map[string]memberList         // of an earlier process
	blocks map[string]*organizationState // by what they ask for
}

// An organization is what is known of one block.
type organizationState struct {
	list        *memberList // nil: nothing yet
	err         error       // of the last listing
	at          time.Time   // its end
	reported    bool        // by this process: who is not active
	listingDone chan struct{}
}

// A rollCall is a whole list, as it is kept.
type memberList struct {
	Label    string          `json:"label"` // for people
	At       time.Time       `json:"at"`
	Via      record.Identity `json:"via"`
	Members  []config.Member `json:"members"`
	Inactive []config.Member `json:"asleep,omitempty"`
	Missing  []string        `json:"missing,omitempty"`
}

// listingTimeout bounds a listing: a thousand members' tags, slowly.
const listingTimeout = 5 * time.Minute

func newMemberDirectory(s *auth.Sessions, path string, log *slog.Logger) *memberDirectory {
	g := &memberDirectory{path: path, log: log, blocks: map[string]*organizationState{}}
	if s != nil {
		g.listMembers = s.Members
	}
	g.background, g.stop = context.WithCancel(context.Background())
	return g
}

func membersPath(dataDir string) string { return filepath.Join(dataDir, "organizations.json") }

func (g *memberDirectory) close() {
	g.stop()
	g.wg.Wait()
}

// organizationKey is what a block asks for, and of whom. It holds no secret.
func organizationKey(o config.Organization) string {
	v := o.Via
	var hops []string
	for _, h := range v.Hops() {
		hops = append(hops, h.ARN)
	}
	b, err := json.Marshal([]any{v.Profile, v.AKID, v.CredentialSource, v.AccountID, v.Partition, hops, o.Include, o.Exclude, o.RequiredDetails()})
	if err != nil {
		panic(fmt.Sprintf("organization %s: %v", o.Label, err)) // texts and lists of them
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:12])
}

// state finds what is known of a block. g.mu is held.
func (g *memberDirectory) state(o config.Organization) *organizationState {
	if !g.loaded {
		g.loaded = true
		if err := g.load(); err != nil {
			g.setAsideDamaged(err)
		}
	}
	key := organizationKey(o)
	b := g.blocks[key]
	if b == nil {
		b = &organizationState{}
		if r, ok := g.saved[key]; ok {
			b.list = &r
		}
		g.blocks[key] = b
	}
	return b
}

// lastList is the last whole list of a block, or nil.
func (g *memberDirectory) lastList(o config.Organization) *memberList {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state(o).list
}

// lastError is why the last listing failed, nil where it did not.
func (g *memberDirectory) lastError(o config.Organization) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state(o).err
}

// refresh lists a block's members, unless that was done within fresh, and waits for it. However many ask, there is one listing, and it
// goes on when who asked has gone.
func (g *memberDirectory) refresh(ctx context.Context, o config.Organization, fresh time.Duration) error {
	g.mu.Lock()
	b := g.state(o)
	if !b.at.IsZero() && time.Since(b.at) < fresh {
		defer g.mu.Unlock()
		return b.err
	}
	if b.listingDone == nil {
		done := make(chan struct{})
		b.listingDone = done
		g.wg.Go(func() {
			g.runListing(o, b)
			close(done)
		})
	}
	wait := b.listingDone
	g.mu.Unlock()
	select {
	case <-wait:
		return g.lastError(o)
	case <-ctx.Done():
		return fmt.Errorf("%s: waiting for the list of members: %w", o.Label, context.Cause(ctx))
	}
}

// runListing is one listing.
func (g *memberDirectory) runListing(o config.Organization, b *organizationState) {
	ctx, cancel := context.WithTimeoutCause(g.background, listingTimeout, &record.Fault{
		Reason: record.TimedOut, Hint: "the members known last stay, and the next run tries again", Err: fmt.Errorf("the organization's members were not listed within %s", listingTimeout),
	})
	defer cancel()
	roll, err := g.listMembers(ctx, o)
	g.mu.Lock()
	defer g.mu.Unlock()
	b.listingDone, b.err, b.at = nil, err, time.Now()
	first := err == nil && !b.reported
	b.reported = b.reported || first
	if err != nil {
		return // whoever waits says it
	}
	g.logChanges(o, b.list, roll, first)
	b.list = &memberList{Label: o.Label, At: b.at.UTC().Truncate(time.Second), Via: roll.Caller, Members: roll.Members, Inactive: roll.Inactive, Missing: roll.Missing}
	if err := g.save(); err != nil {
		g.log.Error("the members of organizations could not be kept for the next start", "error", err)
	}
}

// logChanges says what a list changed; the first of a process also says who is not collected, though it was known before a restart.
func (g *memberDirectory) logChanges(o config.Organization, old *memberList, roll auth.OrganizationMembers, first bool) {
	g.log.Debug("organization listed", "organization", o.Label, "members", len(roll.Members), "asleep", len(roll.Inactive))
	was := map[string]string{}
	if old != nil {
		for _, m := range slices.Concat(old.Members, old.Inactive) {
			was[m.ID] = m.State
		}
	}
	for _, m := range roll.Inactive {
		if first || was[m.ID] != m.State {
			g.log.Warn("a member of the organization is not active: it is not collected, and what is remembered of it stays",
				"organization", o.Label, "account_id", m.ID, "member", m.Name, "state", m.State)
		}
		delete(was, m.ID)
	}
	for _, m := range roll.Members {
		if old != nil && was[m.ID] == "" {
			g.log.Info("a new member of the organization", "organization", o.Label, "account_id", m.ID, "member", m.Name)
		}
		delete(was, m.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(was)) {
		g.log.Info("an account is no longer a member that the block selects", "organization", o.Label, "account_id", id)
	}
	if first || !slices.Equal(old.Missing, roll.Missing) {
		for _, id := range roll.Missing {
			g.log.Warn("include.accounts names an account that is no member of the organization", "organization", o.Label, "account_id", id)
		}
	}
}

type savedDirectory struct {
	Version int                   `json:"version"`
	Blocks  map[string]memberList `json:"blocks"`
}

// setAsideDamaged says that the members that were known last are not known any more, and keeps the file for a person: the next save would
// replace it. Whoever only looks, without sessions, leaves it alone.
func (g *memberDirectory) setAsideDamaged(err error) {
	aside := ""
	if g.listMembers != nil {
		var moved error
		if aside, moved = statefile.MoveDamaged(g.path); moved != nil {
			err = errors.Join(err, moved)
		}
	}
	g.log.Warn("known members of organizations are damaged", "path", g.path, "error", err, "moved", aside,
		"hint", "They are listed again at the next run; until then an organization's accounts are not collected.")
}

func (g *memberDirectory) load() error {
	if g.path == "" {
		return nil
	}
	b, err := statefile.Read(g.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s savedDirectory
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && s.Version != 1 {
		err = fmt.Errorf("%s: version %d is not known", g.path, s.Version)
	}
	if err != nil {
		return err
	}
	g.saved = s.Blocks
	return nil
}

// save keeps what is known of the blocks that were asked for. A kill at any moment leaves the old file or the new one. g.mu is held.
func (g *memberDirectory) save() (err error) {
	if g.path == "" {
		return nil
	}
	s := savedDirectory{Version: 1, Blocks: map[string]memberList{}}
	for key, b := range g.blocks {
		if b.list != nil {
			s.Blocks[key] = *b.list
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return statefile.Write(g.path, append(text, '\n')) // for its owner alone: it names people's addresses
}

// A census is the account blocks that a configuration amounts to, and what is known of those that are not collected.
type accountSet struct {
	accounts         []config.PackedAccount
	members          map[string]string          // names of members → the label of their organization
	memberIdentities map[string]record.Identity // names of members → who they are, as AWS says
	inactive         map[string]record.Identity // members that are not collected and yet there, by name
	unlisted         []string                   // labels of organizations of which nothing is known
	duplicates       []string                   // what is said of members that have a block of their own
	newMembers       map[string]bool            // members that the last census lacked; true: whatever their schedule, they are collected now
}

// resolveAccounts is the file's own blocks, and then the members. A member that has a block of its own is collected as that says: by its id
// in the block, or because the block has turned out to be it.
func (g *memberDirectory) resolveAccounts(f *config.File, turnedOut map[string]record.Identity) *accountSet {
	c := &accountSet{accounts: slices.Clip(f.Accounts), members: map[string]string{}, memberIdentities: map[string]record.Identity{}, inactive: map[string]record.Identity{}}
	type account struct{ partition, id string }
	own, taken := map[account]string{}, map[string]bool{}
	for i := range f.Accounts {
		a := f.Accounts[i].Account()
		taken[a.Name] = true
		if id := a.KnownAccountID(); id != "" {
			own[account{a.PartitionID(), id}] = cmp.Or(own[account{a.PartitionID(), id}], a.Name)
		} else if who, ok := turnedOut[a.Name]; ok {
			own[account{who.Partition, who.AccountID}] = a.Name
		}
	}
	var members []config.Account
	for _, o := range f.Organizations {
		roll := g.lastList(o)
		if roll == nil {
			c.unlisted = append(c.unlisted, o.Label)
			continue
		}
		for _, of := range []struct {
			members []config.Member
			awake   bool
		}{{roll.Members, true}, {roll.Inactive, false}} {
			blocks, err := o.MemberAccounts(roll.Via, of.members)
			if err != nil { // judged when the file was read: a template that fails for one member's texts
				g.log.Error("the organization's templates", "error", err)
				c.unlisted = append(c.unlisted, o.Label)
				continue
			}
			for _, a := range blocks {
				who := record.Identity{AccountID: a.AccountID, Partition: roll.Via.Partition}
				key := account{who.Partition, who.AccountID}
				if name, ok := own[key]; ok {
					if of.awake {
						c.duplicates = append(c.duplicates, fmt.Sprintf("%s: member %s is %q too: that block is the one that is collected", o.Label, a.AccountID, name))
					}
					continue
				}
				if taken[a.Name] {
					a.Name += "-" + a.AccountID
				}
				own[key], taken[a.Name] = a.Name, true
				if !of.awake {
					c.inactive[a.Name] = who
					continue
				}
				c.members[a.Name], c.memberIdentities[a.Name] = o.Label, who
				members = append(members, a)
			}
		}
	}
	c.accounts = append(c.accounts, config.PackAccounts(members)...)
	return c
}

// inactiveMembersError is what a person should know of an organization whose members are listed.
type inactiveMembersError struct{ text string }

func (e *inactiveMembersError) Error() string { return e.text }

// warning says which members are not collected, and why; nil for none.
func (r *memberList) warning() error {
	if r == nil || len(r.Inactive)+len(r.Missing) == 0 {
		return nil
	}
	var parts []string
	for _, m := range r.Inactive[:min(len(r.Inactive), 10)] {
		parts = append(parts, fmt.Sprintf("%s (%s) is %s", m.ID, m.Name, m.State))
	}
	if more := len(r.Inactive) - 10; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more are not active", more))
	}
	for _, id := range r.Missing {
		parts = append(parts, id+" is no member")
	}
	return &inactiveMembersError{"not collected: " + strings.Join(parts, ", ")}
}
