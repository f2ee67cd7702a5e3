package web

import (
	"context"
	"errors"
	"net/http"
)

// The limits on streams: answers that last as long as a client reads them, or until it goes.
const (
	maxEvents        = 64
	maxEventsPerPeer = 24
	// A stream of rows holds a connection of the store as long as its client reads. A store may have eight (Postgres):
	// half of them remain for what is short.
	maxRowStreams        = 4
	maxRowStreamsPerPeer = 3
)

var errStopping = errors.New("the collector stops")

// serveAPI admits pages like other responses. Acts have slots of their own, because one may last a minute. Streams have
// slots of their own and no total time: only a client that reads too slowly is disconnected. They end when the server
// does.
func (s *Server) serveAPI() http.Handler {
	pages, acts := newAdmission().wrap(s.o.API), newAdmission().wrap(s.o.API)
	stream := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		defer context.AfterFunc(s.streams, func() { cancel(errStopping) })()
		s.o.API.ServeHTTP(w, r.WithContext(ctx))
	})
	rowStreams := newStreamAdmission(maxRowStreams, maxRowStreamsPerPeer).wrap(stream)
	eventStreams := newStreamAdmission(maxEvents, maxEventsPerPeer).wrap(stream)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch rows, events := s.o.API.Streams(r); {
		case s.o.API.Acts(r):
			acts.ServeHTTP(w, r)
		case rows:
			rowStreams.ServeHTTP(w, r)
		case events:
			eventStreams.ServeHTTP(w, r)
		default:
			pages.ServeHTTP(w, r)
		}
	})
}
