package runner

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// A Configuration is a built configuration, immutable after [NewConfiguration]. A job takes the current one when it
// starts and keeps it to its end; a reload replaces the pointer ([Runner.Swap]).
type Configuration struct {
	Accounts []*Account // in the file's order; names are unique
	Tasks    []*Task
	Output   Output        // nil: pages go to the store only
	Jitter   time.Duration // spreads the starts of accounts: each has a fixed offset, at most a tenth of its period
	// Directives outlive the configuration: they say which accounts are paused now. nil: none.
	Directives *Directives
	Close      func() // called once, when the configuration is replaced and its last job is done; may be nil

	byName map[string]int   // accounts
	tasks  map[string]*Task // by name
	refs   int              // guarded by Runner.mu
}

// NewConfiguration checks what the file's reader cannot check: names are unique, each schedule has a Spec and names
// kinds of the account, and the parent of each kind is in Kinds or Parents of its account.
func NewConfiguration(conf Configuration) (*Configuration, error) {
	conf.byName = make(map[string]int, len(conf.Accounts))
	for i, a := range conf.Accounts {
		if _, duplicate := conf.byName[a.Name]; duplicate {
			return nil, fmt.Errorf("account %q: duplicate name", a.Name)
		}
		conf.byName[a.Name] = i
		if i > 0 && a.AccountSpec == conf.Accounts[i-1].AccountSpec {
			continue
		}
		a.kindNames = a.KindNames()
		for _, t := range a.Ticks {
			if t.Spec == "" || t.Schedule == nil {
				return nil, fmt.Errorf("account %q: a schedule has no spec", a.Name)
			}
			for _, name := range t.Kinds {
				if !slices.Contains(a.KindNames(), name) {
					return nil, fmt.Errorf("account %q: schedule %q: the account does not list kind %q", a.Name, t.Spec, name)
				}
			}
		}
		for _, ks := range [][]Kind{a.Kinds, a.Parents} {
			for _, k := range ks {
				if _, ok := a.kind(k.Parent); k.Parent != "" && !ok {
					return nil, fmt.Errorf("account %q: kind %q: unknown parent %q", a.Name, k.Name, k.Parent)
				}
			}
		}
	}
	conf.tasks = make(map[string]*Task, len(conf.Tasks))
	for _, t := range conf.Tasks {
		if conf.Has(t.Name) {
			return nil, fmt.Errorf("task %q: duplicate name", t.Name)
		}
		conf.tasks[t.Name] = t
	}
	return &conf, nil
}

// Task finds a task by its name, or returns nil.
func (c *Configuration) Task(name string) *Task { return c.tasks[name] }

// Has reports whether there is an account or a task with this name.
func (c *Configuration) Has(name string) bool { return c.Account(name) != nil || c.Task(name) != nil }

// Schedules returns the schedules of each account and task.
func (c *Configuration) Schedules() iter.Seq2[string, []Tick] {
	return func(yield func(string, []Tick) bool) {
		for _, a := range c.Accounts {
			if !yield(a.Name, a.Ticks) {
				return
			}
		}
		for _, t := range c.Tasks {
			if !yield(t.Name, t.Ticks) {
				return
			}
		}
	}
}

// Account finds an account by its name, or returns nil.
func (c *Configuration) Account(name string) *Account {
	if i, ok := c.byName[name]; ok {
		return c.Accounts[i]
	}
	return nil
}

// An Overlap decides what happens when a run is due while an earlier run of the account still lists one of its kinds.
type Overlap string

// The overlap rules.
const (
	Skip   Overlap = "skip"   // the new run does not start
	Queue  Overlap = "queue"  // the new run waits; at most one waits
	Cancel Overlap = "cancel" // the old run is cancelled, then the new one starts
)

// An Account is a built account block.
type Account struct {
	Name string
	*AccountSpec
	// Open signs in. It is called for every job, in any process, so it should be cheap the second time. Its error should
	// hold a [record.Fault].
	Open func(ctx context.Context) (OpenedAccount, error)
	// AfterRun is called at the end of each run; may be nil.
	AfterRun func(ctx context.Context)
}

// An AccountSpec is what accounts with the same options share: there may be ten thousand of them. It is read only once
// a configuration uses it.
type AccountSpec struct {
	Ticks   []Tick        // empty: runs only when asked to
	Timeout time.Duration // of a run
	Overlap Overlap       // "": Skip
	Kinds   []Kind        // everything that the account lists, whatever its tick
	// Narrowed means that the command line asked for less than the configuration names: a kind that is not in Kinds is
	// not removed.
	Narrowed bool
	Parents  []Kind // parents of kinds in Kinds that are not in Kinds: listed for their ids, not delivered
	// Regions are the region names in the file, without globs: a failure is reported for them while the account's regions
	// are unknown.
	Regions []string
	// MaxGone limits how many resources of a target one listing may end.
	MaxGone inventory.MaxGone
	// Expected reports whether expect_denied names a target; nil: it names none.
	Expected func(region, kind string) bool

	kindNames []string // of Kinds; shared, read only
}

func (a *AccountSpec) kind(name string) (Kind, bool) {
	for _, ks := range [][]Kind{a.Kinds, a.Parents} {
		for _, k := range ks {
			if k.Name == name {
				return k, true
			}
		}
	}
	return Kind{}, false
}

// KindNames returns the names of Kinds. They are shared: read only.
func (a *AccountSpec) KindNames() []string {
	if a.kindNames != nil {
		return a.kindNames
	}
	names := make([]string, len(a.Kinds))
	for i, k := range a.Kinds {
		names[i] = k.Name
	}
	return names
}

// A Schedule is cron.Schedule, and River's periodic schedule: Next is the first instant after t, or the zero time for
// never.
type Schedule interface{ Next(t time.Time) time.Time }

// A Tick is one of an account's schedules and the kinds that it lists.
type Tick struct {
	// Spec is the schedule as written, with its time zone where that matters. It identifies the schedule within the
	// account: a reload keeps its timer, and a restart finds its last tick.
	Spec     string
	Schedule Schedule
	Kinds    []string // from Account.Kinds; empty: all of them
}

// A Kind is the part of a row of the catalogue that the runner uses.
type Kind struct {
	Name    string
	Service string // "ec2"
	Op      string // the service's API operation, which has its own budget
	TagsOp  string // the operation that returns the tags: it has another budget of the same size; "": none
	Parent  string // it is listed once for each id of this kind, and runs after it in the same job
	Global  bool   // the same in every region: listed in the first region of the plan
	// GlobalService means that the service has no regions: listed once, in record.GlobalRegion, whatever the plan.
	GlobalService bool
	Refill        float64 // the API's refill per second; 0: EC2's 20
	Burst         int     // the API's bucket size; 0: EC2's 100
	Shared        bool    // all APIs of the service have one budget
}

// A Plan is the regions in which to list an account.
type Plan struct {
	Regions  []string // to list, in order; Global kinds are listed in the first one
	Disabled []string // configured by name, but not enabled: their targets end region_disabled without a call
	// Complete means that AWS returned these regions and nothing narrowed them: the store retires targets in others.
	Complete bool
	// Warning is a problem that a person should know about although there is a plan: DescribeRegions was denied.
	Warning error
}

// An OpenedAccount lists an account. The caller makes it from a session and a lister, so that this package uses no type
// of the SDK. It is used by many goroutines.
type OpenedAccount interface {
	Identity() record.Identity
	// SignIn is how the account signed in: the path and the end of the session. The runner adds the rest.
	SignIn() inventory.SignIn
	// Regions returns where to list. g is the gate of region ""; g.ForRegion gives that of the region that is called.
	Regions(ctx context.Context, g *Gate) (Plan, error)
	// Pages lists one target. It enters g before each attempt of a call. parent is the id to list under, for kinds with a
	// Parent. A page is lent until the loop asks for the next one. An error comes last, without a page.
	Pages(
		ctx context.Context, g *Gate, t record.Target, run, parent string, st *record.ListStats,
	) iter.Seq2[*record.Page, error]
}

// An Output takes records; deliver.Fan is the one that passes them to all outputs of a configuration. It is called by
// many goroutines. Its errors are not errors of the target: they are reported once for each target.
type Output interface {
	// Send borrows the lines until it returns.
	Send(ctx context.Context, b outputs.Batch) error
	// End is called once for each target, also for one without pages. When it returns, everything that Send took for the
	// target survives a kill: so fsync is a group commit. An output with `ends: true` sends its line here.
	End(ctx context.Context, o record.Outcome) error
}
