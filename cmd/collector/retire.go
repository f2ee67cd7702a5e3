package main

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A retirement ends what is remembered of accounts that the configuration in force no longer names. A block may have been
// renamed, or moved to another account, and only signing in tells: so an account is retired once no block can turn out to be
// it. It is an observer: who was entered, and whose targets have since been remembered under the new name, it hears.
type accountRetirer struct {
	runner.Observer // of which it hears two things
	store           *runStore
	log             *slog.Logger
	wakeup          chan struct{}

	checking sync.Mutex

	mu               sync.Mutex
	blocks           []string                   // names of the accepted configuration; nil: it does not speak for all
	memberIdentities map[string]record.Identity // of them: who they are before they are entered, as AWS Organizations says
	identities       map[string]record.Identity
	confirmed        map[string]record.Identity // entered, and a run of it has ended since
	changed          bool                       // since the last check
	failing          bool                       // the last check's, which was said
}

func newAccountRetirer(l *runStore, log *slog.Logger) *accountRetirer {
	return &accountRetirer{Observer: runner.Tee(), store: l, log: log, wakeup: make(chan struct{}, 1)}
}

// setAccounts says which blocks the configuration in force has. Who they are is to be found out anew, but of members of an organization:
// those are the accounts that AWS says, collected or suspended. An organization that could not be listed may have anybody.
func (r *accountRetirer) setAccounts(c *accountSet) {
	r.mu.Lock()
	r.blocks, r.memberIdentities = []string{}, map[string]record.Identity{}
	for i := range c.accounts {
		r.blocks = append(r.blocks, c.accounts[i].Name())
	}
	maps.Copy(r.memberIdentities, c.memberIdentities)
	maps.Copy(r.memberIdentities, c.inactive)
	r.blocks = append(append(r.blocks, slices.Sorted(maps.Keys(c.inactive))...), c.unlisted...)
	r.identities, r.confirmed, r.changed = map[string]record.Identity{}, maps.Clone(r.memberIdentities), true
	r.mu.Unlock()
	r.wake()
}

// retireByName is for a store that remembers names alone: nothing has to be found out.
func (r *accountRetirer) retireByName(ctx context.Context, run *runner.Runner, before []string) {
	if r.store.inventory != nil {
		return
	}
	if err := run.RetireRemoved(ctx, before); err != nil {
		r.log.Error("retire what the configuration no longer names", "error", err)
	}
}

// SignedIn notes who the account is, where that is remembered.
func (r *accountRetirer) SignedIn(account string, id record.Identity) {
	if r.store.inventory == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blocks != nil {
		r.identities[account] = id
	}
}

// RunEnded: the account's targets are known under its name now.
func (r *accountRetirer) RunEnded(account, _ string, _ record.Status, _ time.Duration) {
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

func (r *accountRetirer) wake() {
	select {
	case r.wakeup <- struct{}{}:
	default:
	}
}

// start checks whenever something was found out, until stop.
func (r *accountRetirer) start(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.wakeup:
				r.check(ctx)
			}
		}
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

// check retires what no block can be any more. Its trouble is the store's: it is logged, and tried again after the next run.
func (r *accountRetirer) check(ctx context.Context) {
	if r.store.inventory == nil {
		return
	}
	r.checking.Lock()
	defer r.checking.Unlock()
	r.mu.Lock()
	blocks, changed := r.blocks, r.changed
	settled := maps.Clone(r.confirmed)
	r.changed = false
	r.mu.Unlock()
	if blocks == nil || !changed || ctx.Err() != nil {
		return
	}
	known, err := r.store.driver.Accounts(ctx)
	for _, a := range removedAccounts(known, blocks, settled) {
		if err = r.store.driver.RetireAccount(ctx, a, inventory.AccountRemoved); err != nil {
			break
		}
		r.log.Info("the configuration no longer names an account: what is remembered of it has ended", "account", a.Name, "account_id", a.AccountID)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil && !r.failing { // else each run would say so again
		r.log.Error("accounts that the configuration no longer names could not be retired; it is tried again after each run", "error", err, "hint", record.HintOf(err))
	}
	r.failing = err != nil
	r.changed = r.changed || err != nil
}

// removedAccounts is the accounts that no block is or can turn out to be. A block that is not settled is taken for the account that
// had its name; if nobody had it, or if that account is another block's by now, it may be any.
func removedAccounts(known []inventory.Account, blocks []string, settled map[string]record.Identity) []inventory.Account {
	type account struct{ partition, id string }
	is := map[account]bool{}
	for _, name := range blocks {
		if id, ok := settled[name]; ok {
			is[account{id.Partition, id.AccountID}] = true
		}
	}
	var out []inventory.Account
	had := map[string]bool{} // names that stand for an account that may still be theirs
	for _, a := range known {
		if is[account{a.Partition, a.AccountID}] {
			continue
		}
		had[a.Name] = true
		if _, ok := settled[a.Name]; ok || !slices.Contains(blocks, a.Name) {
			out = append(out, a)
		}
	}
	for _, name := range blocks {
		if _, ok := settled[name]; !ok && !had[name] {
			return nil
		}
	}
	return out
}
