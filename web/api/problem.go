package api

import (
	"cmp"
	"net/http"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
)

// A problem is the body of every answer that is an error (RFC 9457).
type problem struct {
	Type    string   `json:"type"`
	Title   string   `json:"title"`
	Status  int      `json:"status"`
	Detail  string   `json:"detail,omitempty"`
	Hint    string   `json:"hint,omitempty"`    // what to do
	Choices []choice `json:"choices,omitempty"` // the resources that one id means
	Unknown *unknown `json:"unknown,omitempty"`
}

// A choice is one of several resources with an id.
type choice struct {
	Account   string `json:"account"`
	AccountID string `json:"account_id"`
	Region    string `json:"region"`
}

func (p problem) Error() string { return p.Detail }

// complete sets the members that follow from the status.
func (p problem) complete() problem {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	return p
}

func writeProblem(w http.ResponseWriter, p problem) {
	p = p.complete()
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(query.JSONLine(p)) // an error means that the client has gone
}

// storeProblem is what a client learns about an error of the store: the log has all.
func storeProblem(err error) problem {
	return problem{
		Status: http.StatusServiceUnavailable, Detail: "reading the store failed: " + err.Error(),
		Hint: cmp.Or(record.HintOf(err), "Try again later. See /-/ready and the log."),
	}
}

// errInterrupted answers a question that the end of the program interrupts. If it is the client that has gone, nobody
// reads it.
func errInterrupted() problem {
	return problem{
		Status: http.StatusServiceUnavailable, Detail: "the answer was interrupted: the collector stops",
		Hint: "Ask again later.",
	}
}

// errNothingStored answers questions that only a store can answer.
func errNothingStored() problem {
	return problem{
		Status: http.StatusNotImplemented, Detail: "nothing is stored",
		Hint: "Set store: {type: sqlite} to store what the next runs list.",
	}
}
