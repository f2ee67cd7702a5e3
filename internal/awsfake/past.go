package awsfake

import (
	"iter"
	"maps"
	"time"
)

// SetResourceTime sets the time of the resources: [AWS.Evolve] dates changes with it, and instances leave the lists an
// hour after they were terminated. So a program can simulate the past of the resources that it lists later. Sessions,
// codes and signatures keep AWS's clock. The zero time is AWS's clock again.
func (a *AWS) SetResourceTime(t time.Time) {
	if t.IsZero() {
		a.pastTime.Store(nil)
		return
	}
	a.pastTime.Store(&t)
}

func (a *AWS) resourceTime() time.Time {
	if t := a.pastTime.Load(); t != nil {
		return *t
	}
	return a.Now()
}

// A ListKey names the list that an action returns in an account and region.
type ListKey struct{ AccountID, Region, Action string }

// Revisions yields the list of each action, account and region that has resources, or had some. Its revision grows
// with each change of the list.
func (a *AWS) Revisions() iter.Seq2[ListKey, int] {
	return func(yield func(ListKey, int) bool) {
		for _, f := range a.allResources() {
			for action, revision := range f.currentRevisions() {
				if !yield(ListKey{f.owner, f.region, action}, revision) {
					return
				}
			}
		}
	}
}

func (f *regionResources) currentRevisions() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.purgeTerminated()
	return maps.Clone(f.revisions)
}
