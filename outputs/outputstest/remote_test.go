package outputstest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The suite is tested with the simplest correct output: one POST per batch.
func TestRemoteSuite(t *testing.T) {
	RunRemote(t, Remote{Type: postType, Serve: servePosts, TLS: true})
}

type postOptions struct {
	outputs.Common
	URL, CA string
}

var postType = outputs.Type{
	Name:    "post",
	Options: func() any { return &postOptions{} },
	Open: func(_ context.Context, options any, _ outputs.Deps) (outputs.Output, error) {
		o := options.(*postOptions)
		tr := &http.Transport{}
		if o.CA != "" {
			pem, err := os.ReadFile(o.CA)
			if err != nil {
				return nil, err
			}
			tr.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
			tr.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem)
		}
		return &post{url: o.URL, client: &http.Client{Transport: tr}}, nil
	},
}

type post struct {
	url    string
	client *http.Client
	mu     sync.Mutex
	closed bool
}

func (p *post) Send(ctx context.Context, b outputs.Batch) error {
	if err := p.Flush(ctx); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(b.Lines))
	if err != nil {
		return err
	}
	res, err := p.client.Do(req)
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return &record.Fault{Reason: record.Network, Err: err, Hint: "name the file with its certificate in ca_file"}
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body) // only the status matters
	switch res.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusBadRequest:
		return fmt.Errorf("%w: %s", outputs.ErrRefused, res.Status)
	}
	s, _ := strconv.Atoi(res.Header.Get("Retry-After"))
	return &outputs.RetryAfterError{After: time.Duration(s) * time.Second, Err: errors.New(res.Status)}
}

func (p *post) Flush(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return outputs.ErrClosed
	}
	return ctx.Err()
}

func (p *post) Close(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.client.CloseIdleConnections()
	return nil
}

func servePosts(t *testing.T, w *FaultyListener) Receiver {
	var mu sync.Mutex
	var got []string
	refuse, busy := "", time.Duration(0)
	handler := func(rw http.ResponseWriter, req *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		if busy > 0 {
			rw.Header().Set("Retry-After", strconv.Itoa(int(busy.Seconds())))
			rw.WriteHeader(http.StatusServiceUnavailable)
			busy = 0
			return
		}
		var ids []string
		for line := range bytes.Lines(body) {
			var r record.Record
			if err := json.Unmarshal(line, &r); err != nil || r.ID == refuse {
				rw.WriteHeader(http.StatusBadRequest)
				return
			}
			ids = append(ids, r.ID)
		}
		got = append(got, ids...)
	}
	s := &httptest.Server{Listener: w, Config: &http.Server{Handler: http.HandlerFunc(handler)}}
	s.Start()
	t.Cleanup(s.Close)
	return Receiver{
		Options: func(ca string) any { return &postOptions{URL: w.URL(), CA: ca} },
		Received: func() []string {
			mu.Lock()
			defer mu.Unlock()
			return append([]string(nil), got...)
		},
		Refuse: func(id string) {
			mu.Lock()
			defer mu.Unlock()
			refuse = id
		},
		Busy: func(d time.Duration) {
			mu.Lock()
			defer mu.Unlock()
			busy = d
		},
	}
}
