package local

import (
	"context"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// The classes of waiting jobs.
const (
	followUpClass = 0 // follow-up jobs, of runs that have begun
	openingClass  = 1
)

// A queued job waits for a slot.
type queued struct {
	run *run
	job runner.Job
}

// dispatch gives free slots to jobs. New runs go before follow-up jobs, so that a start is not late. But no more runs
// begin than there are slots, so that the number of waiting jobs does not grow with the accounts. e.mu is held.
func (e *Engine) dispatch() {
	for {
		first := openingClass
		if e.begunRuns >= e.o.Slots {
			first = followUpClass
		}
		account, q, ok := e.queue.Pop(first)
		if !ok {
			return
		}
		n := q.run
		if !n.begun && n.expired() {
			e.queue.Release(account)
			e.drop(n, record.RunExpired)
			continue
		}
		if !n.begun {
			n.begun, n.started = true, time.Now()
			e.begunRuns++
			if n.a.Timeout > 0 {
				q.job.Deadline = n.started.Add(n.a.Timeout)
			}
			e.r.StoreRunStart(n.row())
		}
		go e.r.StartJob(n.ctx, n.configuration, q.job, runner.JobEngine{
			Slots: (*slots)(e), Draining: e.draining.Load,
			Commit: func(_ context.Context, c runner.Completion) (runner.Progress, error) { return e.commit(n, c), nil },
			Done:   func(err error) { e.jobDone(n, err) },
		})
	}
}

// commit counts a job of a run, and queues its follow-ups.
func (e *Engine) commit(n *run, c runner.Completion) runner.Progress {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := n.progress.commit(c)
	if p.Repeated {
		return p
	}
	for _, j := range c.FollowUps {
		e.queue.Push(n.a.Name, followUpClass, queued{n, j})
	}
	n.jobsLeft += len(c.FollowUps)
	if p.Ended { // the job of the last commit is not always the last to return
		n.status, n.took = p.Tally.Status(), p.Tally.Duration()
		row := n.row()
		p.Tally.Store(&row)
		e.r.StoreRunEnd(row)
	}
	e.dispatch()
	return p
}

func (e *Engine) jobDone(n *run, err error) {
	if err != nil {
		e.o.Log.Error("committing a job failed", "account", n.a.Name, "run", n.id, "error", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n.jobsLeft--
	if n.jobsLeft == 0 {
		e.finish(n, runner.RunResult{Account: n.a.Name, Run: n.id, Status: n.status, Took: n.took})
	}
	e.dispatch()
}

// A progress counts the jobs of one run. Its zero value is a run whose opening job is not committed.
type progress struct {
	expected  int             // follow-up jobs
	committed map[string]bool // jobs, by Job.Key
	tally     runner.Tally
}

func (p *progress) commit(c runner.Completion) runner.Progress {
	key := c.Job.Key()
	if p.committed[key] {
		return runner.Progress{Repeated: true, Tally: p.tally}
	}
	if p.committed == nil {
		p.committed = map[string]bool{}
	}
	p.committed[key] = true
	p.expected += len(c.FollowUps)
	p.tally.Add(c.Tally)
	return runner.Progress{Ended: len(p.committed) == p.expected+1, Tally: p.tally}
}

// slots are the queue's slots, for jobs that can use more than one.
type slots Engine

func (p *slots) TryAcquire(account string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.TryAcquire(account)
}

func (p *slots) Release(account string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.Release(account)
	(*Engine)(p).dispatch()
}

func (p *slots) HasWaiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.HasWaiting()
}
