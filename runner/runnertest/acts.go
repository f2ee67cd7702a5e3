package runnertest

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// Once runs what is named, and returns how each run ended, in that order.
func (f *fixture) once() {
	f.configure(
		block{name: "a", regions: []string{"r1", "r2"}, kinds: []string{"k1", "k2"}, took: 0.5},
		block{name: "b", regions: []string{"r1"}, kinds: []string{"k"}, list: fails},
	)
	p := f.newProcess(Options{})
	results, err := p.Engine.Once(context.Background(), "b", "a")
	if err != nil || len(results) != 2 {
		f.Fatal(results, err)
	}
	for i, want := range []runner.RunResult{
		{Account: "b", Status: record.RunPartial}, {Account: "a", Status: record.Success},
	} {
		got := results[i]
		if got.Account != want.Account || got.Status != want.Status || got.Run == "" {
			f.Errorf("result %+v, want %+v", got, want)
		}
		if end, ok := f.events.end(got.Run); !ok || end.Status != want.Status {
			f.Errorf("run %s of %s ended as %q", got.Run, got.Account, end.Status)
		}
	}
	all, err := p.Engine.Once(context.Background())
	if err != nil || len(all) != 2 || all[0].Account != "a" || all[1].Account != "b" {
		f.Error("without names:", all, err)
	}
	if _, err := p.Engine.Once(context.Background(), "c"); !errors.Is(err, runner.ErrUnknownAccount) {
		f.Error("an unknown account:", err)
	}
}

// fails is a listing that fails after its first page.
func fails(context.Context, record.Target) error {
	return &record.Fault{Reason: record.AccessDenied, Err: errors.New("you are not authorized")}
}

// A person cancels: the run in progress ends as interrupted and says who, and the one that waits never begins. The next
// tick is not concerned.
func (f *fixture) cancelled() {
	ctx := context.Background()
	f.configure(block{
		name: "a", regions: []string{"r1"}, kinds: []string{"k"}, took: 10, overlap: runner.Queue,
		ticks: []runner.Tick{f.every(3)},
	})
	p := f.start(Options{})
	cause := &record.Fault{Reason: record.Interrupted, Err: errors.New("the run was cancelled by alice")}
	f.waitUntil(2)
	if runs, err := p.Engine.Cancel(ctx, "a", cause); err != nil || len(runs) != 0 {
		f.Error("nothing runs:", runs, err)
	}
	f.waitUntil(7) // the run of 3 is in progress, that of 6 waits
	runs, err := p.Engine.Cancel(ctx, "a", cause)
	first := f.events.runs("a")[0].Run
	if err != nil || len(runs) != 2 || !slices.Contains(runs, first) {
		f.Error(runs, err)
	}
	if _, err := p.Engine.Cancel(ctx, "b", cause); !errors.Is(err, runner.ErrUnknownAccount) {
		f.Error("an unknown account:", err)
	}
	f.waitUntil(8)
	if _, ok := f.events.end(first); !ok {
		f.Error("the cancelled run has not ended a unit later")
	}
	f.waitUntil(9.5)
	f.drainAll()
	f.starts("a", 3, 9)
	for _, o := range f.events.of(first) {
		if o.Reason != record.Interrupted || !strings.HasPrefix(o.Error, "the run was cancelled by alice") {
			f.Error(o.State, o.Reason, o.Error)
		}
	}
	f.missed("a", runner.MissedCancelled, 1)
	if _, err := p.Engine.Cancel(ctx, "a", cause); !errors.Is(err, runner.ErrNotRunning) {
		f.Error("after the end:", err)
	}
}

// The ticks of a paused account are missed for that reason, and nothing of it is due; a person may still start it.
// After a resume the next tick runs.
func (f *fixture) paused() {
	f.configure(
		block{name: "a", regions: []string{"r1"}, kinds: []string{"k"}, took: 0.2, ticks: []runner.Tick{f.every(3)}},
		block{name: "b", regions: []string{"r1"}, kinds: []string{"k"}, took: 0.2, ticks: []runner.Tick{f.every(3)}},
	)
	p := f.start(Options{})
	due := func() (all []bool) {
		for info := range f.board.TargetsOf("a") {
			all = append(all, !info.Due.IsZero())
		}
		return slices.Compact(all)
	}
	f.waitUntil(4)
	if got := due(); !slices.Equal(got, []bool{true}) {
		f.Error("before the pause, due is", got)
	}
	if err := f.directives.Pause("a", runner.Directive{By: "alice"}); err != nil {
		f.Error(err)
	}
	f.waitUntil(8)
	info, _ := f.board.Account("a")
	got := due()
	if !slices.Equal(got, []bool{false}) || info.Paused == nil || info.Paused.By != "alice" || !info.Next.IsZero() {
		f.Error("paused, due is", got, info.Paused, info.Next)
	}
	if _, err := p.Engine.Start(context.Background(), "a"); err != nil {
		f.Error(err)
	}
	f.waitUntil(10)
	if err := f.directives.Resume("a"); err != nil {
		f.Error(err)
	}
	f.waitUntil(12.5)
	f.drainAll()
	f.starts("a", 3, 8, 12)
	f.missed("a", runner.MissedPaused, 2)
	f.starts("b", 3, 6, 9, 12)
}

// A task runs by its schedule, in one process. A run that is due while the last one is in progress is missed; a person
// may start one.
func (f *fixture) taskSchedule() {
	first := true
	f.tasks = []*runner.Task{{Name: "task", Kind: "list", Ticks: []runner.Tick{f.every(4)},
		Run: func(ctx context.Context) (error, error) {
			f.mu.Lock()
			took := 0.2
			if first {
				first, took = false, 6
			}
			f.mu.Unlock()
			return nil, sleep(ctx, f.units(took))
		}}}
	f.configure()
	p := f.start(Options{})
	f.waitUntil(14)
	if _, err := p.Engine.Start(context.Background(), "task"); err != nil {
		f.Error(err)
	}
	f.waitUntil(15.5)
	if info, _ := f.board.Account("task"); !info.Next.Equal(f.at(16)) {
		f.Errorf("the next start is after %g units, want 16", f.since(info.Next))
	}
	f.drainAll()
	f.starts("task", 4, 12, 14)
	f.missed("task", runner.MissedOverlap, 1)
}

// A task is started and cancelled as an account is.
func (f *fixture) taskCancelled() {
	ctx := context.Background()
	f.tasks = []*runner.Task{{Name: "task", Kind: "list", Run: func(ctx context.Context) (error, error) {
		return nil, sleep(ctx, f.units(100))
	}}}
	f.configure()
	p := f.start(Options{})
	f.waitUntil(1)
	run, err := p.Engine.Start(ctx, "task")
	if err != nil {
		f.Fatal(err)
	}
	f.waitUntil(2)
	if runs, err := p.Engine.Cancel(ctx, "task", errors.New("cancelled by alice")); err != nil ||
		!slices.Equal(runs, []string{run}) {
		f.Error(runs, err)
	}
	f.waitUntil(3)
	end, ok := f.events.end(run)
	if !ok || end.Status != record.RunFailed || f.late(f.since(end.at), 2) {
		f.Errorf("the cancelled run: ended %t, %s after %g units", ok, end.Status, f.since(end.at))
	}
}
