package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/web/act"
)

// A code is the body of a request with an MFA code.
type code struct {
	Code string `json:"code"`
}

// A note is the body of a request that may say why.
type note struct {
	Note string `json:"note,omitempty"`
}

// parseAct finds out who acts, and reads the body. An unknown member is refused by its name.
func (a *API) parseAct(rt *route, r *http.Request) (*request, error) {
	if a.o.Acts == nil {
		return nil, problem{Status: http.StatusNotImplemented, Detail: "this collector does not act"}
	}
	who, err := a.o.Actor(r)
	if err != nil {
		return nil, problem{Status: http.StatusForbidden, Detail: err.Error(), Hint: record.HintOf(err)}
	}
	if !query.IsText(r.URL.Path) {
		return nil, notText(r.URL.Path)
	}
	if r.URL.RawQuery != "" {
		return nil, problem{Status: http.StatusBadRequest, Detail: "an act takes no parameters in the URL",
			Hint: "Send a body of JSON: see " + Prefix + "openapi.json."}
	}
	return &request{Request: r, route: rt, who: who}, nil
}

// body decodes the body of a request; v keeps its values if there is none.
func (r *request) body(v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(v)
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the JSON value")
		}
	}
	if tooLong := (*http.MaxBytesError)(nil); errors.As(err, &tooLong) {
		return problem{Status: http.StatusRequestEntityTooLarge,
			Detail: fmt.Sprintf("the body is longer than %d bytes", tooLong.Limit)}
	}
	if err != nil {
		return problem{Status: http.StatusBadRequest, Detail: "the body: " + strings.TrimPrefix(err.Error(), "json: "),
			Hint: "Send JSON as " + Prefix + "openapi.json says."}
	}
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != typeJSON {
		return problem{Status: http.StatusUnsupportedMediaType,
			Detail: fmt.Sprintf("unsupported Content-Type %.100q", r.Header.Get("Content-Type")), Hint: "Send " + typeJSON + "."}
	}
	return nil
}

// answerAct answers an act with its result, or with why it was refused.
func answerAct[T any](w http.ResponseWriter, r *request, result T, err error) error {
	switch {
	case err == nil:
		return writeStatus(w, r.route.status, result)
	case r.Context().Err() != nil:
		return errInterrupted()
	}
	return problem{Status: act.StatusOf(err), Detail: err.Error(), Hint: act.HintOf(err)}
}

func (a *API) startRun(w http.ResponseWriter, r *request) error {
	started, err := a.o.Acts.Start(r.Context(), r.who, r.PathValue("name"))
	if err == nil {
		w.Header().Set("Location", Prefix+"runs/"+url.PathEscape(started.Run))
	}
	return answerAct(w, r, started, err)
}

func (a *API) cancelRuns(w http.ResponseWriter, r *request) error {
	cancelled, err := a.o.Acts.Cancel(r.Context(), r.who, r.PathValue("name"))
	return answerAct(w, r, cancelled, err)
}

func (a *API) pause(w http.ResponseWriter, r *request) error {
	var n note
	if err := r.body(&n); err != nil {
		return err
	}
	state, err := a.o.Acts.Pause(r.who, r.PathValue("name"), n.Note)
	return answerAct(w, r, state, err)
}

func (a *API) resume(w http.ResponseWriter, r *request) error {
	state, err := a.o.Acts.Resume(r.who, r.PathValue("name"))
	return answerAct(w, r, state, err)
}

func (a *API) check(w http.ResponseWriter, r *request) error {
	result, err := a.o.Acts.Check(r.Context(), r.who, r.PathValue("name"))
	return answerAct(w, r, result, err)
}

func (a *API) mfa(w http.ResponseWriter, r *request) error {
	var c code
	if err := r.body(&c); err != nil {
		return err
	}
	session, err := a.o.Acts.MFA(r.Context(), r.who, r.PathValue("name"), c.Code)
	return answerAct(w, r, session, err)
}

func (a *API) acknowledge(w http.ResponseWriter, r *request) error {
	var f act.Failure
	if err := r.body(&f); err != nil {
		return err
	}
	ack, err := a.o.Acts.Acknowledge(r.who, r.PathValue("name"), f)
	return answerAct(w, r, ack, err)
}
