package awsfake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// A Server serves an [AWS]. The caller must close it.
type Server struct {
	URL string // the value for AWS_ENDPOINT_URL, without a slash at the end

	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	http  *http.Server
	done  chan struct{} // Serve returned
	conns sync.WaitGroup
	once  sync.Once
}

// Start serves on a free loopback port.
func (a *AWS) Start() (*Server, error) { return a.Listen("127.0.0.1:0") }

// Listen serves at a loopback address.
func (a *AWS) Listen(addr string) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("awsfake: %w", err)
	}
	s := a.serve(l)
	s.URL = "http://" + l.Addr().String()
	s.dial = new(net.Dialer).DialContext
	return s, nil
}

// InMemory serves over pipes in this process. For a testing/synctest bubble, call it and [Server.Close] in the bubble
// and give the client [Server.HTTPClient] or a transport with [Server.DialContext]: with sockets the bubble's clock
// would not advance.
func (a *AWS) InMemory() *Server {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s := a.serve(l)
	s.URL = "http://aws.invalid" // never looked up: DialContext connects every name to this server
	s.dial = l.dial
	return s
}

func (a *AWS) serve(l net.Listener) *Server {
	s := &Server{done: make(chan struct{})}
	s.http = &http.Server{
		Handler:           a,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // its errors are injected faults
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				a.calls.conns.Add(1)
				a.calls.open.Add(1)
				s.conns.Add(1) // called by Serve's goroutine, so never after Serve has returned
			case http.StateClosed, http.StateHijacked:
				a.calls.open.Add(-1)
				s.conns.Done()
			}
		},
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // always http.ErrServerClosed: Close ends it
	}()
	return s
}

// DialContext connects to this server. An in-memory server ignores the address.
func (s *Server) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return s.dial(ctx, network, addr)
}

// HTTPClient returns a client that connects to this server. Call its CloseIdleConnections at the end.
func (s *Server) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: s.dial, MaxIdleConnsPerHost: 64}}
}

// Close ends all calls in progress and waits for the connections' goroutines. It may be called more than once.
func (s *Server) Close() {
	s.once.Do(func() {
		_ = s.http.Close()
		<-s.done
		s.conns.Wait()
	})
}

type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: errors.New("connection refused")}
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: "pipe", Err: ctx.Err()}
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }
