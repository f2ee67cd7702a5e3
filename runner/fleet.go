package runner

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/aws-collector/collector/record"
)

// A Fleet is a configuration, built: immutable after [NewFleet]. A job takes the current one when it starts and keeps it
// to its end; a reload swaps the pointer ([Runner.Swap]).
type Configuration struct {
	Accounts []*Account // in the file's order; names are unique
	Outputs  []Output
	Jitter   time.Duration // accounts start spread over this, each always at its own offset, at most a tenth of its period
	Close    func()        // called once, after the fleet was replaced and its last job is done; may be nil

	byName map[string]int
	refs   int // guarded by Runner.mu
}

// NewConfiguration checks what the file's reader cannot know to be wrong: names are unique, each schedule has its Spec and names
// kinds of the account, and each kind with a Parent finds that kind's row in Kinds or in Parents of its account.
func NewConfiguration(f Configuration) (*Configuration, error) {
	f.byName = make(map[string]int, len(f.Accounts))
	for i, a := range f.Accounts {
		if _, twice := f.byName[a.Name]; twice {
			return nil, fmt.Errorf("account %q: named twice", a.Name)
		}
		f.byName[a.Name] = i
		if i > 0 && a.AccountSpec == f.Accounts[i-1].AccountSpec {
			continue
		}
		a.cachedKindNames = a.kindNames()
		for _, t := range a.Ticks {
			if t.Spec == "" || t.Schedule == nil {
				return nil, fmt.Errorf("account %q: a schedule has no spec", a.Name)
			}
			for _, name := range t.Kinds {
				if !slices.Contains(a.kindNames(), name) {
					return nil, fmt.Errorf("account %q: schedule %q: kind %q is not the account's", a.Name, t.Spec, name)
				}
			}
		}
		for _, ks := range [][]Kind{a.Kinds, a.Parents} {
			for _, k := range ks {
				if _, ok := a.kind(k.Parent); k.Parent != "" && !ok {
					return nil, fmt.Errorf("account %q: kind %q: its parent %q has no row", a.Name, k.Name, k.Parent)
				}
			}
		}
	}
	return &f, nil
}

// Account finds an account by its name, or returns nil.
func (f *Configuration) Account(name string) *Account {
	if i, ok := f.byName[name]; ok {
		return f.Accounts[i]
	}
	return nil
}

// An Overlap says what happens when a run is due while an earlier run of the account still lists one of its kinds.
type Overlap string

// The rules of overlap.
const (
	Skip   Overlap = "skip"   // the new run does not start
	Queue  Overlap = "queue"  // the new run waits; at most one does
	Cancel Overlap = "cancel" // the old run ends, then the new one starts
)

// An Account is an account block, built.
type Account struct {
	Name string
	*AccountSpec
	// LastIdentity is the AWS account that the block was when it was entered last, also before a restart; zero: not known. A second block
	// of one account is refused by it at once.
	LastIdentity record.Identity
	// Open signs in. It is called for every job, in whichever process that is, and so should be cheap the second time.
	// Its error should hold a [record.Fault].
	Open func(ctx context.Context) (OpenedAccount, error)
	// AfterRun is called at the end of each run, if it is not nil.
	AfterRun func(ctx context.Context)
}

// AccountSpec are what accounts that are configured alike share, as ten thousand of them may. Read only once a fleet is made of them.
type AccountSpec struct {
	Ticks   []Tick        // empty: runs only when asked to
	Timeout time.Duration // of a run
	Overlap Overlap       // "": Skip
	Kinds   []Kind        // everything that the account lists, whatever its tick
	// Narrowed says that whoever started the program asked for less than the configuration names: what is not in Kinds is
	// not gone.
	Narrowed bool
	Parents  []Kind // rows of parents that Kinds needs and does not have: listed for their ids, not delivered
	// Regions are the region names that the file spells out, globs left out: what a failure is shown for while nobody
	// knows the account's regions.
	Regions []string
	// Expected reports whether expect_denied names a target; nil: none.
	Expected func(region, kind string) bool

	cachedKindNames []string // the names of Kinds; shared, read only
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

// kindNames are those of Kinds. They are shared: read only.
func (a *AccountSpec) kindNames() []string {
	if a.cachedKindNames != nil {
		return a.cachedKindNames
	}
	names := make([]string, len(a.Kinds))
	for i, k := range a.Kinds {
		names[i] = k.Name
	}
	return names
}

// A Schedule is cron.Schedule, and River's periodic schedule: the first instant after t, or the zero time for never.
type Schedule interface{ Next(t time.Time) time.Time }

// A Tick is one of an account's schedules, and what it lists.
type Tick struct {
	// Spec is the schedule as written, with its time zone where that matters. Two ticks of one account with the same
	// Spec are the same schedule: a reload keeps its timer, a restart finds its last instant.
	Spec     string
	Schedule Schedule
	Kinds    []string // names out of Account.Kinds; empty: all of them
}

// A Kind is what the runner must know of a row of the catalogue.
type Kind struct {
	Name   string
	Op     string  // the API: what its budget is kept for
	Parent string  // the kind for whose ids it is asked, one by one; it then runs after that kind, in the same job
	Global bool    // one region speaks for the account: the first of the plan
	Refill float64 // the API's own refill a second, where it is not EC2's 20; 0 otherwise
	Burst  int     // the API's own bucket, where it is not EC2's 100; 0 otherwise
}

// A Plan is where an account is to be listed.
type Plan struct {
	Regions  []string // to list, in order; the first one speaks for Global kinds
	Disabled []string // asked for by name, but not enabled: their targets end region_disabled, without a call
	// Complete says that AWS named these regions and nothing narrowed them: what the ledger knows beyond them is retired.
	Complete bool
	// NothingToList says that there is nothing to list: to open the account was all that there was to do.
	NothingToList bool
	// Warning is what a person should know although there is a plan: DescribeRegions was denied.
	Warning error
}

// ListStats is what a listing tells besides its pages.
type ListStats struct {
	Duplicates int // records that came again and were delivered once
}

// An Opened account can be listed. The wire makes it of a session and a lister; no SDK type passes here. It is used by
// many goroutines.
type OpenedAccount interface {
	Identity() record.Identity
	// Regions asks where to list. g is the gate of region ""; g.At(region) is that of the region that is really asked.
	Regions(ctx context.Context, g *Gate) (Plan, error)
	// List lists one target page by page. g must be asked before each attempt of a call. parent is the id to list
	// under, for kinds with a Parent. emit borrows the page for the call; what was emitted stands when List fails.
	List(ctx context.Context, g *Gate, t record.Target, run, parent string, emit func(context.Context, *record.Page) error) (ListStats, error)
}

// A Sink takes pages: an output behind its spool, as slow as a disk at most. It borrows the page until it returns, and is
// called by many goroutines, each with its own page. Its trouble is never the target's: its errors are logged, once a
// target and call.
type Output interface {
	Name() string
	Write(ctx context.Context, id PageID, p *record.Page) error
	// End is called once for each target, also for one of which nothing came. When it returns, everything that Write
	// took of the target survives a kill: so fsync is a group commit. An output with `ends: true` sends its line here.
	End(ctx context.Context, o record.Outcome) error
}

// PageID names a delivery. Attempt is in it: the third page of a second listing is not the third of the first.
type PageID struct {
	Run           string
	Target        record.Target
	Attempt, Page int
}
