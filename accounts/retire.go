package accounts

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// An AccountStore is the store as a [Retirer] uses it.
type AccountStore interface {
	Accounts(ctx context.Context) ([]inventory.Account, error)
	RetireAccount(ctx context.Context, a inventory.Account, reason string) error
}

// A Retirer ends the resources of accounts that the configuration no longer names. A block may have been renamed,
// or moved to another account, and only signing in shows which: so an account is retired when no block can be that
// account. As an observer it learns which account each block signs in to, and when the account's run has ended.
type Retirer struct {
	store  AccountStore // nil: it stores no accounts
	log    *slog.Logger
	wakeup chan struct{}

	checking sync.Mutex

	mu               sync.Mutex
	blocks           []string                   // names of the configuration in force; nil: it is unknown
	memberIdentities map[string]record.Identity // of members, from AWS Organizations: known before they sign in
	identities       map[string]record.Identity // of blocks that have signed in
	confirmed        map[string]record.Identity // of blocks with a run that has ended since
	changed          bool                       // since the last check
	failing          bool                       // the last check failed, and logged it
}

// NewRetirer returns a Retirer for a store; nil: it does nothing.
func NewRetirer(s AccountStore, log *slog.Logger) *Retirer {
	return &Retirer{store: s, log: log, wakeup: make(chan struct{}, 1)}
}

// SetAccounts sets the blocks of the configuration in force. Which accounts they are must be found out again, except
// for members of organizations: AWS has listed those, collected or not. An organization without a list may have any
// account.
func (r *Retirer) SetAccounts(s *Set) {
	r.mu.Lock()
	r.blocks, r.memberIdentities = []string{}, map[string]record.Identity{}
	for i := range s.Accounts {
		r.blocks = append(r.blocks, s.Accounts[i].Name)
	}
	maps.Copy(r.memberIdentities, s.Identities)
	maps.Copy(r.memberIdentities, s.Inactive)
	r.blocks = append(append(r.blocks, slices.Sorted(maps.Keys(s.Inactive))...), s.Unlisted...)
	r.identities, r.confirmed, r.changed = map[string]record.Identity{}, maps.Clone(r.memberIdentities), true
	r.mu.Unlock()
	r.wake()
}

// Observe learns which account each block is, and when its run has ended.
func (r *Retirer) Observe(e runner.Event) {
	switch e := e.(type) {
	case runner.SignedIn:
		r.signedIn(e.Account, e.Identity)
	case runner.RunEnded:
		r.runEnded(e.Account)
	}
}

// signedIn records which account the block is.
func (r *Retirer) signedIn(account string, id record.Identity) {
	if r.store == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blocks != nil {
		r.identities[account] = id
	}
}

// runEnded confirms the identity: the store now has the account's targets under the name of the block.
func (r *Retirer) runEnded(account string) {
	r.mu.Lock()
	id, ok := r.identities[account]
	if _, known := r.memberIdentities[account]; ok && !known && r.confirmed[account] != id {
		r.confirmed[account], r.changed = id, true
	}
	r.mu.Unlock()
	if ok {
		r.wake()
	}
}

func (r *Retirer) wake() {
	select {
	case r.wakeup <- struct{}{}:
	default:
	}
}

// Start checks whenever an identity was found, until stop is called.
func (r *Retirer) Start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.wakeup:
				r.Check(ctx)
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// Check retires the accounts that no block can be any more. It logs errors of the store, and tries again after the next
// run.
func (r *Retirer) Check(ctx context.Context) {
	if r.store == nil {
		return
	}
	r.checking.Lock()
	defer r.checking.Unlock()
	r.mu.Lock()
	blocks, changed := r.blocks, r.changed
	confirmed := maps.Clone(r.confirmed)
	r.changed = false
	r.mu.Unlock()
	if blocks == nil || !changed || ctx.Err() != nil {
		return
	}
	stored, err := r.store.Accounts(ctx)
	for _, a := range removedAccounts(stored, blocks, confirmed) {
		if err = r.store.RetireAccount(ctx, a, inventory.AccountRemoved); err != nil {
			break
		}
		r.log.Info("removed account's resources marked account_removed", "account", a.Name, "account_id", a.AccountID)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && !r.failing { // a repeated failure is not logged again
		r.log.Error("removed accounts not retired", "error", err, "hint", record.HintOf(err))
	}
	r.failing = err != nil
	r.changed = r.changed || err != nil
}

// removedAccounts returns the stored accounts that no block is or can be. An unconfirmed block may be the account that
// the store has under its name. If there is none, or that account belongs to another block, the block may be any
// account; then nothing is retired.
func removedAccounts(
	stored []inventory.Account, blocks []string, confirmed map[string]record.Identity,
) []inventory.Account {
	type account struct{ partition, id string }
	inUse := map[account]bool{}
	for _, name := range blocks {
		if id, ok := confirmed[name]; ok {
			inUse[account{id.Partition, id.AccountID}] = true
		}
	}
	var out []inventory.Account
	hasAccount := map[string]bool{} // names under which the store has an account that no block is known to be
	for _, a := range stored {
		if inUse[account{a.Partition, a.AccountID}] {
			continue
		}
		hasAccount[a.Name] = true
		if _, ok := confirmed[a.Name]; ok || !slices.Contains(blocks, a.Name) {
			out = append(out, a)
		}
	}
	for _, name := range blocks {
		if _, ok := confirmed[name]; !ok && !hasAccount[name] {
			return nil
		}
	}
	return out
}
