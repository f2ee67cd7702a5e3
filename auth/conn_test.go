package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/secret"
)

// Sign-ins one after the other share a connection.
func TestSignInsShareAConnection(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	s := w.sessions(Options{})
	const n = 200
	for i := range n {
		k := w.home.AddUser(fmt.Sprintf("user-%d", i)).NewKey()
		w.open(s, w.ak(func(a *config.Account) { a.AKID, a.AKSecret = k.ID, secret.New(k.Secret) }))
	}
	st := w.aws.Stats()
	if st.Connections > 3 || st.Calls != n {
		t.Errorf("%d sign-ins took %d calls over %d connections", n, st.Calls, st.Connections)
	}
}

// A request is written at once, header and body.
func TestOneWriteForARequest(t *testing.T) {
	w := newFixture(t, awsfake.Options{})
	var writes atomic.Int64
	dial := w.load.DialContext
	w.load.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		return &countedConn{c, &writes}, err
	}
	w.open(w.sessions(Options{}), w.ak(role(w.role.ARN)))
	if calls := w.aws.Stats().Calls; writes.Load() != calls || calls == 0 {
		t.Errorf("%d calls took %d writes", calls, writes.Load())
	}
}

type countedConn struct {
	net.Conn
	writes *atomic.Int64
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// A small body is read before the request is sent, and can be sent again; a large one is read as it is sent.
func TestBodiesInMemory(t *testing.T) {
	broken := errors.New("broken")
	large := strings.Repeat("x", maxBodyInMemory+1)
	for name, c := range map[string]struct {
		body   io.Reader
		length int64
		want   string // what the transport reads
		again  bool   // it may read it again
		err    error
	}{
		"small":     {strings.NewReader("Action=A"), 8, "Action=A", true, nil},
		"too short": {strings.NewReader("Act"), 8, "Act", true, nil}, // net/http refuses it
		"too long":  {strings.NewReader("Action=ABC"), 8, "Action=AB", true, nil},
		"broken":    {iotest.ErrReader(broken), 8, "", false, broken},
		"large":     {strings.NewReader(large), int64(len(large)), large, false, nil},
		"unknown":   {strings.NewReader("Action=A"), -1, "Action=A", false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var sent, again bytes.Buffer
			transport := memoryBodyTransport{transportFunc(func(r *http.Request) (*http.Response, error) {
				if _, ok := r.Body.(io.WriterTo); ok && !c.again {
					t.Error("the body would be read through WriteTo")
				}
				io.Copy(&sent, r.Body)
				if r.GetBody != nil {
					body, _ := r.GetBody()
					io.Copy(&again, body)
				}
				return nil, nil
			})}
			r, _ := http.NewRequest(http.MethodPost, "https://sts.us-east-1.amazonaws.com", io.NopCloser(c.body))
			r.ContentLength = c.length
			body := r.Body
			_, err := transport.RoundTrip(r)
			if !errors.Is(err, c.err) || sent.String() != c.want || c.again != (again.Len() > 0) {
				t.Errorf("%v, read %.20q and %.20q", err, &sent, &again)
			}
			if c.again && again.String() != c.want || r.Body != body || r.GetBody != nil {
				t.Errorf("read %.20q again; the request was changed: %v", &again, r.Body != body || r.GetBody != nil)
			}
		})
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
