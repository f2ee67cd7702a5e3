package main

import (
	"iter"
	"sync/atomic"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/web"
)

// boardView converts the status board for package web, which does not know the runner. The current configuration says
// when each target is due again.
type boardView struct {
	board   *runner.Board
	current *atomic.Pointer[runner.Configuration]
}

func (v boardView) Accounts() []web.Account {
	var all []web.Account
	for a := range v.board.Accounts() {
		out := web.Account{
			Name: a.Name, Identity: a.Identity, Expires: a.Expires, Next: a.Next,
			Organization: query.IsOrganization(a.Name),
		}
		if len(a.Running) > 0 {
			out.Running = a.Running[0].Started
		}
		if l := a.Last; l.Run != "" {
			out.Last = web.Run{Status: l.Status, Ended: l.Started.Add(l.Took), Took: l.Took, Records: l.Records}
		}
		if a.Warning != nil {
			out.Warning = a.Warning.Error()
		}
		all = append(all, out)
	}
	return all
}

func (v boardView) Targets() iter.Seq[web.Target] {
	return func(yield func(web.Target) bool) {
		calendar := runner.NewCalendar(v.current.Load())
		for t := range v.board.Targets() {
			due := calendar.Due(t.Account, t.Kind, t.LastSuccess)
			target := web.Target{Outcome: t.Outcome, LastSuccess: t.LastSuccess, Due: due, Resources: t.Resources}
			if !yield(target) {
				return
			}
		}
	}
}
