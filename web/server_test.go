package web

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"
)

func newServer(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Gather == nil {
		o.Gather = prometheus.NewRegistry()
	}
	s, err := NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ask(s *Server, method, path string, with ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:9420"+path, nil)
	r.RemoteAddr = "127.0.0.1:51000"
	for _, f := range with {
		f(r)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func TestRoutes(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { text(w, 200, "page") })
	s := newServer(t, Options{Reload: func(context.Context) error { return nil },
		Routes: map[string]http.Handler{"GET /{$}": page}})
	for _, c := range []struct {
		method, path string
		code         int
	}{
		{"GET", "/", 200}, {"HEAD", "/", 200}, {"GET", "/metrics", 200}, {"GET", "/-/healthy", 200},
		{"HEAD", "/-/healthy", 200},
		{"GET", "/-/ready", 200}, {"POST", "/-/reload", 200},
		{"GET", "/nowhere", 404}, {"GET", "/metrics/", 404}, {"POST", "/nowhere", 404},
		{"POST", "/", 405}, {"DELETE", "/metrics", 405}, {"PUT", "/-/ready", 405}, {"GET", "/-/reload", 405},
		{"OPTIONS", "/", 405},
	} {
		w := ask(s, c.method, c.path)
		if w.Code != c.code || c.code == 405 && w.Header().Get("Allow") == "" {
			t.Errorf("%s %s answers %d (Allow %q), want %d", c.method, c.path, w.Code, w.Header().Get("Allow"), c.code)
		}
		for h, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Referrer-Policy": "no-referrer"} {
			if got := w.Header().Get(h); got != want {
				t.Errorf("%s %s: %s is %q", c.method, c.path, h, got)
			}
		}
		if p := w.Header().Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") ||
			!strings.Contains(p, "frame-ancestors 'none'") || strings.Contains(p, "unsafe") {
			t.Errorf("%s %s: policy is %q", c.method, c.path, p)
		}
	}
}

func TestReady(t *testing.T) {
	var why []string
	s := newServer(t, Options{Ready: func() []string { return why }})
	if w := ask(s, "GET", "/-/ready"); w.Code != 200 {
		t.Errorf("ready: %d", w.Code)
	}
	why = []string{"output \u009b31m\u202e\x1b[2J"}
	if w := ask(s, "GET", "/-/ready"); !strings.Contains(w.Body.String(), `output \u009b31m\u202e\x1b[2J`) {
		t.Errorf("what a terminal obeys: %q", w.Body)
	}
	why = []string{"output file: write out/r.jsonl: no space left on device", "no configuration yet"}
	if w := ask(s, "GET", "/-/ready"); w.Code != 503 || !strings.Contains(w.Body.String(), "- "+why[0]+"\n- "+why[1]) {
		t.Errorf("not ready: %d %s", w.Code, w.Body)
	}
	if w := ask(s, "GET", "/-/healthy"); w.Code != 200 {
		t.Errorf("an output's trouble gets the process restarted: %d", w.Code)
	}
}

func TestOpenMetrics(t *testing.T) {
	_, reg, _ := full(t)
	s := newServer(t, Options{Gather: reg})
	w := ask(
		s,
		"GET",
		"/metrics",
		func(r *http.Request) { r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0") },
	)
	if ct := w.Header().Get("Content-Type"); !strings.HasPrefix(ct, "application/openmetrics-text") ||
		!strings.HasSuffix(w.Body.String(), "# EOF\n") {
		t.Errorf("content type %q", ct)
	}
	if w := ask(s, "GET", "/metrics"); !strings.Contains(w.Body.String(), "collector_targets{") {
		t.Errorf("plain: %s", w.Body)
	}
}

func TestReload(t *testing.T) {
	var fail error
	calls := 0
	s := newServer(t, Options{Reload: func(ctx context.Context) error { calls++; return errors.Join(fail, ctx.Err()) }})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if w := ask(s, "POST", "/-/reload", func(r *http.Request) { *r = *r.WithContext(gone) }); w.Code != 200 || calls != 1 {
		t.Errorf("a client that hung up: %d %s", w.Code, w.Body)
	}
	fail = errors.New("config.yaml: line 3: unknown key")
	if w := ask(s, "POST", "/-/reload"); w.Code != 500 || !strings.Contains(w.Body.String(), "line 3: unknown key") {
		t.Errorf("a bad file: %d %s", w.Code, w.Body)
	}
}

func TestGuard(t *testing.T) {
	withUsers := webConfig(t, "basic_auth_users:\n  admin: "+hash(t)+"\n")
	without := webConfig(t, "http_server_config:\n  http2: true\n")
	set := func(h, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(h, v) } }
	from := func(a string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = a } }
	host := func(h string) func(*http.Request) { return func(r *http.Request) { r.Host = h } }
	all := func(fs ...func(*http.Request)) func(*http.Request) {
		return func(r *http.Request) {
			for _, f := range fs {
				f(r)
			}
		}
	}
	cert := func(r *http.Request) { r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}} }
	for name, c := range map[string]struct {
		file string
		with func(*http.Request)
		want int
	}{
		"curl on this machine":               {"", all(), 200},
		"IPv6":                               {"", all(from("[::1]:5000"), host("[::1]:9420")), 200},
		"IPv4 in IPv6":                       {"", from("[::ffff:127.0.0.1]:5000"), 200},
		"localhost":                          {"", host("LocalHost:9420"), 200},
		"another machine":                    {"", from("192.0.2.7:5000"), 403},
		"another machine that says loopback": {"", all(from("192.0.2.7:5000"), host("127.0.0.1:9420")), 403},
		"no address":                         {"", from(""), 403},
		"our own page": {"",
			all(set("Origin", "http://127.0.0.1:9420"), set("Sec-Fetch-Site", "same-origin")), 200},
		"a page of another site":      {"", set("Origin", "https://evil.example"), 403},
		"the same, new browser":       {"", set("Sec-Fetch-Site", "cross-site"), 403},
		"a page of another port here": {"", set("Origin", "http://127.0.0.1:8080"), 403},
		"a sandboxed frame":           {"", set("Origin", "null"), 403},
		"DNS rebinding": {"",
			all(host("evil.example:9420"), set("Origin", "http://evil.example:9420"), set("Sec-Fetch-Site", "same-origin")),
			403},
		"rebinding without Origin":    {"", host("evil.example:9420"), 403},
		"a name that begins like one": {"", host("127.0.0.1.evil.example"), 403},
		"localhost's neighbour":       {"", host("localhost.evil.example:9420"), 403},
		"no host":                     {"", host(""), 403},
		"a proxy on this machine":     {"", set("X-Forwarded-For", "192.0.2.7"), 403},
		"a proxy by the standard":     {"", set("Forwarded", "for=192.0.2.7"), 403},
		"a password that nobody checked": {"",
			all(from("192.0.2.7:5000"), func(r *http.Request) { r.SetBasicAuth("admin", "x") }), 403},
		"a file without users":        {without, from("192.0.2.7:5000"), 403},
		"users: the listener checked": {withUsers, from("192.0.2.7:5000"), 200},
		"users: through a proxy": {withUsers,
			all(from("127.0.0.1:5000"), host("collector.example"), set("X-Forwarded-For", "192.0.2.7")), 200},
		"users: the browser of another site": {withUsers,
			all(host("collector.example"), set("Origin", "https://evil.example")), 403},
		"a client certificate":  {without, all(from("192.0.2.7:5000"), cert), 200},
		"a file that went away": {filepath.Join(t.TempDir(), "gone.yaml"), all(), 403},
	} {
		t.Run(name, func(t *testing.T) {
			called := false
			g := NewGuard(c.file, nil)
			r := httptest.NewRequest("POST", "http://127.0.0.1:9420/-/reload", nil)
			r.RemoteAddr = "127.0.0.1:51000"
			c.with(r)
			w := httptest.NewRecorder()
			g.protect(func(http.ResponseWriter, *http.Request, string) { called = true })(w, r)
			if w.Code != c.want || called != (c.want == 200) {
				t.Errorf("%d %q, want %d", w.Code, w.Body, c.want)
			}
		})
	}
}

func webConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "web.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func hash(t *testing.T) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte("open sesame"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(h)
}

// start serves on a free loopback port until the test ends.
func start(t *testing.T, s *Server) string {
	t.Helper()
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serving(t, s, l)
}

func serving(t *testing.T, s *Server, l net.Listener) string {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		for range 2 {
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		}
		if err := <-done; err != nil {
			t.Errorf("Serve ended with %v", err)
		}
	})
	return l.Addr().String()
}

func get(t *testing.T, c *http.Client, url string, with ...func(*http.Request)) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range with {
		f(r)
	}
	defer c.CloseIdleConnections()
	resp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TLS and basic auth, over a real connection; then a reload with the password.
func TestTLSAndPassword(t *testing.T) {
	certFile, keyFile, pool := certificate(t)
	reloads := 0
	file := webConfig(
		t,
		fmt.Sprintf(
			"tls_server_config:\n  cert_file: %s\n  key_file: %s\nbasic_auth_users:\n  admin: %s\n",
			certFile,
			keyFile,
			hash(t),
		),
	)
	s := newServer(t, Options{ConfigFile: file, Reload: func(context.Context) error { reloads++; return nil }})
	addr := start(t, s)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	if code, _ := get(t, c, "https://"+addr+"/metrics"); code != 401 {
		t.Errorf("without a password: %d", code)
	}
	admin := func(r *http.Request) { r.SetBasicAuth("admin", "open sesame") }
	if code, _ := get(t, c, "https://"+addr+"/metrics", admin); code != 200 {
		t.Errorf("with the password: %d", code)
	}
	post := func(r *http.Request) { r.Method = http.MethodPost; r.URL.Path = "/-/reload" }
	if code, _ := get(t, c, "https://"+addr+"/", post); code != 401 || reloads != 0 {
		t.Errorf("reload without a password: %d, %d reloads", code, reloads)
	}
	if code, body := get(t, c, "https://"+addr+"/", post, admin); code != 200 || reloads != 1 {
		t.Errorf("reload with the password: %d %s, %d reloads", code, body, reloads)
	}
}

func certificate(t *testing.T) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := errors.Join(os.WriteFile(certFile, certPEM, 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb}), 0o600)); err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return certFile, keyFile, pool
}

func TestBadWebConfig(t *testing.T) {
	for name, text := range map[string]string{
		"unknown key":    "basic_auth_user:\n  a: b\n",
		"no hash":        "basic_auth_users:\n  admin: plaintext\n",
		"no certificate": "tls_server_config:\n  cert_file: /nowhere.pem\n  key_file: /nowhere.key\n",
		"no YAML":        "{",
	} {
		path := webConfig(t, text)
		if _, err := NewServer(Options{Gather: prometheus.NewRegistry(),
			ConfigFile: path}); err == nil ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewServer(Options{ConfigFile: "/nowhere/web.yaml"}); err == nil ||
		!strings.Contains(err.Error(), "/nowhere/web.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestAddressInUse(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Listen(t.Context(), l.Addr().String()); err == nil ||
		!strings.Contains(err.Error(), "COLLECTOR_LISTEN") ||
		!strings.Contains(err.Error(), "in use") {
		t.Errorf("a taken address: %v", err)
	}
}

// A client that sends its header, or reads its response, very slowly is disconnected; so is one with too long a header.
// The limits are shortened here; the test first checks that the real ones are set.
func TestSlowClients(t *testing.T) {
	s := newServer(t, Options{})
	h := s.http
	if h.ReadHeaderTimeout <= 0 || h.ReadTimeout <= 0 || h.WriteTimeout <= 0 || h.IdleTimeout <= 0 ||
		h.MaxHeaderBytes <= 0 {
		t.Fatalf("a limit is missing: %+v", h)
	}
	h.ReadHeaderTimeout, h.WriteTimeout = 200*time.Millisecond, 500*time.Millisecond
	cut := make(chan error, 1)
	h.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { // an endless response
		for b := make([]byte, 64<<10); ; {
			if _, err := w.Write(b); err != nil {
				cut <- err
				return
			}
		}
	})
	addr := start(t, s)
	dial := func(text string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if b, err := io.ReadAll(dial("GET /metrics HTTP/1.1\r\nHost: x\r\n")); errors.Is(err, os.ErrDeadlineExceeded) ||
		strings.Contains(string(b), "200 OK") {
		t.Errorf("half a header: %q, %v", b, err)
	}
	long := dial("GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("y", 2*maxHeaderBytes) + "\r\n\r\n")
	if b, _ := bufio.NewReader(long).ReadString('\n'); !strings.Contains(b, "431") {
		t.Errorf("a header that is too long: %q", b)
	}
	dial("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n") // and never reads
	select {
	case err := <-cut:
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a client that does not read is cut off by %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("a client that does not read is never cut off")
	}
}

// Shutdown waits for a request in progress, and closes its connection when the time is over.
func TestShutdown(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	s := newServer(t, Options{Reload: func(context.Context) error { close(begun); <-release; return nil }})
	addr := start(t, s)
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Post("http://"+addr+"/-/reload", "", nil)
		if err != nil {
			answer <- err.Error()
			return
		}
		resp.Body.Close()
		answer <- resp.Status
	}()
	<-begun
	short, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, errors.New("clients are still connected"))
	defer cancel()
	if err := s.Shutdown(short); err == nil || !strings.Contains(err.Error(), "clients are still connected") {
		t.Errorf("Shutdown with a request under way: %v", err)
	}
	close(release)
	if got := <-answer; strings.HasPrefix(got, "200") {
		t.Errorf("it was answered after it was cut off: %s", got)
	}
	http.DefaultClient.CloseIdleConnections()
}
