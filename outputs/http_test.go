package outputs_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/secret"
)

// A receiver is an HTTP server for the remote suite. ids parses a request strictly and returns the ids of its records.
type receiver struct {
	mu     sync.Mutex
	got    []string
	refuse string
	busy   time.Duration
}

// remoteHTTP describes an output over HTTP to the remote suite.
func remoteHTTP(
	t *testing.T,
	name string,
	set func(o any, url, ca string),
	ids func(*http.Request, []byte) ([]string, error),
) outputstest.Remote {
	return outputstest.Remote{
		Type: findType(t, name),
		TLS:  true,
		Serve: func(t *testing.T, w *outputstest.FaultyListener) outputstest.Receiver {
			r := &receiver{}
			s := &httptest.Server{
				Listener: w,
				Config: &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
					r.serve(t, rw, req, ids)
				})},
			}
			s.Start()
			t.Cleanup(s.Close)
			return outputstest.Receiver{
				Options: func(ca string) any {
					o := findType(t, name).Options()
					set(o, w.URL(), ca)
					return o
				},
				Received: func() []string {
					r.mu.Lock()
					defer r.mu.Unlock()
					return slices.Clone(r.got)
				},
				Refuse: func(id string) {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.refuse = id
				},
				Busy: func(d time.Duration) {
					r.mu.Lock()
					defer r.mu.Unlock()
					r.busy = d
				},
			}
		},
	}
}

func (r *receiver) serve(
	t *testing.T,
	rw http.ResponseWriter,
	req *http.Request,
	read func(*http.Request, []byte) ([]string, error),
) {
	b, err := io.ReadAll(req.Body)
	if err != nil {
		return // the connection was cut
	}
	req.Body = io.NopCloser(bytes.NewReader(b))
	ids, err := read(req, body(t, req))
	if err != nil {
		t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.busy > 0:
		rw.Header().Set("Retry-After", strconv.Itoa(int(r.busy.Seconds())))
		rw.WriteHeader(http.StatusServiceUnavailable)
		r.busy = 0
	case err != nil || slices.Contains(ids, r.refuse):
		rw.WriteHeader(http.StatusBadRequest)
	default:
		r.got = append(r.got, ids...)
		rw.WriteHeader(http.StatusNoContent)
	}
}

func TestHTTPRemote(t *testing.T) {
	for _, format := range []string{"jsonl", "json"} {
		t.Run(format, func(t *testing.T) {
			outputstest.RunRemote(t, remoteHTTP(t, "http", func(o any, url, ca string) {
				h := o.(*outputs.HTTP)
				h.URL, h.TLS.CAFile, h.Format = url+"/in", ca, format
			}, func(r *http.Request, b []byte) ([]string, error) {
				lines := bytes.SplitAfter(b, []byte("\n"))
				if format == "json" {
					var all []json.RawMessage
					if err := json.Unmarshal(b, &all); err != nil {
						return nil, err
					}
					lines = nil
					for _, one := range all {
						lines = append(lines, append(one, '\n'))
					}
				}
				return outputstest.IDs(t, bytes.Join(lines, nil)), nil
			}))
		})
	}
}

// The request in each format.
func TestHTTPRequest(t *testing.T) {
	p := outputstest.Page("i", 2, 10)
	lines := bytes.Clone(p.Lines())
	one, two, _ := bytes.Cut(bytes.TrimSuffix(lines, []byte("\n")), []byte("\n"))
	for _, c := range []struct {
		set         func(*outputs.HTTP)
		method, typ string
		body        string
		encoding    string
	}{
		{func(*outputs.HTTP) {}, "POST", "application/x-ndjson", string(lines), "gzip"},
		{func(o *outputs.HTTP) { o.Gzip = false }, "POST", "application/x-ndjson", string(lines), ""},
		{func(o *outputs.HTTP) { o.Format, o.Method = "json", "PUT" },
			"PUT", "application/json", fmt.Sprintf("[%s,%s]", one, two), "gzip"},
	} {
		requests := 0
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			requests++
			if r.Method != c.method || r.URL.String() != "/in?x=y" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			for name, want := range map[string]string{
				"Content-Type": c.typ, "Content-Encoding": c.encoding, "Idempotency-Key": "batch-7", "X-Key": "k",
				"Authorization": "Basic dTpw", "User-Agent": "aws-collector", "X-Signature": "",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if got := string(body(t, r)); got != c.body {
				t.Errorf("got  %s\nwant %s", got, c.body)
			}
		})
		out := openHTTP(t, func(o *outputs.HTTP) {
			o.URL = s.URL + "/in?x=y"
			o.Headers = map[string]secret.String{"x-key": secret.New("k\n")}
			o.BasicAuth = outputs.BasicAuth{Username: "u", Password: secret.New("p")}
			c.set(o)
		})
		b := outputstest.BatchOf("batch-7", p)
		if err := out.Send(t.Context(), b); err != nil || requests != 1 {
			t.Errorf("%d requests: %v", requests, err)
		}
		if err := out.Send(t.Context(), outputs.Batch{ID: "empty"}); err != nil || requests != 1 {
			t.Errorf("a request without records: %v", err)
		}
	}
}

// A receiver can verify the signature from the bytes that it reads.
func TestHTTPSignature(t *testing.T) {
	for _, compressed := range []bool{true, false} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			sent, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			at := r.Header.Get("X-Sent-At")
			mac := hmac.New(sha256.New, []byte(canary))
			fmt.Fprintf(mac, "%s.%s", at, sent)
			if got, want := r.Header.Get("X-Hub"), "sha256="+hex.EncodeToString(mac.Sum(nil)); got != want {
				t.Errorf("signed %s, want %s", got, want)
			}
			if sec, err := strconv.ParseInt(at, 10, 64); err != nil || time.Since(time.Unix(sec, 0)).Abs() > time.Minute {
				t.Errorf("sent at %q: %v", at, err)
			}
		})
		out := openHTTP(t, func(o *outputs.HTTP) {
			o.URL, o.Gzip = s.URL, compressed
			o.HMAC = outputs.HMAC{Key: secret.New(canary + "\n"), Header: "X-Hub", Timestamp: "X-Sent-At"}
		})
		if err := out.Send(t.Context(), batch("a", 3)); err != nil {
			t.Error(err)
		}
	}
}
