package web

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A body that is announced and never comes does not hold a slot: the response does not wait for it.
func TestBodyThatNeverComes(t *testing.T) {
	s := httptest.NewServer(newAdmission().wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 64<<10))
	})))
	defer s.Close()
	for _, head := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(5 * time.Second)) // only a failing test waits that long
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n"+head+"\r\n\r\n1"); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || r.StatusCode != 200 {
			t.Errorf("%s: %v", head, err)
		}
		_ = c.Close()
	}
}

// A header that a proxy adds may also be a trailer.
func TestForwardedInATrailer(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "http://localhost/-/reload", nil)
	r.RemoteAddr = "127.0.0.1:5000"
	if _, err := NewGuard("", nil).Actor(r); err != nil {
		t.Fatal(err)
	}
	r.Trailer = http.Header{"X-Forwarded-For": nil}
	if _, err := NewGuard("", nil).Actor(r); err == nil {
		t.Error("it may act")
	}
}
