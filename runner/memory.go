package runner

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// Memory is the Ledger and the Runs of one process: it knows targets and epochs, and keeps no resource.
type Memory struct {
	mu     sync.Mutex
	known  map[string][]begun // by account
	runs   map[string]*runCount
	places placeTable
}

// begun is a target of an account, and how often it was begun.
type begun struct {
	place *place
	epoch int
}

var (
	_ Ledger = (*Memory)(nil)
	_ Runs   = (*Memory)(nil)
)

// NewMemory remembers nothing yet.
func NewMemory() *Memory {
	return &Memory{known: map[string][]begun{}, runs: map[string]*runCount{}}
}

// Room lets everybody in.
func (m *Memory) Room(context.Context) (leave func()) { return func() {} }

// Begin takes the next epoch of the target.
func (m *Memory) Begin(_ context.Context, t record.Target, _ record.Identity, _ string) (Visit, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at := m.places.of(t)
	b := m.find(t.Account, at)
	if b == nil {
		ts := append(m.known[t.Account], begun{place: at})
		m.known[t.Account] = ts
		b = &ts[len(ts)-1]
	}
	b.epoch++
	return memoryVisit{m, t.Account, at, b.epoch}, nil
}

// find is what is known of a target, or nil. m.mu is held.
func (m *Memory) find(account string, at *place) *begun {
	ts := m.known[account]
	if i := slices.IndexFunc(ts, func(b begun) bool { return b.place == at }); i >= 0 {
		return &ts[i]
	}
	return nil
}

type memoryVisit struct {
	m       *Memory
	account string
	place   *place
	epoch   int
}

func (memoryVisit) Page(context.Context, *record.Page) error { return nil }

func (v memoryVisit) End(context.Context, record.Outcome) error {
	v.m.mu.Lock()
	defer v.m.mu.Unlock()
	if b := v.m.find(v.account, v.place); b == nil || b.epoch != v.epoch {
		return ErrFenced
	}
	return nil
}

func (memoryVisit) Drop() {}

// Known is every target of the account that was begun and is not retired.
func (m *Memory) Known(_ context.Context, account string) ([]record.Target, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ts := make([]record.Target, 0, len(m.known[account]))
	for _, b := range m.known[account] {
		ts = append(ts, record.Target{Account: account, Region: b.place.region, Kind: b.place.kind})
	}
	return ts, nil
}

// Retire forgets targets.
func (m *Memory) Retire(_ context.Context, _ record.Identity, ts []record.Target, _ string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range ts {
		at := m.places.of(t)
		left := slices.DeleteFunc(m.known[t.Account], func(b begun) bool { return b.place == at })
		if m.known[t.Account] = left; len(left) == 0 {
			delete(m.known, t.Account)
		}
	}
	return nil
}

type runCount struct {
	jobs int
	done map[string]bool
	sum  Tally
}

// Fan notes how many jobs a run has.
func (m *Memory) Fan(_ context.Context, run string, jobs int, t Tally) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if jobs > 0 {
		m.runs[run] = &runCount{jobs: jobs, done: map[string]bool{}, sum: t}
	}
	return nil
}

// Done counts a job.
func (m *Memory) Done(_ context.Context, run, job string, t Tally) (Tally, bool, error) {
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

// Add joins two parts of a run.
func (t *Tally) Add(o Tally) {
	if t.Started.IsZero() || !o.Started.IsZero() && o.Started.Before(t.Started) {
		t.Started = o.Started
	}
	t.Targets += o.Targets
	t.Collected += o.Collected
	t.Failed += o.Failed
	t.TimedOut = t.TimedOut || o.TimedOut
	t.Whole = t.Whole || o.Whole
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

// unusable reports whether no region could be listed. One that is not enabled is no failure beside others, but an account that has no
// other is not collected at all. A kind that no region has says nothing of the account, unless the run is of all its kinds.
func (t Tally) unusable() bool {
	refused := t.Disabled
	if t.Whole {
		refused += t.Unsupported
	}
	return refused > 0 && refused+t.Skipped+t.Global == t.Targets
}

// Status is the run's, once all its targets have ended.
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

// took is how long the run lasted.
func (t Tally) took() time.Duration {
	if t.Started.IsZero() {
		return 0
	}
	return time.Since(t.Started)
}
