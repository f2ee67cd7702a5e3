package runnertest

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A recorder keeps what the processes reported, of all of them together, and violations of what observers rely on.
type recorder struct {
	now func() time.Time

	mu         sync.Mutex
	started    []startedRun
	ended      map[string]endedRun // by run
	statuses   map[string][]record.Status
	missed     map[string]int // "account reason"
	outcomes   map[string]map[record.Target]record.Outcome
	next       map[string]time.Time
	violations []string
}

type startedRun struct {
	runner.RunStarted
	at      time.Time
	process *process
}

type endedRun struct {
	runner.RunEnded
	at time.Time
}

func newRecorder(now func() time.Time) *recorder {
	return &recorder{now: now, ended: map[string]endedRun{}, statuses: map[string][]record.Status{},
		missed: map[string]int{}, outcomes: map[string]map[record.Target]record.Outcome{}, next: map[string]time.Time{}}
}

// observe records an event of a process.
func (d *recorder) observe(p *process, e runner.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch e := e.(type) {
	case runner.RunStarted:
		i := slices.IndexFunc(d.started, func(s startedRun) bool { return s.Run == e.Run })
		if i < 0 {
			d.started = append(d.started, startedRun{e, d.now(), p})
		} else if !d.started[i].process.dead.Load() { // an opening job is done again only if its worker died
			d.violations = append(d.violations, "started twice: run "+e.Run)
		}
	case runner.RunEnded:
		if _, ok := d.ended[e.Run]; ok {
			d.violations = append(d.violations, "ended twice: run "+e.Run)
		}
		d.ended[e.Run] = endedRun{e, d.now()}
		d.statuses[e.Account] = append(d.statuses[e.Account], e.Status)
	case runner.RunMissed:
		d.missed[e.Account+" "+e.Reason]++
	case runner.NextStart:
		d.next[e.Account] = e.At
	case runner.TargetEnded:
		d.targetEnded(e.Outcome)
	}
}

func (d *recorder) targetEnded(o record.Outcome) {
	if d.outcomes[o.Run] == nil {
		d.outcomes[o.Run] = map[record.Target]record.Outcome{}
	}
	// A job that is done again reports what its run has stored, unchanged.
	if before, ok := d.outcomes[o.Run][o.Target]; ok && before.State != o.State {
		d.violations = append(d.violations, fmt.Sprintf("%v ended as %s and as %s", o.Target, before.State, o.State))
	}
	if _, ok := d.ended[o.Run]; ok {
		d.violations = append(d.violations, fmt.Sprint("a target ended after its run: ", o.Target))
	}
	d.outcomes[o.Run][o.Target] = o
}

// runs returns the runs of an account that started.
func (d *recorder) runs(account string) []startedRun {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(d.started), func(s startedRun) bool { return s.Account != account })
}

func (d *recorder) missedCount(account, reason string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.missed[account+" "+reason]
}

// allMissed counts the missed ticks of an account, whatever the reason.
func (d *recorder) allMissed(account string) (n int) {
	for _, reason := range []string{
		runner.MissedOverlap, runner.MissedDowntime, runner.MissedSuspended, runner.MissedDrain, runner.MissedPaused,
		runner.MissedCancelled,
	} {
		n += d.missedCount(account, reason)
	}
	return n
}

// of returns the outcomes of a run.
func (d *recorder) of(run string) []record.Outcome {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []record.Outcome
	for _, o := range d.outcomes[run] {
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b record.Outcome) int {
		return cmp.Or(cmp.Compare(a.Region, b.Region), cmp.Compare(a.Kind, b.Kind))
	})
	return all
}

// end returns how a run ended; false: it has not.
func (d *recorder) end(run string) (endedRun, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.ended[run]
	return e, ok
}

func (d *recorder) statusesOf(account string) []record.Status {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.statuses[account])
}

func (d *recorder) nextStart(account string) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.next[account]
}
