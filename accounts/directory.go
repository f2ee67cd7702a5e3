package accounts

import (
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

// A ListFunc asks AWS for the members of an organization.
type ListFunc func(context.Context, config.Organization) (auth.OrganizationMembers, error)

// A Directory has the members of each organization of the configuration, as of the last complete list. It loads the
// lists of an earlier process. A list that fails changes nothing.
type Directory struct {
	listMembers ListFunc
	path        string // "": not saved
	log         *slog.Logger

	background context.Context // of listings: several callers wait for one
	stop       context.CancelFunc
	wg         sync.WaitGroup

	mu     sync.Mutex
	loaded bool
	saved  map[string]List   // from the file, by organizationKey
	blocks map[string]*state // by organizationKey
}

// A state is what is known about one block of organizations.
type state struct {
	list        *List         // nil: not listed yet
	err         error         // of the last listing
	at          time.Time     // end of the last listing
	reported    bool          // this process has logged the inactive members
	listingDone chan struct{} // closed at the end of the running listing; nil: none runs
}

// A List is a complete list of members, as it is saved.
type List struct {
	Label    string          `json:"label"` // for people
	At       time.Time       `json:"at"`
	Via      record.Identity `json:"via"`
	Members  []config.Member `json:"members"`
	Inactive []config.Member `json:"asleep,omitempty"`
	Missing  []string        `json:"missing,omitempty"`
}

// listingTimeout limits a listing. The tags of a thousand members take long.
const listingTimeout = 5 * time.Minute

// NewDirectory returns a directory that saves its lists in a file; path "": they are not saved. With list nil it only
// reads the file.
func NewDirectory(list ListFunc, path string, log *slog.Logger) *Directory {
	d := &Directory{listMembers: list, path: path, log: log, blocks: map[string]*state{}}
	d.background, d.stop = context.WithCancel(context.Background())
	return d
}

// MembersPath is the file of the lists in data_dir.
func MembersPath(dataDir string) string { return filepath.Join(dataDir, "organizations.json") }

// Close ends the listings in progress.
func (d *Directory) Close() {
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

// stateOf returns the state of a block. The caller holds d.mu.
func (d *Directory) stateOf(o config.Organization) *state {
	if !d.loaded {
		d.loaded = true
		if err := d.load(); err != nil {
			d.setAsideDamaged(err)
		}
	}
	key := organizationKey(o)
	b := d.blocks[key]
	if b == nil {
		b = &state{}
		if r, ok := d.saved[key]; ok {
			b.list = &r
		}
		d.blocks[key] = b
	}
	return b
}

// Last is the last complete list of a block, or nil.
func (d *Directory) Last(o config.Organization) *List {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stateOf(o).list
}

// LastError is the error of the last listing.
func (d *Directory) LastError(o config.Organization) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stateOf(o).err
}

// Refresh lists the members of a block, unless the last listing is younger than maxAge. Concurrent callers wait for one
// listing. It continues when a caller's context ends.
func (d *Directory) Refresh(ctx context.Context, o config.Organization, maxAge time.Duration) error {
	d.mu.Lock()
	b := d.stateOf(o)
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
		return d.LastError(o)
	case <-ctx.Done():
		return fmt.Errorf("%s: wait for the list of members: %w", o.Label, context.Cause(ctx))
	}
}

// runListing lists the members of a block once.
func (d *Directory) runListing(o config.Organization, b *state) {
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
		return // the callers of Refresh report it
	}
	d.logChanges(o, b.list, found, first)
	b.list = &List{
		Label: o.Label, At: b.at.UTC().Truncate(time.Second), Via: found.Caller,
		Members: found.Members, Inactive: found.Inactive, Missing: found.Missing,
	}
	if err := d.save(); err != nil {
		d.log.Error("organization members not saved", "error", err, "hint", statefile.Hint(d.path, err))
	}
}

// logChanges logs the differences to the last list. The first list of a process also logs the inactive members.
func (d *Directory) logChanges(
	o config.Organization, old *List, found auth.OrganizationMembers, first bool,
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
	Version int             `json:"version"`
	Blocks  map[string]List `json:"blocks"`
}

// setAsideDamaged moves a damaged file aside, so that the next save does not replace it. A directory without sessions
// only reads, and leaves the file where it is.
func (d *Directory) setAsideDamaged(err error) {
	aside := ""
	if d.listMembers != nil {
		var moved error
		if aside, moved = statefile.MoveDamaged(d.path); moved != nil {
			err = errors.Join(err, moved)
		}
	}
	d.log.Warn("organization members file is damaged", "path", d.path, "error", err, "moved_to", aside,
		"hint", "Nothing to do: the next run lists the members again. Until then they are not collected.")
}

func (d *Directory) load() error {
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
func (d *Directory) save() (err error) {
	if d.path == "" {
		return nil
	}
	s := savedDirectory{Version: 1, Blocks: map[string]List{}}
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

// An InactiveError says which members of an organization are not collected.
type InactiveError struct{ text string }

func (e *InactiveError) Error() string { return e.text }

// Warning returns an [InactiveError], or nil if every member is collected.
func (l *List) Warning() error {
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
	return &InactiveError{"not collected: " + strings.Join(parts, ", ")}
}
