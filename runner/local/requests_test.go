package local

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A person cancels a run: its targets end as interrupted and say who, and a run that waits never begins.
func TestCancelByAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{}, Options{})
		g.runner.Swap(buildConfiguration(t,
			account("a", slow(50*time.Minute), at("*/15 * * * *"), func(a *runner.Account) { a.Overlap = runner.Queue })))
		from := time.Now()
		cause := &record.Fault{Reason: record.Interrupted, Err: errors.New("the run was cancelled by alice")}
		done := make(chan struct{})
		go func() {
			defer close(done)
			time.Sleep(10 * time.Minute)
			if runs, err := g.local.Cancel(t.Context(), "a", cause); err != nil || len(runs) != 0 {
				t.Error("nothing runs:", runs, err)
			}
			time.Sleep(25 * time.Minute) // the run of :15 is in progress, that of :30 waits
			runs, err := g.local.Cancel(t.Context(), "a", cause)
			if err != nil || len(runs) != 2 || runs[1] != g.recorder.started[0].run {
				t.Error(runs, err)
			}
			if _, err := g.local.Cancel(t.Context(), "b", cause); !errors.Is(err, runner.ErrUnknownAccount) {
				t.Error(err)
			}
		}()
		g.run(46 * time.Minute)
		<-done
		if got := g.recorder.runs("a", from); !slices.Equal(got, []time.Duration{15 * time.Minute, 45 * time.Minute}) {
			t.Errorf("runs at %v: the waiting run began", got)
		}
		for _, o := range g.recorder.outcomes[g.recorder.started[0].run] {
			if o.Reason != record.Interrupted || !strings.HasPrefix(o.Error, "the run was cancelled by alice") {
				t.Error(o.State, o.Reason, o.Error)
			}
		}
		if n := g.recorder.missedCount("a", runner.MissedCancelled); n != 1 {
			t.Errorf("%d runs missed as cancelled", n)
		}
		if _, err := g.local.Cancel(t.Context(), "a", cause); !errors.Is(err, runner.ErrNotRunning) {
			t.Error("after the end:", err)
		}
	})
}

// A run that a person starts follows the overlap rule of ticks, and its id is that of the run.
func TestStartFollowsTheOverlapRule(t *testing.T) {
	for rule, want := range map[runner.Overlap]struct {
		err  error
		runs []time.Duration
	}{
		runner.Skip:   {runner.ErrBusy, []time.Duration{15 * time.Minute}},
		runner.Queue:  {nil, []time.Duration{15 * time.Minute, 35 * time.Minute}},
		runner.Cancel: {nil, []time.Duration{15 * time.Minute, 20 * time.Minute}},
	} {
		t.Run(string(rule), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newHarness(t, runner.Options{}, Options{})
				g.runner.Swap(buildConfiguration(t,
					account("a", slow(20*time.Minute), at("15 * * * *"), func(a *runner.Account) { a.Overlap = rule })))
				from, id := time.Now(), ""
				time.AfterFunc(20*time.Minute, func() {
					var err error
					if id, err = g.local.Start(t.Context(), "a"); !errors.Is(err, want.err) {
						t.Error(err)
					}
				})
				g.run(59 * time.Minute)
				if got := g.recorder.runs("a", from); !slices.Equal(got, want.runs) {
					t.Errorf("runs at %v", got)
				}
				if last := g.recorder.started[len(g.recorder.started)-1].run; want.err == nil && last != id {
					t.Errorf("run %s, Start returned %s", last, id)
				}
			})
		})
	}
}

// The ticks of a paused account are missed for that reason, and nothing of it is due; a person may still start it.
// After a resume the next tick runs.
func TestPausedAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directives, err := runner.OpenDirectives("", nil)
		if err != nil {
			t.Fatal(err)
		}
		g := newHarness(t, runner.Options{}, Options{})
		conf := buildConfiguration(t, account("a", slow(time.Minute), at("*/15 * * * *")),
			account("b", slow(time.Minute), at("*/15 * * * *")))
		conf.Directives = directives
		g.runner.Swap(conf)
		from := time.Now()
		due := func() (all []bool) {
			for info := range g.board.TargetsOf("a") {
				all = append(all, !info.Due.IsZero())
			}
			return slices.Compact(all)
		}
		time.AfterFunc(20*time.Minute, func() {
			if got := due(); !slices.Equal(got, []bool{true}) {
				t.Error("before the pause, due is", got)
			}
			if err := directives.Pause("a", runner.Directive{By: "alice"}); err != nil {
				t.Error(err)
			}
		})
		time.AfterFunc(40*time.Minute, func() {
			info, _ := g.board.Account("a")
			got := due()
			if !slices.Equal(got, []bool{false}) || info.Paused == nil || info.Paused.By != "alice" || !info.Next.IsZero() {
				t.Error("paused, due is", got, info.Paused, info.Next)
			}
			if _, err := g.local.Start(t.Context(), "a"); err != nil {
				t.Error(err)
			}
		})
		time.AfterFunc(50*time.Minute, func() {
			if err := directives.Resume("a"); err != nil {
				t.Error(err)
			}
		})
		g.run(62 * time.Minute)
		want := []time.Duration{15 * time.Minute, 40 * time.Minute, 60 * time.Minute}
		if got := g.recorder.runs("a", from); !slices.Equal(got, want) {
			t.Errorf("runs at %v, want %v", got, want)
		}
		if n := g.recorder.missedCount("a", runner.MissedPaused); n != 2 {
			t.Errorf("%d ticks missed as paused", n)
		}
		if got := g.recorder.runs("b", from); len(got) != 4 {
			t.Errorf("the other account ran at %v", got)
		}
	})
}

// A task is started, cancelled and paused as an account is.
func TestTaskIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{}, Options{})
		cause := errors.New("the run was cancelled by alice")
		task := &runner.Task{Name: "task", Kind: "list", Run: func(ctx context.Context) (error, error) {
			return nil, sleep(ctx, time.Hour)
		}}
		g.runner.Swap(taskConfiguration(t, task))
		time.AfterFunc(time.Minute, func() {
			started, err := g.local.Start(t.Context(), "task")
			if err != nil {
				t.Error(err)
			}
			time.Sleep(time.Minute)
			if runs, err := g.local.Cancel(t.Context(), "task", cause); err != nil || !slices.Equal(runs, []string{started}) {
				t.Error(runs, err)
			}
		})
		g.run(10 * time.Minute)
		info, _ := g.board.Account("task")
		if info.Last.Status != record.RunFailed || info.Last.Took != time.Minute {
			t.Errorf("%+v", info.Last)
		}
	})
}
