package outputs_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/outputstest"
)

// A linePoint is a parsed line of line protocol.
type linePoint struct {
	measurement string
	tags        map[string]string
	fields      map[string]any
	at          time.Time
}

// lineBounds are the limits of a strict receiver; 0 means no limit.
type lineBounds struct{ tags, fields, key, tagValue, fieldValue int }

// parseLines checks the grammar, the order and uniqueness of keys, UTF-8, and the limits.
func parseLines(b []byte, limits lineBounds) (points []linePoint, err error) {
	bound := func(what string, n, limit int) {
		if limit > 0 && n > limit && err == nil {
			err = fmt.Errorf("line %d: %s of %d, more than %d", len(points)+1, what, n, limit)
		}
	}
	bad := func(format string, args ...any) {
		if err == nil {
			err = fmt.Errorf("line %d: %w", len(points)+1, fmt.Errorf(format, args...))
		}
	}
	d := lineprotocol.NewDecoderWithBytes(b)
	for d.Next() {
		p := linePoint{tags: map[string]string{}, fields: map[string]any{}}
		m, merr := d.Measurement()
		if merr != nil || len(m) == 0 {
			return nil, fmt.Errorf("measurement %q: %w", m, merr)
		}
		p.measurement = string(m)
		var keys []string
		series := len(m)
		for {
			key, value, terr := d.NextTag()
			if terr != nil {
				return nil, fmt.Errorf("tag: %w", terr)
			}
			if key == nil {
				break
			}
			if len(value) == 0 || !utf8.Valid(key) || !utf8.Valid(value) {
				bad("tag %q=%q", key, value)
			}
			bound("tag key", len(key), limits.key)
			bound("tag value", len(value), limits.tagValue)
			keys = append(keys, string(key))
			p.tags[string(key)] = string(value)
			series += len(key) + len(value) + 2
		}
		if !slices.IsSorted(keys) || len(p.tags) != len(keys) {
			bad("tags %q: not sorted, or twice", keys)
		}
		n := 0
		for {
			key, value, ferr := d.NextField()
			if ferr != nil {
				return nil, fmt.Errorf("field: %w", ferr)
			}
			if key == nil {
				break
			}
			bound("field key", len(key), limits.key)
			if _, ok := p.tags[string(key)]; ok {
				bad("%q is a tag and a field", key)
			}
			if value.Kind() == lineprotocol.String {
				bound("field "+string(key), len(value.StringV()), limits.fieldValue)
			}
			n++
			p.fields[string(key)] = value.Interface()
		}
		if n != len(p.fields) || n == 0 {
			bad("%d fields, %d different", n, len(p.fields))
		}
		bound("tags", len(p.tags), limits.tags)
		bound("fields", len(p.fields), limits.fields)
		bound("series", series, 65535)
		var terr error
		if p.at, terr = d.Time(lineprotocol.Nanosecond, time.Time{}); terr != nil {
			bad("time: %w", terr)
		}
		points = append(points, p)
	}
	if err == nil {
		err = d.Err()
	}
	return points, err
}

// lineReceiver starts a receiver of line protocol that passes the points to each.
func lineReceiver(t testing.TB, path string, limits lineBounds, each func([]linePoint)) string {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		points, err := parseLines(body(t, r), limits)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != path {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		each(points)
		w.WriteHeader(http.StatusNoContent)
	}).URL
}

// remoteLines describes an output of line protocol to the remote suite; tag is the tag with the record's id.
func remoteLines(
	t *testing.T,
	name, path, tag string,
	limits lineBounds,
	set func(o any, url, ca string),
) outputstest.Remote {
	return remoteHTTP(t, name, set, func(r *http.Request, b []byte) ([]string, error) {
		if r.URL.Path != path {
			return nil, fmt.Errorf("written to %s", r.URL.Path)
		}
		points, err := parseLines(b, limits)
		var ids []string
		for _, p := range points {
			ids = append(ids, p.tags[tag])
		}
		return ids, err
	})
}

// lines makes a batch of the given lines.
func lines(text ...string) outputs.Batch {
	b := outputs.Batch{ID: "b", N: len(text)}
	for _, s := range text {
		b.Lines = append(append(b.Lines, s...), '\n')
	}
	return b
}

// sent returns the only point.
func sent(t testing.TB, got []linePoint) linePoint {
	t.Helper()
	if len(got) != 1 {
		t.Fatalf("%d points, want 1: %v", len(got), got)
	}
	return got[0]
}
