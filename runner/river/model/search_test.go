package model

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A found is a state that the search has found, and the step that led to it.
type found struct {
	state    state
	from     int32
	how      string
	reversed []int32 // states from which one fair step leads here
}

// search visits every state that can be reached, and counts the steps taken. It returns how many states there are, and
// the way to the first one that breaks a property, "" if none does.
func (c *configuration) search(taken map[string]int) (states int, broken string) {
	first := initial()
	all := []found{{state: first, from: -1}}
	index := map[state]int32{first: 0}
	for at := 0; at < len(all) && broken == ""; at++ {
		s := all[at].state
		c.steps(&s, func(n step) {
			if broken != "" {
				return
			}
			taken[n.name]++
			to := n.to.canonical(c.workers)
			i, known := index[to]
			if !known {
				i = int32(len(all))
				index[to] = i
				all = append(all, found{state: to, from: int32(at), how: n.name})
			}
			if n.fair {
				all[i].reversed = append(all[i].reversed, int32(at))
			}
			if n.broken != "" {
				broken = n.broken + ": " + way(all, int32(at)) + " " + n.name
			}
		})
	}
	if broken == "" {
		broken = stuck(all)
	}
	return len(all), broken
}

// stuck returns the way to a state from which no fair steps lead to the end of the run.
func stuck(all []found) string {
	ends := make([]bool, len(all))
	var queue []int32
	for i := range all {
		if all[i].state.run.ended > 0 {
			ends[i] = true
			queue = append(queue, int32(i))
		}
	}
	for len(queue) > 0 {
		i := queue[0]
		queue = queue[1:]
		for _, from := range all[i].reversed {
			if !ends[from] {
				ends[from] = true
				queue = append(queue, from)
			}
		}
	}
	if i := slices.Index(ends, false); i >= 0 {
		return "the run can not end any more: " + way(all, int32(i))
	}
	return ""
}

// way is the shortest sequence of steps to a state.
func way(all []found, i int32) string {
	var names []string
	for ; i > 0; i = all[i].from {
		names = append(names, all[i].how)
	}
	slices.Reverse(names)
	return strings.Join(names, " ")
}

// The configurations: each is small, and all of them together have every fault beside every other.
func configurations() []configuration {
	return []configuration{
		{workers: 2, jobs: 1, targets: 2, crashes: 1, freezes: 1, early: 1},
		{workers: 2, jobs: 1, targets: 1, freezes: 1, early: 1, lost: 2, retried: 1},
		{workers: 2, jobs: 1, targets: 1, crashes: 1, early: 1, lost: 2},
		{workers: 2, jobs: 2, targets: 1, freezes: 1, early: 1},
		{workers: 3, jobs: 1, targets: 1, freezes: 1, early: 1, hung: 1},
		{workers: 3, jobs: 1, targets: 1, freezes: 2},
		{workers: 2, jobs: 1, targets: 2, early: 1, unclear: 1},
	}
}

// In whatever order the workers and the faults act, no property breaks.
func TestEveryInterleaving(t *testing.T) {
	taken := map[string]int{}
	for _, c := range configurations() {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			n, broken := c.search(taken)
			if broken != "" {
				t.Errorf("after %d states: %s", n, broken)
			}
			t.Logf("%d states", n)
		})
	}
	for _, name := range []string{ // else the search has not met what it is for
		"fetch", "open", "commit", "commit without an answer", "refused", "fail", "crash", "freeze", "wake", "abandon",
		"idle timeout", "rescue", "discard", "insert again", "count as lost", "retry",
	} {
		if taken[name] == 0 {
			t.Errorf("no step %q was taken", name)
		}
	}
}

// Without any one of the fences a property breaks: none is there in vain, and the search would find a fault.
func TestEveryFenceIsNeeded(t *testing.T) {
	for _, fence := range []fence{
		claimsTheJob, claimLocksTheJob, claimOfOpenJob, beginChecksJob, beginKnowsDone, beginTakesEpoch, pageChecksEpoch,
		endChecksEpoch, endOnce, endChecksJob, endLocksJob, completeRiver, lateIsSilent,
		giveBackIsFenced, idleTimeout, rescues, repairs, lossFences,
	} {
		t.Run(string(fence), func(t *testing.T) {
			for _, c := range configurations() {
				c.without = fence
				if _, broken := c.search(map[string]int{}); broken != "" {
					t.Log(broken)
					return
				}
			}
			t.Error("nothing breaks without it")
		})
	}
}
