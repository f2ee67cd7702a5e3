package outputstest

import (
	"context"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/record"
)

func Instances(rs ...*inventory.Resource) *Store {
	return &Store{Resources: rs, Coverage: []inventory.Coverage{Coverage("prod", "us-east-1", "ec2_instance", Noon)}}
}

var Noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// A Store is a store with the answers of a test.
type Store struct {
	inventory.Reader // other methods are not called
	Resources        []*inventory.Resource
	Coverage         []inventory.Coverage
	Each             func(n int) error // called before resource n; may wait
	Err              error             // returned by every method
}

func (s *Store) Find(_ context.Context, q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	return func(yield func(*inventory.Resource, error) bool) {
		for n, r := range s.Resources {
			err := s.Err
			if err == nil && s.Each != nil {
				err = s.Each(n)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			c := *r
			if !q.Data && !q.Where.NeedsData() {
				c.Data = nil
			}
			ok, err := q.Where.Match(&c)
			if (ok || err != nil) && slices.Contains(q.Kinds, r.Kind) && !yield(&c, err) {
				return
			}
		}
	}
}

func (s *Store) Targets(context.Context) iter.Seq2[inventory.Coverage, error] {
	return func(yield func(inventory.Coverage, error) bool) {
		if s.Err != nil {
			yield(inventory.Coverage{}, s.Err)
			return
		}
		for _, c := range s.Coverage {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// Instance returns a resource, changed by change.
func Instance(id string, change func(*inventory.Resource)) *inventory.Resource {
	r := &inventory.Resource{State: "running", Type: "t3.micro", Record: record.Record{
		Kind: "ec2_instance", ID: id, Account: "prod", AccountID: "222222222222", Partition: "aws", Region: "us-east-1",
		Data: []byte(`{}`),
	}}
	if change != nil {
		change(r)
	}
	return r
}

func Coverage(account, region, kind string, seen time.Time) inventory.Coverage {
	return inventory.Coverage{Outcome: record.Outcome{Target: record.Target{Account: account, Region: region, Kind: kind}},
		AccountID: "222222222222", Partition: "aws", LastSeen: seen}
}

// OpenServed opens served outputs with a store.
func OpenServed(
	t *testing.T, store inventory.Reader, types []outputs.Type, options ...any,
) (map[string]http.Handler, *Observer) {
	t.Helper()
	w := NewObserver()
	s := deliver.NewSet(types, outputs.Deps{Log: slog.New(slog.NewTextHandler(w, nil)), Observer: w, Store: store})
	f, err := s.Open(t.Context(), ServedSpecs(types, options...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f.Handlers(), w
}

func ServedSpecs(types []outputs.Type, options ...any) []deliver.Spec {
	var specs []deliver.Spec
	for i, o := range options {
		of := slices.IndexFunc(types, func(t outputs.Type) bool { return reflect.TypeOf(t.Options()) == reflect.TypeOf(o) })
		specs = append(specs, deliver.Spec{Type: types[of].Name, Options: o, Line: 10 + i})
	}
	return specs
}

// Options returns the options of a type, changed by change.
func Options[O any](typ outputs.Type, change func(*O)) *O {
	o := typ.Options().(*O)
	if change != nil {
		change(o)
	}
	return o
}

func Ask(h http.Handler, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
