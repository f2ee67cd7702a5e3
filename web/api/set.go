package api

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
)

const (
	defaultPage     = 100
	maxPage         = 1000
	cursorParameter = "cursor"
)

// The media types of answers.
const (
	typeJSON   = "application/json"
	typeNDJSON = "application/x-ndjson"
	typeCSV    = "text/csv"
	typeEvents = "text/event-stream"
)

// A set is a page of items.
type set[T any] struct {
	Items   []T       `json:"items"`
	Next    string    `json:"next,omitempty"` // the cursor of the next page
	AsOf    time.Time `json:"as_of"`
	Notes   []string  `json:"notes,omitempty"`   // why there are no items
	Unknown *unknown  `json:"unknown,omitempty"` // what the question is about and the answer cannot know
}

// newSet cuts a page from items, of which there is one more than the limit if there is a next page.
func newSet[T any](r *request, items []T, key func(T) cursor) set[T] {
	s := set[T]{Items: items, AsOf: r.question.Now}
	if n := r.question.Limit; len(items) > n {
		s.Items = items[:n]
		s.Next = key(items[n-1]).encode(r.fingerprint())
	}
	if s.Items == nil {
		s.Items = []T{}
	}
	return s
}

// A cursor is where a page begins: after the key. To a client it is opaque.
type cursor struct {
	Key  []string  `json:"k,omitempty"`
	At   time.Time `json:"a,omitzero"` // an instant that all pages share, or that of the key
	From time.Time `json:"f,omitzero"`
	Of   string    `json:"q"` // the fingerprint of its question
}

func (c cursor) encode(of string) string {
	c.Of = of
	b, err := json.Marshal(c)
	if err != nil {
		return "" // a cursor is always JSON
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseCursor decodes a cursor of the question with a fingerprint; "" is the first page.
func parseCursor(text, of string) (c cursor, err error) {
	if text == "" {
		return cursor{}, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, &c)
	}
	switch {
	case err != nil, slices.ContainsFunc(c.Key, func(part string) bool { return !query.IsText(part) }):
		return cursor{}, errForeignCursor()
	case c.Of != of:
		return cursor{}, problem{Status: http.StatusBadRequest, Detail: "the cursor belongs to another question",
			Hint: "Repeat the parameters of the first page, or leave out the cursor."}
	}
	return c, nil
}

// key returns the key of the cursor, or nil on the first page. A client could make a cursor with another one.
func (r *request) key(parts int) ([]string, error) {
	if k := r.cursor.Key; k != nil && len(k) != parts {
		return nil, errForeignCursor()
	}
	return r.cursor.Key, nil
}

// resourceKey is the key of a cursor whose items are resources.
func (r *request) resourceKey() (*inventory.Key, error) {
	k, err := r.key(6)
	if err != nil || k == nil {
		return nil, err
	}
	return &inventory.Key{Kind: k[0], Account: k[1], Region: k[2], ID: k[3], AccountID: k[4], Partition: k[5]}, nil
}

func errForeignCursor() problem {
	return problem{Status: http.StatusBadRequest, Detail: "the cursor is not one of this API",
		Hint: "Use the value of next as it is."}
}

// fingerprint identifies the question, whatever its page.
func (r *request) fingerprint() string {
	rest := maps.Clone(r.values)
	for _, name := range []string{cursorParameter, afterName, query.Limit.Name} {
		delete(rest, name)
	}
	sum := sha256.Sum256([]byte(r.URL.Path + "?" + url.Values(rest).Encode()))
	return base64.RawURLEncoding.EncodeToString(sum[:6])
}

// writeJSON writes an answer.
func writeJSON(w http.ResponseWriter, v any) error { return writeStatus(w, http.StatusOK, v) }

func writeStatus(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // an error means that the client has gone
	return nil
}

// writeCacheable writes an answer that is the same until the program is replaced. A client may keep it and ask whether
// it changed.
func writeCacheable(w http.ResponseWriter, r *request, body []byte) {
	sum := sha256.Sum256(body)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	w.Header().Set("ETag", etag)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Type", typeJSON)
	for given := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if strings.TrimPrefix(strings.TrimSpace(given), "W/") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	_, _ = w.Write(body) // an error means that the client has gone
}

// acceptable returns the media type that a request wants most of those that a route has; "" if it accepts none. The
// most specific range of Accept decides about a type. Of two with the same weight, the one that the request names first
// wins. Without a wish, it is the first of the route.
//
//	https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1
func acceptable(r *http.Request, media []string) string {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		accept = "*/*"
	}
	ranges := strings.Split(strings.ToLower(accept), ",")
	best, most, first := "", 0.0, 0
	for _, m := range media {
		specific, weight, at := 0, 0.0, 0
		for i, wish := range ranges {
			name, parameters, _ := strings.Cut(wish, ";")
			name = strings.TrimSpace(name)
			rank := slices.Index([]string{"*/*", m[:strings.IndexByte(m, '/')+1] + "*", m}, name) + 1
			if rank > specific {
				specific, weight, at = rank, weightOf(parameters), i
			}
		}
		if weight > most || weight == most && weight > 0 && at < first {
			best, most, first = m, weight, at
		}
	}
	return best
}

// weightOf is the parameter q of a media range; 1 without one.
func weightOf(parameters string) float64 {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if q, err := strconv.ParseFloat(value, 64); name == "q" && err == nil && q >= 0 && q <= 1 {
			return q
		}
	}
	return 1
}
