package awsfake

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// BenchmarkServe measures serving a page of 1,000 instances, without the network.
func BenchmarkServe(b *testing.B) {
	for _, encoding := range []string{"", "gzip"} {
		b.Run("encoding="+encoding, func(b *testing.B) {
			x := newTestClient(b, Options{Throttle: Throttle{Off: true}, KeepCalls: -1})
			x.acct.AddInstances("us-east-1", 1000)
			var sent *http.Request
			var body []byte
			h := *x.http
			h.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				var err error
				body, err = io.ReadAll(r.Body)
				r.Body = io.NopCloser(bytes.NewReader(body))
				sent = r
				if err != nil {
					return nil, err
				}
				return x.http.Transport.RoundTrip(r)
			})
			y := *x
			y.http = &h
			size := len(y.ec2("us-east-1", longTerm(x.key), "DescribeInstances", "MaxResults", "1000").body)
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header, r.Host, r.ContentLength = sent.Header.Clone(), sent.URL.Host, int64(len(body))
			r.Header.Set("Accept-Encoding", encoding)
			b.SetBytes(int64(size))
			begun := time.Now()
			for b.Loop() {
				r.Body = io.NopCloser(bytes.NewReader(body))
				w := &discardWriter{header: http.Header{}}
				x.aws.ServeHTTP(w, r)
				if w.status != http.StatusOK {
					b.Fatal(w.status, time.Since(begun))
				}
			}
		})
	}
}

// BenchmarkLoopback serves the same page over loopback to a client that discards the body.
func BenchmarkLoopback(b *testing.B) {
	x := newTestClient(b, Options{Throttle: Throttle{Off: true}, KeepCalls: -1, NoGzip: true})
	x.acct.AddInstances("us-east-1", 1000)
	s, err := x.aws.Start()
	if err != nil {
		b.Fatal(err)
	}
	h := s.HTTPClient()
	h.Transport.(*http.Transport).DisableCompression = true
	x.http.CloseIdleConnections()
	x.srv.Close()
	x.srv, x.http = s, h
	b.SetBytes(int64(len(x.ec2("us-east-1", longTerm(x.key), "DescribeInstances", "MaxResults", "1000").body)))
	for b.Loop() {
		if err := x.discard("us-east-1", "DescribeInstances", "MaxResults", "1000"); err != nil {
			b.Fatal(err)
		}
	}
}

type discardWriter struct {
	header http.Header
	status int
}

func (s *discardWriter) Header() http.Header         { return s.header }
func (s *discardWriter) WriteHeader(status int)      { s.status = status }
func (s *discardWriter) Write(p []byte) (int, error) { return len(p), nil }
