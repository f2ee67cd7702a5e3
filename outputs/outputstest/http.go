package outputstest

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws-collector/collector/outputs"
)

// An httpReceiver is an HTTP server for the remote suite. ids parses a request strictly and returns the ids of its
// records.
type httpReceiver struct {
	mu     sync.Mutex
	got    []string
	refuse string
	busy   time.Duration
}

// RemoteHTTP describes an output over HTTP to the remote suite.
func RemoteHTTP(
	t *testing.T,
	typ outputs.Type,
	set func(o any, url, ca string),
	ids func(*http.Request, []byte) ([]string, error),
) Remote {
	return Remote{
		Type: typ,
		TLS:  true,
		Serve: func(t *testing.T, w *FaultyListener) Receiver {
			r := &httpReceiver{}
			s := &httptest.Server{
				Listener: w,
				Config: &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
					r.serve(t, rw, req, ids)
				})},
			}
			s.Start()
			t.Cleanup(s.Close)
			return Receiver{
				Options: func(ca string) any {
					o := typ.Options()
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

func (r *httpReceiver) serve(
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
	ids, err := read(req, Body(t, req))
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

// Serve runs a server with handler h until the test ends.
func Serve(t testing.TB, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// Body returns a request's body, decompressed.
func Body(t testing.TB, r *http.Request) []byte {
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

func SmallBatch(name string, n int) outputs.Batch {
	return BatchOf(name, Page(name, n, 10))
}
