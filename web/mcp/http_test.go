package mcp

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",` +
	`"capabilities":{},"clientInfo":{"name":"test","version":"1"}}}`

// post sends a message. An error means that there was no answer: then the status is 0.
func post(ctx context.Context, address, body string, headers ...string) (status int, text string) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/mcp", strings.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	for i := 0; i < len(headers); i += 2 {
		switch name, value := headers[i], headers[i+1]; {
		case value == "":
		case name == "Host":
			r.Host = value
		default:
			r.Header.Set(name, value)
		}
	}
	r.Close = true
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(r)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(b)
}

// The case dns-rebinding-protection of the protocol's conformance tests, and more: a page in a browser on this machine
// can reach the server only under its own name and with its own origin, and both are refused with 403.
func TestDNSRebinding(t *testing.T) {
	address := serve(t, newStore(t))
	_, port, _ := strings.Cut(address, ":")
	for _, c := range []struct {
		host, origin, site string
		status             int
	}{
		{"evil.example.com", "", "", http.StatusForbidden},
		{"evil.example.com:" + port, "http://evil.example.com:" + port, "same-origin", http.StatusForbidden},
		{"127.0.0.1.evil.example.com", "", "", http.StatusForbidden},
		{"localhost.evil.example.com:" + port, "", "", http.StatusForbidden},
		{address, "http://evil.example.com", "", http.StatusForbidden},
		{address, "http://evil.example.com", "cross-site", http.StatusForbidden},
		{address, "null", "", http.StatusForbidden},
		{address, "http://localhost.evil.example.com:" + port, "", http.StatusForbidden},
		{"localhost:" + port, "http://localhost:1", "", http.StatusForbidden},
		{address, "", "", http.StatusOK},
		{"localhost:" + port, "", "", http.StatusOK},
		{"[::1]:" + port, "", "", http.StatusOK},
		{"localhost:" + port, "http://localhost:" + port, "same-origin", http.StatusOK},
	} {
		status, text := post(t.Context(), address, initialize, "Host", c.host, "Origin", c.origin, "Sec-Fetch-Site", c.site)
		if status != c.status {
			t.Errorf("%+v: %d %s", c, status, text)
		}
	}
}

// A request is one message of at most maxBody bytes, and there are no streams.
func TestRequests(t *testing.T) {
	address := serve(t, newStore(t))
	long := func(n int) string {
		return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"find","arguments":{"q":"` +
			strings.Repeat("x", n) + `"}}}`
	}
	for what, c := range map[string]struct {
		body   string
		status int
		text   string
	}{
		"a body of 8 KiB":         {long(8 << 10), http.StatusOK, `"items":[]`},
		"a body that is too long": {long(maxBody), http.StatusRequestEntityTooLarge, "longer than"},
		"a batch":                 {" [" + initialize + "]", http.StatusBadRequest, "Batches are not supported"},
		"no JSON":                 {"hello", http.StatusBadRequest, ""},
		"no body":                 {"", http.StatusBadRequest, ""},
		"a server's method":       {`{"jsonrpc":"2.0","id":1,"method":"resources/list"}`, http.StatusOK, ""},
		"no method":               {`{"jsonrpc":"2.0","id":1,"method":"nothing"}`, http.StatusBadRequest, ""},
	} {
		status, text := post(t.Context(), address, c.body, "Mcp-Protocol-Version", "2025-11-25")
		if status != c.status || !strings.Contains(text, c.text) {
			t.Errorf("%s: %d %.300s", what, status, text)
		}
	}
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+"/mcp", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/event-stream")
		transport := &http.Transport{}
		response, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := response.Body.Close(); err != nil {
			t.Error(err)
		}
		transport.CloseIdleConnections()
		if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != http.MethodPost {
			t.Errorf("%s: %s %v", method, response.Status, response.Header)
		}
	}
}
