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

// A Server serves an [AWS]. Close it.
type Server struct {
	URL string // what AWS_ENDPOINT_URL would be; no slash at the end

	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	http  *http.Server
	done  chan struct{} // Serve returned
	conns sync.WaitGroup
	once  sync.Once
}

// Start serves over loopback, on a port that the system chooses.
func (a *AWS) Start() (*Server, error) { return a.Listen("127.0.0.1:0") }

// Listen serves over loopback at addr.
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

// InMemory serves over pipes in this process. Inside a testing/synctest bubble call it and [Server.Close] in the bubble, and
// give the client [Server.HTTPClient] or a transport with [Server.DialContext]: sockets would keep the bubble's clock from moving.
func (a *AWS) InMemory() *Server {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s := a.serve(l)
	s.URL = "http://aws.invalid" // never looked up: DialContext answers for every name
	s.dial = l.dial
	return s
}

func (a *AWS) serve(l net.Listener) *Server {
	s := &Server{done: make(chan struct{})}
	s.http = &http.Server{
		Handler:           a,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // what goes wrong here was asked for
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				a.calls.conns.Add(1)
				a.calls.open.Add(1)
				s.conns.Add(1) // in Serve's goroutine, so never after Serve has returned
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

// DialContext reaches this server, whatever the address says when it is in memory.
func (s *Server) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return s.dial(ctx, network, addr)
}

// HTTPClient is a client whose connections reach this server. Call its CloseIdleConnections at the end.
func (s *Server) HTTPClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: s.dial, MaxIdleConnsPerHost: 64}}
}

// Close ends every call that is going on and waits for the connections' goroutines. It may be called twice.
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
