package runner

import (
	"context"
	"slices"
	"sync"
	"unique"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A MemoryStore is a Store in memory: it keeps targets and epochs, and no resources.
type MemoryStore struct {
	mu      sync.Mutex
	targets map[string][]begunTarget // by account
}

// A begunTarget is a target of an account, and how often it was begun.
type begunTarget struct {
	regionKind unique.Handle[regionKind]
	epoch      int
}

// A regionKind is a target without its account. Targets share it: there are few of them and millions of targets.
type regionKind struct{ region, kind string }

func regionKindOf(t record.Target) unique.Handle[regionKind] {
	return unique.Make(regionKind{t.Region, t.Kind})
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{targets: map[string][]begunTarget{}}
}

// Admit does not wait.
func (m *MemoryStore) Admit(context.Context) (leave func()) { return func() {} }

// Begin takes the next epoch of the target.
func (m *MemoryStore) Begin(
	_ context.Context,
	t record.Target,
	_ record.Identity,
	_ string,
) (inventory.ScopeWriter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rk := regionKindOf(t)
	b := m.find(t.Account, rk)
	if b == nil {
		ts := append(m.targets[t.Account], begunTarget{regionKind: rk})
		m.targets[t.Account] = ts
		b = &ts[len(ts)-1]
	}
	b.epoch++
	return memoryWriter{m, t.Account, rk, b.epoch}, nil
}

// find returns a target that was begun, or nil. m.mu is held.
func (m *MemoryStore) find(account string, rk unique.Handle[regionKind]) *begunTarget {
	ts := m.targets[account]
	if i := slices.IndexFunc(ts, func(b begunTarget) bool { return b.regionKind == rk }); i >= 0 {
		return &ts[i]
	}
	return nil
}

type memoryWriter struct {
	m          *MemoryStore
	account    string
	regionKind unique.Handle[regionKind]
	epoch      int
}

// Committed returns nil: a job of one process is not done again.
func (memoryWriter) Committed() *record.Outcome { return nil }

func (memoryWriter) Page(context.Context, *record.Page) error { return nil }

// Missing returns zero: no resource is expected, because none is kept.
func (memoryWriter) Missing(context.Context) (missing, expected int, err error) { return 0, 0, nil }

func (w memoryWriter) End(context.Context, record.Outcome) error {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if b := w.m.find(w.account, w.regionKind); b == nil || b.epoch != w.epoch {
		return inventory.ErrFenced
	}
	return nil
}

// ActiveTargets returns every target of the account that was begun and is not retired.
func (m *MemoryStore) ActiveTargets(_ context.Context, account string) ([]record.Target, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ts := make([]record.Target, 0, len(m.targets[account]))
	for _, b := range m.targets[account] {
		rk := b.regionKind.Value()
		ts = append(ts, record.Target{Account: account, Region: rk.region, Kind: rk.kind})
	}
	return ts, nil
}

// Retire removes targets.
func (m *MemoryStore) Retire(_ context.Context, _ record.Identity, ts []record.Target, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range ts {
		rk := regionKindOf(t)
		left := slices.DeleteFunc(m.targets[t.Account], func(b begunTarget) bool { return b.regionKind == rk })
		if m.targets[t.Account] = left; len(left) == 0 {
			delete(m.targets, t.Account)
		}
	}
	return nil
}

// StartRun stores nothing: the status board has the runs of the process.
func (*MemoryStore) StartRun(context.Context, inventory.Run) error { return nil }

// EndRun stores nothing.
func (*MemoryStore) EndRun(context.Context, inventory.Run) error { return nil }

// PutSignIn stores nothing.
func (*MemoryStore) PutSignIn(context.Context, inventory.SignIn) error { return nil }
