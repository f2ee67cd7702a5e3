package local

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
)

// A taskStore keeps the runs and sign-ins that it gets.
type taskStore struct {
	*runner.MemoryStore
	started, ended []inventory.Run
	signIns        []inventory.SignIn
}

func (s *taskStore) StartRun(_ context.Context, r inventory.Run) error {
	s.started = append(s.started, r)
	return nil
}

func (s *taskStore) EndRun(_ context.Context, r inventory.Run) error {
	s.ended = append(s.ended, r)
	return nil
}

func (s *taskStore) PutSignIn(_ context.Context, in inventory.SignIn) error {
	s.signIns = append(s.signIns, in)
	return nil
}

// storedRuns is a store that has runs and nothing else.
type storedRuns []inventory.Run

func (s storedRuns) Targets(context.Context) iter.Seq2[inventory.Coverage, error] {
	return func(func(inventory.Coverage, error) bool) {}
}

func (s storedRuns) Runs(context.Context, inventory.RunQuery) iter.Seq2[inventory.Run, error] {
	return func(yield func(inventory.Run, error) bool) {
		for _, r := range s {
			if !yield(r, nil) {
				return
			}
		}
	}
}

func (s storedRuns) LastRuns(ctx context.Context, _ []string) iter.Seq2[inventory.Run, error] {
	return s.Runs(ctx, inventory.RunQuery{})
}

func (s storedRuns) SignIns(context.Context) iter.Seq2[inventory.SignIn, error] {
	return func(func(inventory.SignIn, error) bool) {}
}

func taskConfiguration(t *testing.T, task *runner.Task, accounts ...*runner.Account) *runner.Configuration {
	t.Helper()
	conf, err := runner.NewConfiguration(runner.Configuration{Accounts: accounts, Tasks: []*runner.Task{task}})
	if err != nil {
		t.Fatal(err)
	}
	return conf
}

// A task runs beside the accounts. A failure is one failed target without a region, until the next success; a warning
// is no failure. The store has its runs, and no target of it.
func TestTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var warning, failure error
		task := &runner.Task{Name: "task", Kind: "list", Run: func(context.Context) (error, error) {
			return warning, failure
		}}
		store := &taskStore{MemoryStore: runner.NewMemoryStore()}
		g := newHarness(t, runner.Options{Store: store}, Options{})
		g.runner.Swap(taskConfiguration(t, task, account("a", &fakeAccount{})))
		step := func(status record.Status, warns string, failed int) {
			t.Helper()
			res := g.once()
			if len(res) != 2 || res[0].Status != record.Success || res[1].Account != "task" || res[1].Status != status {
				t.Errorf("results %+v, want %s", res, status)
			}
			info, _ := g.board.Account("task")
			if !info.Task || info.Last.Status != status || info.Last.Failed != failed || len(info.Running) > 0 {
				t.Errorf("board %+v", info)
			}
			if got := info.Warning; (got == nil) != (warns == "") || got != nil && got.Error() != warns {
				t.Errorf("warning %v, want %q", got, warns)
			}
			n := 0
			for o := range g.board.Targets() {
				if o.Account != "task" {
					continue
				}
				n++
				if o.Target != (record.Target{Account: "task", Kind: "list"}) || o.State != record.AuthFailed ||
					o.Reason != record.AccessDenied || o.Error != failure.Error() {
					t.Errorf("%+v", o)
				}
			}
			if n != failed {
				t.Errorf("%d failed targets, want %d", n, failed)
			}
		}
		step(record.Success, "", 0)
		warning = errors.New("one is suspended")
		step(record.Success, "one is suspended", 0)
		failure = errDenied
		step(record.RunFailed, "one is suspended", 1)
		synctest.Wait()
		restarted := board.New()
		kinds := map[string][]string{"task": {"list"}}
		restarted.Observe(runner.Configured{Kinds: kinds, Configuration: g.runner.Configuration()})
		failed := slices.DeleteFunc(slices.Clone(store.ended), func(r inventory.Run) bool { return r.Account != "task" })
		last := failed[len(failed)-1:]
		expected := func(name string) []record.Target { return g.runner.ExpectedTargets(t.Context(), name) }
		if err := restarted.Load(t.Context(), storedRuns(last), expected); err != nil {
			t.Fatal(err)
		}
		if ts := slices.Collect(restarted.Targets()); len(ts) != 1 || ts[0].Error != errDenied.Error() {
			t.Errorf("after a restart: %+v", ts)
		}
		warning, failure = nil, nil
		step(record.Success, "", 0)
		if info, _ := g.board.Account("a"); info.Task {
			t.Error("an account is a task")
		}
		if ts, _ := store.ActiveTargets(t.Context(), "task"); len(ts) > 0 {
			t.Errorf("targets in the store: %v", ts)
		}
		var statuses []record.Status
		for _, r := range store.ended {
			if r.Account == "task" {
				statuses = append(statuses, r.Status)
			}
			if r.Account == "task" && r.Status == record.RunFailed &&
				(r.Failed != 1 || len(r.Causes) != 1 || r.Causes[0].Error != errDenied.Error()) {
				t.Errorf("stored %+v", r)
			}
		}
		want := []record.Status{record.Success, record.Success, record.RunFailed, record.Success}
		if len(store.started) != 8 || !slices.Equal(statuses, want) {
			t.Errorf("%d runs began, ended %v, want %v", len(store.started), statuses, want)
		}
		var errs []string
		for _, in := range store.signIns {
			if in.Account == "task" {
				errs = append(errs, in.Error)
			}
		}
		if want := []string{"", "", errDenied.Error(), ""}; !slices.Equal(errs, want) {
			t.Errorf("sign-ins %q, want %q", errs, want)
		}
	})
}

// A task ends by its timeout, by a panic, at the end of the drain, and is abandoned if it ignores its context.
func TestTaskEnds(t *testing.T) {
	for name, c := range map[string]struct {
		run    func(ctx context.Context) (error, error)
		status record.Status
		state  record.State
		reason record.Reason
		took   time.Duration
	}{
		"timeout": {
			func(ctx context.Context) (error, error) { return nil, sleep(ctx, time.Hour) },
			record.RunTimeout, record.Timeout, record.TimedOut, 10 * time.Minute,
		},
		"panic": {
			func(context.Context) (error, error) { panic("a bug") },
			record.RunFailed, record.AuthFailed, record.Panicked, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				task := &runner.Task{Name: "task", Kind: "list", Timeout: 10 * time.Minute, Run: c.run}
				g := newHarness(t, runner.Options{}, Options{})
				g.runner.Swap(taskConfiguration(t, task))
				res := g.once()
				if res[0].Status != c.status || res[0].Took != c.took {
					t.Errorf("%+v", res)
				}
				for o := range g.board.Targets() {
					if o.State != c.state || o.Reason != c.reason {
						t.Errorf("%s (%s): %s", o.State, o.Reason, o.Error)
					}
				}
			})
		})
	}
	for name, ignores := range map[string]bool{"drain": false, "stuck": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				stop := make(chan struct{})
				task := &runner.Task{Name: "task", Kind: "list", Ticks: []runner.Tick{every("@every 1h")}}
				task.Ticks[0].Kinds = nil
				task.Run = func(ctx context.Context) (error, error) {
					if ignores {
						<-stop
						return nil, nil
					}
					return nil, sleep(ctx, time.Hour)
				}
				g := newHarness(t, runner.Options{}, Options{DrainTimeout: 25 * time.Second})
				g.runner.Swap(taskConfiguration(t, task))
				start := time.Now()
				g.run(time.Hour + time.Second)
				want := time.Hour + 26*time.Second
				if ignores {
					want += 3 * time.Second // the grace
				}
				if took := time.Since(start); took != want {
					t.Errorf("the engine ended after %s, want %s", took, want)
				}
				abandoned := strings.Contains(strings.Join(g.logs.lines, ""), "task abandoned")
				if abandoned != ignores {
					t.Errorf("abandoned: %v\n%s", abandoned, g.logs.lines)
				}
				if got := g.recorder.status("task"); !slices.Equal(got, []record.Status{record.RunFailed}) {
					t.Errorf("statuses %v", got)
				}
				close(stop)
			})
		})
	}
}

// Names are unique among accounts and tasks.
func TestTaskNames(t *testing.T) {
	task := func(name string) *runner.Task { return &runner.Task{Name: name, Kind: "list"} }
	for _, c := range []struct {
		account string
		tasks   []*runner.Task
	}{{"a", []*runner.Task{task("a")}}, {"b", []*runner.Task{task("a"), task("a")}}} {
		conf := runner.Configuration{Accounts: []*runner.Account{account(c.account, &fakeAccount{})}, Tasks: c.tasks}
		if _, err := runner.NewConfiguration(conf); err == nil {
			t.Errorf("accepted: account %q, %d tasks", c.account, len(c.tasks))
		}
	}
}

// A task that is in progress is not started again: the run that is not begun has a result as that of an account has.
func TestTaskInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		task := &runner.Task{Name: "task", Kind: "list", Run: func(ctx context.Context) (error, error) {
			return nil, sleep(ctx, time.Minute)
		}}
		g := newHarness(t, runner.Options{}, Options{})
		g.runner.Swap(taskConfiguration(t, task))
		res := g.once("task", "task")
		if res[0].Status != record.Success || res[1].Status != record.RunSkipped || res[1].Account != "task" || !res[1].Task {
			t.Errorf("%+v", res)
		}
	})
}
