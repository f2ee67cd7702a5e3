package model

import "slices"

// A step is one thing that may happen next. broken is the property that it breaks. A fair step happens sooner or later
// without a fault: a run must end by fair steps alone, whatever has struck before.
type step struct {
	name   string
	to     state
	broken string
	fair   bool
}

// steps are all that may happen next.
func (c *configuration) steps(s *state, each func(step)) {
	for i := range c.workers {
		if w := &s.workers[i]; !w.frozen {
			c.work(s, i, each)
		}
		c.faults(s, i, each)
	}
	for j := range c.jobs + 1 {
		c.rescue(s, j, each)
		c.repair(s, j, each)
		c.retry(s, j, each)
	}
}

// work is the next step of a worker that is not frozen.
func (c *configuration) work(s *state, i int, each func(step)) {
	w := &s.workers[i]
	if w.phase == idle {
		c.fetch(s, i, each)
		return
	}
	next := *s
	n := &next.workers[i]
	if w.tx == aborted { // the server has closed the connection: the attempt fails
		c.fail(n)
		each(step{name: "fail", to: next, fair: true})
		return
	}
	if w.tx == none {
		if exclusive, shared := c.locks(w); c.blocked(s, i, exclusive, shared) {
			return
		}
		if c.verified(s, w) {
			n.tx = open
			each(step{name: "open", to: next, fair: true})
			return
		}
		c.fail(n)
		if w.phase == giveBack {
			*n = worker{}
			c.returnLate(&next, w)
		}
		broken := ""
		if w.phase == giveBack && next.river != s.river && !s.holds(w) {
			broken = "a late worker changed River's job"
		}
		each(step{name: "refused", to: next, broken: broken, fair: true})
		return
	}
	n.tx = none
	broken := c.commit(&next, i)
	each(step{name: "commit", broken: broken, to: next, fair: true})
	if (w.phase == end || w.phase == complete) && int(s.unclear) < c.unclear {
		next.unclear++
		next.workers[i] = *w
		next.workers[i].tx = none // it tries again
		each(step{name: "commit without an answer", broken: broken, to: next})
	}
}

// fail ends what a worker does: it gives its job back. A call that was abandoned has no job.
func (c *configuration) fail(w *worker) {
	w.tx, w.phase = none, giveBack
	if w.hung {
		*w = worker{}
	}
}

// fetch is River's: an idle worker gets an available job. River skips rows that are locked.
func (c *configuration) fetch(s *state, i int, each func(step)) {
	for j := range c.jobs + 1 {
		if s.river[j].state != available {
			continue
		}
		next := *s
		next.river[j].state = running
		next.river[j].attempt++
		r := next.river[j]
		next.workers[i] = worker{phase: claim, job: uint8(j), id: r.id, fetched: r.attempt}
		each(step{name: "fetch", to: next, fair: true})
	}
}

// verified is what a transaction verifies before it writes.
func (c *configuration) verified(s *state, w *worker) bool {
	target := &s.scopes[w.job][w.target]
	switch w.phase {
	case claim:
		return (s.holds(w) && s.jobs[w.job].id == w.id || !c.has(claimsTheJob)) &&
			(!s.jobs[w.job].done || !c.has(claimOfOpenJob))
	case begin:
		return s.current(w) || !c.has(beginChecksJob)
	case page:
		return target.epoch == w.epoch || !c.has(pageChecksEpoch)
	case end:
		return (s.current(w) || !c.has(endChecksJob)) && (target.epoch == w.epoch || !c.has(endChecksEpoch))
	case complete:
		return s.holds(w) || !c.has(completeRiver) && s.current(w)
	case giveBack:
		return s.holds(w) && c.has(giveBackIsFenced)
	}
	return false
}

// commit makes the writes of a worker's transaction, and returns the property that they break.
func (c *configuration) commit(s *state, i int) (broken string) {
	w := &s.workers[i]
	target := &s.scopes[w.job][w.target]
	if w.phase != claim && w.phase != giveBack && w.phase != page && !s.current(w) {
		broken = "an attempt wrote that was not the job's last, or whose job was done"
	}
	switch w.phase {
	case claim:
		if !s.holds(w) {
			broken = "a worker that had lost its job fenced the one that has it"
		} else if s.jobs[w.job].done {
			broken = "a job that is done was claimed"
		}
		s.jobs[w.job].attempt++
		w.attempt = s.jobs[w.job].attempt
		if w.phase = begin; w.job == 0 {
			w.phase = complete
		}
	case begin:
		if target.committed != 0 && c.has(beginKnowsDone) {
			w.stored++
			c.nextTarget(w)
			break
		}
		if c.has(beginTakesEpoch) {
			target.epoch++
		}
		target.staged, w.epoch, w.phase = 0, target.epoch, page
	case page:
		if target.epoch != w.epoch {
			broken = "rows were staged under an epoch that was over"
		}
		if target.staged != 0 && target.staged != w.epoch || !c.has(beginTakesEpoch) && target.staged != 0 {
			target.staged = mixed
		} else {
			target.staged = w.epoch
		}
		w.phase = end
	case end:
		if target.committed == w.epoch && c.has(endOnce) {
			w.stored++
			c.nextTarget(w)
			break
		}
		if target.committed != 0 {
			broken = "a target was committed twice in a run"
		} else if c.has(beginTakesEpoch) && target.staged != w.epoch || target.staged == mixed {
			broken = "what was committed is not one listing"
		}
		target.committed, target.staged = w.epoch, 0
		w.stored++
		c.nextTarget(w)
		if w.hung {
			*w = worker{}
		}
	case complete:
		broken = c.completeJob(s, w, broken)
		s.workers[i] = worker{}
	case giveBack:
		s.river[w.job].state = available
		if s.jobs[w.job].done {
			s.river[w.job].state = completed
		}
		s.workers[i] = worker{}
	}
	return broken
}

func (c *configuration) nextTarget(w *worker) {
	w.target++
	w.phase, w.epoch = begin, 0
	if int(w.target) == c.targets {
		w.target, w.phase = 0, complete
	}
}

// completeJob counts the job in its run, and makes the follow-ups of the opening job.
func (c *configuration) completeJob(s *state, w *worker, broken string) string {
	if s.river[w.job].state == running && !s.holds(w) {
		broken = "a worker completed the job that another one has"
	}
	if s.river[w.job].state == running {
		s.river[w.job].state = completed
	}
	c.count(s, int(w.job), w.stored)
	if s.run.ended > 0 && broken == "" {
		broken = c.wrongCount(s)
	}
	return broken
}

// count counts a job in its run. The opening job makes the others start.
func (c *configuration) count(s *state, j int, stored uint8) {
	s.jobs[j].done = true
	s.run.done++
	if j == 0 {
		s.run.jobs = uint8(c.jobs)
		for k := 1; k <= c.jobs; k++ {
			s.river[k], s.jobs[k] = riverJob{state: available, id: 1}, runJob{id: 1}
		}
	} else {
		s.run.targets += uint8(c.targets)
		s.run.stored += stored
	}
	if s.run.done == s.run.jobs+1 {
		s.run.ended++
	}
}

// wrongCount compares what an ended run counts with what the store has.
func (c *configuration) wrongCount(s *state) string {
	var stored uint8
	for j := range s.scopes {
		for _, t := range s.scopes[j] {
			if t.committed != 0 {
				stored++
			}
		}
	}
	switch {
	case s.run.ended > 1:
		return "a run ended twice"
	case s.run.done != s.run.jobs+1 || s.run.targets != s.run.jobs*uint8(c.targets) || s.run.stored != stored:
		return "the counts of a run are wrong"
	}
	return ""
}

// returnLate is what River makes of what a worker returns that does not have its job any more: nothing, unless a fence
// is missing. River compares the job's state, and not the attempt.
func (c *configuration) returnLate(s *state, w *worker) {
	r := &s.river[w.job]
	if r.state != running || r.id != w.id {
		return
	}
	switch {
	case !c.has(lateIsSilent):
		r.state = completed
	case !c.has(giveBackIsFenced):
		r.state = available
	}
}

// faults are what may strike a worker: a crash, a freeze and its end, a call that hangs and is abandoned, so that its
// target is begun again beside it; and a server that ends an idle transaction.
func (c *configuration) faults(s *state, i int, each func(step)) {
	w := &s.workers[i]
	if w.phase != idle && !w.frozen && int(s.crashes) < c.crashes {
		next := *s
		next.crashes++
		next.workers[i] = worker{}
		each(step{name: "crash", to: next})
	}
	if w.phase != idle && !w.frozen && int(s.freezes) < c.freezes {
		next := *s
		next.freezes++
		next.workers[i].frozen = true
		each(step{name: "freeze", to: next})
	}
	if w.frozen {
		next := *s
		next.workers[i].frozen = false
		each(step{name: "wake", to: next})
	}
	if k := slices.IndexFunc(s.workers[:c.workers], func(o worker) bool { return o.phase == idle }); k >= 0 &&
		(w.phase == page || w.phase == end) && !w.frozen && !w.hung && int(s.hung) < c.hung {
		next := *s
		next.hung++
		next.workers[k] = *w
		next.workers[k].frozen, next.workers[k].hung = true, true
		next.workers[i].phase, next.workers[i].tx, next.workers[i].epoch = begin, none, 0
		each(step{name: "abandon", to: next, fair: false})
	}
	if w.frozen && w.tx == open && c.has(idleTimeout) {
		next := *s
		next.workers[i].tx = aborted
		each(step{name: "idle timeout", to: next, fair: true})
	}
}

// rescue makes a job available whose worker seems to be dead. It is fair where the worker is dead or frozen, and comes
// too early where it lives. A job whose attempts are used up is discarded.
func (c *configuration) rescue(s *state, j int, each func(step)) {
	r := s.river[j]
	if r.state != running || c.blocked(s, -1, riverRow(uint8(j)), 0) {
		return
	}
	lives := false
	for i := range c.workers {
		w := &s.workers[i]
		lives = lives || w.phase != idle && int(w.job) == j && s.holds(w) && !w.frozen && !w.hung
	}
	next := *s
	if lives {
		if int(s.early) == c.early {
			return
		}
		next.early++
	} else if !c.has(rescues) {
		return
	}
	next.river[j].state = available
	each(step{name: "rescue", to: next, fair: !lives})
	if int(s.losses) < c.lost {
		next.losses++
		next.river[j].state = discarded
		each(step{name: "discard", to: next})
	}
}

// repair inserts a job again that River has lost. One that is lost again is counted: its targets that are not stored
// have failed, and the run can end.
func (c *configuration) repair(s *state, j int, each func(step)) {
	const insertions = 1
	lost := s.river[j].state == completed || s.river[j].state == discarded
	mine := runRow | jobRow(uint8(j))
	if !c.has(repairs) || !lost || s.jobs[j].done || c.blocked(s, -1, mine, 0) {
		return
	}
	next := *s
	if s.jobs[j].inserted < insertions {
		id := s.river[j].id + 1
		next.river[j] = riverJob{state: available, id: id}
		next.jobs[j].id = id
		next.jobs[j].inserted++
		each(step{name: "insert again", to: next, fair: true})
		return
	}
	if j == 0 { // nothing is known of its regions: the run ends without follow-ups
		next.jobs[j].done = true
		next.run.done++
		next.run.ended++
		each(step{name: "count as lost", to: next, broken: c.wrongCount(&next), fair: true})
		return
	}
	var stored uint8
	for _, t := range s.scopes[j] {
		if t.committed != 0 {
			stored++
		}
	}
	c.count(&next, j, stored)
	if !c.has(lossFences) {
		next.jobs[j].done = false
	}
	broken := ""
	if next.run.ended > 0 {
		broken = c.wrongCount(&next)
	}
	each(step{name: "count as lost", to: next, broken: broken, fair: true})
}

// retry is what a person may do on River's page: a job that is over for River becomes available.
func (c *configuration) retry(s *state, j int, each func(step)) {
	if r := s.river[j].state; r != completed && r != discarded || int(s.retried) == c.retried {
		return
	}
	next := *s
	next.retried++
	next.river[j].state = available
	each(step{name: "retry", to: next})
}
