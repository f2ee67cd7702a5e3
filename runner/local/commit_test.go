package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

func TestAJobCountsOnce(t *testing.T) {
	from := time.Now()
	denied := inventory.Cause{
		State: record.Denied, Reason: record.AccessDenied, Hint: "Allow ec2:DescribeVpcs.", Targets: 1,
	}
	alike := denied
	alike.Hint = "Allow ec2:DescribeVolumes."
	states := map[record.State]int{record.OK: 9, record.Denied: 1}
	region := func(name string) runner.Job { return runner.Job{Account: "a", Region: name} }
	var p progress
	for i, step := range []struct {
		completion      runner.Completion
		repeated, ended bool
	}{
		{completion: runner.Completion{Job: region(""), FollowUps: []runner.Job{region("one"), region("two")},
			Tally: runner.Tally{Started: from, States: map[record.State]int{record.RegionDisabled: 1}}}},
		{completion: runner.Completion{Job: region("one"), Tally: runner.Tally{States: states,
			Failed: 1, TimedOut: true, Records: 5, Calls: 3, Throttles: 1, Causes: []inventory.Cause{denied}}}},
		{completion: runner.Completion{Job: region("one"), Tally: runner.Tally{Failed: 100}}, repeated: true},
		{completion: runner.Completion{Job: region("two"), Tally: runner.Tally{States: states,
			Failed: 1, Records: 5, Calls: 3, Causes: []inventory.Cause{alike}}}, ended: true},
		{completion: runner.Completion{Job: region("two")}, repeated: true},
	} {
		if got := p.commit(step.completion); got.Repeated != step.repeated || got.Ended != step.ended {
			t.Errorf("step %d: %+v", i, got)
		}
	}
	both := denied
	both.Targets = 2
	want := runner.Tally{
		Started: from, States: map[record.State]int{record.OK: 18, record.Denied: 2, record.RegionDisabled: 1},
		Failed: 2, TimedOut: true, Records: 10, Calls: 6, Throttles: 1, Causes: []inventory.Cause{both},
	}
	if !reflect.DeepEqual(p.tally, want) || p.tally.Status() != record.RunTimeout {
		t.Errorf("%s: %+v", p.tally.Status(), p.tally)
	}
	if alone := (&progress{}).commit(runner.Completion{Job: region("")}); !alone.Ended {
		t.Error("a run without regions does not end")
	}
}

func commitNothing(context.Context, runner.Completion) (runner.Progress, error) {
	return runner.Progress{}, nil
}

// An engineFake commits as an engine with a queue does.
type engineFake struct {
	runs map[string]*progress
	err  error
}

func (e *engineFake) commit(into *runner.Completion, result *runner.Progress) runner.Commit {
	return func(_ context.Context, c runner.Completion) (runner.Progress, error) {
		if e.err != nil {
			return runner.Progress{}, e.err
		}
		if e.runs[c.Job.Run] == nil {
			e.runs[c.Job.Run] = new(progress)
		}
		*into, *result = c, e.runs[c.Job.Run].commit(c)
		return *result, nil
	}
}

// Jobs run as an engine with a queue runs them: one by one, some of them twice, in any process.
func TestDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{}, Options{})
		e := &engineFake{runs: map[string]*progress{}}
		do := func(ctx context.Context, j runner.Job) (c runner.Completion, p runner.Progress) {
			t.Helper()
			if err := g.runner.Do(ctx, j, e.commit(&c, &p)); err != nil {
				t.Error(err)
			}
			return c, p
		}
		if err := g.runner.Do(t.Context(), runner.Job{Account: "a"}, nil); err == nil {
			t.Error("without a configuration")
		}
		g.runner.Swap(buildConfiguration(t, account("a", &fakeAccount{})))
		open := runner.Job{Run: runner.NewRun(), Account: "a", Tick: time.Now()}
		opened, _ := do(t.Context(), open)
		if f := opened.FollowUps; len(f) != 2 || f[0].Region != "us-east-1" ||
			!slices.Equal(f[0].Kinds, []string{"ec2_instance"}) {
			t.Fatal(f)
		}
		for i, j := range opened.FollowUps {
			if len(g.recorder.ended) != 0 {
				t.Error("the run ended early")
			}
			c, p := do(t.Context(), j)
			if len(c.FollowUps) != 0 || !maps.Equal(c.Tally.States, map[record.State]int{record.OK: 1}) || p.Repeated {
				t.Error(c, p)
			}
			if i == 0 {
				j.Attempt++
				if p := e.runs[j.Run].commit(runner.Completion{Job: j}); !p.Repeated || p.Ended {
					t.Error("a job that was done twice", p)
				}
			}
		}
		if g.recorder.ended[open.Run] != record.Success {
			t.Error(g.recorder.ended)
		}
		// The account leaves the configuration while its job is on its way.
		g.runner.Swap(buildConfiguration(t))
		target := record.Target{Account: "a", Region: "us-east-1", Kind: "ec2_instance"}
		e.runs["x"] = &progress{committed: map[string]bool{"a/": true}, expected: 1}
		do(t.Context(), runner.Job{Run: "x", Account: "a", Region: target.Region, Kinds: []string{target.Kind}})
		if o := g.recorder.outcomes["x"][target]; o.State != record.Skipped || g.recorder.ended["x"] != record.RunSkipped {
			t.Error(o, g.recorder.ended)
		}
		// And one that is canceled before it begins.
		g.runner.Swap(buildConfiguration(t, account("a", &fakeAccount{})))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if c, _ := do(ctx, runner.Job{Run: "y", Account: "a"}); len(c.FollowUps) != 0 ||
			g.recorder.ended["y"] != record.RunFailed {
			t.Error(c, g.recorder.ended)
		}
		// A commit that fails: the run has not ended, and the caller knows.
		e.err = errors.New("serialization failure")
		commit := e.commit(new(runner.Completion), new(runner.Progress))
		err := g.runner.Do(t.Context(), runner.Job{Run: "z", Account: "a"}, commit)
		if !errors.Is(err, e.err) {
			t.Error(err)
		}
		if _, ended := g.recorder.ended["z"]; ended {
			t.Error("a run ended whose commit failed")
		}
	})
}

// A committedStore has what a run stored before its job was done again.
type committedStore struct {
	*runner.MemoryStore
	outcomes map[string]record.Outcome // by kind
	ended    []string
	mu       sync.Mutex
}

type committedWriter struct {
	inventory.ScopeWriter
	s    *committedStore
	kind string
}

func (s *committedStore) Begin(
	ctx context.Context, t record.Target, id record.Identity, run string,
) (inventory.ScopeWriter, error) {
	w, err := s.MemoryStore.Begin(ctx, t, id, run)
	return committedWriter{w, s, t.Kind}, err
}

func (w committedWriter) Committed() *record.Outcome {
	if o, ok := w.s.outcomes[w.kind]; ok {
		return &o
	}
	return nil
}

func (w committedWriter) End(_ context.Context, o record.Outcome) error {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.ended = append(w.s.ended, o.Kind)
	return nil
}

// A job that is done again lists nothing that its run has stored. A parent is listed only if a child needs its ids.
func TestRepeatedJob(t *testing.T) {
	kinds := []runner.Kind{{Name: "parent"}, {Name: "child", Parent: "parent"}, {Name: "other"}}
	for _, c := range []struct {
		name, listed string
		stored       []string
	}{
		{"nothing is stored", "child/i-1 child/i-2 other parent", nil},
		{"all is stored", "", []string{"parent", "child", "other"}},
		{"the parent is stored", "child/i-1 child/i-2 other parent", []string{"parent"}},
		{"all but one is stored", "other", []string{"parent", "child"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &committedStore{MemoryStore: runner.NewMemoryStore(), outcomes: map[string]record.Outcome{}}
				for _, kind := range c.stored {
					store.outcomes[kind] = record.Outcome{
						Target: record.Target{Account: "a", Region: "r", Kind: kind}, Run: "run", State: record.OK,
						Records: 7, Calls: 3,
					}
				}
				var mu sync.Mutex
				var listed []string
				list := func(ctx context.Context, _ *runner.Gate, t record.Target, parent string, emit emitFunc) error {
					mu.Lock()
					listed = append(listed, strings.TrimSuffix(t.Kind+"/"+parent, "/"))
					mu.Unlock()
					return emit(ctx, page("i-1", "i-2"))
				}
				out := &fakeOutput{}
				a := account("a", &fakeAccount{list: list})
				a.Kinds = kinds
				conf := buildConfiguration(t, a)
				conf.Output = out
				g := newHarness(t, runner.Options{Store: store}, Options{})
				g.runner.Swap(conf)
				var completion runner.Completion
				err := g.runner.Do(t.Context(), runner.Job{Run: "run", Account: "a", Region: "r", Kinds: a.KindNames(), Attempt: 1},
					func(_ context.Context, c runner.Completion) (runner.Progress, error) {
						completion = c
						return runner.Progress{}, nil
					})
				if err != nil {
					t.Fatal(err)
				}
				slices.Sort(listed)
				if got := strings.Join(listed, " "); got != c.listed {
					t.Errorf("listed %q, want %q", got, c.listed)
				}
				if n := completion.Tally.States[record.OK]; n != len(kinds) || completion.Tally.Calls != 3*len(c.stored) {
					t.Errorf("counted %+v", completion.Tally)
				}
				if len(store.ended)+len(c.stored) != len(kinds) || len(out.ended) != len(store.ended) {
					t.Errorf("ended in the store %v, in the output %v", store.ended, out.ended)
				}
				for _, kind := range c.stored {
					o := g.recorder.outcomes["run"][record.Target{Account: "a", Region: "r", Kind: kind}]
					if o != store.outcomes[kind] {
						t.Errorf("%s: %+v", kind, o)
					}
				}
			})
		})
	}
}

// A runStore records runs and sign-ins; its calls may hang.
type runStore struct {
	*runner.MemoryStore
	delay time.Duration

	mu      sync.Mutex
	err     error // of every write; nil: they work
	events  []string
	rows    map[string]inventory.Run
	signIns []inventory.SignIn
}

func (s *runStore) write(ctx context.Context, event string, r inventory.Run) error {
	err := sleep(ctx, s.delay)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, event)
	if err == nil {
		err = s.err
	}
	if err == nil && r.ID != "" {
		s.rows[r.ID] = r
	}
	return err
}

func (s *runStore) fail(fails bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err = nil; fails {
		s.err = errors.New("disk full")
	}
}

// ended returns the runs that have an end.
func (s *runStore) ended() (rows []inventory.Run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rows {
		if !r.Ended.IsZero() {
			rows = append(rows, r)
		}
	}
	return rows
}

func (s *runStore) StartRun(ctx context.Context, r inventory.Run) error {
	return s.write(ctx, "start", r)
}
func (s *runStore) EndRun(ctx context.Context, r inventory.Run) error { return s.write(ctx, "end", r) }
func (s *runStore) PutSignIn(ctx context.Context, in inventory.SignIn) error {
	err := s.write(ctx, "sign-in", inventory.Run{})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signIns = append(s.signIns, in)
	return err
}

func TestRunsAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &runStore{MemoryStore: runner.NewMemoryStore(), rows: map[string]inventory.Run{}, delay: time.Second}
		process := inventory.Process{Replica: "host", Version: "v1"}
		g := newHarness(t, runner.Options{Store: store, Process: process}, Options{DrainTimeout: time.Second})
		var refuse bool
		id := record.Identity{AccountID: "111111111111", Partition: "aws", ARN: "arn:aws:iam::111111111111:x"}
		f := &fakeAccount{id: id,
			open: func(context.Context) error {
				if refuse {
					return &record.Fault{Reason: record.AccessDenied, Hint: "Allow it.", Err: errors.New("no")}
				}
				return nil
			},
			list: func(ctx context.Context, gate *runner.Gate, target record.Target, _ string, emit emitFunc) error {
				if err := call(ctx, gate, "DescribeInstances", time.Second, ""); err != nil {
					return err
				}
				if target.Region == "eu-west-1" {
					return errDenied
				}
				return emit(ctx, page("i-1"))
			}}
		g.runner.Swap(buildConfiguration(t, account("a", f)))
		start := time.Now()
		g.once()
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("a slow store: the run and its %d writes took %s", len(store.events), took)
		}
		slices.Sort(store.events)
		if want := []string{"end", "sign-in", "start"}; !slices.Equal(store.events, want) {
			t.Error(store.events)
		}
		for _, r := range store.rows {
			if r.Account != "a" || !r.Started.Equal(start) || r.Ended.Before(r.Started) || r.Status != record.RunPartial ||
				r.Targets[record.OK] != 1 || r.Targets[record.Denied] != 1 || r.Failed != 1 || r.Records != 1 || r.Calls != 2 ||
				len(r.Causes) != 1 || r.Causes[0].Region != "eu-west-1" || r.Process != process || r.Missed != "" {
				t.Errorf("%+v", r)
			}
		}
		if in := store.signIns[0]; in.Account != "a" || in.AccountID != f.id.AccountID || in.ARN != f.id.ARN ||
			in.Path == "" || in.Error != "" || !in.Checked.Equal(start) {
			t.Errorf("%+v", in)
		}
		refuse = true
		g.once()
		if in := store.signIns[1]; in.Error != "no" || in.Hint != "Allow it." || in.Account != "a" {
			t.Errorf("%+v", in)
		}
		refuse = false
		// A store that hangs delays the end of the program by EndTimeout, and the run by nothing.
		store.delay = time.Hour
		start = time.Now()
		results := g.once()
		if took := time.Since(start); results[0].Took != time.Second || took != 6*time.Second {
			t.Errorf("a store that hangs: the run took %s, all %s", results[0].Took, took)
		}
	})
}

func TestMissedRunsAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &runStore{MemoryStore: runner.NewMemoryStore(), rows: map[string]inventory.Run{}}
		last := map[TickKey]time.Time{{"a", "*/15 * * * *"}: time.Now().Add(-24 * time.Hour)}
		g := newHarness(t, runner.Options{Store: store}, Options{Ticks: &memoryTicks{last: last}})
		slow := &fakeAccount{list: func(ctx context.Context, _ *runner.Gate, _ record.Target, _ string, _ emitFunc) error {
			return sleep(ctx, 20*time.Minute)
		}}
		g.runner.Swap(buildConfiguration(t, account("a", slow, at("*/15 * * * *"))))
		g.run(40 * time.Minute)
		missed, ids := map[string]int{}, map[string]bool{}
		for _, r := range store.rows {
			ids[r.ID] = true
			if r.Missed == "" {
				continue
			}
			missed[r.Missed] += r.Ticks
			if !r.Started.IsZero() || r.Ended.IsZero() || r.Status != record.RunSkipped || r.Tick.IsZero() {
				t.Errorf("%+v", r)
			}
		}
		for reason, n := range missed {
			if counted := g.recorder.missedCount("a", reason); counted != n {
				t.Errorf("%s: stored %d, reported %d", reason, n, counted)
			}
		}
		if missed[runner.MissedOverlap] == 0 || missed[runner.MissedDowntime] < 90 || len(ids) != len(store.rows) {
			t.Error(fmt.Sprint(slices.Sorted(maps.Keys(missed))), missed)
		}
	})
}

// The end of a run that the store refused is stored when the store works again, and what is dropped at the end of the
// program is logged.
func TestRunEndsAreStoredAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &runStore{MemoryStore: runner.NewMemoryStore(), rows: map[string]inventory.Run{}}
		store.fail(true)
		g := newHarness(t, runner.Options{Store: store}, Options{})
		f := &fakeAccount{list: func(context.Context, *runner.Gate, record.Target, string, emitFunc) error {
			store.fail(len(g.recorder.started) != 2) // it works in the second run only
			return nil
		}}
		g.runner.Swap(buildConfiguration(t, account("a", f, at("*/15 * * * *"))))
		g.run(40 * time.Minute)
		if n := len(store.ended()); n != 2 || len(g.recorder.started) != 2 {
			t.Errorf("%d of %d ends are stored", n, len(g.recorder.started))
		}
		if logged := strings.Join(g.logs.lines, ""); strings.Contains(logged, "runs not stored") {
			t.Error(logged)
		}
		g.once()
		if logged := strings.Join(g.logs.lines, ""); !strings.Contains(logged, `msg="runs not stored" writes=1`) {
			t.Error(logged)
		}
	})
}
