package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/record"
)

// The client sends the account, the body and the user as they are, and returns the answer.
func TestAct(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, 100)
		n, _ := r.Body.Read(body)
		user, password, _ := r.BasicAuth()
		got := r.Method + " " + r.URL.EscapedPath() + " " + user + ":" + password + " " + string(body[:n])
		if want := `POST /api/v1/accounts/a%2Fb%20%3F%23/pause alice:open sesame {"note":"x"}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		_, _ = w.Write([]byte(`{"account":"a"}`))
	}))
	defer s.Close()
	c, err := New(Options{s.URL, "alice", "open sesame"})
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Account string }
	err = c.Act(t.Context(), "a/b ?#", "pause", map[string]string{"note": "x"}, &answer)
	if err != nil || answer.Account != "a" {
		t.Errorf("%+v %v", answer, err)
	}
}

// Each refusal says what is wrong and what to do.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		status      int
		media, body string
		text, hint  string
	}{
		"a problem": {409, "application/problem+json", `{"detail":"an earlier run is in progress","hint":"Wait."}`,
			"an earlier run is in progress", "Wait."},
		"no user":      {401, "text/plain", "Unauthorized", "answers 401 Unauthorized", "Set COLLECTOR_USER"},
		"another host": {421, "text/plain", "Host is not allowed.", "Host is not allowed", ""},
		"TLS":          {400, "text/plain", "Client sent an HTTP request to an HTTPS server.", "400", "--server https://"},
		"a redirect":   {302, "text/plain", "", "answers 302 Found", ""},
		"no collector": {200, "text/html", "<html>", "is not that of a collector", ""},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.media)
			w.Header().Set("Location", "http://127.0.0.1:1/")
			w.WriteHeader(c.status)
			_, _ = w.Write([]byte(c.body))
		}))
		client, err := New(Options{Server: s.URL})
		if err != nil {
			t.Fatal(err)
		}
		err = client.Act(t.Context(), "prod", "run", nil, new(struct{}))
		if err == nil || !strings.Contains(err.Error(), c.text) || !strings.HasPrefix(record.HintOf(err), c.hint) &&
			!strings.Contains(record.HintOf(err), c.hint) {
			t.Errorf("%s: %v, hint %q", name, err, record.HintOf(err))
		}
		if r := (*Refusal)(nil); c.status != 200 && (!errors.As(err, &r) || r.Status != c.status) {
			t.Errorf("%s: no refusal with status %d: %v", name, c.status, err)
		}
		s.Close()
	}
}

// A password leaves this machine only with TLS, and is never an argument. Nobody listens, or nobody answers: both are
// reported.
func TestOptions(t *testing.T) {
	for server, want := range map[string]string{
		"collector.example.com:9420":         "not a URL",
		"ftp://collector.example.com":        "not a URL",
		"http://alice:secret@127.0.0.1:9420": "has a user",
		"http://collector.example.com:9420":  "without TLS",
		"http://127.0.0.1.evil.example:9420": "without TLS",
		"https://collector.example.com:9420": "",
		"http://localhost:9420":              "",
		"http://[::1]:9420":                  "",
	} {
		_, err := New(Options{server, "alice", "secret"})
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) ||
			err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", server, err, want)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at, err := ListenURL(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, err := New(Options{Server: at})
	if err != nil {
		t.Fatal(err)
	}
	silent, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, errors.New("no answer within 50ms"))
	defer cancel()
	err = client.Act(silent, "prod", "run", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "no answer within") {
		t.Errorf("nobody answers: %v", err)
	}
	l.Close()
	if err := client.Act(t.Context(), "prod", "run", nil, nil); !strings.Contains(record.HintOf(err), "collector run") {
		t.Errorf("nobody listens: %v, hint %q", err, record.HintOf(err))
	}
	for address, want := range map[string]string{":9420": "http://127.0.0.1:9420", "[::]:1": "http://127.0.0.1:1",
		"0.0.0.0:1": "http://127.0.0.1:1", "10.0.0.1:1": "http://10.0.0.1:1"} {
		if got, err := ListenURL(address); got != want || err != nil {
			t.Errorf("%s: %s %v", address, got, err)
		}
	}
}
