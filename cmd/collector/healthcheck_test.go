package main

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A listener that requires a password or a client certificate counts as alive. Ready needs the answer of /-/ready.
func TestProbe(t *testing.T) {
	answer := func(status int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	}
	plain := func(s *httptest.Server) { s.Start() }
	withTLS := func(s *httptest.Server) { s.StartTLS() }
	mutual := func(s *httptest.Server) {
		s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
		s.StartTLS()
	}
	for _, c := range []struct {
		name         string
		status       int
		start        func(*httptest.Server)
		alive, ready bool
	}{
		{"plain", 200, plain, true, true},
		{"password", 401, plain, true, false},
		{"TLS", 200, withTLS, true, true},
		{"TLS with a password", 401, withTLS, true, false},
		{"TLS that wants a certificate", 200, mutual, true, false},
		{"not ready", 503, plain, false, false},
		{"something else", 404, plain, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(answer(c.status))
			s.Config.ErrorLog = log.New(io.Discard, "", 0) // some handshakes fail on purpose
			c.start(s)
			defer s.Close()
			addr := s.Listener.Addr().String()
			if err := probeHealth(t.Context(), addr, healthyPath); (err == nil) != c.alive {
				t.Errorf("alive: want %t, got %v", c.alive, err)
			}
			if err := probeHealth(t.Context(), addr, "/-/ready"); (err == nil) != c.ready {
				t.Errorf("ready: want %t, got %v", c.ready, err)
			}
		})
	}
}
