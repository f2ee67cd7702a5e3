package model

import "slices"

// Bounds of a configuration. Job 0 is the opening job, which has no targets.
const (
	maxWorkers = 3
	maxJobs    = 3
	maxTargets = 2
)

// A configuration is what is searched: how much there is of everything, and how often which fault may strike.
type configuration struct {
	workers, jobs, targets        int // jobs beside the opening job; targets of each
	crashes, freezes, early, lost int // faults; early: rescues of a job whose worker lives; lost: jobs that River discards
	hung, retried                 int // calls that are abandoned; jobs that a person retries in River's page
	unclear                       int // commits whose answer is lost
	without                       fence
}

// A fence is a rule of the engine. A model without one must reach a state that breaks a property.
type fence string

// The fences, and what each transaction would do without it.
const (
	noFence          fence = ""
	claimsTheJob     fence = "claim verifies that River's job is still the worker's"
	claimLocksTheJob fence = "claim locks River's job that it verified"
	claimOfOpenJob   fence = "claim verifies that the job is not done"
	beginChecksJob   fence = "begin verifies the attempt"
	beginKnowsDone   fence = "begin finds what the run has stored"
	beginTakesEpoch  fence = "begin takes a new epoch"
	pageChecksEpoch  fence = "page verifies the epoch"
	endChecksEpoch   fence = "end verifies the epoch"
	endOnce          fence = "end finds that its epoch has committed"
	endChecksJob     fence = "end verifies the attempt"
	endLocksJob      fence = "end locks the job that it verified"
	completeRiver    fence = "completion verifies that River's job is still the worker's"
	lateIsSilent     fence = "a late worker returns what makes River write nothing"
	giveBackIsFenced fence = "a job is given back in a transaction that verifies the attempt"
	idleTimeout      fence = "the server ends a transaction that is idle for too long"
	rescues          fence = "jobs of dead workers are rescued"
	repairs          fence = "jobs that River has lost are inserted again or counted as lost"
	lossFences       fence = "a job that is counted as lost is done: no attempt of it commits"
)

func (c *configuration) has(f fence) bool { return c.without != f }

// States of River's jobs.
type riverState uint8

const (
	absent riverState = iota
	available
	running
	completed
	discarded
)

// A riverJob is River's row of a job. A job that is inserted again has another id.
type riverJob struct {
	state       riverState
	id, attempt uint8
}

// A runJob is our row of a job.
type runJob struct {
	id       uint8 // of River's job
	attempt  uint8
	inserted uint8 // how often it was inserted again
	done     bool
}

// A scope is the store's row of a target.
type scope struct {
	epoch     uint8
	staged    uint8 // epoch of the staged rows; 0: none; mixed: of several listings
	committed uint8 // the epoch that committed in this run; 0: none
}

const mixed = 255

// A run is the run's row: what its jobs counted.
type run struct {
	jobs, done      uint8 // follow-up jobs, jobs that are done
	targets, stored uint8 // of the jobs that are done
	ended           uint8 // how often it ended
}

// A phase is a transaction of a worker.
type phase uint8

const (
	idle phase = iota
	claim
	begin
	page
	end
	complete
	giveBack
)

// Whether a worker's transaction is open.
type transaction uint8

const (
	none transaction = iota
	open             // it has verified what it must and holds its locks; its writes come with the commit
	aborted
)

// A worker is what one attempt of a job knows.
type worker struct {
	phase            phase
	tx               transaction
	frozen           bool
	hung             bool  // a call that was abandoned: it ends when its target's listing ends
	job, id, fetched uint8 // River's job, and River's attempt of it
	attempt          uint8 // ours
	target, epoch    uint8
	stored           uint8 // targets that this attempt counts
}

// A state is everything, as one comparable value.
type state struct {
	river                           [maxJobs]riverJob
	jobs                            [maxJobs]runJob
	scopes                          [maxJobs][maxTargets]scope
	run                             run
	workers                         [maxWorkers]worker
	crashes, freezes, early, losses uint8 // faults that struck
	hung, retried, unclear          uint8
}

func initial() state {
	var s state
	s.river[0] = riverJob{state: available, id: 1}
	s.jobs[0] = runJob{id: 1}
	for j := range s.scopes {
		for t := range s.scopes[j] {
			s.scopes[j][t].epoch = 1 // of an earlier run
		}
	}
	return s
}

// canonical sorts the workers, which are alike.
func (s state) canonical(n int) state {
	slices.SortFunc(s.workers[:n], func(a, b worker) int { return compareWorkers(&a, &b) })
	return s
}

func compareWorkers(a, b *worker) int {
	for _, d := range [...]int{
		int(a.phase) - int(b.phase), int(a.tx) - int(b.tx), int(a.job) - int(b.job), int(a.id) - int(b.id),
		int(a.fetched) - int(b.fetched), int(a.attempt) - int(b.attempt), int(a.target) - int(b.target),
		int(a.epoch) - int(b.epoch), int(a.stored) - int(b.stored),
	} {
		if d != 0 {
			return d
		}
	}
	number := func(w *worker) (n int) {
		if w.frozen {
			n++
		}
		if w.hung {
			n += 2
		}
		return n
	}
	return number(a) - number(b)
}

// holds reports whether River's job is still the worker's.
func (s *state) holds(w *worker) bool {
	r := s.river[w.job]
	return r.state == running && r.id == w.id && r.attempt == w.fetched
}

// current reports whether no later attempt was claimed and the job is not done.
func (s *state) current(w *worker) bool {
	return s.jobs[w.job].attempt == w.attempt && !s.jobs[w.job].done
}

// Rows that transactions lock, as bits. A transaction locks its rows in this order: no two of them can wait for each
// other.
type rows uint32

const runRow rows = 1

func jobRow(j uint8) rows      { return 2 << j }
func riverRow(j uint8) rows    { return 16 << j }
func scopeRow(j, t uint8) rows { return 128 << (j*maxTargets + t) }

// locks are the rows that a transaction of the worker locks.
func (c *configuration) locks(w *worker) (exclusive, shared rows) {
	job, river, target := jobRow(w.job), riverRow(w.job), scopeRow(w.job, w.target)
	switch w.phase {
	case claim:
		if !c.has(claimLocksTheJob) {
			river = 0
		}
		return job | river, 0
	case begin:
		return target, job
	case page:
		return 0, target
	case end:
		if !c.has(endLocksJob) {
			job = 0
		}
		return target, job
	case complete:
		return runRow | job | river, 0
	case giveBack:
		return river, 0
	}
	return 0, 0
}

// blocked reports whether another worker's open transaction holds one of these rows.
func (c *configuration) blocked(s *state, by int, exclusive, shared rows) bool {
	for i := range c.workers {
		o := &s.workers[i]
		if i == by || o.tx != open {
			continue
		}
		heldExclusive, heldShared := c.locks(o)
		if heldExclusive&(exclusive|shared) != 0 || heldShared&exclusive != 0 {
			return true
		}
	}
	return false
}
