// Package page serves the web page: which accounts are collected, why one is not, what is there and what changed. It is
// made on the server and works without a script; state is in the URL. It reads the status board, which is in memory,
// and the store. Its forms act, by package act, for those who may. Its headers are set by package web. Begin at [New]
// and Page.routes.
package page

import (
	"bytes"
	"context"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/web/act"
	"github.com/aws-collector/collector/web/api"
)

// A Store is the store as the page reads it.
type Store interface {
	inventory.Reader
	inventory.RunReader
}

// Options configure a Page.
type Options struct {
	Board    *board.Board
	Accounts func() query.Accounts // of the configuration in force
	Kinds    query.Catalogue
	GroupBy  []string         // tags to group accounts by: web.label_tags
	Store    Store            // nil: nothing is stored
	Problems func() []Problem // of outputs, the store and the configuration
	// Related returns what a resource points at, and what points at it; nil: that is not known.
	Related func(ctx context.Context, res *inventory.Resource, at time.Time) ([]api.Related, error)
	Acts    *act.Acts // nil: there are no forms that act
	// Actor returns who acts with a request; its error says why nobody may.
	Actor   func(*http.Request) (string, error)
	Version string
	Log     *slog.Logger
}

// A Problem is something that every view shows while it lasts.
type Problem struct {
	Title string // "Output s3 fails"
	Text  string // the error
	Hint  string
	Since time.Time // zero: not known
	// Retrying means that it may end by itself; else a person must act.
	Retrying bool
}

// Tone returns the class of the problem's colour.
func (p Problem) Tone() tone {
	if p.Retrying {
		return toneWait
	}
	return toneAct
}

// A Page answers the requests of browsers. It is safe for concurrent use.
type Page struct {
	o      Options
	assets *assets
	views  map[string]*template.Template

	coverages memo[*coverage]
	changes24 memo[*changeCounts]
}

// How long views share what they read. Many readers then cost as much as one.
const (
	coverageTTL = time.Second
	changesTTL  = 30 * time.Second
)

// New returns the page.
func New(o Options) (*Page, error) {
	a, err := newAssets()
	if err != nil {
		return nil, err
	}
	p := &Page{o: o, assets: a, views: map[string]*template.Template{}}
	shared, err := template.New("").Funcs(p.functions()).ParseFS(templateFiles, "templates/shared/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse the templates of the page: %w", err)
	}
	files, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("list the templates of the page: %w", err)
	}
	for _, file := range files {
		view := template.Must(shared.Clone())
		if view, err = view.ParseFS(templateFiles, file); err != nil {
			return nil, fmt.Errorf("parse the templates of the page: %w", err)
		}
		p.views[path.Base(file)] = view
	}
	return p, nil
}

func (p *Page) functions() template.FuncMap {
	return template.FuncMap{
		"asset": p.assets.url, "glyphs": glyphs, "number": number, "count": count, "span": span, "code": code,
		"kind": kindName, "accountURL": accountURL, "states": func() []stateInfo { return stateTable },
		"ageBars": func() []ageBar { return append(slices.Clone(ageBars[:]), neverComplete) },
		"shape":   func(s ageBar) string { return "M0 0" + s.shape },
		"words":   func(s ageBar) string { return s.words },
		"shorten": shorten, "runURL": runURL, "missedWords": missedLegend,
	}
}

// Routes returns the handlers of the page by their patterns, as [http.ServeMux] takes them.
func (p *Page) Routes() map[string]http.Handler {
	handlers := map[string]http.Handler{"GET /assets/": p.assets}
	for _, r := range p.routes() {
		handlers["GET "+r.pattern] = p.handle(r.view)
	}
	if p.o.Acts != nil {
		handlers["POST /accounts/{name}/check"] = http.HandlerFunc(p.handleCheck)
		for _, a := range actRoutes() {
			handlers["POST /accounts/{name}/"+a.verb] = p.handleAct(a)
		}
	}
	return handlers
}

// A route is a view and the pattern of its URLs.
type route struct {
	pattern string
	view    func(context.Context, *request) (content, error)
}

func (p *Page) routes() []route {
	return []route{
		{"/{$}", p.coverageView},
		{"/accounts/{name}", p.accountView},
		{"/runs", p.runsView},
		{"/runs/{run}", p.runView},
		{"/inventory", p.inventoryView},
		{"/resources/{kind}/{id}", p.resourceView},
		{"/changes", p.changesView},
	}
}

// A content is what a view shows.
type content struct {
	template string // its file
	title    string // of the window
	tab      string // the URL of the current tab
	data     any
	status   int // 0: 200
}

// A frame is what every view has around its content.
type frame struct {
	moment
	Title    string
	Tabs     []tab
	Theme    string // "", light or dark
	Version  string
	Problems []Problem
	Unknown  []string // parameters of the URL that are not understood
	Query    string   // of the search field
	Frozen   bool     // the view is of an earlier instant: it does not change
	View     any
}

type tab struct {
	Name, URL string
	Current   bool
}

// tabs are the views that the top bar names.
var tabs = [...]tab{
	{Name: "Coverage", URL: "/"}, {Name: "Runs", URL: "/runs"}, {Name: "Inventory", URL: "/inventory"},
	{Name: "Changes", URL: "/changes"},
}

func (p *Page) handle(view func(context.Context, *request) (content, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		req := newRequest(r, time.Now())
		c, err := badQuestion(errNoText, "/"), error(nil)
		if query.IsText(r.URL.Path) {
			c, err = view(r.Context(), req)
		}
		if err != nil {
			if r.Context().Err() != nil {
				return // the client has gone
			}
			p.o.Log.Warn("view of the page failed", "path", r.URL.Path, "error", err)
			c = failed(err)
		}
		p.answer(w, req, c)
	}
}

// answer writes a view.
func (p *Page) answer(w http.ResponseWriter, r *request, c content) {
	text, err := p.render(c, r)
	if err != nil {
		p.o.Log.Error("rendering the page failed", "path", r.URL.Path, "error", err)
		http.Error(w, "Rendering the page failed. See the log and /metrics.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if c.status != 0 {
		w.WriteHeader(c.status)
	}
	_, _ = w.Write(text) // an error means that the client has gone
}

func (p *Page) render(c content, r *request) ([]byte, error) {
	f := frame{
		moment: moment{r.now}, Title: c.title, Theme: r.theme, Version: p.o.Version, Unknown: r.unknown(),
		Query: r.values.Get("q"), Frozen: r.understood("at") || r.understood("to"), View: c.data,
	}
	if p.o.Problems != nil {
		f.Problems = p.o.Problems()
	}
	for _, t := range tabs {
		t.Current = t.URL == c.tab
		f.Tabs = append(f.Tabs, t)
	}
	var b bytes.Buffer
	if err := p.views[c.template].ExecuteTemplate(&b, "layout", f); err != nil {
		return nil, fmt.Errorf("template %s: %w", c.template, err)
	}
	return visibleMarks(b.Bytes()), nil
}

// visibleMarks replaces characters that change the direction of the text around them, so that a name cannot make its
// neighbours read as something else. No view has such a character of its own.
func visibleMarks(text []byte) []byte {
	if !bytes.ContainsAny(text, directionMarks) {
		return text
	}
	return bytes.Map(func(r rune) rune {
		if strings.ContainsRune(directionMarks, r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

const directionMarks = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"

// A message is a view that only says something.
type message struct {
	Heading, Text, Hint string
	Back                link
}

// failed is the view of an error. What is in memory is on the coverage page.
func failed(err error) content {
	return content{template: "message.html", title: "Not available", status: http.StatusServiceUnavailable, data: message{
		Heading: "Reading the store failed", Text: err.Error(),
		Hint: "Try again. Coverage comes from memory and does not need the store.", Back: link{Text: "Coverage", URL: "/"},
	}}
}

func (p *Page) coverage(ctx context.Context, now time.Time) (*coverage, error) {
	return p.coverages.get(now, coverageTTL, func() (*coverage, error) { return p.readCoverage(ctx, now) })
}

// A memo keeps a value for some time.
type memo[T any] struct {
	mu    sync.Mutex
	until time.Time // zero: no value
	value T
}

// forget makes the next get read.
func (m *memo[T]) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.until = time.Time{}
}

// get returns the value, and makes a new one if it is older than ttl, or than nine times what it took to make: it is
// made for at most a tenth of the time. Others wait meanwhile.
func (m *memo[T]) get(now time.Time, ttl time.Duration, read func() (T, error)) (T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !now.Before(m.until) {
		began := time.Now()
		value, err := read()
		if err != nil {
			return value, err
		}
		m.value, m.until = value, now.Add(max(ttl, 9*time.Since(began)))
	}
	return m.value, nil
}
