package httpclient

import (
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// Resend repeats a request that failed without a response on a connection that had served before: a receiver may close
// an idle connection just as a request is sent on it, and that is not a failure. net/http repeats such a request only
// when it has written nothing, or has read that the connection is closed before the write failed. Batches may be
// delivered twice, so no other proof is needed. The repetitions end at a new connection. They need req.GetBody.
func Resend(do func(*http.Request) (*http.Response, error), req *http.Request) (*http.Response, error) {
	for {
		var reused, answered atomic.Bool
		ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn:              func(c httptrace.GotConnInfo) { reused.Store(c.Reused) },
			GotFirstResponseByte: func() { answered.Store(true) },
		})
		resp, err := do(req.WithContext(ctx))
		if err == nil || !reused.Load() || answered.Load() || req.Context().Err() != nil || req.GetBody == nil {
			return resp, err
		}
		body, bodyErr := req.GetBody()
		if bodyErr != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.Body = body
	}
}
