package api

import (
	"net/http"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/web/act"
)

// A route is a row of the table: what a client may ask, and what answers.
type route struct {
	path       string // of package http
	summary    string
	parameters []query.Parameter
	paged      bool     // cursor and limit select a page
	after      bool     // the cursor's parameter is after, and events resume after Last-Event-ID
	streams    []string // media types of the answer besides JSON: those have all rows
	answer     any      // a value of the answer's type, for its schema
	otherItem  any      // what the items of the answer are with some parameters
	example    string   // a path with parameters that a test asks
	status     int      // of the answer to an act; 0: it is a question
	body       any      // of an act: a value of its type, which is the example; nil: it has none
	serve      func(a *API, w http.ResponseWriter, r *request) error
}

// afterName is the parameter of changes that has a cursor.
const afterName = "after"

// routes returns the table. All paths begin with Prefix.
func routes() []route { return append(questions(), acts()...) }

// acts are the routes that act, with POST.
func acts() []route {
	one := func(verb, summary string) route {
		return route{
			path: Prefix + "accounts/{name}/" + verb, summary: summary, example: "accounts/prod/" + verb,
			status: http.StatusOK,
		}
	}
	start := one("run", "Start a run of the account now, by its overlap rule")
	start.status, start.answer, start.serve = http.StatusAccepted, act.Started{}, (*API).startRun
	cancel := one("cancel", "Cancel the runs of the account that are in progress or wait")
	cancel.status, cancel.answer, cancel.serve = http.StatusAccepted, act.Cancelled{}, (*API).cancelRuns
	pause := one("pause", "Pause the schedule of the account until it is resumed")
	pause.body, pause.answer, pause.serve = note{"migration until Friday"}, act.PauseState{}, (*API).pause
	resume := one("resume", "Let the schedule of the account apply again")
	resume.answer, resume.serve = act.PauseState{}, (*API).resume
	check := one("check", "Sign in to the account and check its permissions, as collector check does")
	check.answer, check.serve = map[string]any{}, (*API).check
	mfa := one("mfa", "Begin an MFA session of the account with a code of its device")
	mfa.body, mfa.answer, mfa.serve = code{"123456"}, act.Session{}, (*API).mfa
	acknowledge := one("acknowledge", "Acknowledge a failure of the account until it changes")
	acknowledge.body = act.Failure{Reason: record.AccessDenied, Kind: "ec2_volume", Note: "ticket 4711"}
	acknowledge.answer, acknowledge.serve = runner.Acknowledgement{}, (*API).acknowledge
	return []route{start, cancel, pause, resume, check, mfa, acknowledge}
}

// questions are the routes that only read.
func questions() []route {
	resources := []query.Parameter{query.Kind, query.Account, query.Region, query.Where}
	one := []query.Parameter{query.Account, query.Region}
	with := func(parameters []query.Parameter, more ...query.Parameter) []query.Parameter {
		return append(append([]query.Parameter{}, parameters...), more...)
	}
	return []route{
		{
			path: Prefix + "coverage", summary: "The state of each account and region, and what is overdue",
			parameters: []query.Parameter{query.Account, query.Region, query.Problems, query.GroupBy}, paged: true,
			answer: set[query.CoverageLine]{}, otherItem: query.GroupLine{},
			example: "coverage?problems=true", serve: (*API).coverage,
		},
		{
			path: Prefix + "accounts", summary: "The accounts: identity, sign-in, regions, runs",
			parameters: []query.Parameter{query.Account}, paged: true,
			answer: set[account]{}, example: "accounts?account=*", serve: (*API).accounts,
		},
		{
			path: Prefix + "accounts/{name}", summary: "One account, with its last runs and what it cannot list",
			answer: accountDetails{}, example: "accounts/prod", serve: (*API).account,
		},
		{
			path: Prefix + "runs", summary: "The runs, the latest first, with the ticks that had none",
			parameters: []query.Parameter{query.Account, query.RunsSince, query.Status}, paged: true,
			answer: set[query.RunLine]{}, example: "runs?since=1d&status=failed,partial", serve: (*API).runs,
		},
		{
			path: Prefix + "runs/{run}", summary: "One run, with the causes of its failures",
			answer: query.RunLine{}, example: "runs/{run}", serve: (*API).run,
		},
		{
			path: Prefix + "resources", summary: "The resources of now or of an instant; NDJSON and CSV have all rows",
			parameters: with(resources, query.Search, query.At, query.Fields, query.Details), paged: true,
			streams: []string{typeNDJSON, typeCSV}, answer: set[query.ResourceLine]{}, otherItem: map[string]any{},
			example: "resources?kind=instance&where=state%3Drunning", serve: (*API).resources,
		},
		{
			path: Prefix + "resources/{kind}/{id}", summary: "One resource in full, of now or of an instant",
			parameters: with(one, query.At),
			answer:     query.ResourceLine{}, example: "resources/{kind}/{id}", serve: (*API).resource,
		},
		{
			path: Prefix + "resources/{kind}/{id}/history", summary: "The versions of a resource, oldest first",
			parameters: one, paged: true,
			answer: set[query.VersionLine]{}, example: "resources/{kind}/{id}/history", serve: (*API).history,
		},
		{
			path: Prefix + "resources/{kind}/{id}/related", summary: "What a resource points at, and what points at it",
			parameters: with(one, query.At), paged: true,
			answer: set[Related]{}, example: "resources/{kind}/{id}/related", serve: (*API).related,
		},
		{
			path: Prefix + "diff", summary: "What was added, changed and gone between two instants",
			parameters: with(resources, query.From, query.To, query.Details), paged: true, streams: []string{typeNDJSON},
			answer: set[change]{}, example: "diff?from=3d", serve: (*API).diff,
		},
		{
			path: Prefix + "changes", summary: "What was added, changed and gone, in order; as events also what follows",
			parameters: with(resources, query.ChangesSince, query.Details), paged: true, after: true,
			streams: []string{typeNDJSON, typeEvents}, answer: set[change]{}, example: "changes?since=1d", serve: (*API).changes,
		},
		{
			path: Prefix + "kinds", summary: "The kinds of resources, with the API operation and the IAM action of each",
			answer: catalogue{}, example: "kinds", serve: (*API).kinds,
		},
		{
			path: Prefix + "status", summary: "The state of the program: outputs, store, engine",
			answer: Status{}, example: "status", serve: (*API).status,
		},
		{
			path: Prefix + "openapi.json", summary: "This contract",
			answer: map[string]any{}, example: "openapi.json", serve: (*API).openAPI,
		},
		{
			path: Prefix + "events", summary: "Server-sent events: which accounts changed",
			streams: []string{typeEvents}, serve: (*API).events,
		},
	}
}

// media are the media types of the answers of a route, its default first.
func (r *route) media() []string {
	if r.answer == nil {
		return r.streams
	}
	return append([]string{typeJSON}, r.streams...)
}

// cursorName is the parameter with the cursor; "" without pages.
func (r *route) cursorName() string {
	switch {
	case r.after:
		return afterName
	case r.paged:
		return cursorParameter
	}
	return ""
}

// parameterNames are all parameters that a client may give.
func (r *route) parameterNames() []string {
	var names []string
	for i := range r.parameters {
		names = append(names, r.parameters[i].Name)
	}
	if r.paged {
		names = append(names, query.Limit.Name, r.cursorName())
	}
	return names
}
