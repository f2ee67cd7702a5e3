package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/web/api"
)

func kinds() query.Catalogue {
	return query.Catalogue{{Kind: "ec2_instance", Service: "ec2"}, {Kind: "ec2_volume", Service: "ec2"}}
}

// A scene is a store, and a running collector with it.
type scene struct {
	stored query.Stored
	server *httptest.Server
	begin  time.Time
}

// newScene stores instances and volumes of two accounts, with changes, ends, a failed listing and runs.
func newScene(t *testing.T) *scene {
	t.Helper()
	path := filepath.Join(t.TempDir(), "collector.db")
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	must(t, err)
	t.Cleanup(func() { must(t, store.Close()) })
	conf := &runner.Configuration{}
	b := board.New()
	b.Observe(runner.Configured{Kinds: map[string][]string{"prod": {"ec2_instance"}}, Configuration: conf})
	s := &scene{begin: time.Now()}
	s.fill(t, store)
	reader, err := sqlite.OpenReader(t.Context(), path)
	must(t, err)
	t.Cleanup(func() { must(t, reader.Close()) })
	s.stored = query.Stored{Store: reader}
	s.server = httptest.NewServer(api.New(api.Options{
		Store: store, Board: b, Kinds: kinds(), Status: func() api.Status { return api.Status{} },
		Accounts: func() query.Accounts { return query.Accounts{Configuration: conf} },
	}))
	t.Cleanup(s.server.Close)
	return s
}

func (s *scene) fill(t *testing.T, store *sqlite.Store) {
	t.Helper()
	inv := inventory.New(store, inventory.Options{})
	list := func(account, region, kind string, state record.State, items ...inventorytest.Item) {
		target := record.Target{Account: account, Region: region, Kind: kind}
		id := record.Identity{AccountID: map[string]string{"prod": "222222222222", "te,st": "111111111111"}[account],
			Partition: "aws"}
		w, err := inv.Begin(t.Context(), target, id, "01JDRUN")
		must(t, err)
		if len(items) > 0 {
			must(t, w.Page(t.Context(), inventorytest.Page(target, id, "01JDRUN", items...)))
		}
		o := record.Outcome{Target: target, State: state, Records: len(items), Started: time.Now(), Ended: time.Now()}
		if state == record.Denied {
			o.Reason, o.Error, o.Hint = record.AccessDenied, "EC2 denies it", "Allow it."
		}
		must(t, w.End(t.Context(), o))
	}
	item := func(id, state string) inventorytest.Item {
		return inventorytest.Item{ID: id, State: state, Type: "t3.<&>", Pad: "é\u2028\"", Address: "10.0.0.7",
			Tags: map[string]string{"Name": "web " + id, "team": "a"}}
	}
	list("prod", "us-east-1", "ec2_instance", record.OK,
		item("i-1", "running"), item("i-2", "running"), item("i-'4\"", "x"))
	list("prod", "eu-west-1", "ec2_instance", record.OK, item("i-1", "stopped"))
	list("te,st", "us-east-1", "ec2_instance", record.OK, item("i-3", "running"), item("a/b c", "running"))
	list("te,st", "us-east-1", "ec2_volume", record.OK, inventorytest.Item{ID: "i-1"})
	list("prod", "us-east-1", "ec2_instance", record.OK, item("i-1", "stopped"), item("i-'4\"", "x")) // i-2 is gone
	list("prod", "us-east-1", "ec2_volume", record.Denied)
	for i, status := range []record.Status{record.Success, record.RunPartial, record.RunSkipped, record.Success} {
		at := s.begin.Add(time.Duration(i-4) * time.Minute).Round(time.Microsecond)
		run := inventory.Run{
			ID: ulid.MustNew(ulid.Timestamp(at), ulid.DefaultEntropy()).String(), Account: []string{"prod", "te,st"}[i/2],
			Tick: at, Started: at, Ended: at.Add(time.Second), Status: status, Ticks: 1, Records: i, Calls: 7,
			Targets: map[record.State]int{record.OK: 2}, Process: inventory.Process{Replica: "host", Version: "v1"},
		}
		switch status {
		case record.RunPartial:
			run.Targets[record.Denied], run.Failed = 1, 1
			run.Causes = []inventory.Cause{{State: record.Denied, Reason: record.AccessDenied, Error: "no", Targets: 1}}
		case record.RunSkipped:
			run.Missed, run.Started, run.Ended, run.Targets = "overlap", time.Time{}, time.Time{}, nil
		}
		must(t, store.EndRun(t.Context(), run))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A verb is a command: what it may ask, and its rows.
type verb struct {
	name       string
	parameters []query.Parameter
	rows       func(ctx context.Context, of query.Answers, q *query.Question) iter.Seq2[any, error]
}

func verbs() []verb {
	resource := []query.Parameter{query.Kind, query.Account, query.Region}
	with := func(more ...query.Parameter) []query.Parameter { return append(resource[:3:3], more...) }
	find := func(ctx context.Context, of query.Answers, q inventory.Query) iter.Seq2[any, error] {
		q.Data = true
		return each(of.Find(ctx, q), func(r *inventory.Resource) any { return query.NewResourceLine(r) })
	}
	line := func(l inventory.ChangeLine) any { return l }
	return []verb{
		{"list", query.OfList(), func(ctx context.Context, of query.Answers, q *query.Question) iter.Seq2[any, error] {
			q.Query.Limit, q.ID = q.Limit, ""
			return find(ctx, of, q.Query)
		}},
		{"get", with(query.At), func(ctx context.Context, of query.Answers, q *query.Question) iter.Seq2[any, error] {
			return find(ctx, of, q.Query)
		}},
		{"history", resource, func(ctx context.Context, of query.Answers, q *query.Question) iter.Seq2[any, error] {
			return each(of.History(ctx, q), func(l query.VersionLine) any { return l })
		}},
		{"diff", with(query.Where, query.From, query.To),
			func(ctx context.Context, of query.Answers, q *query.Question) iter.Seq2[any, error] {
				q.ID = ""
				return each(of.Diff(ctx, q), line)
			}},
		{"changes", with(query.Where, query.ChangesSince),
			func(ctx context.Context, of query.Answers, q *query.Question) iter.Seq2[any, error] {
				q.ID = ""
				return each(of.Changes(ctx, q, q.Since), line)
			}},
		{"runs", []query.Parameter{query.Account, query.RunsSince, query.Status, query.Limit},
			func(ctx context.Context, of query.Answers, q *query.Question) iter.Seq2[any, error] {
				return each(of.Runs(ctx, q), func(r inventory.Run) any { return query.NewRunLine(r, q.Now) })
			}},
	}
}

// answer is the answer to a question as JSON lines, with its notes.
func answer(ctx context.Context, v *verb, of query.Answers, q query.Question) (string, error) {
	var b strings.Builder
	n := 0
	for row, err := range v.rows(ctx, of, &q) {
		if err != nil {
			return "", err
		}
		n++
		text, err := json.Marshal(row)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s\n", text)
	}
	if v.name == "runs" || v.name == "history" && n > 0 {
		return b.String(), nil
	}
	notes, err := of.Notes(ctx, &q, n == 0)
	if err != nil {
		return "", err
	}
	left, err := of.NotIndexed(ctx, &q)
	fmt.Fprintf(&b, "%d rows, %q, %d not indexed\n", n, notes, left)
	return b.String(), err
}

func each[T any](rows iter.Seq2[T, error], f func(T) any) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		for row, err := range rows {
			if !yield(f(row), err) || err != nil {
				return
			}
		}
	}
}

// A running collector and its store answer any question with the same bytes.
func TestSameAnswers(t *testing.T) {
	s := newScene(t)
	c, err := New(Options{Server: s.server.URL + "/"})
	must(t, err)
	now := time.Now()
	choices := map[string][]string{
		query.Kind.Name:    {"instance", "ec2_v*", "!ec2_volume", "*"},
		query.Account.Name: {"prod", `"te,st"`, "!222*", "nobody"},
		query.Region.Name:  {"us-*", "eu-west-1", "mars-1"}, query.Search.Name: {"web", "10.0.0.7", "zz"},
		query.Where.Name: {
			"state=running", "tags.team in (a, 'b, c') and not data.Pad~'*x'", "state_since newer than 1h",
		},
		query.At.Name:           {s.begin.Add(-time.Hour).Format(time.RFC3339Nano), "0s"},
		query.From.Name:         {"1h", s.begin.Format(time.RFC3339Nano)},
		query.To.Name:           {"0s"},
		query.ChangesSince.Name: {"1h", "0s"},
		query.Status.Name:       {"success", "skipped,partial"},
		query.Limit.Name:        {"1", "2", "3000"},
	}
	ids := []string{"i-1", "i-2", "i-'4\"", "a/b c", "i-none"}
	all := verbs()
	rapid.Check(t, func(rt *rapid.T) {
		v := rapid.SampledFrom(all).Draw(rt, "verb")
		values := url.Values{query.From.Name: {"2h"}}
		for name, all := range choices {
			if i := rapid.IntRange(-2*len(all), len(all)-1).Draw(rt, name); i >= 0 {
				values.Set(name, all[i])
			}
		}
		q, err := query.Parse(values, v.parameters, query.Options{Now: now, Kinds: kinds()})
		if err != nil {
			rt.Fatal(err)
		}
		if q.To.IsZero() {
			q.To = now
		}
		q.ID = rapid.SampledFrom(ids).Draw(rt, "id")
		want, errWant := answer(t.Context(), &v, s.stored, q)
		got, err := answer(t.Context(), &v, c, q)
		if want != got || err != nil || errWant != nil {
			rt.Fatalf("%s %v\nstored: %v\n%s\nserver: %v\n%s", v.name, values, errWant, want, err, got)
		}
	})
}

// A limit that no page has is taken, and the coverage has the accounts and regions.
func TestLargeLimit(t *testing.T) {
	s := newScene(t)
	c, err := New(Options{Server: s.server.URL})
	must(t, err)
	n := 0
	for _, err := range c.Find(t.Context(), inventory.Query{Limit: maxPage + 3}) {
		must(t, err)
		n++
	}
	lines, err := c.Coverage(t.Context(), &query.Question{})
	if n != 6 || err != nil || len(lines) != 3 {
		t.Errorf("%d resources, %d lines, %v", n, len(lines), err)
	}
}

// An answer that is cut, refused or not one of a collector is an error that says so, and never a short list.
func TestBadAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		status            int
		media, body, want string
		hint              string
	}{
		"cut":         {200, "application/x-ndjson", `{"kind":"k","id":"i-1"}` + "\n", "is cut: EOF", ""},
		"cut in line": {200, "application/x-ndjson", `{"kind":"k"`, "is cut: unexpected EOF", ""},
		"fails late": {200, "application/x-ndjson", `{"_end":{"error":{"detail":"reading the store failed","hint":"Wait."}}}`,
			"reading the store failed", "Wait."},
		"no end": {200, "application/x-ndjson", `{"_end":null}`, "is cut", ""},
		"page":   {200, "text/html", "<html>", "is cut: invalid character", ""},
		"refused": {400, "application/problem+json", `{"detail":"kind: unknown kind","hint":"Use another."}`,
			"unknown kind", "Use another."},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.media)
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		client, err := New(Options{Server: s.URL})
		must(t, err)
		err = nil
		for _, failed := range client.Find(t.Context(), inventory.Query{}) {
			err = errors.Join(err, failed)
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || record.HintOf(err) != c.hint {
			t.Errorf("%s: %v, hint %q", name, err, record.HintOf(err))
		}
		s.Close()
	}
}
