package query

import (
	"errors"
	"iter"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// finder finds resources as a store does, and keeps the last query.
type finder struct {
	rows []*inventory.Resource
	err  error // after the rows
	last inventory.Query
}

func (f *finder) find(q inventory.Query) iter.Seq2[*inventory.Resource, error] {
	f.last = q
	return func(yield func(*inventory.Resource, error) bool) {
		for i, r := range f.rows {
			if q.Limit > 0 && i == q.Limit || !yield(r, nil) {
				return
			}
		}
		if f.err != nil {
			yield(nil, f.err)
		}
	}
}

func TestFindSorted(t *testing.T) {
	row := func(id, name, size string, since time.Duration) *inventory.Resource {
		return &inventory.Resource{
			Record:     record.Record{ID: id, Name: name, Data: []byte(`{"Size":` + size + `}`)},
			StateSince: time.Unix(1e9, 0).Add(since),
		}
	}
	f := &finder{rows: []*inventory.Resource{
		row("a", "web", "100", time.Hour), row("b", "", "9", 3*time.Hour), row("c", "app", "20", 2*time.Hour),
		row("d", "web", "8", 0),
	}}
	for _, c := range []struct{ sort, limit, want string }{
		{"", "", "a b c d"},
		{"", "2", "a b"},
		{"data.Size", "", "d b c a"}, // as numbers: 8 is less than 100
		{"-data.Size", "2", "a c"},
		{"state_since", "", "d a c b"},
		{"name,-data.Size", "", "c a d b"}, // without a name: the last
		{"-name,id", "", "a d c b"},
		{"name", "1", "c"},
	} {
		values := url.Values{}
		if c.sort != "" {
			values.Set("sort", c.sort)
		}
		if c.limit != "" {
			values.Set("limit", c.limit)
		}
		q, err := Parse(values, []Parameter{Sort, Limit}, Options{Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for r, err := range q.FindSorted(f.find) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, r.ID)
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("sort %q, limit %q: %s, want %s", c.sort, c.limit, got, c.want)
		}
		if f.last.Data != strings.Contains(c.sort, "data.") {
			t.Errorf("sort %q: data %t", c.sort, f.last.Data)
		}
	}
	_, err := Parse(url.Values{"sort": {"State"}}, []Parameter{Sort}, Options{})
	if err == nil || err.Error() != "sort: unknown field State: did you mean data.State?" {
		t.Errorf("%v", err)
	}
	f.err = errors.New("disk on fire")
	q, _ := Parse(url.Values{"sort": {"id"}}, []Parameter{Sort}, Options{})
	if got := slices.Collect(errorsOf(q.FindSorted(f.find))); len(got) != 1 || !errors.Is(got[0], f.err) {
		t.Errorf("an error of the store: %v", got)
	}
}

func errorsOf(rows iter.Seq2[*inventory.Resource, error]) iter.Seq[error] {
	return func(yield func(error) bool) {
		for _, err := range rows {
			if err != nil && !yield(err) {
				return
			}
		}
	}
}
