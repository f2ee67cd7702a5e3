package runner

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// A MemoryStore is the Store and the Runs of one process: it keeps targets and epochs, and no resources.
type MemoryStore struct {
	mu          sync.Mutex
	targets     map[string][]begunTarget // by account
	runs        map[string]*runCount
	regionKinds regionKindTable
}

// A begunTarget is a target of an account, and how often it was begun.
type begunTarget struct {
	regionKind *regionKind
	epoch      int
}

var (
	_ Store = (*MemoryStore)(nil)
	_ Runs  = (*MemoryStore)(nil)
)

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{targets: map[string][]begunTarget{}, runs: map[string]*runCount{}}
}

// Admit does not wait.
func (m *MemoryStore) Admit(context.Context) (leave func()) { return func() {} }

// Begin takes the next epoch of the target.
func (m *MemoryStore) Begin(_ context.Context, t record.Target, _ record.Identity, _ string) (ScopeWriter, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rk := m.regionKinds.intern(t)
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
func (m *MemoryStore) find(account string, rk *regionKind) *begunTarget {
	ts := m.targets[account]
	if i := slices.IndexFunc(ts, func(b begunTarget) bool { return b.regionKind == rk }); i >= 0 {
		return &ts[i]
	}
	return nil
}

type memoryWriter struct {
	m          *MemoryStore
	account    string
	regionKind *regionKind
	epoch      int
}

func (memoryWriter) Page(context.Context, *record.Page) error { return nil }

func (w memoryWriter) End(context.Context, record.Outcome) error {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if b := w.m.find(w.account, w.regionKind); b == nil || b.epoch != w.epoch {
		return ErrFenced
	}
	return nil
}

func (memoryWriter) Drop() {}

// ActiveTargets returns every target of the account that was begun and is not retired.
func (m *MemoryStore) ActiveTargets(_ context.Context, account string) ([]record.Target, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ts := make([]record.Target, 0, len(m.targets[account]))
	for _, b := range m.targets[account] {
		ts = append(ts, record.Target{Account: account, Region: b.regionKind.region, Kind: b.regionKind.kind})
	}
	return ts, nil
}

// Retire removes targets.
func (m *MemoryStore) Retire(_ context.Context, _ record.Identity, ts []record.Target, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range ts {
		rk := m.regionKinds.intern(t)
		left := slices.DeleteFunc(m.targets[t.Account], func(b begunTarget) bool { return b.regionKind == rk })
		if m.targets[t.Account] = left; len(left) == 0 {
			delete(m.targets, t.Account)
		}
	}
	return nil
}

type runCount struct {
	jobs int
	done map[string]bool
	sum  Tally
}

// SetJobs records how many jobs a run has.
func (m *MemoryStore) SetJobs(_ context.Context, run string, jobs int, t Tally) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if jobs > 0 {
		m.runs[run] = &runCount{jobs: jobs, done: map[string]bool{}, sum: t}
	}
	return nil
}

// JobDone counts a job.
func (m *MemoryStore) JobDone(_ context.Context, run, job string, t Tally) (Tally, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.runs[run]
	if c == nil || c.done[job] {
		return Tally{}, false, nil
	}
	c.done[job] = true
	c.sum.Add(t)
	if len(c.done) < c.jobs {
		return Tally{}, false, nil
	}
	delete(m.runs, run)
	return c.sum, true, nil
}

// Add adds the counts of another part of the run.
func (t *Tally) Add(o Tally) {
	if t.Started.IsZero() || !o.Started.IsZero() && o.Started.Before(t.Started) {
		t.Started = o.Started
	}
	t.Targets += o.Targets
	t.Collected += o.Collected
	t.Failed += o.Failed
	t.TimedOut = t.TimedOut || o.TimedOut
	t.AllKinds = t.AllKinds || o.AllKinds
	t.Disabled += o.Disabled
	t.Unsupported += o.Unsupported
	t.Skipped += o.Skipped
	t.Global += o.Global
}

// count adds one target.
func (t *Tally) count(o record.Outcome, global, runTimedOut bool) {
	t.Targets++
	if o.State == record.OK || o.State == record.Partial {
		t.Collected++
		if global && o.State == record.OK {
			t.Global++
		}
	}
	switch {
	case o.Failed():
		t.Failed++
		t.TimedOut = t.TimedOut || runTimedOut
	case o.State == record.Skipped:
		t.Skipped++
	case o.State == record.RegionDisabled && o.Reason == record.Unsupported:
		t.Unsupported++
	case o.State == record.RegionDisabled:
		t.Disabled++
	}
}

// unusable reports whether no region could be listed. A region that is not enabled is not a failure while others are
// listed; an account without any other region is not collected at all. A kind that no region has says nothing about the
// account, unless the run lists all its kinds.
func (t Tally) unusable() bool {
	refused := t.Disabled
	if t.AllKinds {
		refused += t.Unsupported
	}
	return refused > 0 && refused+t.Skipped+t.Global == t.Targets
}

// Status is the status of the run, once all its targets have ended.
func (t Tally) Status() record.Status {
	switch {
	case t.Failed == 0 && !t.unusable():
		return record.Success
	case t.TimedOut:
		return record.RunTimeout
	case t.Collected == 0:
		return record.RunFailed
	}
	return record.RunPartial
}

// duration is how long the run lasted.
func (t Tally) duration() time.Duration {
	if t.Started.IsZero() {
		return 0
	}
	return time.Since(t.Started)
}
