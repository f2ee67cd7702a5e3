package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws-collector/collector/query"
)

// Contract is the OpenAPI document of the routes: read only.
func Contract() []byte { return contract }

// maxAnswer limits what Ask answers: it is in memory as a whole.
const maxAnswer = 1 << 20

// Ask answers a question within the program, for other protocols: as GET does at a path of the contract below Prefix.
// The placeholders of the path are among the arguments. The answer is always a set that says what is unknown; that of
// one resource has one item. If the question fails, ok is false and the body is a problem.
func (a *API) Ask(ctx context.Context, path string, arguments url.Values) (body []byte, ok bool) {
	body, err := a.ask(ctx, path, arguments)
	if err != nil {
		var p problem
		if !errors.As(err, &p) {
			p = storeProblem(err)
		}
		return query.JSONLine(p.complete()), false
	}
	return body, true
}

func (a *API) ask(ctx context.Context, path string, arguments url.Values) ([]byte, error) {
	at := time.Now().UTC()
	rest := maps.Clone(arguments)
	for name := range arguments {
		if placeholder := "{" + name + "}"; strings.Contains(path, placeholder) {
			path = strings.ReplaceAll(path, placeholder, url.PathEscape(arguments.Get(name)))
			delete(rest, name)
		}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, Prefix+path+"?"+rest.Encode(), nil)
	if err != nil {
		return nil, problem{Status: http.StatusBadRequest, Detail: err.Error()}
	}
	w := recorder{header: http.Header{}, status: http.StatusOK}
	a.ServeHTTP(&w, r)
	var set map[string]json.RawMessage
	switch err := json.Unmarshal(w.body.Bytes(), &set); {
	case w.isCut:
		return nil, problem{Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("the answer is longer than %d bytes", maxAnswer), Hint: "Set a smaller limit, or fields."}
	case w.status != http.StatusOK && err == nil:
		var p problem
		err = json.Unmarshal(w.body.Bytes(), &p)
		return nil, errors.Join(err, p)
	case err != nil: // a redirection, because the path has the segment ..
		return nil, problem{Status: http.StatusNotFound, Detail: fmt.Sprintf("no route %.200q", path)}
	}
	if set["items"] == nil {
		set = map[string]json.RawMessage{"items": fmt.Appendf(nil, "[%s]", w.body.Bytes()), "as_of": query.JSONLine(at)}
	}
	if set["unknown"] == nil {
		parameters := []query.Parameter{query.Kind, query.Account, query.Region, query.At}
		q, err := query.Parse(arguments, parameters, query.Options{Now: at, Kinds: a.o.Kinds})
		if err != nil {
			return nil, err
		}
		unknown, err := a.unknown(ctx, &q)
		if err != nil {
			return nil, err
		}
		set["unknown"] = query.JSONLine(unknown)
	}
	return json.Marshal(set)
}

// A recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
	isCut  bool
}

func (w *recorder) Header() http.Header    { return w.header }
func (w *recorder) WriteHeader(status int) { w.status = status }

func (w *recorder) Write(b []byte) (int, error) {
	if w.isCut = w.isCut || w.body.Len()+len(b) > maxAnswer; w.isCut {
		return 0, http.ErrBodyNotAllowed
	}
	return w.body.Write(b)
}
