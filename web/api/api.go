// Package api answers questions about the inventory over HTTP, below /api/v1: coverage, accounts, runs, resources and
// their history, changes, the catalogue, and the state of the program. It reads the store, the status board and the
// accounts of the configuration. Its POST routes act, by package act. Who may ask, who may act, and how many at once,
// is the business of package web. Begin at [New]; routes.go is the table of routes, from which openapi.go makes the
// contract.
package api

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/web/act"
)

// Prefix is where all routes are.
const Prefix = "/api/v1/"

// A Store is what the inventory answers.
type Store interface {
	inventory.Reader
	inventory.RunReader
}

// Options configure an API.
type Options struct {
	Store    Store // nil: nothing is stored
	Board    *board.Board
	Accounts func() query.Accounts // of the configuration in force
	Kinds    query.Catalogue
	// Relations are the members that hold ids, for what is related. It is called for each such question.
	Relations func() []Relation
	Status    func() Status
	Acts      *act.Acts
	// Actor returns who acts with a request; its error says why nobody may.
	Actor func(*http.Request) (string, error)
	Log   *slog.Logger // nil: no log
}

// An API answers requests.
type API struct {
	o      Options
	mux    *http.ServeMux
	routes map[string]*route // by path
	source query.Source      // of coverage: the store, or the board
	cache  coverageCache
}

// New returns an API.
func New(o Options) *API {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{o: o, mux: http.NewServeMux(), routes: map[string]*route{}, source: query.BoardSource{Board: o.Board}}
	if o.Store != nil {
		a.source = o.Store
	}
	table := routes()
	for i := range table {
		a.routes[table[i].path] = &table[i]
		a.mux.Handle(table[i].path, a.handler(&table[i]))
	}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("no route %.200q", r.URL.Path),
			Hint: "See " + Prefix + "openapi.json for all routes."})
	})
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// Streams reports whether the answer to a request may last long: all rows, for which a connection of the store is held
// until the client has read them, or events as they come.
func (a *API) Streams(r *http.Request) (rows, events bool) {
	_, path := a.mux.Handler(r)
	rt := a.routes[path]
	if rt == nil {
		return false, false
	}
	media := acceptable(r, rt.media())
	return media == typeNDJSON || media == typeCSV, media == typeEvents
}

// A request is a question to a route.
type request struct {
	*http.Request
	route    *route
	values   url.Values
	question query.Question
	media    string // of the answer
	cursor   cursor // where the page begins
	who      string // acts, in a POST
}

// Acts reports whether a request acts, which may last long.
func (*API) Acts(r *http.Request) bool { return r.Method == http.MethodPost }

// handler checks the method, the parameters and the media type, and writes an error as a problem.
func (a *API) handler(rt *route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parse, method, allow := a.parse, http.MethodGet, "GET, HEAD"
		if rt.status != 0 {
			parse, method, allow = a.parseAct, http.MethodPost, "POST"
		}
		if r.Method != method && (r.Method != http.MethodHead || method != http.MethodGet) {
			w.Header().Set("Allow", allow)
			writeProblem(w, problem{Status: http.StatusMethodNotAllowed, Detail: "this route supports only " + method})
			return
		}
		req, err := parse(rt, r)
		if err == nil {
			err = rt.serve(a, w, req)
		}
		if err != nil {
			a.fail(w, r, err)
		}
	})
}

// fail answers with a problem.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	var p problem
	if errors.As(err, &p) {
		writeProblem(w, p)
		return
	}
	if r.Context().Err() != nil {
		writeProblem(w, errInterrupted())
		return
	}
	a.o.Log.Warn("API request failed", "path", r.URL.Path, "error", err)
	writeProblem(w, storeProblem(err))
}

// parse reads the parameters of a request. An unknown one is refused by its name.
func (a *API) parse(rt *route, r *http.Request) (*request, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, problem{Status: http.StatusBadRequest, Detail: "the query of the URL: " + err.Error()}
	}
	known := rt.parameterNames()
	for name := range values {
		if slices.Contains(known, name) {
			continue
		}
		p := problem{Status: http.StatusBadRequest, Detail: fmt.Sprintf("unknown parameter %.100q", name)}
		if nearest := query.Nearest(name, known); nearest != "" {
			p.Hint = "Did you mean " + nearest + "?"
		} else if len(known) > 0 {
			p.Hint = "Use " + strings.Join(known, ", ") + "."
		}
		return nil, p
	}
	if !query.IsText(r.URL.Path) {
		return nil, notText(r.URL.Path)
	}
	req := &request{Request: r, route: rt, values: values}
	if req.media = acceptable(r, rt.media()); req.media == "" {
		return nil, problem{Status: http.StatusNotAcceptable,
			Detail: fmt.Sprintf("no media type of this route matches Accept %.100q", r.Header.Get("Accept")),
			Hint:   "Accept " + strings.Join(rt.media(), ", ") + "."}
	}
	o := query.Options{Now: time.Now().UTC(), Kinds: a.o.Kinds}
	parameters := rt.parameters
	if rt.paged {
		parameters = append(parameters[:len(parameters):len(parameters)], query.Limit)
	}
	if req.question, err = query.Parse(values, parameters, o); err != nil {
		return nil, problem{Status: http.StatusBadRequest, Detail: err.Error()}
	}
	if err := req.parsePage(); err != nil {
		return nil, err
	}
	return req, nil
}

func notText(path string) problem {
	return problem{Status: http.StatusBadRequest, Detail: fmt.Sprintf("the path %.200q is not text in UTF-8", path)}
}

// parsePage reads the cursor and the size of the page.
func (r *request) parsePage() (err error) {
	if !r.route.paged {
		return nil
	}
	switch limit := &r.question.Limit; {
	case *limit > maxPage || r.values.Get(query.Limit.Name) != "" && *limit < 1:
		return problem{Status: http.StatusBadRequest,
			Detail: fmt.Sprintf("limit: %d is not a number from 1 to %d", *limit, maxPage),
			Hint:   "Follow next for more rows, or accept " + typeNDJSON + " where a route has it."}
	case *limit == 0:
		*limit = defaultPage
	}
	text := r.values.Get(r.route.cursorName())
	if last := r.Header.Get("Last-Event-ID"); r.route.after && last != "" && r.media == typeEvents {
		text = last
	}
	r.cursor, err = parseCursor(text, r.fingerprint())
	return err
}
