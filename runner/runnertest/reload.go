package runnertest

import (
	"context"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A reload disturbs no run, starts new accounts, changes schedules and ends those of accounts that went.
func (f *fixture) reloadDuringARun() {
	one := func(name string, took, every float64) block {
		return block{
			name: name, regions: []string{"r1"}, kinds: []string{"k"}, took: took, ticks: []runner.Tick{f.every(every)},
		}
	}
	f.configure(one("stays", 2, 3), one("goes", 2, 3), one("changes", 0.2, 3))
	f.start(Options{})
	f.waitUntil(4) // two listings are in progress
	f.configure(one("stays", 0.2, 3), one("changes", 0.2, 2), one("new", 0.2, 1))
	f.waitUntil(5.2)
	if _, ok := f.board.Account("goes"); ok {
		f.Error("the board remembers an account that is gone")
	}
	f.waitUntil(6.5)
	f.drainAll()
	f.starts("stays", 3, 6)
	f.starts("goes", 3)
	f.starts("changes", 3, 6)
	f.starts("new", 5, 6)
	f.statuses("goes", record.Success)
}

// A schedule that counts from its beginning is not begun anew by a reload that does not change it.
func (f *fixture) reloadKeepsTimers() {
	b := block{name: "a", regions: []string{"r1"}, kinds: []string{"k"}, ticks: []runner.Tick{
		{Spec: "@every 4 units", Schedule: delay(f.units(4))},
	}}
	f.configure(b)
	f.start(Options{})
	for i := range 6 {
		f.waitUntil(1.5 * float64(i+1))
		f.configure(b)
	}
	f.waitUntil(9.5)
	f.starts("a", 4, 8)
}

// A delay is a schedule that counts from the last tick, as @every does.
type delay time.Duration

func (d delay) Next(t time.Time) time.Time { return t.Add(time.Duration(d)) }

// A run that still waits when its account is removed from the configuration is dropped at once; the one in progress
// ends by itself.
func (f *fixture) reloadDropsWaiting() {
	f.configure(block{
		name: "a", regions: []string{"r1"}, kinds: []string{"k"}, took: 8, overlap: runner.Queue,
		ticks: []runner.Tick{f.every(3)},
	})
	f.start(Options{})
	f.waitUntil(6.5)
	f.configure()
	f.waitUntil(7)
	f.statuses("a", record.RunExpired)
	f.waitUntil(11.5)
	f.statuses("a", record.RunExpired, record.Success)
	f.starts("a", 3)
}

// A task finds a member of an organization that was not there, and puts a configuration with it in force: it runs at
// its next tick, without a restart, and is not run twice where several processes learn of it.
func (f *fixture) memberJoins() {
	one := func(name string) block {
		return block{
			name: name, regions: []string{"r1"}, kinds: []string{"k"}, took: 0.2, ticks: []runner.Tick{f.every(3)},
		}
	}
	f.tasks = []*runner.Task{{Name: "organization", Kind: "members", Ticks: []runner.Tick{f.every(4)},
		Run: func(context.Context) (error, error) {
			f.configure(one("a"), one("joined"))
			return nil, nil
		}}}
	f.configure(one("a"))
	f.start(Options{})
	f.waitUntil(9.5)
	f.drainAll()
	f.starts("a", 3, 6, 9)
	f.starts("joined", 6, 9)
	f.starts("organization", 4, 8)
	f.statuses("joined", record.Success, record.Success)
}
