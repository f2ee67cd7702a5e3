package runlog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// failureKey is what the targets have in common that one line reports: a service control policy that denies a region
// denies each of its kinds.
type failureKey struct {
	state  record.State
	reason record.Reason
	hint   string // without the names of actions
	error  string // without names, if errors of the reason differ
}

// A Failure is a group of targets that failed in the same way.
type Failure struct {
	failureKey
	Targets        int
	Example        record.Outcome // of one of them
	regions, kinds map[string]bool
}

// Where names the regions and kinds of the failed targets.
func (f *Failure) Where() string {
	parts := []string{summarize(f.regions, "region"), summarize(f.kinds, "kind")}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

// summarize names a few of a set, and counts many.
func summarize(set map[string]bool, noun string) string {
	delete(set, "")
	names := slices.Sorted(maps.Keys(set))
	if len(names) > 4 {
		return fmt.Sprintf("%d %ss (%s, …)", len(names), noun, strings.Join(names[:3], ", "))
	}
	return strings.Join(names, ", ")
}

// Failures are targets that failed, by the way in which they did.
type Failures map[failureKey]*Failure

// Add adds a target to the group that failed in the same way. It ignores success and expected failures.
func (fs Failures) Add(o record.Outcome) {
	if o.State == "" || !o.Failed() {
		return
	}
	k := failureKey{o.State, o.Reason, inventory.HintPattern(o.Hint), inventory.ErrorPattern(o.Reason, o.Error)}
	f := fs[k]
	if f == nil {
		f = &Failure{failureKey: k, Example: o, regions: map[string]bool{}, kinds: map[string]bool{}}
		fs[k] = f
	}
	f.Targets++
	f.regions[o.Region], f.kinds[o.Kind] = true, true
}

// Sorted returns the failures, the one with most targets first.
func (fs Failures) Sorted() []*Failure {
	return slices.SortedFunc(maps.Values(fs), func(a, b *Failure) int {
		return cmp.Or(cmp.Compare(b.Targets, a.Targets), cmp.Compare(a.reason, b.reason),
			cmp.Compare(a.state, b.state), cmp.Compare(a.hint, b.hint),
			cmp.Compare(a.error, b.error))
	})
}
