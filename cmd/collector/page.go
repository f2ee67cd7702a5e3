package main

import (
	"cmp"
	"net/http"
	"time"

	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/web"
	"github.com/aws-collector/collector/web/act"
	"github.com/aws-collector/collector/web/api"
	"github.com/aws-collector/collector/web/page"
)

// pageRoutes makes the page.
func (p *program) pageRoutes(
	groupBy []string, questions *api.API, acts *act.Acts, guard *web.Guard,
) (map[string]http.Handler, error) {
	o := page.Options{
		Board: p.board, Accounts: func() query.Accounts { return *p.configured.Load() }, Kinds: account.Catalogue(),
		GroupBy: groupBy, Problems: p.problems, Version: buildInfo().version, Log: p.log,
		Acts: acts, Actor: guard.Actor,
	}
	if p.store.Driver != nil {
		o.Store, o.Related = p.store.Driver, questions.Related
	}
	pages, err := page.New(o)
	if err != nil {
		return nil, err
	}
	return pages.Routes(), nil
}

// A refusedReload is a configuration that was not taken.
type refusedReload struct {
	at  time.Time
	err error
}

const (
	// outputLag is how long a spool may hold its oldest record before the page calls its output late.
	outputLag = 5 * time.Minute
	// outputGrace is how long an output that loses nothing may fail before the page says so: a receiver that restarts
	// needs no person.
	outputGrace = time.Minute
)

// problems are what every view of the page shows while it lasts.
func (p *program) problems() []page.Problem {
	var all []page.Problem
	if r := p.refused.Load(); r != nil {
		all = append(all, page.Problem{
			Title: "The changed configuration was refused, and the one before it stays in force", Since: r.at,
			Text: printable.Lines(r.err.Error()), Hint: record.HintOf(r.err),
		})
	}
	if p.store.Inventory != nil {
		if h := p.store.Inventory.Health(); h.Err != nil {
			all = append(all, page.Problem{
				Title: "Store writes fail: listing and delivery continue, and the history has a gap", Since: h.Since,
				Text: h.Err.Error(), Hint: record.HintOf(h.Err),
			})
		}
	}
	for _, reason := range p.dataDir.NotReadyReasons() {
		all = append(all, page.Problem{Title: "data_dir is not usable", Text: reason})
	}
	for _, s := range p.outputs.States() {
		if problem, ok := outputProblem(s, time.Now()); ok {
			all = append(all, problem)
		}
	}
	return all
}

// outputProblem returns what the page says about an output, if it says anything.
func outputProblem(s deliver.State, now time.Time) (page.Problem, bool) {
	failing := !s.Up || s.Error != ""
	switch {
	case failing && !(s.Ready && now.Sub(s.Since) < outputGrace):
		return page.Problem{
			Title: "Output " + s.Name + " fails", Since: s.Since, Text: s.Error, Hint: s.Hint, Retrying: s.Ready,
		}, true
	case s.Spool != nil && !s.Spool.Oldest.IsZero() && now.Sub(s.Spool.Oldest) > outputLag:
		return page.Problem{
			Title: "Output " + s.Name + " is late", Since: s.Spool.Oldest, Retrying: true,
			Text: cmp.Or(s.Error, "its oldest record waits since then."),
		}, true
	}
	return page.Problem{}, false
}
