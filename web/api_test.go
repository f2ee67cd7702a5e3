package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/web/api"
)

// An endlessStore finds resources without end.
type endlessStore struct {
	api.Store
	stopped chan struct{}
}

func (s endlessStore) Find(ctx context.Context, _ inventory.Query) iter.Seq2[*inventory.Resource, error] {
	return func(yield func(*inventory.Resource, error) bool) {
		defer close(s.stopped)
		data := []byte(`{"Pad":"` + strings.Repeat("x", 4000) + `"}`)
		for i := 0; ; i++ {
			r := &inventory.Resource{Record: record.Record{ID: fmt.Sprint(i), Data: data}}
			if ctx.Err() != nil {
				yield(nil, ctx.Err())
				return
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func newAPI(t *testing.T) (o api.Options, b *board.Board) {
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
	b = board.New()
	return api.Options{
		Store: store, Board: b, Accounts: func() query.Accounts { return query.Accounts{} },
		Relations: func() []api.Relation { return nil },
		Status:    func() api.Status { return api.Status{} },
	}, b
}

// stream asks for a stream, without a limit on its duration.
func stream(t *testing.T, addr, path, accept string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", accept)
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// The API has the guard of every route, its own errors, and does not hide what is mounted.
func TestAPIIsGuarded(t *testing.T) {
	o, _ := newAPI(t)
	m := new(Mounts)
	m.Swap(map[string]http.Handler{"/api/v1/sd/nodes": saying("targets")})
	s := newServer(t, Options{API: api.New(o), Mounts: m})
	for path, want := range map[string]int{
		"/api/v1/status": 200, "/api/v1/nothing": 404, "/api/v1/sd/nodes": 200, "/api/v1/resources": 200,
	} {
		if w := ask(s, "GET", path); w.Code != want || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	w := ask(s, "POST", "/api/v1/status")
	if w.Code != 405 || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
	other := func(r *http.Request) { r.Host = "evil.example" }
	if w := ask(s, "GET", "/api/v1/resources", other); w.Code != http.StatusMisdirectedRequest {
		t.Errorf("another host: %d", w.Code)
	}
	if w := ask(newServer(t, Options{}), "GET", "/api/v1/status"); w.Code != 404 {
		t.Errorf("without an API: %d", w.Code)
	}
}

// A stream that moves outlives the write timeout, and ends without an error when the server does.
func TestStreamsEndWithTheServer(t *testing.T) {
	o, board := newAPI(t)
	s := newServer(t, Options{API: api.New(o)})
	s.http.WriteTimeout = 500 * time.Millisecond
	addr := start(t, s)
	events := stream(t, addr, "/api/v1/events", "text/event-stream")
	lines := bufio.NewScanner(events.Body)
	begun := time.Now()
	for i := 0; time.Since(begun) < 2500*time.Millisecond; i++ {
		board.Observe(runner.NextStart{Account: "prod", At: time.Unix(int64(i)+1, 0)})
		for lines.Scan() && lines.Text() != "" {
		}
		if lines.Err() != nil {
			t.Fatalf("after %s: %v", time.Since(begun), lines.Err())
		}
	}
	o.Store = endlessStore{o.Store, make(chan struct{})}
	endless := newServer(t, Options{API: api.New(o)})
	rows := stream(t, start(t, endless), "/api/v1/resources", "application/x-ndjson")
	began := make(chan struct{})
	last := make(chan string)
	go func() {
		sc := bufio.NewScanner(rows.Body)
		text := ""
		for n := 0; sc.Scan(); n++ {
			if text = sc.Text(); n == 100 {
				close(began)
			}
		}
		last <- fmt.Sprint(text, sc.Err())
	}()
	<-began
	for _, server := range []*Server{s, endless} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
	if rest, err := io.ReadAll(events.Body); err != nil {
		t.Errorf("events end with %v after %q", err, rest)
	}
	if text := <-last; !strings.Contains(text, `"_end":{`) || !strings.Contains(text, "the collector stops") ||
		!strings.HasSuffix(text, "<nil>") {
		t.Errorf("rows end with %.300s", text)
	}
}

// A pooledStore has eight connections. A result has one until it is read, and one without a limit has no end.
type pooledStore struct {
	api.Store
	connections chan struct{}
}

func (s pooledStore) Find(ctx context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	return func(yield func(*inventory.Resource, error) bool) {
		select {
		case s.connections <- struct{}{}:
			defer func() { <-s.connections }()
		case <-ctx.Done():
			yield(nil, ctx.Err())
			return
		}
		if q.Limit == 0 {
			endlessStore{s.Store, make(chan struct{})}.Find(ctx, q)(yield)
		}
	}
}

// Readers of streams that stop leave connections of the store for others.
func TestStreamsLeaveConnections(t *testing.T) {
	o, _ := newAPI(t)
	store := pooledStore{o.Store, make(chan struct{}, 8)}
	o.Store = store
	addr := start(t, newServer(t, Options{API: api.New(o)}))
	ctx, cancel := context.WithCancel(t.Context())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	var clients sync.WaitGroup
	for range 12 {
		clients.Go(func() {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/api/v1/resources", nil)
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Accept", "application/x-ndjson")
			if resp, err := client.Do(r); err == nil {
				<-ctx.Done()
				resp.Body.Close()
			}
		})
	}
	defer clients.Wait()
	defer cancel()
	for begun := time.Now(); len(store.connections) < maxRowStreamsPerPeer; time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > 5*time.Second {
			t.Fatalf("%d streams", len(store.connections))
		}
	}
	time.Sleep(300 * time.Millisecond) // for more than are admitted
	if n := len(store.connections); n > maxRowStreamsPerPeer {
		t.Errorf("%d connections are in use", n)
	}
	resp := stream(t, addr, "/api/v1/resources", "application/json")
	if resp.StatusCode != http.StatusOK {
		t.Errorf("a page is answered %s", resp.Status)
	}
}

// A reader that stops is disconnected, and the store is not read for it any longer.
func TestStoppedReader(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as a reader may stop")
	}
	o, _ := newAPI(t)
	stopped := make(chan struct{})
	o.Store = endlessStore{o.Store, stopped}
	addr := start(t, newServer(t, Options{API: api.New(o)}))
	stream(t, addr, "/api/v1/resources?"+url.Values{"fields": {"id,data"}}.Encode(), "text/csv")
	select {
	case <-stopped:
	case <-time.After(readerSlack + 5*time.Second):
		t.Error("the store is still read")
	}
}
