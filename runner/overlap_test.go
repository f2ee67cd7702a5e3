package runner

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

// The rules, one row a situation. Engines obey what is decided here.
func TestOverlapRules(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	run := func(id, schedule string, kinds ...string) RunRef {
		return RunRef{ID: id, Schedule: schedule, Kinds: kinds}
	}
	begun := func(r RunRef) RunRef { r.Begun = true; return r }
	until := func(r RunRef, at time.Time) RunRef { r.Deadline = at; return r }
	list := func(rs ...RunRef) []RunRef { return rs }
	a := begun(run("a", "daily", "vpc", "volume"))
	w, w2 := run("w", "hourly", "vpc"), run("w2", "hourly", "volume")
	n := run("n", "hourly", "vpc")
	other := run("n", "hourly", "subnet")
	requested := run("n", "", "vpc")
	for i, c := range []struct {
		runs AccountRuns
		due  *RunRef // nil: a run has finished
		want Decision
	}{
		// due
		{AccountRuns{}, &n, Decision{Start: []string{"n"}}},
		{AccountRuns{Active: list(a)}, &other, Decision{Start: []string{"n"}}},
		{AccountRuns{Active: list(a)}, &n, Decision{Skip: []string{"n"}}},
		{AccountRuns{Rule: Skip, Active: list(a)}, &n, Decision{Skip: []string{"n"}}},
		{AccountRuns{Rule: Skip, Waiting: list(w)}, &n, Decision{Skip: []string{"n"}}},
		{AccountRuns{Rule: Skip, Active: list(a)}, &requested, Decision{Skip: []string{"n"}}},
		{AccountRuns{Rule: Queue, Active: list(a)}, &n, Decision{Wait: []string{"n"}}},
		{AccountRuns{Rule: Queue, Active: list(a)}, &requested, Decision{Wait: []string{"n"}}},
		{AccountRuns{Rule: Queue, Active: list(a), Waiting: list(w)}, &n,
			Decision{Wait: []string{"n"}, Expire: []string{"w"}}},
		{AccountRuns{Rule: Queue, Waiting: list(w)}, &n, Decision{Start: []string{"n"}, Expire: []string{"w"}}},
		{AccountRuns{Rule: Queue, Active: list(a), Waiting: list(w)}, &requested, Decision{Skip: []string{"n"}}},
		{AccountRuns{Rule: Queue, Active: list(a), Waiting: list(run("w", "daily", "vpc"))}, &n,
			Decision{Skip: []string{"n"}}},
		{AccountRuns{Rule: Queue, Active: list(a), Waiting: list(w2)}, &n, Decision{Wait: []string{"n"}}},
		{AccountRuns{Rule: Cancel, Active: list(a)}, &n, Decision{Wait: []string{"n"}, Cancel: []string{"a"}}},
		{AccountRuns{Rule: Cancel, Active: list(run("a", "daily", "vpc"))}, &n,
			Decision{Start: []string{"n"}, Expire: []string{"a"}}},
		{AccountRuns{Rule: Cancel, Active: list(a), Waiting: list(w, w2)}, &n,
			Decision{Wait: []string{"n"}, Cancel: []string{"a"}, Expire: []string{"w"}}},
		{AccountRuns{Rule: Cancel, Active: list(a)}, &other, Decision{Start: []string{"n"}}},
		{AccountRuns{Rule: Cancel, Draining: true, Active: list(a), Waiting: list(w)}, &n, Decision{Skip: []string{"n"}}},
		{AccountRuns{Draining: true}, &n, Decision{Skip: []string{"n"}}},

		// finished
		{AccountRuns{}, nil, Decision{}},
		{AccountRuns{Active: list(a), Waiting: list(w)}, nil, Decision{}},
		{AccountRuns{Waiting: list(w, w2)}, nil, Decision{Start: []string{"w", "w2"}}},
		{AccountRuns{Waiting: list(w, run("w3", "daily", "vpc"), w2)}, nil, Decision{Start: []string{"w", "w2"}}},
		{AccountRuns{Waiting: list(until(w, now.Add(-time.Second)), w2)}, nil,
			Decision{Start: []string{"w2"}, Expire: []string{"w"}}},
		{AccountRuns{Waiting: list(until(w, now))}, nil, Decision{Expire: []string{"w"}}},
		{AccountRuns{Waiting: list(until(w, now.Add(time.Second)))}, nil, Decision{Start: []string{"w"}}},
		{AccountRuns{Active: list(a), Waiting: list(until(w, now.Add(-time.Second)))}, nil, Decision{}},
		{AccountRuns{Draining: true, Active: list(a, run("b", "hourly", "subnet")), Waiting: list(w, w2)}, nil,
			Decision{Skip: []string{"w", "w2", "b"}}},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			c.runs.Now = now
			var got Decision
			if c.due != nil {
				got = c.runs.Due(*c.due)
			} else {
				got = c.runs.Finished()
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v\n got %+v\nwant %+v", c.runs, got, c.want)
			}
		})
	}
}
