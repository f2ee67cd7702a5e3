package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.uber.org/goleak"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/web/act"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fixture is an API over a store and a board that know the same: prod has instances in two regions and is denied its
// volumes; test has an instance with the id of one of prod's; new was never listed.
type fixture struct {
	*testing.T
	api   *API
	board *board.Board
	store *sqlite.Store
	inv   *inventory.Inventory
	runs  []string // ids, the latest first
	begin time.Time

	engine *fakeEngine
	acts   *act.Acts
	log    bytes.Buffer // of acts
}

const (
	prodID = "222222222222"
	testID = "111111111111"
)

func newFixture(t *testing.T) *fixture {
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
	fx := &fixture{
		T: t, board: board.New(), store: store, inv: inventory.New(store, inventory.Options{}),
		begin: time.Now().Add(-time.Second),
	}
	kinds := []string{"ec2_instance", "ec2_volume"}
	directives, err := runner.OpenDirectives("", nil)
	fx.must(err)
	conf := &runner.Configuration{Directives: directives}
	fx.board.Observe(runner.Configured{
		Kinds: map[string][]string{"prod": kinds, "test": kinds, "new": kinds}, Configuration: conf,
	})
	fx.engine = &fakeEngine{}
	fx.acts = act.New(act.Options{
		Engine: fx.engine, Board: fx.board, Directives: directives, Check: fx.engine.check, Login: fx.engine.login,
		Log: slog.New(slog.NewTextHandler(&fx.log, nil)),
	})
	fx.api = New(Options{
		Acts: fx.acts, Actor: func(r *http.Request) (string, error) {
			if who := r.Header.Get("User-Agent"); who != "" {
				return who, nil
			}
			return "", &record.Fault{Reason: record.Other, Hint: "Come here.", Err: errors.New("nobody acts from there")}
		},
		Store: store, Board: fx.board,
		Kinds: query.Catalogue{
			{Kind: "ec2_instance", Service: "ec2", Operation: "DescribeInstances", Action: "ec2:DescribeInstances"},
			{Kind: "ec2_volume", Service: "ec2", Operation: "DescribeVolumes", Action: "ec2:DescribeVolumes"},
		},
		Relations: func() []Relation {
			return []Relation{
				{Kind: "ec2_instance", Path: "Pad", To: "ec2_instance"},
				{Kind: "ec2_instance", Path: "Tags.Value", To: "ec2_instance"},
				{Kind: "ec2_instance", Path: "InstanceType", To: "ec2_volume"},
				{Kind: "ec2_volume", Path: "Pad", To: "ec2_volume", Named: true},
			}
		},
		Accounts: func() query.Accounts {
			return query.Accounts{Configuration: conf, Tags: map[string]map[string]string{"prod": {"team": "platform"}}}
		},
		Status: func() Status {
			return Status{Version: "v1", Started: fx.begin, Engine: EngineStatus{Type: "local"},
				Store:   StoreStatus{Type: "sqlite"},
				Outputs: []OutputStatus{{Name: "kafka", Type: "kafka", Up: true, Spool: &SpoolStatus{Records: 3}}}}
		},
	})
	fx.list("prod", "us-east-1", inventorytest.Item{ID: "i-1", State: "running"},
		inventorytest.Item{ID: "i-2", State: "running", Tags: map[string]string{"team": "a", "Name": `=cmd "x", y`}})
	fx.list("prod", "eu-west-1", inventorytest.Item{ID: "i-3", State: "stopped", Pad: "i-0"})
	fx.list("test", "us-east-1", inventorytest.Item{ID: "i-1", State: "running"}, inventorytest.Item{ID: "a/b c"})
	fx.list("prod", "us-east-1", inventorytest.Item{ID: "i-1", State: "stopped"}) // i-2 is gone
	fx.end("prod", "us-east-1", "ec2_volume", record.Denied)
	fx.storeRuns()
	return fx
}

func (fx *fixture) must(err error) {
	fx.Helper()
	if err != nil {
		fx.Fatal(err)
	}
}

func identityOf(account string) record.Identity {
	id := record.Identity{AccountID: prodID, Partition: "aws", ARN: "arn:aws:iam::" + prodID + ":user/x"}
	if account != "prod" {
		id.AccountID = testID
	}
	return id
}

// list stores a complete listing of instances.
func (fx *fixture) list(account, region string, items ...inventorytest.Item) {
	fx.Helper()
	fx.listing(record.Target{Account: account, Region: region, Kind: "ec2_instance"}, record.OK, items...)
}

func (fx *fixture) end(account, region, kind string, s record.State) {
	fx.Helper()
	fx.listing(record.Target{Account: account, Region: region, Kind: kind}, s)
}

func (fx *fixture) listing(target record.Target, s record.State, items ...inventorytest.Item) {
	fx.Helper()
	id := identityOf(target.Account)
	w, err := fx.inv.Begin(fx.Context(), target, id, "01JDRUN")
	fx.must(err)
	if len(items) > 0 {
		fx.must(w.Page(fx.Context(), inventorytest.Page(target, id, "01JDRUN", items...)))
	}
	o := record.Outcome{
		Target: target, Run: "01JDRUN", State: s, Records: len(items), Started: time.Now(), Ended: time.Now(),
	}
	if s == record.Denied {
		o.Reason, o.Error, o.Hint = record.AccessDenied, "EC2 denies it", "Allow ec2:DescribeVolumes."
	}
	fx.must(w.End(fx.Context(), o))
	fx.board.Observe(runner.SignedIn{Account: target.Account, Identity: id})
	fx.board.Observe(runner.TargetEnded{Outcome: o})
}

// storeRuns stores three runs of prod, one of them failed.
func (fx *fixture) storeRuns() {
	fx.Helper()
	for i := range 3 {
		at := time.Now().Add(time.Duration(i-3) * time.Minute)
		id, err := ulid.New(ulid.Timestamp(at), ulid.DefaultEntropy())
		fx.must(err)
		r := inventory.Run{
			ID: id.String(), Account: "prod", Tick: at, Started: at, Ended: at.Add(time.Second), Status: record.Success,
			Ticks: 1, Targets: map[record.State]int{record.OK: 2},
		}
		if i == 1 {
			r.Status, r.Failed, r.Targets = record.RunPartial, 1, map[record.State]int{record.OK: 1, record.Denied: 1}
			r.Causes = []inventory.Cause{{State: record.Denied, Reason: record.AccessDenied, Targets: 1}}
		}
		fx.must(fx.store.EndRun(fx.Context(), r))
		fx.runs = slices.Insert(fx.runs, 0, r.ID)
	}
	fx.must(fx.store.PutSignIn(fx.Context(), inventory.SignIn{
		Account: "prod", AccountID: prodID, Partition: "aws", ARN: identityOf("prod").ARN, Checked: time.Now(),
	}))
}

// ask asks a path below Prefix.
func (fx *fixture) ask(path string, headers ...string) *httptest.ResponseRecorder {
	fx.Helper()
	return answer(fx.Context(), fx.api, path, headers...)
}

func answer(ctx context.Context, a *API, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, Prefix+path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	return w
}

// get decodes the answer to a question that must succeed.
func get[T any](fx *fixture, path string) (v T) {
	fx.Helper()
	w := fx.ask(path)
	if w.Code != http.StatusOK {
		fx.Fatalf("%s: %d %s", path, w.Code, w.Body)
	}
	fx.must(json.Unmarshal(w.Body.Bytes(), &v))
	return v
}

// A page is a set whose items are of any type.
type page struct {
	Items   []map[string]any
	Next    string
	AsOf    time.Time `json:"as_of"`
	Unknown *unknown
}

// Every example answers with what the contract says, and so do errors. There is no route without an example, but for
// that of events, and no path in the contract without a route.
func TestExamplesFitTheContract(t *testing.T) {
	fx := newFixture(t)
	body, err := jsonschema.UnmarshalJSON(strings.NewReader(string(contract)))
	fx.must(err)
	doc, _ := body.(map[string]any)
	paths, _ := doc["paths"].(map[string]any)
	check := func(w *httptest.ResponseRecorder, where string, steps ...string) {
		t.Helper()
		schema := doc
		for _, step := range append(strings.Split(where, " "), steps...) {
			schema, _ = schema[step].(map[string]any)
		}
		if schema == nil {
			t.Errorf("%s: no schema", where)
			return
		}
		whole := maps.Clone(schema)
		whole["components"] = doc["components"]
		c := jsonschema.NewCompiler()
		c.DefaultDraft(jsonschema.Draft2020)
		c.AssertFormat()
		fx.must(c.AddResource("answer.json", whole))
		compiled, err := c.Compile("answer.json")
		fx.must(err)
		body, err := jsonschema.UnmarshalJSON(strings.NewReader(w.Body.String()))
		if err == nil {
			err = compiled.Validate(body)
		}
		if err != nil {
			t.Errorf("%s: %v\n%.2000s", where, err, w.Body)
		}
	}
	answerOf := strings.Fields("get responses 200 content application/json schema")
	actOf := func(status int) []string {
		return []string{"post", "responses", strconv.Itoa(status), "content", typeJSON, "schema"}
	}
	names := strings.NewReplacer("{run}", fx.runs[1], "{kind}", "instance", "{id}", "i-3")
	known := map[string]bool{}
	for _, rt := range routes() {
		if paths[rt.path] == nil {
			t.Errorf("%s: not in the contract", rt.path)
		}
		known[rt.path] = true
		if rt.status != 0 {
			body, err := json.Marshal(rt.body)
			fx.must(err)
			if rt.body == nil {
				body = nil
			}
			if w := fx.act(rt.example, "alice", string(body)); w.Code != rt.status {
				t.Errorf("example of %s: %d %s", rt.path, w.Code, w.Body)
			} else {
				check(w, "paths "+rt.path, actOf(rt.status)...)
			}
			continue
		}
		if rt.answer == nil {
			continue
		}
		w := fx.ask(names.Replace(rt.example))
		if w.Code != http.StatusOK || rt.example == "" {
			t.Errorf("example of %s: %d %s", rt.path, w.Code, w.Body)
			continue
		}
		check(w, "paths "+rt.path, answerOf...)
	}
	for path := range paths {
		if !known[path] {
			t.Errorf("%s: no route", path)
		}
	}
	for _, path := range []string{"resources?wehre=a", "nothing", "resources/instance/i-2", "resources/instance/i-1"} {
		w := fx.ask(path)
		if w.Code < 400 || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		check(w, "components schemas Problem")
	}
	check(fx.ask("coverage?group_by=tag:team"), "paths "+Prefix+"coverage", answerOf...)
	check(fx.ask("resources?fields=id,tags"), "paths "+Prefix+"resources", answerOf...)
}

// What a client gets wrong is named, with what to do.
func TestRefusals(t *testing.T) {
	fx := newFixture(t)
	next := get[page](fx, "resources?limit=1").Next
	for _, c := range []struct {
		path, accept string
		status       int
		detail, hint string
	}{
		{"resources?wehre=id%3Da", "", 400, `unknown parameter "wehre"`, "Did you mean where?"},
		{"kinds?limit=2", "", 400, `unknown parameter "limit"`, ""},
		{"runs?q=x", "", 400, `unknown parameter "q"`, "Use account, since, status, limit, cursor."},
		{"resources?where=id", "application/xml", 406, "Accept", "Accept application/json, application/x-ndjson, text/csv."},
		{"resources?kind=instnace", "", 400, "did you mean ec2_instance?", ""},
		{"resources?where=state%3D", "", 400, "where: at character 7", ""},
		{"resources?at=3d&at=4d", "", 400, "at: is given more than once", ""},
		{"resources?limit=0", "", 400, "limit: 0 is not a number from 1 to 1000", "Follow next"},
		{"resources?limit=1001", "", 400, "limit: 1001", ""},
		{"resources?cursor=zz", "", 400, "the cursor is not one of this API", ""},
		{"resources?kind=volume&cursor=" + next, "", 400, "the cursor belongs to another question", ""},
		{"diff", "", 400, "the parameter from is missing", "Set from"},
		{"diff?from=1h&to=2h", "", 400, "is not before", ""},
		{"accounts/nobody", "", 404, `no account has the name "nobody"`, ""},
		{"runs/01JD", "", 404, `no run with the id "01JD"`, ""},
		{"resources/nothing/x", "", 404, "unknown kind", ""},
		{"resources/instance/i-0", "", 404, `no resource has the id "i-0"`, ""},
		{"resources/instance/i-2", "", 404, `"i-2" is gone since`, "/history"},
		{"resources/instance/i-1", "", 409, "2 resources have this id", "Set account and region"},
		{"resources?account=a%00b", "", 400, `account: "a\x00b" is not text in UTF-8`, ""},
		{"resources/instance/i%ff", "", 400, "is not text in UTF-8", ""},
		{"runs/%00", "", 400, "is not text in UTF-8", ""},
		{"runs?account=" + strings.Repeat("a,", 1200), "", 400, "account: has 1200 values", ""},
		{"nowhere", "", 404, `no route "/api/v1/nowhere"`, "openapi.json"},
	} {
		w := fx.ask(c.path, "Accept", c.accept)
		var p problem
		fx.must(json.Unmarshal(w.Body.Bytes(), &p))
		if w.Code != c.status || p.Status != c.status || !strings.Contains(p.Detail, c.detail) ||
			!strings.Contains(p.Hint, c.hint) || p.Title != http.StatusText(c.status) {
			t.Errorf("%s: %d %+v", c.path, w.Code, p)
		}
	}
	w := httptest.NewRecorder()
	fx.api.ServeHTTP(w, httptest.NewRequest(http.MethodPost, Prefix+"runs", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
}

// A cursor that a client made breaks nothing.
func TestForeignCursors(t *testing.T) {
	fx := newFixture(t)
	for _, path := range []string{
		"coverage", "accounts", "runs", "resources", "resources/instance/i-3/history", "diff?from=1h", "changes",
	} {
		p, q, _ := strings.Cut(path, "?")
		values, err := url.ParseQuery(q)
		fx.must(err)
		r := &request{Request: httptest.NewRequest(http.MethodGet, Prefix+p, nil), values: values}
		for _, key := range [][]string{{}, {"a"}, {"a", "b", "c", "d", "e", "f", "g"}, {"a\x00"}} {
			name := cursorParameter
			if path == "changes" {
				name = afterName
			}
			values.Set(name, cursor{Key: key}.encode(r.fingerprint()))
			w := fx.ask(p + "?" + values.Encode())
			isText := !strings.Contains(strings.Join(key, ""), "\x00")
			if w.Code != http.StatusBadRequest && !(isText && w.Code == http.StatusOK) {
				t.Errorf("%s with %q: %d %s", path, key, w.Code, w.Body)
			}
		}
	}
}

// The pages of every set are, together, its whole.
func TestPages(t *testing.T) {
	fx := newFixture(t)
	for path, least := range map[string]int{
		"resources?fields=id,account,region": 4, "resources?fields=id&where=state": 3, "accounts?account=*": 3,
		"coverage?account=*": 3, "coverage?group_by=account": 2, "runs?account=*": 3, "diff?from=1h": 4,
		"changes?since=1h": 7, "resources/instance/i-1/history?account=*": 3,
	} {
		whole := get[page](fx, path)
		if len(whole.Items) < least || whole.Next != "" {
			t.Errorf("%s: %d items, next %q", path, len(whole.Items), whole.Next)
		}
		var paged []map[string]any
		name := cursorParameter
		if strings.HasPrefix(path, "changes") {
			name = afterName
		}
		for next := ""; ; {
			p := get[page](fx, path+"&limit=1&"+name+"="+next)
			paged = append(paged, p.Items...)
			if next = p.Next; next == "" || len(paged) > 100 {
				break
			}
		}
		if got, want := withoutAges(paged), withoutAges(whole.Items); got != want {
			t.Errorf("%s: in pages\n%s\nat once\n%s", path, got, want)
		}
	}
}

// withoutAges formats items without what differs each second.
func withoutAges(items []map[string]any) string {
	for _, item := range items {
		delete(item, "age_seconds")
	}
	return fmt.Sprint(items)
}

// "None" is never said of what nobody could look at.
func TestUnknown(t *testing.T) {
	fx := newFixture(t)
	denied := unknownTarget{Account: "prod", Region: "us-east-1", Kind: "ec2_volume", State: record.Denied}
	never := unknownTarget{Account: "new", State: query.NeverListed}
	for path, want := range map[string][]unknownTarget{
		"resources?kind=volume":                       {denied, never},
		"resources?kind=instance":                     {never},
		"resources?account=prod":                      {denied},
		"resources?account=" + prodID:                 {denied},
		"resources?account=prod&region=eu-*":          nil,
		"resources?account=prod&where=kind%3Dec2_vpc": nil,
		"resources?at=1h&account=test": {
			{Account: "test", Region: "us-east-1", Kind: "ec2_instance", State: record.OK},
		},
		"changes?account=prod":         {denied},
		"diff?from=1h&account=prod":    {denied},
		"resources?account=test&limit": nil,
	} {
		u := get[page](fx, path).Unknown
		if u == nil {
			t.Errorf("%s: no member unknown", path)
			continue
		}
		for i := range u.Items {
			if strings.Contains(path, "at=") {
				u.Items[i].LastComplete = nil
			}
		}
		if !slices.Equal(u.Items, want) || u.Count != len(want) || u.More != "" {
			t.Errorf("%s: %+v, want %+v", path, u, want)
		}
	}
	for i := range 150 {
		fx.end("many", fmt.Sprintf("r-%d", i), "ec2_volume", record.Denied)
	}
	fx.board.Observe(runner.Configured{Kinds: map[string][]string{"many": {"ec2_volume"}}})
	for i := range 150 {
		fx.end("many", fmt.Sprintf("r-%d", i), "ec2_volume", record.Denied)
	}
	u := get[page](fx, "resources?account=many&limit=1").Unknown
	if u.Count != 150 || len(u.Items) != maxUnknown || u.More != Prefix+"coverage?account=many&problems=true" {
		t.Errorf("%d, %d, %s", u.Count, len(u.Items), u.More)
	}
}

// An id with a slash is one segment; at shows what was.
func TestOneResource(t *testing.T) {
	fx := newFixture(t)
	r := get[map[string]any](fx, "resources/instance/"+url.PathEscape("a/b c"))
	if r["id"] != "a/b c" || r["account"] != "test" || r["data"] == nil || r["extra_tags"] == nil ||
		r["last_seen"] == nil {
		t.Errorf("%v", r)
	}
	if r := get[map[string]any](fx, "resources/ec2_instance/i-1?account=prod"); r["state"] != "stopped" {
		t.Errorf("%v", r)
	}
	h := get[page](fx, "resources/instance/i-1/history?account="+prodID)
	if len(h.Items) != 2 || fmt.Sprint(h.Items[1]["changes"]) != "[map[from:running path:State.Name to:stopped]]" {
		t.Fatalf("%v", h.Items)
	}
	before, err := time.Parse(time.RFC3339Nano, h.Items[0]["valid_from"].(string))
	fx.must(err)
	at := url.QueryEscape(before.Format(time.RFC3339Nano))
	if r := get[map[string]any](fx, "resources/instance/i-1?account=prod&at="+at); r["state"] != "running" {
		t.Errorf("at %s: %v", at, r)
	}
}

// An account has its identity, what it cannot list and why, and its last runs.
func TestAccount(t *testing.T) {
	fx := newFixture(t)
	a := get[accountDetails](fx, "accounts/prod")
	if a.AccountID != prodID || a.SignIn == nil || a.Tags["team"] != "platform" || len(a.Runs) != 3 ||
		len(a.Problems) != 1 || len(a.Problems[0].Failed) != 1 {
		t.Fatalf("%+v", a)
	}
	f := a.Problems[0].Failed[0]
	if f.Kind != "ec2_volume" || f.State != record.Denied || f.Reason != record.AccessDenied || f.Since == nil ||
		f.Hint != "Allow ec2:DescribeVolumes." {
		t.Errorf("%+v", f)
	}
	g := get[page](fx, "coverage?group_by=tag:team")
	if len(g.Items) != 2 || g.Items[1]["group"] != "platform" || g.Items[1]["state"] != "denied" ||
		g.Items[1]["regions"] != 2.0 {
		t.Errorf("%v", g.Items)
	}
	if r := get[query.RunLine](fx, "runs/"+fx.runs[1]); r.Failed != 1 || len(r.Causes) != 1 {
		t.Errorf("%+v", r)
	}
}

// Without a store, the board answers what it knows, and the rest says what to do.
func TestWithoutStore(t *testing.T) {
	fx := newFixture(t)
	o := fx.api.o
	o.Store = nil
	fx.api = New(o)
	fx.board.Observe(runner.RunStarted{Account: "prod", Run: "01JDRUN", Tick: fx.begin})
	if c := get[page](fx, "coverage?problems=true"); len(c.Items) != 1 || c.Items[0]["account_id"] != prodID {
		t.Errorf("%v", c.Items)
	}
	if r := get[page](fx, "runs?status=running&account="+prodID); len(r.Items) != 1 || r.Items[0]["ended"] != nil {
		t.Errorf("%v", r.Items)
	}
	if a := get[page](fx, "accounts"); len(a.Items) != 3 {
		t.Errorf("%v", a.Items)
	}
	for _, path := range []string{
		"resources", "diff?from=1h", "changes", "resources/instance/x", "resources/instance/x/history",
	} {
		if w := fx.ask(path); w.Code != http.StatusNotImplemented || !strings.Contains(w.Body.String(), "Set store:") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// What stays the same until the program is replaced need not be sent again.
func TestETag(t *testing.T) {
	fx := newFixture(t)
	for _, path := range []string{"kinds", "openapi.json"} {
		tag := fx.ask(path).Header().Get("ETag")
		w := fx.ask(path, "If-None-Match", `"x", W/`+tag)
		if tag == "" || w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("%s: %s %d %s", path, tag, w.Code, w.Body)
		}
		if w := fx.ask(path, "If-None-Match", `"x"`); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// Many questions cost one look at all targets a second.
func TestCoverageIsComputedOnce(t *testing.T) {
	fx := newFixture(t)
	count := &countingStore{Store: fx.api.o.Store}
	o := fx.api.o
	o.Store = count
	fx.api = New(o)
	for _, path := range []string{"coverage", "coverage?problems=true", "accounts/prod", "coverage?group_by=region"} {
		get[map[string]any](fx, path)
	}
	if count.n != 1 {
		t.Errorf("%d times", count.n)
	}
	fx.api.cache.until = time.Time{}
	get[page](fx, "coverage")
	if count.n != 2 {
		t.Errorf("%d times after a while", count.n)
	}
}

type countingStore struct {
	Store
	n int
}

func (s *countingStore) Targets(ctx context.Context) iter.Seq2[inventory.Coverage, error] {
	s.n++
	return s.Store.Targets(ctx)
}

// A set without items says why it has none.
func TestEmptyAnswersSayWhy(t *testing.T) {
	fx := newFixture(t)
	for path, want := range map[string]string{
		"resources?account=prdo":                  `no account that was listed matches "prdo"; did you mean prod?`,
		"resources?account=prod&region=us-esat-1": `no region that was listed matches "us-esat-1"; did you mean us-east-1?`,
		"resources?account=prod&kind=instance":    "",
	} {
		got := get[struct{ Notes []string }](fx, path).Notes
		if want == "" && len(got) > 0 || want != "" && !slices.Contains(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}
