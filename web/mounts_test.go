package web

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func saying(s string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) })
}

// Mounted handlers are served like the server's own routes, with the same headers and methods; a swap removes those
// that it does not have, and a request in progress keeps its handler.
func TestMounts(t *testing.T) {
	m := new(Mounts)
	s := newServer(t, Options{Mounts: m})
	want := func(method, path string, code int, body string) {
		t.Helper()
		w := ask(s, method, path)
		if w.Code != code || body != "" && w.Body.String() != body {
			t.Errorf("%s %s answers %d %q, want %d %q", method, path, w.Code, w.Body, code, body)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: without the headers of every answer", method, path)
		}
	}
	want("GET", "/metrics/inventory", 404, "")
	began, end := make(chan bool), make(chan bool)
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-end
		_, _ = io.WriteString(w, "old")
	})
	m.Swap(map[string]http.Handler{"/metrics/inventory": saying("one"), "/api/v1/sd/slow": slow})
	want("GET", "/metrics/inventory", 200, "one")
	want("HEAD", "/metrics/inventory", 200, "")
	want("POST", "/metrics/inventory", 405, "")
	want("GET", "/metrics/inventory/", 404, "")
	want("GET", "/metrics", 200, "")
	answer := make(chan *httptest.ResponseRecorder)
	go func() { answer <- ask(s, "GET", "/api/v1/sd/slow") }()
	<-began
	m.Swap(map[string]http.Handler{"/metrics/other": saying("two")})
	want("GET", "/metrics/inventory", 404, "")
	want("GET", "/api/v1/sd/slow", 404, "")
	want("GET", "/metrics/other", 200, "two")
	close(end)
	if w := <-answer; w.Body.String() != "old" {
		t.Errorf("the request under way ends with %q", w.Body)
	}
	m.Swap(nil)
	want("GET", "/metrics/other", 404, "")
}

func TestMountsBehindThePassword(t *testing.T) {
	m := new(Mounts)
	m.Swap(map[string]http.Handler{"/metrics/inventory": saying("mine")})
	addr := start(
		t,
		newServer(t, Options{Mounts: m, ConfigFile: webConfig(t, fmt.Sprintf("basic_auth_users:\n  admin: %s\n", hash(t)))}),
	)
	c := &http.Client{Transport: &http.Transport{}}
	if code, body := get(t, c, "http://"+addr+"/metrics/inventory"); code != 401 {
		t.Errorf("without a password: %d %s", code, body)
	}
	if code, body := get(t, c, "http://"+addr+"/metrics/inventory",
		func(r *http.Request) { r.SetBasicAuth("admin", "open sesame") }); code != 200 ||
		body != "mine" {
		t.Errorf("with the password: %d %s", code, body)
	}
}
