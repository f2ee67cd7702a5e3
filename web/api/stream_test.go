package api

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// NDJSON has every row, and a last line that says how many there are and what is unknown.
func TestNDJSON(t *testing.T) {
	fx := newFixture(t)
	for path, rows := range map[string]int{
		"resources": 4, "resources?kind=volume": 0, "resources?limit=2": 2, "resources?fields=id": 4, "diff?from=1h": 4,
		"changes?since=1h": 7, "changes": 7,
	} {
		w := fx.ask(path, "Accept", typeNDJSON)
		lines := strings.Split(strings.TrimSuffix(w.Body.String(), "\n"), "\n")
		var last streamEnd
		fx.must(json.Unmarshal([]byte(lines[len(lines)-1]), &last))
		if len(lines) != rows+1 || last.End.Count != rows || last.End.AsOf.IsZero() || last.End.Unknown == nil ||
			last.End.Error != nil || w.Header().Get("Content-Type") != typeNDJSON {
			t.Errorf("%s: %d lines, %+v", path, len(lines), last.End)
		}
	}
}

// With details, changes have the record, and the last line has the notes that commands print; without, neither.
func TestDetails(t *testing.T) {
	fx := newFixture(t)
	const denied = "account prod, region us-east-1: the last listing of ec2_volume is not complete: access_denied"
	for path, want := range map[string]string{
		"resources":              denied,
		"resources?account=prdo": `no account that was listed matches "prdo"; did you mean prod?`,
		"diff?from=1h":           "account prod, region us-east-1: 2 kinds had not been listed completely",
		"changes?since=1h":       denied,
	} {
		for _, details := range []bool{true, false} {
			at, _ := url.Parse(path)
			values := at.Query()
			values.Set("details", fmt.Sprint(details))
			w := fx.ask(at.Path+"?"+values.Encode(), "Accept", typeNDJSON)
			lines := strings.Split(strings.TrimSuffix(w.Body.String(), "\n"), "\n")
			var last streamEnd
			fx.must(json.Unmarshal([]byte(lines[len(lines)-1]), &last))
			if slices.Contains(last.End.Notes, want) != details || !details && last.End.Notes != nil {
				t.Errorf("%s, details %t: %q", path, details, last.End.Notes)
			}
			if at.Path != "resources" && strings.Contains(lines[0], `"record":{"kind":"ec2_instance"`) != details {
				t.Errorf("%s, details %t: %s", path, details, lines[0])
			}
		}
	}
}

func TestCSV(t *testing.T) {
	fx := newFixture(t)
	w := fx.ask("resources?fields=id,tags,data.State.Name&account=prod", "Accept", "text/csv")
	rows, err := csv.NewReader(w.Body).ReadAll()
	fx.must(err)
	want := [][]string{{"id", "tags", "data.State.Name"}, {"i-3", "{}", "stopped"}, {"i-1", "{}", "stopped"}}
	if !slices.EqualFunc(rows, want, slices.Equal) || w.Header().Get("Collector-Unknown") != "1" ||
		w.Header().Get("Collector-As-Of") == "" {
		t.Errorf("%q %v", rows, w.Header())
	}
	w = fx.ask("resources", "Accept", "text/csv")
	if header, _, _ := strings.Cut(w.Body.String(), "\n"); !strings.HasSuffix(header, ",last_seen,tags,extra_tags,data") {
		t.Errorf("%s", header)
	}
	fx.list("prod", "eu-west-1", inventorytest.Item{ID: "i-5", Tags: map[string]string{"Name": `=cmd|' /C calc'!A0`}})
	w = fx.ask("resources?fields=name,tags.%3DA1&region=eu-west-1", "Accept", "text/csv")
	if got := w.Body.String(); got != "name,tags.=A1\n'=cmd|' /C calc'!A0,\n" {
		t.Errorf("a formula in a tag: %q", got)
	}
}

// The wish of a client is that of RFC 9110, and what lasts long is known before it is answered.
func TestAccept(t *testing.T) {
	fx := newFixture(t)
	for _, c := range []struct {
		path, accept, media string
		streams             bool
	}{
		{"resources", "", typeJSON, false},
		{"resources", "*/*", typeJSON, false},
		{"resources", "text/html, text/*;q=0.5", typeCSV, true},
		{"resources", "application/json;q=0.5, text/csv", typeCSV, true},
		{"resources", "*/*;q=0.1, application/x-ndjson", typeNDJSON, true},
		{"resources", "application/json;q=0, */*", typeNDJSON, true},
		{"resources", "text/csv;q=0.000, application/json;charset=utf-8", typeJSON, false},
		{"resources", "application/x-ndjson, application/json", typeNDJSON, true},
		{"resources", "TEXT/CSV; q=2", typeCSV, true},
		{"resources", "text/event-stream", "", false},
		{"coverage", "text/csv, application/json", typeJSON, false},
		{"coverage", "text/csv", "", false},
		{"changes", "text/*", typeEvents, true},
		{"events", "", typeEvents, true},
		{"events", "application/json", "", false},
		{"nowhere", "text/csv", "", false},
	} {
		r := httptest.NewRequest(http.MethodGet, Prefix+c.path, nil)
		r.Header.Set("Accept", c.accept)
		media := ""
		if rt := fx.api.routes[Prefix+c.path]; rt != nil {
			media = acceptable(r, rt.media())
		}
		rows, events := fx.api.Streams(r)
		if media != c.media || rows != (c.streams && media != typeEvents) || events != (c.streams && media == typeEvents) {
			t.Errorf("%s, %q: %q, rows %v, events %v", c.path, c.accept, media, rows, events)
		}
	}
}

// An answer that is interrupted before its first row is an error, not an empty answer.
func TestInterruptedBeforeTheFirstRow(t *testing.T) {
	fx := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, media := range []string{typeJSON, typeNDJSON, typeCSV} {
		w := answer(ctx, fx.api, "resources", "Accept", media)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "the collector stops") {
			t.Errorf("%s: %d %q", media, w.Code, w.Body)
		}
	}
}

// A fakeStore finds as many resources as asked, and then an error.
type fakeStore struct {
	Store
	n    int
	data []byte
	err  error
	seen func(i int)
}

func (s fakeStore) Find(context.Context, inventory.Query) iter.Seq2[*inventory.Resource, error] {
	return func(yield func(*inventory.Resource, error) bool) {
		for i := range s.n {
			if s.seen != nil {
				s.seen(i)
			}
			r := &inventory.Resource{Record: record.Record{Kind: "ec2_instance", ID: fmt.Sprint(i), Data: slices.Clone(s.data)}}
			if !yield(r, nil) {
				return
			}
		}
		if s.err != nil {
			yield(nil, s.err)
		}
	}
}

func (fx *fixture) withStore(s fakeStore) {
	o := fx.api.o
	s.Store = o.Store
	o.Store = s
	fx.api = New(o)
}

// An error before the first row is a problem; later the answer says that it is cut.
func TestStreamsThatFail(t *testing.T) {
	fx := newFixture(t)
	failed := &record.Fault{Reason: record.Other, Hint: "Free some space.", Err: errors.New("the disk is full")}
	for _, media := range []string{typeJSON, typeNDJSON, typeCSV} {
		fx.withStore(fakeStore{err: failed})
		w := fx.ask("resources", "Accept", media)
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), `"hint":"Free some space."`) {
			t.Errorf("%s: %d %s", media, w.Code, w.Body)
		}
	}
	fx.withStore(fakeStore{n: 2, data: []byte("{}"), err: failed})
	lines := strings.Split(fx.ask("resources", "Accept", typeNDJSON).Body.String(), "\n")
	var last streamEnd
	fx.must(json.Unmarshal([]byte(lines[2]), &last))
	if last.End.Count != 2 || last.End.Error == nil || last.End.Error.Hint != "Free some space." {
		t.Errorf("%+v", last)
	}
	defer func() {
		if recover() != http.ErrAbortHandler { //nolint:errorlint // the value itself
			t.Error("CSV does not break off")
		}
	}()
	fx.ask("resources", "Accept", typeCSV)
}

// A million rows take no more memory than a few.
func TestStreamsAreBounded(t *testing.T) {
	fx := newFixture(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fx.api.ServeHTTP(w, r) }))
	defer s.Close()
	const rows, rowBytes = 50_000, 2_000
	var most uint64
	data := []byte(`{"Pad":"` + strings.Repeat("x", rowBytes) + `"}`)
	fx.withStore(fakeStore{n: rows, data: data, seen: func(i int) {
		if i%5_000 == 0 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+Prefix+"resources", nil)
	fx.must(err)
	r.Header.Set("Accept", typeNDJSON)
	resp, err := s.Client().Do(r)
	fx.must(err)
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	fx.must(err)
	if n < rows*rowBytes || most > 48<<20 {
		t.Errorf("%d bytes of answer, %d of memory", n, most)
	}
}

// A sseClient reads server-sent events.
type sseClient struct {
	*fixture
	lines *bufio.Scanner
}

func (fx *fixture) events(path string, headers ...string) (c sseClient, stop func()) {
	fx.Helper()
	s := httptest.NewServer(fx.api)
	ctx, cancel := context.WithCancel(fx.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+Prefix+path, nil)
	fx.must(err)
	r.Header.Set("Accept", typeEvents)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.Client().Do(r)
	fx.must(err)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != typeEvents {
		fx.Fatalf("%s: %s", path, resp.Status)
	}
	return sseClient{fx, bufio.NewScanner(resp.Body)}, func() {
		cancel()
		resp.Body.Close()
		s.Close()
	}
}

// next returns the next event.
func (c sseClient) next() (name, id string, data map[string]any) {
	c.Helper()
	for c.lines.Scan() {
		key, value, _ := strings.Cut(c.lines.Text(), ": ")
		switch key {
		case "event":
			name = value
		case "id":
			id = value
		case "data":
			c.must(json.Unmarshal([]byte(value), &data))
		case "":
			if name != "" {
				return name, id, data
			}
		}
	}
	c.Fatalf("no more events: %v", c.lines.Err())
	return "", "", nil
}

// Changes go on as events, and resume after the id of the last one, also within one commit.
func TestChangesAsEvents(t *testing.T) {
	fx := newFixture(t)
	all := get[page](fx, "changes?since=1h").Items
	c, stop := fx.events("changes?since=1h")
	var ids []string
	for i := range all {
		name, id, data := c.next()
		if name != "change" || fmt.Sprint(data) != fmt.Sprint(all[i]) {
			t.Errorf("event %d is %s %v, want %v", i, name, data, all[i])
		}
		ids = append(ids, id)
	}
	fx.list("prod", "eu-west-1")
	if _, _, data := c.next(); data["what"] != "gone" || data["id"] != "i-3" || data["ended"] != inventory.Absent {
		t.Errorf("%v", data)
	}
	stop()
	for i, id := range ids[:len(ids)-1] {
		c, stop := fx.events("changes?since=1h", "Last-Event-ID", id)
		if _, _, data := c.next(); fmt.Sprint(data) != fmt.Sprint(all[i+1]) {
			t.Errorf("after %d: %v, want %v", i, data, all[i+1])
		}
		stop()
	}
	c, stop = fx.events("changes?kind=instance")
	defer stop()
	fx.list("prod", "eu-west-1", inventorytest.Item{ID: "i-4"})
	if _, _, data := c.next(); data["what"] != "added" || data["id"] != "i-4" {
		t.Errorf("without since, events begin now: %v", data)
	}
}

// More changes than are read at once are all sent, each once.
func TestChangesInBatches(t *testing.T) {
	fx := newFixture(t)
	items := make([]inventorytest.Item, maxBatch+5)
	for i := range items {
		items[i].ID = fmt.Sprintf("i-%05d", i)
	}
	fx.list("test", "eu-west-1", items...)
	c, stop := fx.events("changes?since=1h&region=eu-west-1&account=test")
	defer stop()
	for i := range items {
		if _, _, data := c.next(); data["id"] != items[i].ID {
			t.Fatalf("event %d is of %v", i, data["id"])
		}
	}
	fx.list("test", "eu-west-1", items[1:]...)
	if _, _, data := c.next(); data["id"] != items[0].ID || data["what"] != "gone" {
		t.Errorf("after all: %v", data)
	}
}

// The events of the board name the accounts that changed.
func TestEvents(t *testing.T) {
	fx := newFixture(t)
	c, stop := fx.events("events")
	defer stop()
	if name, _, _ := c.next(); name != "hello" {
		t.Errorf("first %s", name)
	}
	fx.board.Observe(runner.NextStart{Account: "prod", At: time.Now().Add(time.Hour)})
	if name, _, data := c.next(); name != "changed" || fmt.Sprint(data["accounts"]) != "[prod]" {
		t.Errorf("%s %v", name, data)
	}
	fx.board.Observe(runner.Configured{Kinds: map[string][]string{"prod": nil, "test": nil}})
	if _, _, data := c.next(); fmt.Sprint(data["accounts"]) != "[new]" {
		t.Errorf("%v", data)
	}
}

// What a client asks for in a URL, the store is asked.
func TestQuestionOfTheStore(t *testing.T) {
	fx := newFixture(t)
	var asked inventory.Query
	fx.withStore(fakeStore{})
	o := fx.api.o
	o.Store = askedStore{o.Store, &asked}
	fx.api = New(o)
	fx.ask("resources?kind=instances,volume&account=prod&region=us-*&at=2026-11-01&fields=data.X&limit=7")
	want, err := query.Parse(map[string][]string{
		"kind": {"instances", "volume"}, "account": {"prod"}, "region": {"us-*"}, "at": {"2026-11-01"},
	}, []query.Parameter{query.Kind, query.Account, query.Region, query.At},
		query.Options{Now: time.Now(), Kinds: fx.api.o.Kinds})
	fx.must(err)
	want.Data, want.Limit = true, 8
	want.Query.Limit = 8
	if fmt.Sprintf("%+v", asked) != fmt.Sprintf("%+v", want.Query) {
		t.Errorf("asked %+v, want %+v", asked, want.Query)
	}
}

type askedStore struct {
	Store
	asked *inventory.Query
}

func (s askedStore) Find(ctx context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	*s.asked = q
	return s.Store.Find(ctx, q)
}

// The parameter q is any part of what a resource is known by, and an answer says what is not indexed.
func TestSearch(t *testing.T) {
	fx := newFixture(t)
	fx.list("prod", "us-west-2", inventorytest.Item{ID: "i-found", Address: "10.99.0.7"})
	for q, want := range map[string]int{"10.99": 1, "FOUND": 1, "i-found": 1, "no such": 0, `" OR "`: 0, "%22": 0} {
		p := get[page](fx, "resources?fields=id&q="+url.QueryEscape(q))
		if len(p.Items) != want || want == 1 && p.Items[0]["id"] != "i-found" {
			t.Errorf("%s: %v", q, p.Items)
		}
	}
	o := fx.api.o
	o.Store = partlyIndexed{o.Store}
	fx.api = New(o)
	if text := fx.ask("resources?q=10.99").Body.String(); !strings.Contains(text, `"not_indexed":7`) {
		t.Error(text)
	}
	if text := fx.ask("resources").Body.String(); strings.Contains(text, "not_indexed") {
		t.Error(text)
	}
}

type partlyIndexed struct{ Store }

func (partlyIndexed) NotIndexed(context.Context) (int, error) { return 7, nil }
