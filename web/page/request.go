package page

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws-collector/collector/query"
)

// A request is a GET of a view. A view asks for each parameter that it understands; the page names the others.
type request struct {
	*http.Request
	now    time.Time
	values url.Values
	known  map[string]bool
	theme  string

	malformed []string // parts of the query that are no parameters
}

func newRequest(r *http.Request, now time.Time) *request {
	req := &request{Request: r, now: now, values: r.URL.Query(), known: map[string]bool{}}
	if c, err := r.Cookie("theme"); err == nil && (c.Value == "dark" || c.Value == "light") {
		req.theme = c.Value
	}
	for part := range strings.SplitSeq(r.URL.RawQuery, "&") {
		if _, err := url.ParseQuery(part); err != nil {
			req.malformed = append(req.malformed, shorten(part, 80))
		}
	}
	return req
}

// param returns a parameter, or "".
func (r *request) param(name string) string {
	r.known[name] = true
	return strings.TrimSpace(r.values.Get(name))
}

// params returns every value of a parameter that can be repeated; one value may have several, separated by commas.
func (r *request) params(name string) []string {
	r.known[name] = true
	var all []string
	for _, v := range r.values[name] {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				all = append(all, part)
			}
		}
	}
	return all
}

// oneOf returns a parameter that has one of these values; the first one if it has none. Another value is not
// understood.
func (r *request) oneOf(name string, values ...string) string {
	v := r.param(name)
	if slices.Contains(values, v) {
		return v
	}
	if v != "" {
		delete(r.known, name)
	}
	return values[0]
}

// someOf returns the values of a parameter that can be repeated. If one is none of these, the parameter is not
// understood.
func (r *request) someOf(name string, values ...string) []string {
	all := r.params(name)
	if slices.ContainsFunc(all, func(v string) bool { return !slices.Contains(values, v) }) {
		delete(r.known, name)
		return nil
	}
	return all
}

// unknown returns the parameters that no view asked for, or understood.
func (r *request) unknown() []string {
	names := slices.Clone(r.malformed)
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		if !r.known[name] {
			names = append(names, shorten(name, 40)+"="+shorten(r.values.Get(name), 40))
		}
	}
	return names
}

// understood reports whether the URL has a parameter that the view understood.
func (r *request) understood(name string) bool { return r.known[name] && r.values.Get(name) != "" }

// with returns a URL of the same view with these parameters replaced: name, value, name, value. "" removes one.
func (r *request) with(pairs ...string) string {
	q := url.Values{}
	for name, values := range r.values {
		if r.known[name] {
			q[name] = values
		}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if q.Del(pairs[i]); pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return withQuery(r.URL.EscapedPath(), q)
}

func withQuery(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// accountURL is the page of an account.
func accountURL(name string) string { return "/accounts/" + url.PathEscape(name) }

// escapeValue escapes the value of a parameter.
func escapeValue(s string) string { return url.QueryEscape(s) }

// runURL is the page of a run.
func runURL(id string) string { return "/runs/" + url.PathEscape(id) }

// matches reports whether globs select an account, by its name or its id, as the command line does.
func (a *account) matches(globs []string) bool {
	return query.MatchesAccount(globs, a.Name, a.Identity.AccountID)
}
