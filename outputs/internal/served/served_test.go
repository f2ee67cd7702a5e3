package served_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/inventory/postgres"
	"github.com/aws-collector/collector/inventory/postgres/postgrestest"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/outputs/httpsd"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/outputs/prometheus"
	"github.com/aws-collector/collector/record"
)

const (
	metricsPath = "/metrics/inventory"
	nodesPath   = "/api/v1/sd/nodes"
)

// servedTypes returns both served outputs.
func servedTypes() []outputs.Type { return []outputs.Type{prometheus.Type, httpsd.Type} }

// forBothServed opens both served outputs and tests each one.
func forBothServed(t *testing.T, store inventory.Reader,
	ask func(t *testing.T, h http.Handler, w *outputstest.Observer)) {
	for _, o := range []any{outputstest.Options[prometheus.Options](prometheus.Type, nil), nodes(nil)} {
		t.Run(fmt.Sprintf("%T", o), func(t *testing.T) {
			hs, w := outputstest.OpenServed(t, store, servedTypes(), o)
			for _, h := range hs {
				ask(t, h, w)
			}
		})
	}
}

func nodes(change func(*httpsd.Options)) *httpsd.Options {
	return outputstest.Options(httpsd.Type, func(o *httpsd.Options) {
		o.Name, o.Port = "nodes", 9100
		if change != nil {
			change(o)
		}
	})
}

// A store that fails gives a 503 with one line, never an empty list: Prometheus would drop every target. The start
// and the end of the failure are logged once.
func TestServedStoreFails(t *testing.T) {
	store := &outputstest.Store{Coverage: []inventory.Coverage{outputstest.Coverage(
		"prod", "us-east-1", "ec2_instance", outputstest.Noon)}}
	forBothServed(t, store, func(t *testing.T, h http.Handler, w *outputstest.Observer) {
		store.Err = &record.Fault{
			Reason: record.Other, Hint: "look at the disk", Err: errors.New("disk I/O error:\n  sector 7"),
		}
		for range 3 {
			got := outputstest.Ask(h)
			body := got.Body.String()
			if got.Code != http.StatusServiceUnavailable || body != strings.TrimSpace(body)+"\n" ||
				strings.Count(body, "\n") != 1 || !strings.Contains(body, "read the store: disk I/O error: sector 7") {
				t.Errorf("%d %q", got.Code, got.Body)
			}
		}
		if w.LoggedLines() != 1 || !strings.Contains(w.Log.String(), "look at the disk") {
			t.Errorf("log:\n%s", w.Log.String())
		}
		store.Err = nil
		if got := outputstest.Ask(h); got.Code != http.StatusOK {
			t.Errorf("%d %q", got.Code, got.Body)
		}
		if w.LoggedLines() != 2 || !strings.HasSuffix(strings.Join(w.Ups, ", "), " false, "+name(w)+" true") ||
			w.Errs[name(w)] != 3 {
			t.Errorf("log:\n%s\nup: %v, errors %v", w.Log.String(), w.Ups, w.Errs)
		}
	})
}

func name(w *outputstest.Observer) string { return strings.Fields(w.Ups[0])[0] }

// Before the first complete listing there is no answer. That is not logged as a failure.
func TestServedEarly(t *testing.T) {
	retired := outputstest.Coverage("old", "us-east-1", "ec2_instance", outputstest.Noon)
	retired.Retired = outputstest.Noon
	for what, targets := range map[string][]inventory.Coverage{
		"nothing": nil, "begun": {outputstest.Coverage("prod", "us-east-1", "ec2_instance", time.Time{})},
		"retired":      {retired},
		"another kind": {outputstest.Coverage("prod", "us-east-1", "ec2_volume", outputstest.Noon)},
	} {
		t.Run(what, func(t *testing.T) {
			forBothServed(t, &outputstest.Store{Coverage: targets}, func(t *testing.T, h http.Handler, w *outputstest.Observer) {
				if got := outputstest.Ask(h); got.Code != http.StatusServiceUnavailable ||
					!strings.Contains(got.Body.String(), "no listing is complete yet") {
					t.Errorf("%d %q", got.Code, got.Body)
				}
				if w.LoggedLines() > 0 || len(w.Ups) != 1 {
					t.Errorf("log:\n%s\nup: %v", w.Log.String(), w.Ups)
				}
			})
		})
	}
}

func TestServedMaxAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &outputstest.Store{Coverage: []inventory.Coverage{
			outputstest.Coverage("prod", "us-east-1", "ec2_instance", time.Now()),
			outputstest.Coverage("prod", "us-west-1", "ec2_instance", time.Now().Add(-time.Hour)),
		}}
		hs, _ := outputstest.OpenServed(t, store, servedTypes(),
			nodes(func(o *httpsd.Options) { o.MaxAge = config.Duration(2 * time.Hour) }))
		time.Sleep(2 * time.Hour)
		if got := outputstest.Ask(hs[nodesPath]); got.Code != http.StatusOK {
			t.Errorf("in time: %d %q", got.Code, got.Body)
		}
		time.Sleep(time.Second)
		if got := outputstest.Ask(hs[nodesPath]); got.Code != http.StatusServiceUnavailable ||
			!strings.Contains(got.Body.String(), "max_age 2h") {
			t.Errorf("late: %d %q", got.Code, got.Body)
		}
	})
}

// A failure after the first bytes closes the connection, so that Prometheus does not take a part of a list for the
// whole.
func TestServedStoreFailsHalfway(t *testing.T) {
	store := &outputstest.Store{Coverage: []inventory.Coverage{outputstest.Coverage(
		"prod", "us-east-1", "ec2_instance", outputstest.Noon)}}
	for i := range 5000 {
		store.Resources = append(store.Resources, outputstest.Instance(fmt.Sprintf("i-%04d", i), func(r *inventory.Resource) {
			r.Data = []byte(`{"PrivateIpAddress":"10.0.0.1"}`)
		}))
	}
	store.Each = func(n int) error {
		if n == 4999 {
			return errors.New("connection reset")
		}
		return nil
	}
	forBothServed(t, store, func(t *testing.T, h http.Handler, w *outputstest.Observer) {
		s := httptest.NewServer(h)
		defer s.Close()
		for _, encoding := range []string{"gzip", "identity"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept-Encoding", encoding)
			resp, err := s.Client().Do(r)
			if err != nil {
				continue // closed before anything was sent
			}
			n, err := io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err == nil {
				t.Errorf("%s: %d bytes arrived as a complete answer", encoding, n)
			}
		}
		if w.LoggedLines() != 1 {
			t.Errorf("log:\n%s", w.Log.String())
		}
	})
}

// An answer is sent while the store is read, so memory does not grow with it.
func TestServedStreams(t *testing.T) {
	const first = 3000
	store := &outputstest.Store{Coverage: []inventory.Coverage{outputstest.Coverage(
		"prod", "us-east-1", "ec2_instance", outputstest.Noon)}}
	for i := range first + 1 {
		store.Resources = append(store.Resources, outputstest.Instance(fmt.Sprintf("i-%04d", i), func(r *inventory.Resource) {
			r.Data = []byte(`{"PrivateIpAddress":"10.0.0.1"}`)
		}))
	}
	forBothServed(t, store, func(t *testing.T, h http.Handler, _ *outputstest.Observer) {
		came := make(chan bool)
		store.Each = func(n int) error {
			if n == first {
				<-came // blocks for ever if nothing is sent before the end
			}
			return nil
		}
		s := httptest.NewServer(h)
		defer s.Close()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "identity")
		resp, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadFull(resp.Body, make([]byte, 64<<10)); err != nil {
			t.Fatal(err)
		}
		close(came)
		rest, err := io.ReadAll(resp.Body)
		if err != nil || !bytes.Contains(rest, []byte(fmt.Sprintf("i-%04d", first))) {
			t.Errorf("%v; the last resource did not come", err)
		}
	})
}

func TestServedHangs(t *testing.T) {
	store := &outputstest.Store{
		Coverage:  []inventory.Coverage{outputstest.Coverage("prod", "us-east-1", "ec2_instance", outputstest.Noon)},
		Resources: []*inventory.Resource{outputstest.Instance("i-1", nil)},
	}
	forBothServed(t, store, func(t *testing.T, h http.Handler, _ *outputstest.Observer) {
		synctest.Test(t, func(t *testing.T) {
			store.Each = func(int) error {
				time.Sleep(time.Minute)
				return context.DeadlineExceeded
			}
			if got := outputstest.Ask(h); got.Code != http.StatusServiceUnavailable ||
				!strings.Contains(got.Body.String(), "did not answer within 55s") {
				t.Errorf("%d %q", got.Code, got.Body)
			}
		})
	})
}

func TestServedCompressed(t *testing.T) {
	store := &outputstest.Store{Coverage: []inventory.Coverage{outputstest.Coverage(
		"prod", "us-east-1", "ec2_instance", outputstest.Noon)}}
	for i := range 100 {
		store.Resources = append(store.Resources, outputstest.Instance(fmt.Sprintf("i-%04d", i), func(r *inventory.Resource) {
			r.Data = []byte(`{"PrivateIpAddress":"10.0.0.1"}`)
		}))
	}
	forBothServed(t, store, func(t *testing.T, h http.Handler, _ *outputstest.Observer) {
		plain, packed := outputstest.Ask(h), outputstest.Ask(h, "Accept-Encoding", "gzip")
		if packed.Header().Get("Content-Encoding") != "gzip" {
			t.Fatalf("not compressed: %v", packed.Header())
		}
		if a, b := plain.Header().Get("Content-Type"), packed.Header().Get("Content-Type"); a != b {
			t.Errorf("Content-Type %q, compressed %q", a, b)
		}
		z, err := gzip.NewReader(packed.Body)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(z)
		if err != nil || !bytes.Equal(b, plain.Body.Bytes()) {
			t.Errorf("%v; the unpacked answer differs", err)
		}
	})
}

// Served outputs need a store, a path of their own and a name of their own.
func TestServedRefused(t *testing.T) {
	for what, c := range map[string]struct {
		store   inventory.Reader
		options []any
		want    string
	}{
		"no store": {
			nil, []any{outputstest.Options[prometheus.Options](prometheus.Type, nil)},
			"line 10: output prometheus: answers from the store, but there is none",
		},
		"one path": {
			&outputstest.Store{}, []any{outputstest.Options[prometheus.Options](prometheus.Type, nil),
				outputstest.Options[prometheus.Options](prometheus.Type, nil)},
			"line 11: output prometheus: path: already used by line 10: output prometheus",
		},
		"one name": {
			&outputstest.Store{}, []any{nodes(nil), nodes(nil)},
			`line 11: output http_sd: name: two outputs are named "nodes"`,
		},
		"both bad": {nil, []any{nodes(nil), outputstest.Options[prometheus.Options](prometheus.Type, nil)}, "line 11"},
		"all three": {
			&outputstest.Store{}, []any{nodes(nil),
				outputstest.Options(prometheus.Type, func(o *prometheus.Options) { o.Name = "nodes" })},
			`line 11: output prometheus: name: two outputs are named "nodes"`,
		},
	} {
		s := deliver.NewSet(servedTypes(), outputs.Deps{Store: c.store})
		if _, err := s.Open(t.Context(), outputstest.ServedSpecs(servedTypes(), c.options...)); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		}
	}
}

// A reload applies new options at once. It drops the metrics of removed outputs, and keeps those of others.
func TestServedReload(t *testing.T) {
	w := outputstest.NewObserver()
	store := &outputstest.Store{
		Coverage: []inventory.Coverage{outputstest.Coverage("prod", "us-east-1", "ec2_instance", outputstest.Noon)},
		Resources: []*inventory.Resource{
			outputstest.Instance("i-1", nil), outputstest.Instance("i-2", func(r *inventory.Resource) { r.State = "stopped" }),
		},
	}
	s := deliver.NewSet(servedTypes(), outputs.Deps{Observer: w, Store: store})
	reload := func(old *deliver.Fan, options ...any) (*deliver.Fan, []string) {
		t.Helper()
		f, err := s.Open(t.Context(), outputstest.ServedSpecs(servedTypes(), options...))
		if err != nil {
			t.Fatal(err)
		}
		if old != nil {
			for range 2 {
				if err := old.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		return f, slices.Sorted(maps.Keys(f.Handlers()))
	}
	one, paths := reload(nil, nodes(nil), outputstest.Options[prometheus.Options](prometheus.Type, nil))
	if got := strings.Join(paths, " "); got != nodesPath+" "+metricsPath {
		t.Errorf("paths: %s", got)
	}
	old := one.Handlers()[metricsPath]
	two, paths := reload(one, outputstest.Options(
		prometheus.Type, func(o *prometheus.Options) { o.Where = "state=stopped" }))
	if got := strings.Join(paths, " "); got != metricsPath {
		t.Errorf("paths: %s", got)
	}
	if got := strings.Join(w.Closed, " "); got != "nodes" {
		t.Errorf("closed: %s", got)
	}
	got := outputstest.Ask(two.Handlers()[metricsPath]).Body.String()
	if strings.Contains(got, "i-1") || !strings.Contains(got, "i-2") {
		t.Errorf("the new condition does not hold:\n%s", got)
	}
	if got := outputstest.Ask(old).Body.String(); !strings.Contains(got, "i-1") {
		t.Errorf("the old handler has changed:\n%s", got)
	}
	if _, err := s.Open(t.Context(), outputstest.ServedSpecs(
		servedTypes(), nodes(nil), nodes(nil))); err == nil { // rejected: nothing changes
		t.Error("two outputs of one name were accepted")
	}
	if err := two.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(w.Closed, " "); got != "nodes prometheus" {
		t.Errorf("closed: %s", got)
	}
}

// With the real stores, gone instances and retired accounts disappear, and what could not be listed stays.
func TestServedFromTheStore(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		db, err := sqlite.Open(t.Context(), sqlite.Options{Path: t.TempDir() + "/collector.db"})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		testServedFrom(t, db)
	})
	t.Run("postgres", func(t *testing.T) {
		server, err := postgrestest.Start("fsync=off")
		if errors.Is(err, postgrestest.ErrMissing) {
			t.Skipf("SKIPPED, NOT PASSED: %v", err)
		} else if err != nil {
			t.Fatal(err)
		}
		defer server.Remove()
		db, err := postgres.Open(t.Context(), postgres.Options{DSN: server.DSN()})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		hs := testServedFrom(t, db)
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
		for path, h := range hs {
			if got := outputstest.Ask(h); got.Code != http.StatusServiceUnavailable ||
				!strings.Contains(got.Body.String(), "read the store") ||
				strings.Contains(got.Body.String(), "[]") {
				t.Errorf("%s without a server: %d %s", path, got.Code, got.Body)
			}
		}
	})
}

// testServedFrom lists into an empty store, and compares the answers.
func testServedFrom(t *testing.T, db inventory.Driver) map[string]http.Handler {
	inv := inventory.New(db, inventory.Options{})
	t.Cleanup(func() { _ = inv.Driver().Close() }) // it reconnects to the server until then
	list := func(account, id string, state record.State, items ...inventorytest.Item) {
		t.Helper()
		target, who := inventorytest.Target()
		target.Account, who.AccountID = account, id
		v, err := inv.Begin(t.Context(), target, who, "run")
		if err == nil {
			err = v.Page(t.Context(), inventorytest.Page(target, who, "run", items...))
		}
		if err == nil {
			err = v.End(t.Context(), record.Outcome{Target: target, Run: "run", State: state, Started: outputstest.Noon,
				Ended: outputstest.Noon})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	hs, _ := outputstest.OpenServed(t, db, servedTypes(),
		outputstest.Options(prometheus.Type, func(o *prometheus.Options) { o.Where = "state=running" }),
		nodes(func(o *httpsd.Options) { o.Address = "id" }))
	want := func(ids string) {
		t.Helper()
		for path, h := range hs {
			got := outputstest.Ask(h)
			if got.Code != http.StatusOK {
				t.Errorf("%s: %d %s", path, got.Code, got.Body)
			}
			for _, id := range []string{"i-1", "i-2", "i-3"} {
				if strings.Contains(got.Body.String(), `"`+id) != strings.Contains(ids, id) {
					t.Errorf("%s: presence of %s is wrong; want %s:\n%s", path, id, ids, got.Body)
				}
			}
		}
	}
	for path, h := range hs {
		if got := outputstest.Ask(h); got.Code != http.StatusServiceUnavailable {
			t.Errorf("%s of an empty store: %d %s", path, got.Code, got.Body)
		}
	}
	item := func(id string) inventorytest.Item {
		return inventorytest.Item{ID: id, State: "running", Type: "t3.micro"}
	}
	list("prod", "222222222222", record.OK, item("i-1"), item("i-2"))
	list("dev", "111111111111", record.OK, item("i-3"))
	want("i-1 i-2 i-3")
	list("prod", "222222222222", record.OK, item("i-1"))
	want("i-1 i-3")
	list("prod", "222222222222", record.Denied)
	want("i-1 i-3")
	removed := inventory.Account{Name: "dev", Partition: "aws", AccountID: "111111111111"}
	if err := db.RetireAccount(t.Context(), removed, inventory.AccountRemoved); err != nil {
		t.Fatal(err)
	}
	want("i-1")
	list("prod", "222222222222", record.OK)
	want("") // AWS returned no resources
	if got := outputstest.Ask(hs[nodesPath]); got.Body.String() != "[]\n" {
		t.Errorf("%q", got.Body)
	}
	return hs
}
