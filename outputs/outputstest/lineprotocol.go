package outputstest

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/aws-collector/collector/outputs"
)

// A LinePoint is a parsed line of line protocol.
type LinePoint struct {
	Measurement string
	Tags        map[string]string
	Fields      map[string]any
	At          time.Time
}

// LineBounds are the limits of a strict receiver; 0 means no limit.
type LineBounds struct{ Tags, Fields, Key, TagValue, FieldValue int }

// parseLines checks the grammar, the order and uniqueness of keys, UTF-8, and the limits.
func parseLines(b []byte, limits LineBounds) (points []LinePoint, err error) {
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
		p := LinePoint{Tags: map[string]string{}, Fields: map[string]any{}}
		m, merr := d.Measurement()
		if merr != nil || len(m) == 0 {
			return nil, fmt.Errorf("measurement %q: %w", m, merr)
		}
		p.Measurement = string(m)
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
			bound("tag key", len(key), limits.Key)
			bound("tag value", len(value), limits.TagValue)
			keys = append(keys, string(key))
			p.Tags[string(key)] = string(value)
			series += len(key) + len(value) + 2
		}
		if !slices.IsSorted(keys) || len(p.Tags) != len(keys) {
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
			bound("field key", len(key), limits.Key)
			if _, ok := p.Tags[string(key)]; ok {
				bad("%q is a tag and a field", key)
			}
			if value.Kind() == lineprotocol.String {
				bound("field "+string(key), len(value.StringV()), limits.FieldValue)
			}
			n++
			p.Fields[string(key)] = value.Interface()
		}
		if n != len(p.Fields) || n == 0 {
			bad("%d fields, %d different", n, len(p.Fields))
		}
		bound("tags", len(p.Tags), limits.Tags)
		bound("fields", len(p.Fields), limits.Fields)
		bound("series", series, 65535)
		var terr error
		if p.At, terr = d.Time(lineprotocol.Nanosecond, time.Time{}); terr != nil {
			bad("time: %w", terr)
		}
		points = append(points, p)
	}
	if err == nil {
		err = d.Err()
	}
	return points, err
}

// LineReceiver starts a receiver of line protocol that passes the points to each.
func LineReceiver(t testing.TB, path string, limits LineBounds, each func([]LinePoint)) string {
	t.Helper()
	return Serve(t, func(w http.ResponseWriter, r *http.Request) {
		points, err := parseLines(Body(t, r), limits)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != path {
			t.Errorf("%s %s: %v", r.Method, r.URL, err)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		each(points)
		w.WriteHeader(http.StatusNoContent)
	}).URL
}

// RemoteLines describes an output of line protocol to the remote suite; tag is the tag with the record's id.
func RemoteLines(
	t *testing.T,
	typ outputs.Type,
	path, tag string,
	limits LineBounds,
	set func(o any, url, ca string),
) Remote {
	return RemoteHTTP(t, typ, set, func(r *http.Request, b []byte) ([]string, error) {
		if r.URL.Path != path {
			return nil, fmt.Errorf("written to %s", r.URL.Path)
		}
		points, err := parseLines(b, limits)
		var ids []string
		for _, p := range points {
			ids = append(ids, p.Tags[tag])
		}
		return ids, err
	})
}

// OnlyPoint returns the only point.
func OnlyPoint(t testing.TB, got []LinePoint) LinePoint {
	t.Helper()
	if len(got) != 1 {
		t.Fatalf("%d points, want 1: %v", len(got), got)
	}
	return got[0]
}
