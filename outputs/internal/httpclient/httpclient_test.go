package httpclient_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/outputs"
	httpoutput "github.com/aws-collector/collector/outputs/http"
	"github.com/aws-collector/collector/outputs/internal/httpclient"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// openHTTP opens the output `http`.
func openHTTP(t testing.TB, set func(*httpoutput.Options)) outputs.Output {
	t.Helper()
	out, _ := outputstest.Open(t, httpoutput.Type, func(o any) { set(o.(*httpoutput.Options)) })
	return out
}

// What a response means for the batch: refused, or repeated after a delay, and with which hint.
func TestResponses(t *testing.T) {
	const refused, again = "refused", "again"
	for _, c := range []struct {
		status int
		header string // Retry-After
		body   string
		want   string
		after  time.Duration
		hint   string
	}{
		{status: 200}, {status: 201}, {status: 202}, {status: 204},
		{status: 400, body: `{"error":"unable to parse"}`, want: refused},
		{status: 413, want: refused},
		{status: 422, want: refused},
		{status: 401, want: again, hint: "bearer_token"},
		{status: 403, want: again, hint: "bearer_token"},
		{status: 404, want: again, hint: "Check url"},
		{status: 405, want: again, hint: "Check url"},
		{status: 407, want: again, hint: "HTTPS_PROXY"},
		{status: 415, want: again, hint: "gzip: false"},
		{status: 409, want: again},
		{status: 301, want: again, hint: "Redirects are not followed"},
		{status: 308, want: again, hint: "Redirects are not followed"},
		{status: 408, want: again, hint: "The request is repeated"},
		{status: 429, want: again, hint: "The request is repeated"},
		{status: 429, header: "7", want: again, after: 7 * time.Second},
		{status: 429, header: "999999", want: again, after: 15 * time.Minute},
		{status: 500, want: again, hint: "it failed"},
		{status: 500, header: "7", want: again, after: 7 * time.Second},
		{status: 502, header: "", want: again},
		{status: 503, header: " 30 ", want: again, after: 30 * time.Second},
		{status: 503, header: "-5", want: again},
		{status: 503, header: "0", want: again},
		{status: 503, header: "soon", want: again},
		{status: 503, header: "Fri, 31 Dec 1999 23:59:59 GMT", want: again},
		{status: 503, header: "Fri, 31 Dec 2100 23:59:59 GMT", want: again, after: 15 * time.Minute},
		{status: 400, body: "Client sent an HTTP request to an HTTPS server.\n", want: again, hint: "https://"},
		{status: 400, body: "<center>The plain HTTP request was sent to HTTPS port</center>", want: again, hint: "https://"},
	} {
		t.Run(fmt.Sprint(c.status, c.header, c.body), func(t *testing.T) {
			s := outputstest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
				outputstest.Body(t, r)
				if c.header != "" {
					w.Header().Set("Retry-After", c.header)
				}
				if c.status/100 == 3 {
					w.Header().Set("Location", "https://user:pass@elsewhere.example.com/x")
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			out := openHTTP(t, func(o *httpoutput.Options) { o.URL = s.URL + "/in" })
			err := out.Send(t.Context(), outputstest.SmallBatch("a", 1))
			if c.want == "" {
				if err != nil {
					t.Errorf("%v", err)
				}
				return
			}
			if err == nil {
				t.Fatal("no error")
			}
			if got := errors.Is(err, outputs.ErrRefused); got != (c.want == refused) {
				t.Errorf("refused: %v: %v", got, err)
			}
			if got := errors.Is(err, outputs.ErrReceiverFailed); got != (c.status == http.StatusInternalServerError) {
				t.Errorf("the receiver failed: %v: %v", got, err)
			}
			if errors.Is(err, outputs.ErrPermanent) {
				t.Errorf("a permanent error: %v", err)
			}
			var later *outputs.RetryAfterError
			if got := errors.As(err, &later); got != (c.after > 0) || got && later.After != c.after {
				t.Errorf("%v: Later %v, want %s", err, later, c.after)
			}
			if got := record.HintOf(err); !strings.Contains(got, c.hint) {
				t.Errorf("hint %q, want %q in it", got, c.hint)
			}
			if !strings.Contains(err.Error(), s.URL+"/…") || !strings.Contains(err.Error(), fmt.Sprint(c.status)) {
				t.Errorf("%v: does not name the status and the URL", err)
			}
		})
	}
}

// Retry-After may be a date.
func TestRetryAfterDate(t *testing.T) {
	s := outputstest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", time.Now().Add(90*time.Second).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	err := openHTTP(t, func(o *httpoutput.Options) { o.URL = s.URL }).Send(t.Context(), outputstest.SmallBatch("a", 1))
	var later *outputs.RetryAfterError
	if !errors.As(err, &later) || later.After < 80*time.Second || later.After > 90*time.Second {
		t.Errorf("%v: %v, want about 90s", err, later)
	}
}

// A redirect is not followed: its target gets neither the records nor the token.
func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere := outputstest.Serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	s := outputstest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/new", http.StatusTemporaryRedirect)
	})
	err := openHTTP(
		t,
		func(o *httpoutput.Options) {
			o.URL = s.URL
			o.BearerToken = secret.New(outputstest.Canary)
		},
	).Send(t.Context(), outputstest.SmallBatch("a", 1))
	if err == nil || !strings.Contains(record.HintOf(err), elsewhere.URL+"/…") {
		t.Errorf("%v (%s): does not name the target", err, record.HintOf(err))
	}
}

// A response is shortened and made printable, and our secrets in it are redacted.
func TestResponseInErrors(t *testing.T) {
	s := outputstest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		fmt.Fprintf(w, "no\n\x1b[31m good: %s %s", r.Header, strings.Repeat("日本", 50_000))
	})
	err := openHTTP(
		t,
		func(o *httpoutput.Options) {
			o.URL = s.URL
			o.BearerToken = secret.New(outputstest.Canary)
		},
	).Send(t.Context(), outputstest.SmallBatch("a", 1))
	if err == nil || !errors.Is(err, outputs.ErrRefused) || strings.Contains(err.Error(), outputstest.Canary) {
		t.Fatalf("%v", err)
	}
	if text := err.Error(); len(text) > 320 || strings.ContainsAny(text, "\x1b\n") ||
		!strings.Contains(text, "no [31m good") {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}

// A connection is reused, even after a response with a long body.
func TestConnectionIsReused(t *testing.T) {
	conns := 0
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		outputstest.Body(t, r)
		if r.URL.Path == "/" {
			w.WriteHeader(400)
		}
		_, _ = w.Write(bytes.Repeat([]byte("x"), 100<<10))
	}))
	s.Config.ConnState = func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			conns++
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	out := openHTTP(t, func(o *httpoutput.Options) { o.URL = s.URL })
	for range 5 {
		if err := out.Send(t.Context(), outputstest.SmallBatch("a", 1)); !errors.Is(err, outputs.ErrRefused) {
			t.Fatal(err)
		}
	}
	if conns != 1 {
		t.Errorf("%d connections for 5 requests", conns)
	}
}

// Each error of TLS and the network has a hint that names the option at fault.
func TestConnectionHints(t *testing.T) {
	ours := outputstest.NewAuthority(t)
	other := outputstest.NewAuthority(t)
	year := 365 * 24 * time.Hour
	type set = func(*httpoutput.Options)
	trust := func(a *outputstest.Authority) set { return func(o *httpoutput.Options) { o.TLS.CAFile = a.File } }
	clientCert, clientKey := ours.Files(t, ours.Issue(t, "client", time.Now().Add(year)))
	for _, c := range []struct {
		name  string
		tls   *tls.Config
		set   []set
		hint  string // "": it works
		large bool
	}{
		{name: "own CA", tls: ours.Server(t, "127.0.0.1", year), set: []set{trust(ours)}},
		{name: "unknown CA", tls: ours.Server(t, "127.0.0.1", year), hint: "Set tls.ca_file"},
		{name: "wrong CA", tls: ours.Server(t, "127.0.0.1", year), set: []set{trust(other)},
			hint: "Add the authority of the receiver's certificate"},
		{name: "expired", tls: ours.Server(t, "127.0.0.1", -time.Hour), set: []set{trust(ours)}, hint: "expired"},
		{name: "other name", tls: ours.Server(t, "receiver.example.com", year), set: []set{trust(ours)},
			hint: "tls.server_name"},
		{name: "server name", tls: ours.Server(t, "receiver.example.com", year),
			set: []set{trust(ours), func(o *httpoutput.Options) { o.TLS.ServerName = "receiver.example.com" }}},
		{name: "any certificate", tls: ours.Server(t, "receiver.example.com", -time.Hour),
			set: []set{func(o *httpoutput.Options) { o.TLS.InsecureSkipVerify = true }}},
		{name: "client certificate wanted", tls: ours.Mutual(ours.Server(t, "127.0.0.1", year)), set: []set{trust(ours)},
			hint: "tls.cert_file"},
		{name: "client certificate", tls: ours.Mutual(ours.Server(t, "127.0.0.1", year)),
			set: []set{trust(ours), func(o *httpoutput.Options) { o.TLS.CertFile, o.TLS.KeyFile = clientCert, clientKey }}},
		{name: "http to https", tls: ours.Server(t, "127.0.0.1", year),
			set:  []set{func(o *httpoutput.Options) { o.URL = strings.Replace(o.URL, "https:", "http:", 1) }},
			hint: "Begin url with https://"},
		{name: "http to https, much", tls: ours.Server(t, "127.0.0.1", year), large: true,
			set:  []set{func(o *httpoutput.Options) { o.URL, o.Gzip = strings.Replace(o.URL, "https:", "http:", 1), false }},
			hint: "Begin url with https://"},
		{name: "https to http", set: []set{func(o *httpoutput.Options) {
			o.URL = strings.Replace(o.URL, "http:", "https:", 1)
		}},
			hint: "Begin url with http://"},
		{name: "connection refused", set: []set{func(o *httpoutput.Options) { o.URL = "http://127.0.0.1:1/" }},
			hint: "the connection is refused"},
		{name: "no such host", set: []set{func(o *httpoutput.Options) { o.URL = "http://no-such-host.invalid/" }},
			hint: "cannot be resolved"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(
				func(w http.ResponseWriter, r *http.Request) { outputstest.Body(t, r) }))
			s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			if s.TLS = c.tls; c.tls != nil {
				s.StartTLS()
			} else {
				s.Start()
			}
			t.Cleanup(s.Close)
			out := openHTTP(t, func(o *httpoutput.Options) {
				o.URL = s.URL
				for _, set := range c.set {
					set(o)
				}
			})
			b := outputstest.SmallBatch("a", 1)
			if c.large { // more than the socket buffers
				b = outputstest.BatchOf("a", outputstest.Page("a", 1000, 8<<10))
			}
			err := out.Send(t.Context(), b)
			switch {
			case c.hint == "" && err != nil:
				t.Errorf("%v (%s)", err, record.HintOf(err))
			case c.hint == "":
			case err == nil:
				t.Error("no error")
			case errors.Is(err, outputs.ErrRefused), errors.Is(err, outputs.ErrPermanent):
				t.Errorf("a later retry can succeed, and the records would be lost: %v", err)
			case !strings.Contains(record.HintOf(err), c.hint):
				t.Errorf("%v: hint %q, want %q in it", err, record.HintOf(err), c.hint)
			}
		})
	}
}

// A renewed client certificate is used for the next connection; missing files are an error at the start.
func TestCertificateFiles(t *testing.T) {
	ours := outputstest.NewAuthority(t)
	stale := outputstest.NewAuthority(t)
	s := httptest.NewUnstartedServer(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") }),
	)
	s.TLS = ours.Mutual(ours.Server(t, "127.0.0.1", time.Hour))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	cert, key := stale.Files(t, stale.Issue(t, "client", time.Now().Add(time.Hour)))
	out := openHTTP(t, func(o *httpoutput.Options) {
		o.URL, o.TLS = s.URL, httpclient.ClientTLS{CAFile: ours.File, CertFile: cert, KeyFile: key}
	})
	if err := out.Send(t.Context(), outputstest.SmallBatch("a", 1)); err == nil {
		t.Fatal("a certificate of another authority was taken")
	}
	newCert, newKey := ours.Files(t, ours.Issue(t, "client", time.Now().Add(time.Hour)))
	for from, to := range map[string]string{newCert: cert, newKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Send(t.Context(), outputstest.SmallBatch("a", 1)); err != nil {
		t.Error(err)
	}
	for _, bad := range []httpclient.ClientTLS{{CAFile: "/no/such/file"}, {CAFile: key},
		{CertFile: cert, KeyFile: "/no/such/file"}, {CertFile: key, KeyFile: cert}} {
		o := httpoutput.Type.Options().(*httpoutput.Options)
		o.URL, o.TLS = s.URL, bad
		if _, err := httpoutput.Type.Open(t.Context(), o, outputs.Deps{}); err == nil ||
			!strings.Contains(err.Error(), "tls.") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// Each error of the options begins with its key.
func TestHTTPClientOptions(t *testing.T) {
	for _, c := range []struct {
		set  func(*httpoutput.Options)
		want string
	}{
		{func(o *httpoutput.Options) { o.URL = "" }, "url: is needed"},
		{func(o *httpoutput.Options) { o.URL = "receiver.example.com/in" }, "url: does not begin with http:// or https://"},
		{func(o *httpoutput.Options) { o.URL = "localhost:9529" }, "url: does not begin with http:// or https://"},
		{func(o *httpoutput.Options) { o.URL = "127.0.0.1:9529" }, "url: does not begin with http:// or https://"},
		{func(o *httpoutput.Options) { o.URL = "ftp://u:" + outputstest.Escaped + "@h/" },
			"url: does not begin with http:// or https://"},
		{func(o *httpoutput.Options) { o.URL = "http://" }, "url: has no host"},
		{func(o *httpoutput.Options) { o.URL = "http://u:" + outputstest.Escaped + "@h:99999/" }, "url: has a port"},
		{func(o *httpoutput.Options) { o.URL = "http://u:" + outputstest.Escaped + "@h:port/" }, "url: has a port"},
		{func(o *httpoutput.Options) { o.URL = "http://u:%zz@h/" }, "url: is not a valid URL"},
		{func(o *httpoutput.Options) { o.URL = "http://h/#part" }, "url: has a fragment"},
		{func(o *httpoutput.Options) { o.Headers = map[string]secret.String{"X Y": secret.New("a")} }, `headers: "X Y"`},
		{func(o *httpoutput.Options) { o.Headers = map[string]secret.String{"content-length": secret.New("1")} },
			"headers.content-length: is set by the output"},
		{func(o *httpoutput.Options) {
			o.Headers = map[string]secret.String{"X": secret.New(outputstest.Canary + "\r\nY: z")}
		},
			"headers.X: its value contains"},
		{func(o *httpoutput.Options) { o.BearerToken, o.BasicAuth.Username = secret.New(outputstest.Canary), "u" },
			"bearer_token: "},
		{func(o *httpoutput.Options) { o.URL, o.BasicAuth.Username = "http://u:"+outputstest.Escaped+"@h/", "u" },
			"bearer_token: "},
		{func(o *httpoutput.Options) { o.BasicAuth.Password = secret.New(outputstest.Canary) },
			"basic_auth.username: is needed"},
		{func(o *httpoutput.Options) { o.Timeout = 0 }, "timeout: "},
		{func(o *httpoutput.Options) { o.TLS.CertFile = "x" }, "tls.cert_file: "},
		{func(o *httpoutput.Options) { o.URL, o.TLS.CAFile = "http://h/", "x" }, "tls: has no effect"},
		{func(o *httpoutput.Options) { o.MaxRecords = -1 }, "max_records: "},
		{func(o *httpoutput.Options) { o.MaxBytes = 10 }, "max_bytes: "},
		{func(o *httpoutput.Options) { o.Method = "PATCH" }, "method: "},
		{func(o *httpoutput.Options) { o.Format = "xml" }, "format: "},
		{func(o *httpoutput.Options) { o.HMAC.Header = "X-Sig" }, "hmac.key: is needed"},
		{func(o *httpoutput.Options) { o.HMAC.Key, o.HMAC.Header = secret.New(outputstest.Canary), "X Y" }, "hmac.header: "},
		{func(o *httpoutput.Options) {
			o.HMAC.Key, o.HMAC.Timestamp = secret.New(outputstest.Canary), "x-signature"
		},
			"hmac.header: "},
	} {
		o := httpoutput.Type.Options().(*httpoutput.Options)
		o.URL = "https://receiver.example.com/in"
		if err := o.Validate(); err != nil {
			t.Fatal(err)
		}
		c.set(o)
		err := o.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%v; want one error that begins with %q", err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "EXAMPLEKEY") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}
