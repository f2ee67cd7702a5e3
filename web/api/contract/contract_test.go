// Package contract holds the API to its contract, the OpenAPI document, from outside: with a validator of OpenAPI, and
// with a client that is generated from it. It is a module of its own, because these need modules that the program does
// not need. Package api tests that the document is that of its table of routes.
package contract

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/errors"
	"go.uber.org/goleak"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/web/act"
	"github.com/aws-collector/collector/web/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newAPI returns an API over an account with one instance, one run and a kind that cannot be listed, and the id of the
// run. Its acts are those of an engine.
func newAPI(t *testing.T, engine *fakeEngine) (a *api.API, run string) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "collector.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Now()
	run = ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String()
	for _, state := range []string{"running", "stopped"} {
		item := inventorytest.Item{ID: "i-1", State: state}
		if err := inventorytest.List(t, inventory.New(store, inventory.Options{}), run, item); err != nil {
			t.Fatal(err)
		}
	}
	if err := store.EndRun(t.Context(), inventory.Run{
		ID: run, Account: "prod", Tick: now, Started: now, Ended: now, Status: record.RunPartial,
		Causes: []inventory.Cause{{State: record.Denied, Reason: record.AccessDenied, Targets: 1}},
	}); err != nil {
		t.Fatal(err)
	}
	status := board.New()
	target, identity := inventorytest.Target()
	directives, err := runner.OpenDirectives("", nil)
	if err != nil {
		t.Fatal(err)
	}
	status.Observe(runner.Configured{
		Kinds:         map[string][]string{"prod": {"ec2_instance", "ec2_volume"}, "new": {"ec2_instance"}},
		Configuration: &runner.Configuration{Directives: directives},
	})
	status.Observe(runner.SignedIn{Account: "prod", Identity: identity})
	status.Observe(runner.TargetEnded{Outcome: record.Outcome{Target: target, State: record.OK, Run: run, Ended: now}})
	target.Kind = "ec2_volume"
	status.Observe(runner.TargetEnded{Outcome: record.Outcome{
		Target: target, State: record.Denied, Reason: record.AccessDenied, Run: run, Ended: now,
	}})
	return api.New(api.Options{
		Acts: act.New(act.Options{
			Engine: engine, Board: status, Directives: directives, Check: engine.check, Login: engine.login,
		}),
		Actor: engine.actor,
		Store: store, Board: status, Kinds: query.Catalogue{{Kind: "ec2_instance", Service: "ec2"}},
		Accounts:  func() query.Accounts { return query.Accounts{} },
		Relations: func() []api.Relation { return nil },
		Status: func() api.Status {
			return api.Status{Started: now, Outputs: []api.OutputStatus{{Name: "kafka", Spool: new(api.SpoolStatus)}}}
		},
	}), run
}

// An operation is what the document says of a method of a path.
type operation struct {
	Description string
	RequestBody struct {
		Content map[string]struct{ Example json.RawMessage }
	}
	Responses map[string]struct{ Content map[string]any }
}

// isEvents reports whether the answer has no end.
func (o *operation) isEvents() bool {
	types := slices.Collect(maps.Keys(o.Responses["200"].Content))
	return slices.Equal(types, []string{"text/event-stream"})
}

// A checker asks an API, and holds the questions and the answers to its document.
type checker struct {
	*testing.T
	api       *api.API
	engine    *fakeEngine // of the acts
	names     *strings.Replacer
	validator validator.Validator
	paths     map[string]map[string]operation
}

func newChecker(t *testing.T) *checker {
	t.Helper()
	engine := &fakeEngine{}
	a, run := newAPI(t, engine)
	c := &checker{T: t, api: a, engine: engine, names: strings.NewReplacer(
		"{run}", run, "{kind}", "instance", "{id}", "i-1", "{name}", "prod",
		"i-0123456789abcdef0", "i-1", "01JDEXAMPLE0000000000000000", run, "at=7d", "at=0s",
	)}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(http.MethodGet, api.Prefix+"openapi.json", nil))
	doc, err := libopenapi.NewDocument(w.Body.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var errs []error
	if c.validator, errs = validator.NewValidator(doc); len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, errs := c.validator.ValidateDocument(); !ok {
		for _, err := range errs {
			t.Errorf("the document: %+v", err)
		}
	}
	var parsed struct {
		Paths map[string]map[string]operation
	}
	if err := json.Unmarshal(w.Body.Bytes(), &parsed); err != nil {
		t.Fatal(err)
	}
	c.paths = parsed.Paths
	return c
}

// ask asks a question, which the document must allow, and checks the answer.
func (c *checker) ask(method, path string, headers ...string) *http.Response {
	c.Helper()
	return c.send(method, path, nil, headers...)
}

// act sends the body of an act, which the document must allow, as somebody, and checks the answer.
func (c *checker) act(path, who string, body []byte) *http.Response {
	c.Helper()
	return c.send(http.MethodPost, path, body, "Authorization", who, "Content-Type", "application/json")
}

func (c *checker) send(method, path string, body []byte, headers ...string) *http.Response {
	c.Helper()
	newRequest := func() *http.Request {
		r := httptest.NewRequestWithContext(c.Context(), method, c.names.Replace(path), bytes.NewReader(body))
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		return r
	}
	w := httptest.NewRecorder()
	c.api.ServeHTTP(w, newRequest())
	answer := w.Result()
	check := func() (bool, []*errors.ValidationError) {
		return c.validator.ValidateHttpRequestResponse(newRequest(), answer)
	}
	if answer.Header.Get("Content-Type") == "application/x-ndjson" {
		// The validator takes each type whose name contains json for one JSON value.
		check = func() (bool, []*errors.ValidationError) { return c.validator.ValidateHttpRequest(newRequest()) }
	}
	if ok, errs := check(); !ok {
		for _, err := range errs {
			c.Errorf("%s %s: %+v", method, path, err)
		}
	}
	return answer
}

// Every example of the document is asked and answered as the document says. An operation without an example fails, but
// for events, which have no end.
func TestExamples(t *testing.T) {
	c := newChecker(t)
	asked := 0
	for path, operations := range c.paths {
		for method, op := range operations {
			method = strings.ToUpper(method)
			example, ok := strings.CutPrefix(op.Description, "Example: "+method+" ")
			if !ok && op.isEvents() {
				continue
			}
			if !ok {
				t.Errorf("%s %s has no example", method, path)
				continue
			}
			asked++
			if method != http.MethodGet {
				c.actExample(path, example, &op)
				continue
			}
			if answer := c.ask(method, example); answer.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", example, answer.Status)
			}
			bare, _, _ := strings.Cut(example, "?")
			c.ask(method, bare)
		}
	}
	if asked < 14 {
		t.Errorf("only %d examples were asked", asked)
	}
}

// What docs/api.md asks is in the document. So a route that it lacks fails here.
func TestDocumentedQuestions(t *testing.T) {
	c := newChecker(t)
	text, err := os.ReadFile("../../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for line := range strings.Lines(string(text)) {
		_, rest, isCommand := strings.Cut(line, "'http://127.0.0.1:9420/api")
		question, _, _ := strings.Cut(rest, "'")
		if !isCommand || strings.Contains(line, " -N") || strings.Contains(line, "-sN") || strings.Contains(line, "-X") ||
			strings.Contains(line, "--data-urlencode") {
			continue
		}
		asked++
		var headers []string
		if _, accept, has := strings.Cut(line, "'Accept: "); has {
			accept, _, _ = strings.Cut(accept, "'")
			headers = []string{"Accept", accept}
		}
		if answer := c.ask(http.MethodGet, "/api"+question, headers...); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", question, answer.Status)
		}
	}
	if asked < 15 {
		t.Errorf("only %d questions were asked", asked)
	}
}

// Errors are in the document.
func TestErrors(t *testing.T) {
	c := newChecker(t)
	for path, status := range map[string]int{
		"resources/instance/i-0": http.StatusNotFound, "runs/01JD": http.StatusNotFound,
		"resources?where=state%3D": http.StatusBadRequest, "accounts/nobody": http.StatusNotFound,
	} {
		if answer := c.ask(http.MethodGet, api.Prefix+path); answer.StatusCode != status {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
}

// The validator notices a route that the document lacks, a parameter and a member that it does not have.
func TestValidatorNotices(t *testing.T) {
	c := newChecker(t)
	notices := func(what, method, path, body string, status int) {
		r := httptest.NewRequest(method, api.Prefix+path, nil)
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "application/json")
		if status >= http.StatusBadRequest {
			w.Header().Set("Content-Type", "application/problem+json")
		}
		w.WriteHeader(status)
		_, _ = w.WriteString(body)
		if ok, _ := c.validator.ValidateHttpRequestResponse(r, w.Result()); ok {
			t.Errorf("%s: it is valid", what)
		}
	}
	fails := func(what, path, body string) { notices(what, http.MethodGet, path, body, http.StatusOK) }
	fails("a route", "nothing", `{}`)
	fails("a limit", "runs?limit=many", `{"items":[],"as_of":"2026-11-01T08:00:00Z"}`)
	fails("a missing member", "runs", `{"items":[]}`)
	fails("an unknown member", "runs", `{"items":[],"as_of":"2026-11-01T08:00:00Z","other":1}`)
	run := "accounts/prod/run"
	notices("a missing member of an act", http.MethodPost, run, `{}`, http.StatusAccepted)
	notices("a missing member of an error", http.MethodPost, run, `{"detail":"busy"}`, http.StatusConflict)
}
