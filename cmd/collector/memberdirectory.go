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

// memberDirectory has the members of each organization of the configuration, as of the last complete list. It loads the
// lists of an earlier process. A list that fails changes nothing.
type memberDirectory struct {
	listMembers func(context.Context, config.Organization) (auth.OrganizationMembers, error)
	path        string // "": not saved
	log         *slog.Logger

	background context.Context // of listings: several callers wait for one
	stop       context.CancelFunc
	wg         sync.WaitGroup

	mu     sync.Mutex
	loaded bool
	saved  map[string]memberList         // from the file, by organizationKey
	blocks map[string]*organizationState // by organizationKey
}

// organizationState is what is known about one block of organizations.
type organizationState struct {
	list        *memberList   // nil: not listed yet
	err         error         // of the last listing
	at          time.Time     // end of the last listing
	reported    bool          // this process has logged the inactive members
	listingDone chan struct{} // closed at the end of the running listing; nil: none runs
}

// memberList is a complete list of members, as it is saved.
type memberList struct {
	Label    string          `json:"label"` // for people
	At       time.Time       `json:"at"`
	Via      record.Identity `json:"via"`
	Members  []config.Member `json:"members"`
	Inactive []config.Member `json:"asleep,omitempty"`
	Missing  []string        `json:"missing,omitempty"`
}

// listingTimeout limits a listing. The tags of a thousand members take long.
const listingTimeout = 5 * time.Minute

func newMemberDirectory(s *auth.Sessions, path string, log *slog.Logger) *memberDirectory {
	d := &memberDirectory{path: path, log: log, blocks: map[string]*organizationState{}}
	if s != nil {
		d.listMembers = s.Members
	}
	d.background, d.stop = context.WithCancel(context.Background())
	return d
}

func membersPath(dataDir string) string { return filepath.Join(dataDir, "organizations.json") }

func (d *memberDirectory) close() {
	d.stop()
	d.wg.Wait()
}

// organizationKey identifies what a block lists, and with which identity. It contains no secret.
func organizationKey(o config.Organization) string {
	v := o.Via
	var hops []string
	for _, h := range v.Hops() {
		hops = append(hops, h.ARN)
	}
	b, err := json.Marshal([]any{
		v.Profile, v.AKID, v.CredentialSource, v.AccountID, v.Partition, hops, o.Include, o.Exclude, o.RequiredDetails(),
	})
	if err != nil {
		panic(fmt.Sprintf("organization %s: %v", o.Label, err)) // only strings, which always encode
	}
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:12])
}

// state returns the state of a block. The caller holds d.mu.
func (d *memberDirectory) state(o config.Organization) *organizationState {
	if !d.loaded {
		d.loaded = true
		if err := d.load(); err != nil {
			d.setAsideDamaged(err)
		}
	}
	key := organizationKey(o)
	b := d.blocks[key]
	if b == nil {
		b = &organizationState{}
		if r, ok := d.saved[key]; ok {
			b.list = &r
		}
		d.blocks[key] = b
	}
	return b
}

// lastList is the last complete list of a block, or nil.
func (d *memberDirectory) lastList(o config.Organization) *memberList {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state(o).list
}

// lastError is the error of the last listing.
func (d *memberDirectory) lastError(o config.Organization) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state(o).err
}

// refresh lists the members of a block, unless the last listing is younger than maxAge. Concurrent callers wait for one
// listing. It continues when a caller's context ends.
func (d *memberDirectory) refresh(ctx context.Context, o config.Organization, maxAge time.Duration) error {
	d.mu.Lock()
	b := d.state(o)
	if !b.at.IsZero() && time.Since(b.at) < maxAge {
		defer d.mu.Unlock()
		return b.err
	}
	if b.listingDone == nil {
		done := make(chan struct{})
		b.listingDone = done
		d.wg.Go(func() {
			d.runListing(o, b)
			close(done)
		})
	}
	wait := b.listingDone
	d.mu.Unlock()
	select {
	case <-wait:
		return d.lastError(o)
	case <-ctx.Done():
		return fmt.Errorf("%s: wait for the list of members: %w", o.Label, context.Cause(ctx))
	}
}

// runListing lists the members of a block once.
func (d *memberDirectory) runListing(o config.Organization, b *organizationState) {
	ctx, cancel := context.WithTimeoutCause(d.background, listingTimeout, &record.Fault{
		Reason: record.TimedOut, Hint: "Nothing to do: the last list stays in use, and the next run tries again.",
		Err: fmt.Errorf("the organization's members were not listed within %s", listingTimeout),
	})
	defer cancel()
	found, err := d.listMembers(ctx, o)
	d.mu.Lock()
	defer d.mu.Unlock()
	b.listingDone, b.err, b.at = nil, err, time.Now()
	first := err == nil && !b.reported
	b.reported = b.reported || first
	if err != nil {
		return // the callers of refresh report it
	}
	d.logChanges(o, b.list, found, first)
	b.list = &memberList{
		Label: o.Label, At: b.at.UTC().Truncate(time.Second), Via: found.Caller,
		Members: found.Members, Inactive: found.Inactive, Missing: found.Missing,
	}
	if err := d.save(); err != nil {
		d.log.Error("organization members not saved", "error", err)
	}
}

// logChanges logs the differences to the last list. The first list of a process also logs the inactive members.
func (d *memberDirectory) logChanges(
	o config.Organization, old *memberList, found auth.OrganizationMembers, first bool,
) {
	d.log.Debug("organization listed",
		"organization", o.Label, "members", len(found.Members), "inactive", len(found.Inactive))
	was := map[string]string{}
	if old != nil {
		for _, m := range slices.Concat(old.Members, old.Inactive) {
			was[m.ID] = m.State
		}
	}
	for _, m := range found.Inactive {
		if first || was[m.ID] != m.State {
			d.log.Warn("inactive organization member is not collected",
				"organization", o.Label, "account_id", m.ID, "member", m.Name, "state", m.State)
		}
		delete(was, m.ID)
	}
	for _, m := range found.Members {
		if old != nil && was[m.ID] == "" {
			d.log.Info("organization member added", "organization", o.Label, "account_id", m.ID, "member", m.Name)
		}
		delete(was, m.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(was)) {
		d.log.Info("organization member removed or no longer selected", "organization", o.Label, "account_id", id)
	}
	if first || !slices.Equal(old.Missing, found.Missing) {
		for _, id := range found.Missing {
			d.log.Warn("include.accounts names an account outside the organization",
				"organization", o.Label, "account_id", id)
		}
	}
}

type savedDirectory struct {
	Version int                   `json:"version"`
	Blocks  map[string]memberList `json:"blocks"`
}

// setAsideDamaged moves a damaged file aside, so that the next save does not replace it. A directory without sessions
// only reads, and leaves the file where it is.
func (d *memberDirectory) setAsideDamaged(err error) {
	aside := ""
	if d.listMembers != nil {
		var moved error
		if aside, moved = statefile.MoveDamaged(d.path); moved != nil {
			err = errors.Join(err, moved)
		}
	}
	d.log.Warn("organization members file is damaged", "path", d.path, "error", err, "moved", aside,
		"hint", "Nothing to do: the next run lists the members again. Until then they are not collected.")
}

func (d *memberDirectory) load() error {
	if d.path == "" {
		return nil
	}
	b, err := statefile.Read(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s savedDirectory
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && s.Version != 1 {
		err = fmt.Errorf("%s: unknown version %d", d.path, s.Version)
	}
	if err != nil {
		return err
	}
	d.saved = s.Blocks
	return nil
}

// save writes the lists of all blocks of this process. After a crash the file is the old or the new one. The caller
// holds d.mu.
func (d *memberDirectory) save() (err error) {
	if d.path == "" {
		return nil
	}
	s := savedDirectory{Version: 1, Blocks: map[string]memberList{}}
	for key, b := range d.blocks {
		if b.list != nil {
			s.Blocks[key] = *b.list
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return statefile.Write(d.path, append(text, '\n')) // readable by its owner only: it has e-mail addresses
}

// accountSet has the account blocks of a configuration: those of the file, and those of members.
type accountSet struct {
	accounts         []config.PackedAccount
	members          map[string]string          // labels of organizations, by the name of the member's block
	memberIdentities map[string]record.Identity // from AWS, by name
	inactive         map[string]record.Identity // members that are not collected because they are inactive, by name
	unlisted         []string                   // labels of organizations without any list
	duplicates       []string                   // warnings about members that also have a block in the file
	newMembers       map[string]bool            // members since the last account set; true: run them at once
}

// resolveAccounts returns the blocks of the file, then those of members. A member that also has a block in the file is
// collected as that block says: either the block names its account id, or it signed in to that account before.
func (d *memberDirectory) resolveAccounts(f *config.File, identities map[string]record.Identity) *accountSet {
	c := &accountSet{
		accounts: slices.Clip(f.Accounts), members: map[string]string{},
		memberIdentities: map[string]record.Identity{}, inactive: map[string]record.Identity{},
	}
	type account struct{ partition, id string }
	own, taken := map[account]string{}, map[string]bool{}
	for i := range f.Accounts {
		a := f.Accounts[i].Account()
		taken[a.Name] = true
		if id := a.KnownAccountID(); id != "" {
			own[account{a.PartitionID(), id}] = cmp.Or(own[account{a.PartitionID(), id}], a.Name)
		} else if id, ok := identities[a.Name]; ok {
			own[account{id.Partition, id.AccountID}] = a.Name
		}
	}
	var members []config.Account
	for _, o := range f.Organizations {
		list := d.lastList(o)
		if list == nil {
			c.unlisted = append(c.unlisted, o.Label)
			continue
		}
		for _, group := range []struct {
			members []config.Member
			active  bool
		}{{list.Members, true}, {list.Inactive, false}} {
			blocks, err := o.MemberAccounts(list.Via, group.members)
			if err != nil { // the template is valid, and fails for the attributes of one member
				d.log.Error("organization template failed", "organization", o.Label, "error", err)
				c.unlisted = append(c.unlisted, o.Label)
				continue
			}
			for _, a := range blocks {
				id := record.Identity{AccountID: a.AccountID, Partition: list.Via.Partition}
				key := account{id.Partition, id.AccountID}
				if name, ok := own[key]; ok {
					if group.active {
						c.duplicates = append(c.duplicates, fmt.Sprintf(
							"%s: member %s also has the account block %q, which is the one that is collected",
							o.Label, a.AccountID, name))
					}
					continue
				}
				if taken[a.Name] {
					a.Name += "-" + a.AccountID
				}
				own[key], taken[a.Name] = a.Name, true
				if !group.active {
					c.inactive[a.Name] = id
					continue
				}
				c.members[a.Name], c.memberIdentities[a.Name] = o.Label, id
				members = append(members, a)
			}
		}
	}
	c.accounts = append(c.accounts, config.PackAccounts(members)...)
	return c
}

// inactiveMembersError says which members of an organization are not collected.
type inactiveMembersError struct{ text string }

func (e *inactiveMembersError) Error() string { return e.text }

// warning returns an [inactiveMembersError], or nil if every member is collected.
func (l *memberList) warning() error {
	if l == nil || len(l.Inactive)+len(l.Missing) == 0 {
		return nil
	}
	var parts []string
	for _, m := range l.Inactive[:min(len(l.Inactive), 10)] {
		parts = append(parts, fmt.Sprintf("%s (%s) is %s", m.ID, m.Name, m.State))
	}
	if more := len(l.Inactive) - 10; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more are not active", more))
	}
	for _, id := range l.Missing {
		parts = append(parts, id+" is not a member")
	}
	return &inactiveMembersError{"not collected: " + strings.Join(parts, ", ")}
}
