package web

import (
	"context"
	"errors"
	"net/http"
)

// The limits on streams: answers that last as long as a client reads them, or until it goes.
const (
	maxStreams        = 64
	maxStreamsPerPeer = 24
)

var errStopping = errors.New("the collector stops")

// serveAPI admits pages like other responses. Streams have slots of their own and no total time: only a client that
// reads too slowly is disconnected. They end when the server does.
func (s *Server) serveAPI() http.Handler {
	pages := newAdmission().wrap(s.o.API)
	streams := newStreamAdmission().wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		defer context.AfterFunc(s.streams, func() { cancel(errStopping) })()
		s.o.API.ServeHTTP(w, r.WithContext(ctx))
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.o.API.Streams(r) {
			streams.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	})
}
