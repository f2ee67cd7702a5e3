package runner

import (
	"slices"
	"sync"
)

// activeJobs are the jobs in progress, by account.
type activeJobs struct {
	mu   sync.Mutex
	jobs map[string][]*job
}

func (a *activeJobs) add(j *job) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.jobs == nil {
		a.jobs = map[string][]*job{}
	}
	a.jobs[j.Account] = append(a.jobs[j.Account], j)
}

func (a *activeJobs) remove(j *job) {
	a.mu.Lock()
	defer a.mu.Unlock()
	left := slices.DeleteFunc(a.jobs[j.Account], func(o *job) bool { return o == j })
	if a.jobs[j.Account] = left; len(left) == 0 {
		delete(a.jobs, j.Account)
	}
}

// Cancel ends the jobs of an account that are in progress: their targets end with this cause.
func (r *Runner) Cancel(account string, cause error) {
	r.active.mu.Lock()
	defer r.active.mu.Unlock()
	for _, j := range r.active.jobs[account] {
		j.cancel(cause)
	}
}
