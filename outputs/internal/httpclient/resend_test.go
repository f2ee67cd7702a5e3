package httpclient_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	httpoutput "github.com/aws-collector/collector/outputs/http"
	"github.com/aws-collector/collector/outputs/outputstest"
)

// A receiver may close an idle connection just as a request is sent on it. The request is then sent again, whether the
// write or the read notices first. A new connection that is closed is a failure, once.
func TestClosedConnection(t *testing.T) {
	var mu sync.Mutex
	used := map[string]bool{} // by connection
	var arrived, closed atomic.Int32
	var refuseAll atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		before := used[r.RemoteAddr]
		used[r.RemoteAddr] = true
		mu.Unlock()
		if !before && !refuseAll.Load() {
			outputstest.Body(t, r)
			arrived.Add(1)
			return
		}
		closed.Add(1)
		c, _, err := http.NewResponseController(w).Hijack() // the body is not read: the client's write fails
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.Close()
	}))
	t.Cleanup(s.Close)
	out := openHTTP(t, func(o *httpoutput.Options) { o.URL, o.Gzip = s.URL, false })
	large := outputstest.SmallBatch("", 1) // without an ID there is no Idempotency-Key
	large.Lines = []byte(strings.Repeat("x", 1<<20) + "\n")
	const n = 50
	for i := range n {
		b := outputstest.SmallBatch("", 1)
		if i%2 == 1 {
			b = large
		}
		if err := out.Send(t.Context(), b); err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
	if arrived.Load() != n || closed.Load() < n/4 {
		t.Errorf("%d requests arrived, %d connections were closed", arrived.Load(), closed.Load())
	}
	refuseAll.Store(true)
	before := closed.Load()
	if err := out.Send(t.Context(), large); err == nil {
		t.Error("a receiver that closes all connections did not fail")
	}
	if more := closed.Load() - before; more < 1 || more > 2 {
		t.Errorf("the failing request was sent %d times", more)
	}
}
