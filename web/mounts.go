package web

import (
	"net/http"
	"sync/atomic"
)

// Mounts is handlers beside the server's own, each at one path: what outputs answer that are asked. They get GET and HEAD,
// behind the listener's TLS and passwords like everything else. A reload swaps all of them at once; a request that is
// being answered goes on with the handler that it began with. The zero Mounts has none.
type Mounts struct {
	handlers atomic.Pointer[map[string]http.Handler]
}

// Swap puts handlers, by path, in the place of all earlier ones. A path of the server's own would be hidden.
func (m *Mounts) Swap(at map[string]http.Handler) { m.handlers.Store(&at) }

// wrap serves what is mounted, and leaves the rest to next. m may be nil.
func (m *Mounts) wrap(next http.Handler) http.Handler {
	if m == nil {
		return next
	}
	slots := newAdmission() // for all of them: a reload swaps handlers, and not who is being answered
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var h http.Handler
		if at := m.handlers.Load(); at != nil {
			h = (*at)[r.URL.Path]
		}
		switch {
		case h == nil:
			next.ServeHTTP(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			text(w, http.StatusMethodNotAllowed, "only GET is answered here.\n")
		default:
			slots.wrap(h).ServeHTTP(w, r)
		}
	})
}
