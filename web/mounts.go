package web

import (
	"net/http"
	"sync/atomic"
)

// Mounts are handlers besides the server's own, each at one path: outputs that answer HTTP requests use them. They get
// GET and HEAD, behind the listener's TLS and passwords like everything else. A reload replaces all of them at once; a
// request in progress keeps the handler that it began with. The zero Mounts has none.
type Mounts struct {
	handlers atomic.Pointer[map[string]http.Handler]
}

// Swap replaces all handlers, by path. A mounted path hides the same path of the server.
func (m *Mounts) Swap(handlers map[string]http.Handler) { m.handlers.Store(&handlers) }

// wrap serves the mounted paths, and passes other requests to next. m may be nil.
func (m *Mounts) wrap(next http.Handler) http.Handler {
	if m == nil {
		return next
	}
	admission := newAdmission() // shared by all handlers, also across reloads
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var h http.Handler
		if handlers := m.handlers.Load(); handlers != nil {
			h = (*handlers)[r.URL.Path]
		}
		switch {
		case h == nil:
			next.ServeHTTP(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			text(w, http.StatusMethodNotAllowed, "This path supports only GET.\n")
		default:
			admission.wrap(h).ServeHTTP(w, r)
		}
	})
}
