package outputs_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// findType returns an output type by name.
func findType(t testing.TB, name string) outputs.Type {
	t.Helper()
	for _, typ := range outputs.Types {
		if typ.Name == name {
			return typ
		}
	}
	t.Fatalf("no output %q", name)
	return outputs.Type{}
}

// openRemote opens an output with its default options, changed by set. The buffer gets its log.
func openRemote(t testing.TB, name string, set func(any)) (outputs.Output, *buffer) {
	t.Helper()
	typ, log := findType(t, name), new(buffer)
	o := typ.Options()
	set(o)
	if v, ok := o.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			t.Fatal(err)
		}
	}
	out, err := typ.Open(context.Background(), o, outputs.Deps{Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := out.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return out, log
}

// openHTTP opens the output `http`.
func openHTTP(t testing.TB, set func(*outputs.HTTP)) outputs.Output {
	t.Helper()
	out, _ := openRemote(t, "http", func(o any) { set(o.(*outputs.HTTP)) })
	return out
}

// serve runs a server with handler h until the test ends.
func serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// body returns a request's body, decompressed.
func body(t testing.TB, r *http.Request) []byte {
	t.Helper()
	in := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			t.Errorf("not gzip: %v", err)
			return nil
		}
		in = z
	}
	b, err := io.ReadAll(in)
	if err != nil && r.Context().Err() == nil {
		t.Error(err)
	}
	return b
}

func batch(name string, n int) outputs.Batch {
	return outputstest.BatchOf(name, outputstest.Page(name, n, 10))
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
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				body(t, r)
				if c.header != "" {
					w.Header().Set("Retry-After", c.header)
				}
				if c.status/100 == 3 {
					w.Header().Set("Location", "https://user:pass@elsewhere.example.com/x")
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			out := openHTTP(t, func(o *outputs.HTTP) { o.URL = s.URL + "/in" })
			err := out.Send(t.Context(), batch("a", 1))
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
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", time.Now().Add(90*time.Second).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	err := openHTTP(t, func(o *outputs.HTTP) { o.URL = s.URL }).Send(t.Context(), batch("a", 1))
	var later *outputs.RetryAfterError
	if !errors.As(err, &later) || later.After < 80*time.Second || later.After > 90*time.Second {
		t.Errorf("%v: %v, want about 90s", err, later)
	}
}

// A redirect is not followed: its target gets neither the records nor the token.
func TestRedirectIsNotFollowed(t *testing.T) {
	elsewhere := serve(t, func(w http.ResponseWriter, r *http.Request) { t.Error("the redirect was followed") })
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+"/new", http.StatusTemporaryRedirect)
	})
	err := openHTTP(
		t,
		func(o *outputs.HTTP) {
			o.URL = s.URL
			o.BearerToken = secret.New(canary)
		},
	).Send(t.Context(), batch("a", 1))
	if err == nil || !strings.Contains(record.HintOf(err), elsewhere.URL+"/…") {
		t.Errorf("%v (%s): does not name the target", err, record.HintOf(err))
	}
}

// A response is shortened and made printable, and our secrets in it are redacted.
func TestResponseInErrors(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		fmt.Fprintf(w, "no\n\x1b[31m good: %s %s", r.Header, strings.Repeat("日本", 50_000))
	})
	err := openHTTP(
		t,
		func(o *outputs.HTTP) {
			o.URL = s.URL
			o.BearerToken = secret.New(canary)
		},
	).Send(t.Context(), batch("a", 1))
	if err == nil || !errors.Is(err, outputs.ErrRefused) || strings.Contains(err.Error(), canary) {
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
		body(t, r)
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
	out := openHTTP(t, func(o *outputs.HTTP) { o.URL = s.URL })
	for range 5 {
		if err := out.Send(t.Context(), batch("a", 1)); !errors.Is(err, outputs.ErrRefused) {
			t.Fatal(err)
		}
	}
	if conns != 1 {
		t.Errorf("%d connections for 5 requests", conns)
	}
}

// Each error of TLS and the network has a hint that names the option at fault.
func TestConnectionHints(t *testing.T) {
	ours := newAuthority(t)
	other := newAuthority(t)
	year := 365 * 24 * time.Hour
	type set = func(*outputs.HTTP)
	trust := func(a *authority) set { return func(o *outputs.HTTP) { o.TLS.CAFile = a.file } }
	clientCert, clientKey := ours.files(t, ours.issue(t, "client", time.Now().Add(year)))
	for _, c := range []struct {
		name  string
		tls   *tls.Config
		set   []set
		hint  string // "": it works
		large bool
	}{
		{name: "own CA", tls: ours.server(t, "127.0.0.1", year), set: []set{trust(ours)}},
		{name: "unknown CA", tls: ours.server(t, "127.0.0.1", year), hint: "Set tls.ca_file"},
		{name: "wrong CA", tls: ours.server(t, "127.0.0.1", year), set: []set{trust(other)},
			hint: "Add the authority of the receiver's certificate"},
		{name: "expired", tls: ours.server(t, "127.0.0.1", -time.Hour), set: []set{trust(ours)}, hint: "expired"},
		{name: "other name", tls: ours.server(t, "receiver.example.com", year), set: []set{trust(ours)},
			hint: "tls.server_name"},
		{name: "server name", tls: ours.server(t, "receiver.example.com", year),
			set: []set{trust(ours), func(o *outputs.HTTP) { o.TLS.ServerName = "receiver.example.com" }}},
		{name: "any certificate", tls: ours.server(t, "receiver.example.com", -time.Hour),
			set: []set{func(o *outputs.HTTP) { o.TLS.InsecureSkipVerify = true }}},
		{name: "client certificate wanted", tls: ours.mutual(ours.server(t, "127.0.0.1", year)), set: []set{trust(ours)},
			hint: "tls.cert_file"},
		{name: "client certificate", tls: ours.mutual(ours.server(t, "127.0.0.1", year)),
			set: []set{trust(ours), func(o *outputs.HTTP) { o.TLS.CertFile, o.TLS.KeyFile = clientCert, clientKey }}},
		{name: "http to https", tls: ours.server(t, "127.0.0.1", year),
			set:  []set{func(o *outputs.HTTP) { o.URL = strings.Replace(o.URL, "https:", "http:", 1) }},
			hint: "Begin url with https://"},
		{name: "http to https, much", tls: ours.server(t, "127.0.0.1", year), large: true,
			set:  []set{func(o *outputs.HTTP) { o.URL, o.Gzip = strings.Replace(o.URL, "https:", "http:", 1), false }},
			hint: "Begin url with https://"},
		{name: "https to http", set: []set{func(o *outputs.HTTP) { o.URL = strings.Replace(o.URL, "http:", "https:", 1) }},
			hint: "Begin url with http://"},
		{name: "connection refused", set: []set{func(o *outputs.HTTP) { o.URL = "http://127.0.0.1:1/" }},
			hint: "the connection is refused"},
		{name: "no such host", set: []set{func(o *outputs.HTTP) { o.URL = "http://no-such-host.invalid/" }},
			hint: "cannot be resolved"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { body(t, r) }))
			s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
			if s.TLS = c.tls; c.tls != nil {
				s.StartTLS()
			} else {
				s.Start()
			}
			t.Cleanup(s.Close)
			out := openHTTP(t, func(o *outputs.HTTP) {
				o.URL = s.URL
				for _, set := range c.set {
					set(o)
				}
			})
			b := batch("a", 1)
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
	ours := newAuthority(t)
	stale := newAuthority(t)
	s := httptest.NewUnstartedServer(
		http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") }),
	)
	s.TLS = ours.mutual(ours.server(t, "127.0.0.1", time.Hour))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	cert, key := stale.files(t, stale.issue(t, "client", time.Now().Add(time.Hour)))
	out := openHTTP(t, func(o *outputs.HTTP) {
		o.URL, o.TLS = s.URL, outputs.ClientTLS{CAFile: ours.file, CertFile: cert, KeyFile: key}
	})
	if err := out.Send(t.Context(), batch("a", 1)); err == nil {
		t.Fatal("a certificate of another authority was taken")
	}
	newCert, newKey := ours.files(t, ours.issue(t, "client", time.Now().Add(time.Hour)))
	for from, to := range map[string]string{newCert: cert, newKey: key} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Send(t.Context(), batch("a", 1)); err != nil {
		t.Error(err)
	}
	for _, bad := range []outputs.ClientTLS{{CAFile: "/no/such/file"}, {CAFile: key},
		{CertFile: cert, KeyFile: "/no/such/file"}, {CertFile: key, KeyFile: cert}} {
		o := findType(t, "http").Options().(*outputs.HTTP)
		o.URL, o.TLS = s.URL, bad
		if _, err := findType(t, "http").Open(t.Context(), o, outputs.Deps{}); err == nil ||
			!strings.Contains(err.Error(), "tls.") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// Each error of the options begins with its key.
func TestHTTPClientOptions(t *testing.T) {
	for _, c := range []struct {
		set  func(*outputs.HTTP)
		want string
	}{
		{func(o *outputs.HTTP) { o.URL = "" }, "url: is needed"},
		{func(o *outputs.HTTP) { o.URL = "receiver.example.com/in" }, "url: does not begin with http:// or https://"},
		{func(o *outputs.HTTP) { o.URL = "localhost:9529" }, "url: does not begin with http:// or https://"},
		{func(o *outputs.HTTP) { o.URL = "127.0.0.1:9529" }, "url: does not begin with http:// or https://"},
		{func(o *outputs.HTTP) { o.URL = "ftp://u:" + escaped + "@h/" }, "url: does not begin with http:// or https://"},
		{func(o *outputs.HTTP) { o.URL = "http://" }, "url: has no host"},
		{func(o *outputs.HTTP) { o.URL = "http://u:" + escaped + "@h:99999/" }, "url: has a port"},
		{func(o *outputs.HTTP) { o.URL = "http://u:" + escaped + "@h:port/" }, "url: has a port"},
		{func(o *outputs.HTTP) { o.URL = "http://u:%zz@h/" }, "url: is not a valid URL"},
		{func(o *outputs.HTTP) { o.URL = "http://h/#part" }, "url: has a fragment"},
		{func(o *outputs.HTTP) { o.Headers = map[string]secret.String{"X Y": secret.New("a")} }, `headers: "X Y"`},
		{func(o *outputs.HTTP) { o.Headers = map[string]secret.String{"content-length": secret.New("1")} },
			"headers.content-length: is set by the output"},
		{func(o *outputs.HTTP) { o.Headers = map[string]secret.String{"X": secret.New(canary + "\r\nY: z")} },
			"headers.X: its value contains"},
		{func(o *outputs.HTTP) { o.BearerToken, o.BasicAuth.Username = secret.New(canary), "u" }, "bearer_token: "},
		{func(o *outputs.HTTP) { o.URL, o.BasicAuth.Username = "http://u:"+escaped+"@h/", "u" }, "bearer_token: "},
		{func(o *outputs.HTTP) { o.BasicAuth.Password = secret.New(canary) }, "basic_auth.username: is needed"},
		{func(o *outputs.HTTP) { o.Timeout = 0 }, "timeout: "},
		{func(o *outputs.HTTP) { o.TLS.CertFile = "x" }, "tls.cert_file: "},
		{func(o *outputs.HTTP) { o.URL, o.TLS.CAFile = "http://h/", "x" }, "tls: has no effect"},
		{func(o *outputs.HTTP) { o.MaxRecords = -1 }, "max_records: "},
		{func(o *outputs.HTTP) { o.MaxBytes = 10 }, "max_bytes: "},
		{func(o *outputs.HTTP) { o.Method = "PATCH" }, "method: "},
		{func(o *outputs.HTTP) { o.Format = "xml" }, "format: "},
		{func(o *outputs.HTTP) { o.HMAC.Header = "X-Sig" }, "hmac.key: is needed"},
		{func(o *outputs.HTTP) { o.HMAC.Key, o.HMAC.Header = secret.New(canary), "X Y" }, "hmac.header: "},
		{func(o *outputs.HTTP) { o.HMAC.Key, o.HMAC.Timestamp = secret.New(canary), "x-signature" }, "hmac.header: "},
	} {
		o := findType(t, "http").Options().(*outputs.HTTP)
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

const (
	canary  = "canary/K7MDENG/EXAMPLEKEY"
	escaped = "canary%2FK7MDENG%2FEXAMPLEKEY"
)

// No error and no log shows a secret.
func TestNoSecretShows(t *testing.T) {
	var status int
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://u:"+canary+"@h/?token="+canary)
		w.WriteHeader(status)
		_ = r.Header.Write(w)
		fmt.Fprintln(w, r.URL, r.URL.Query())
	})
	query := "?token=" + escaped
	withUser := strings.Replace(s.URL, "http://", "http://user:"+escaped+"@", 1)
	for name, set := range map[string]func(any){
		"http bearer": func(o any) {
			h := o.(*outputs.HTTP)
			h.URL, h.BearerToken = s.URL+query, secret.New(canary)
		},
		"http basic": func(o any) {
			h := o.(*outputs.HTTP)
			h.URL, h.BasicAuth = s.URL, outputs.BasicAuth{Username: "u", Password: secret.New(canary)}
		},
		"http user": func(o any) {
			h := o.(*outputs.HTTP)
			h.URL = withUser
		},
		"http headers": func(o any) {
			h := o.(*outputs.HTTP)
			h.URL, h.Headers = s.URL, map[string]secret.String{"X-Key": secret.New(canary)}
		},
		"http hmac": func(o any) {
			h := o.(*outputs.HTTP)
			h.URL, h.HMAC.Key = s.URL, secret.New(canary)
		},
		"http path":           func(o any) { o.(*outputs.HTTP).URL = s.URL + "/services/" + escaped },
		"http path, raw":      func(o any) { o.(*outputs.HTTP).URL = s.URL + "/" + canary },
		"http bare query":     func(o any) { o.(*outputs.HTTP).URL = s.URL + "/in?" + canary },
		"http escaped query":  func(o any) { o.(*outputs.HTTP).URL = s.URL + "/in?" + escaped },
		"http key of a query": func(o any) { o.(*outputs.HTTP).URL = s.URL + "/in?a=b&" + escaped + "=1" },
		"http path, dead":     func(o any) { o.(*outputs.HTTP).URL = "http://127.0.0.1:1/" + escaped + "?" + escaped },
		"otlp path":           func(o any) { o.(*outputs.OTLP).URL = s.URL + "/" + escaped + "/v1/logs" },
		"http dead": func(o any) {
			h := o.(*outputs.HTTP)
			h.URL = "http://u:canary%2FK7MDENG%2FEXAMPLEKEY@127.0.0.1:1/" + query
		},
		"datakit": func(o any) {
			h := o.(*outputs.DataKit)
			h.URL, h.Token = s.URL, secret.New(canary)
		},
		"datakit dead": func(o any) {
			h := o.(*outputs.DataKit)
			h.URL, h.Token = "http://127.0.0.1:1", secret.New(canary)
		},
		"influx": func(o any) {
			h := o.(*outputs.Influx)
			h.URL, h.Token = s.URL+"/write?db=x", secret.New(canary)
		},
		"influx user": func(o any) {
			h := o.(*outputs.Influx)
			h.URL = withUser + "/write?db=x"
		},
	} {
		typ, _, _ := strings.Cut(name, " ")
		out, log := openRemote(t, typ, set)
		for _, status = range []int{301, 400, 401, 404, 418, 429, 500} {
			err := out.Send(t.Context(), batch("a", 1))
			if err == nil {
				t.Errorf("%s, %d: no error", name, status)
				continue
			}
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), record.HintOf(err), string(log.Bytes())} {
				for _, form := range []string{canary, escaped, "Y2FuYXJ5L0s3TURFTkcvRVhBTVBMRUtFW"} {
					if strings.Contains(text, form) {
						t.Errorf("%s, %d: %s", name, status, text)
					}
				}
			}
		}
	}
}

// Messages show only the scheme and host of a URL: a short path, a query without a value or a fragment may be a secret.
func TestShortSecretsOfAURL(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintln(w, "Cannot", r.Method, r.URL, r.URL.Query())
	})
	for _, base := range []string{s.URL, "http://127.0.0.1:1"} {
		for _, rest := range []string{"/T0KEN", "/T0KEN/", "/hooks/T0KEN", "?T0KEN", "/?T0KEN", "/write?T0KEN",
			"/write?a=1&T0KEN", "/write?T0KEN=", "/write?x=T0KEN", "/T0KEN;x?y", "/%54T0KEN"} {
			out := openHTTP(t, func(o *outputs.HTTP) { o.URL = base + rest })
			err := out.Send(t.Context(), batch("a", 1))
			if err == nil {
				t.Fatalf("%s: no error", rest)
			}
			if text := err.Error() + record.HintOf(err); strings.Contains(text, "T0KEN") || !strings.Contains(text, base) {
				t.Errorf("%s: %s", rest, text)
			}
		}
	}
	for _, bad := range []string{"http://h/#T0KEN", "http://h:port/T0KEN", "T0KEN", "http:T0KEN", "ht tp://T0KEN",
		"http://u:T0KEN@/", "http://h/%zzT0KEN", "ftp://T0KEN"} {
		o := findType(t, "http").Options().(*outputs.HTTP)
		o.URL = bad
		if err := o.Validate(); err == nil || strings.Contains(err.Error(), "T0KEN") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// The set redacts the secrets of a specification in the errors, hints and logs of every output, and changes nothing
// else.
func TestSecretsAreRedacted(t *testing.T) {
	const hidden = `T0KEN "of a path"`
	var log buffer
	receiver := errors.New("open /x/T0KEN \"of a path\"/records: no")
	types := []outputs.Type{{Name: "odd", Options: func() any { return &struct{ outputs.Common }{} }, Direct: true,
		Open: func(_ context.Context, _ any, d outputs.Deps) (outputs.Output, error) {
			d.Log.Warn(
				"opened", "path", "/x/"+hidden, "error", fmt.Errorf("it is %q", hidden),
				slog.Group("in", "url", url.PathEscape(hidden)),
			)
			return failing{
				&outputs.RetryAfterError{
					After: time.Second,
					Err: &record.Fault{Reason: record.Throttling, Hint: "look at " + hidden,
						Err: fmt.Errorf("%w: %w", outputs.ErrRefused, receiver)},
				},
			}, nil
		}}}
	set := outputs.NewSet(types, outputs.Deps{Log: slog.New(slog.NewTextHandler(&log, nil))})
	fan, err := set.Open(
		t.Context(),
		[]outputs.Spec{{Type: "odd", Options: types[0].Options(), Hidden: []secret.String{secret.New(hidden)}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	err = fan.Send(t.Context(), batch("a", 1))
	var later *outputs.RetryAfterError
	if !errors.Is(err, outputs.ErrRefused) || !errors.As(err, &later) || later.After != time.Second ||
		record.ReasonOf(err) != record.Throttling {
		t.Errorf("%v is another error now", err)
	}
	states := fmt.Sprintf("%+v", set.States())
	_ = fan.Close(t.Context())
	for where, text := range map[string]string{"error": err.Error(), "hint": record.HintOf(err), "states": states,
		"log": string(log.Bytes())} {
		if strings.Contains(text, "T0KEN") || !strings.Contains(text, secret.Mask) {
			t.Errorf("%s: %s", where, text)
		}
	}
}

// failing is an output whose Send always returns the same error.
type failing struct{ err error }

func (f failing) Send(context.Context, outputs.Batch) error { return f.err }
func (f failing) Flush(context.Context) error               { return nil }
func (f failing) Close(context.Context) error               { return nil }

// A response that is not HTTP may repeat our secrets too.
func TestNoSecretShowsOfInvalidHTTP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1<<10))
			_, _ = fmt.Fprintf(c, "HTTP/1.1 %s no\r\n\r\n", canary)
			_ = c.Close()
		}
	})
	out := openHTTP(t, func(o *outputs.HTTP) { o.URL, o.BearerToken = "http://"+l.Addr().String(), secret.New(canary) })
	err = out.Send(t.Context(), batch("a", 1))
	if err == nil || !strings.Contains(err.Error(), "malformed") || strings.Contains(err.Error(), canary) ||
		strings.Contains(fmt.Sprintf("%+v", err), canary) {
		t.Errorf("%v", err)
	}
}

// An authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial := big.NewInt(time.Now().UnixNano())
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "authority " + serial.String()},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * 365 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, file: filepath.Join(t.TempDir(), "ca.pem")}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) issue(t *testing.T, name string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (a *authority) server(t *testing.T, name string, left time.Duration) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{a.issue(t, name, time.Now().Add(left))}}
}

// mutual makes the server require a client certificate of the authority.
func (a *authority) mutual(c *tls.Config) *tls.Config {
	c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	c.ClientCAs.AddCert(a.cert)
	return c
}

func (a *authority) files(t *testing.T, c tls.Certificate) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
		key: {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
