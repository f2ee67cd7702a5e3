package web

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// The Model Context Protocol is served only if it is wanted. It limits its bodies itself; other routes keep their
// limit.
func TestMCP(t *testing.T) {
	post := func(s *Server, path string) (status int, body string) {
		w := ask(s, http.MethodPost, path, func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(strings.Repeat("x", 100_000)))
		})
		return w.Code, w.Body.String()
	}
	if status, body := post(newServer(t, Options{}), "/mcp"); status != http.StatusNotFound {
		t.Errorf("without it: %d %s", status, body)
	}
	read := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		}
	})
	s := newServer(t, Options{MCP: read, Routes: map[string]http.Handler{"POST /other": read}})
	if status, body := post(s, "/mcp"); status != http.StatusOK || len(body) != 100_000 {
		t.Errorf("%d, %d bytes", status, len(body))
	}
	if _, body := post(s, "/other"); len(body) >= 100_000 {
		t.Errorf("the limit of other routes: %d bytes", len(body))
	}
}
