package api

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws-collector/collector/query"
)

const (
	eventInterval = time.Second     // at most one look at what changed
	heartbeat     = 5 * time.Second // so that a client notices a broken connection, and the server a client that has gone
)

// An eventWriter writes server-sent events.
//
//	https://html.spec.whatwg.org/multipage/server-sent-events.html
type eventWriter struct {
	buffer  *bufio.Writer
	control *http.ResponseController
	err     error // of a write: the client has gone
}

func newEvents(w http.ResponseWriter) *eventWriter {
	w.Header().Set("Content-Type", typeEvents)
	w.Header().Set("X-Accel-Buffering", "no") // for nginx, which would hold events back
	return &eventWriter{buffer: bufio.NewWriter(w), control: http.NewResponseController(w)}
}

// send writes an event. id is what a client sends as Last-Event-ID when it comes back.
func (e *eventWriter) send(name, id string, data any) error {
	if id != "" {
		id = "id: " + id + "\n"
	}
	body := strings.TrimSuffix(string(query.JSONLine(data)), "\n")
	return e.write(fmt.Sprintf("%sevent: %s\ndata: %s\n\n", id, name, body))
}

func (e *eventWriter) write(text string) error {
	if _, err := e.buffer.WriteString(text); err != nil {
		e.err = err
	}
	return e.err
}

func (e *eventWriter) flush() error {
	if e.err == nil {
		e.err = e.buffer.Flush()
	}
	if e.err == nil {
		e.err = e.control.Flush()
	}
	return e.err
}

// wait waits until something may have changed, at most until the next sign of life, which it sends. It returns false at
// the end.
func (e *eventWriter) wait(ctx context.Context, changed <-chan struct{}) bool {
	begun := time.Now()
	select {
	case <-ctx.Done():
		return false
	case <-time.After(eventInterval):
	}
	select {
	case <-ctx.Done():
		return false
	case <-changed:
		return true
	case <-time.After(heartbeat - time.Since(begun)):
		return e.write(": alive\n\n") == nil && e.flush() == nil
	}
}
