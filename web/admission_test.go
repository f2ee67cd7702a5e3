package web

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A memoryListener gives out pipes, whose clients have addresses that a test chooses. A pipe holds
// nothing: a write waits for its reader.
type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

type pipeConn struct {
	net.Conn
	from string
}

func (c pipeConn) RemoteAddr() net.Addr { return pipeAddr(c.from) }
func (c pipeConn) LocalAddr() net.Addr  { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9420} }

type pipeAddr string

func (pipeAddr) Network() string  { return "tcp" }
func (a pipeAddr) String() string { return string(a) }

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *memoryListener) Addr() net.Addr { return pipeAddr("memory") }

func (l *memoryListener) dial(from string) net.Conn {
	here, there := net.Pipe()
	l.conns <- pipeConn{there, from}
	return here
}

// served runs a server over memory inside a bubble, with an answer of two hundred kilobytes at each kind of path.
func served(t *testing.T, o Options) (*memoryListener, func()) {
	t.Helper()
	big := bytes.Repeat([]byte("aws_ec2_instance_info{id=\"i-0123456789abcdef0\"} 1\n"), 4_000)
	m := new(Mounts)
	m.Swap(map[string]http.Handler{
		"/metrics/inventory": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for b := big; len(b) > 0; {
				n, err := w.Write(b[:min(len(b), 5000)])
				if err != nil {
					panic(http.ErrAbortHandler)
				}
				b = b[n:]
			}
		}),
		"/api/v1/sd/nodes": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(big) }),
	})
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "many", Help: strings.Repeat("h", 1000)}, []string{"n"})
	reg.MustRegister(c)
	for i := range 1_000 {
		c.WithLabelValues(fmt.Sprintf("a rather long label of a series, so that there is much of it: %d", i)).Inc()
	}
	o.Mounts, o.Gather = m, reg
	s := newServer(t, o)
	l := &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	return l, func() {
		_ = s.http.Close()
		l.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// scrape sends a request on a new connection, reads everything at once, and returns the status, the size and
// the duration.
func (l *memoryListener) scrape(t *testing.T, from, path string) (status, size int, took time.Duration) {
	t.Helper()
	began := time.Now()
	c := l.dial(from)
	defer c.Close()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: collector\r\nConnection: close\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Errorf("%s from %s breaks off after %d bytes: %v", path, from, len(b), err)
	}
	return resp.StatusCode, len(b), time.Since(began)
}

// A slowReader sends a request and reads as pace does, until it is disconnected; then it repeats, until stop.
func (l *memoryListener) slowReader(from, path string, stop <-chan struct{}, pace func(net.Conn)) {
	for {
		c := l.dial(from)
		ended := make(chan struct{})
		go func() {
			select {
			case <-stop:
			case <-ended:
			}
			c.Close()
		}()
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: collector\r\n\r\n", path); err == nil {
			pace(c)
		}
		close(ended)
		select {
		case <-stop:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// takesNothing reads one byte, then nothing until the connection is closed at the other end: a pipe does not
// report that, so it polls.
func takesNothing(c net.Conn) {
	b := make([]byte, 1)
	if _, err := c.Read(b); err != nil {
		return
	}
	for {
		time.Sleep(15 * time.Second)
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// drips reads a hundred bytes each tenth of a second: steadily, and too slowly.
func drips(c net.Conn) {
	for b := make([]byte, 100); ; time.Sleep(100 * time.Millisecond) {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// Whatever slow readers do, a normal scrape of anything is answered, completely and in time: from another address, from
// the slow ones' own, and from their network. The slow ones reconnect as soon as they are disconnected.
func TestSlowReadersDoNotBlockOthers(t *testing.T) {
	const scrapes = 12
	one := func(int) string { return "192.0.2.66:5000" }
	for name, c := range map[string]struct {
		slow  int
		from  func(i int) string
		pace  func(net.Conn)
		scrap string
	}{
		"twelve at one address": {12, one, takesNothing, "192.0.2.7:4000"},
		"twelve that drip":      {12, one, drips, "192.0.2.7:4000"},
		"behind the same proxy": {12, one, takesNothing, "192.0.2.66:4000"},
		"the same that drip":    {12, one, drips, "192.0.2.66:4000"},
		"twelve addresses": {12, func(i int) string { return fmt.Sprintf("198.51.100.%d:5000", i) }, takesNothing,
			"192.0.2.7:4000"},
		"thirty at one address": {30, one, takesNothing, "192.0.2.66:4000"},
		"an IPv6 network": {40, func(i int) string { return fmt.Sprintf("[2001:db8::%x]:5000", i+1) }, drips,
			"[2001:db8:1::7]:4000"},
		"forty addresses": {40, func(i int) string { return fmt.Sprintf("198.51.100.%d:5000", i) }, drips,
			"192.0.2.7:4000"},
		"a hundred at one address": {100, one, takesNothing, "192.0.2.7:4000"},
	} {
		paths := []string{"/metrics/inventory", "/api/v1/sd/nodes", "/metrics"}
		if c.slow > 12 {
			paths = paths[:1]
		}
		for _, path := range paths {
			t.Run(name+path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l, end := served(t, Options{})
					stop := make(chan struct{})
					var wg sync.WaitGroup
					for i := range c.slow {
						wg.Go(func() { l.slowReader(c.from(i), path, stop, c.pace) })
					}
					synctest.Wait()
					for n := range scrapes {
						status, size, took := l.scrape(t, c.scrap, path)
						if status != 200 || size < 50_000 || took > 10*time.Second {
							t.Errorf("scrape %d: %d, %d bytes after %s", n, status, size, took)
						}
						time.Sleep(time.Second)
					}
					close(stop)
					wg.Wait()
					end()
				})
			})
		}
	}
}

// A single reader is disconnected once it has read nothing for some seconds, or reads very slowly; one at a modest pace
// is not.
func TestPace(t *testing.T) {
	for name, c := range map[string]struct {
		pace  func(net.Conn)
		whole bool
		limit time.Duration
	}{
		"nothing": {takesNothing, false, readerSlack},
		"a drip":  {drips, false, 2 * readerSlack},
		"a modem": {func(c net.Conn) {
			for b := make([]byte, minBytesPerSecond*5); ; time.Sleep(time.Second) {
				if _, err := io.ReadFull(c, b); err != nil {
					return
				}
			}
		}, true, writeTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				ended := make(chan error, 1)
				a := newAdmission()
				h := a.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					_, err := w.Write(make([]byte, 3<<20))
					ended <- err
				}))
				s := &http.Server{Handler: h, WriteTimeout: writeTimeout}
				l := &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
				go func() { _ = s.Serve(l) }()
				conn := l.dial("192.0.2.7:5000")
				if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				paced := make(chan bool)
				go func() { c.pace(conn); close(paced) }()
				err := <-ended
				if took := time.Since(began); (err == nil) != c.whole || took > c.limit {
					t.Errorf("ended after %s with %v", took, err)
				}
				synctest.Wait()
				if len(a.slots) != 0 {
					t.Error("its slot is held")
				}
				s.Close()
				<-paced
				conn.Close()
			})
		})
	}
}

// A request that finds neither a slot nor a place in the queue gets 503 and Retry-After; one whose client has gone
// waits no longer. A slow handler does not disconnect its client.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAdmission()
		release := make(chan struct{})
		h := a.wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { <-release; text(w, 200, "done\n") }))
		serve := func(from string, ctx context.Context) (int, string) {
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
			r.RemoteAddr = from
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Code, w.Header().Get("Retry-After")
		}
		codes := make(chan int, 200)
		var wg sync.WaitGroup
		for i := range 20 { // six get in, fourteen wait
			wg.Go(func() {
				code, _ := serve(fmt.Sprintf("192.0.2.1:%d", i), t.Context())
				codes <- code
			})
		}
		synctest.Wait()
		if len(a.slots) != maxSlotsPerPeer || len(a.queue) != 20-maxSlotsPerPeer {
			t.Fatalf("%d are in, %d wait", len(a.slots), len(a.queue))
		}
		gone, cancel := context.WithCancel(t.Context())
		wg.Go(func() { serve("192.0.2.1:99", gone) })
		wg.Go(func() { code, _ := serve("192.0.2.2:1", t.Context()); codes <- code }) // another peer gets in at once
		synctest.Wait()
		if len(a.slots) != maxSlotsPerPeer+1 {
			t.Errorf("another peer does not get in: %d", len(a.slots))
		}
		cancel()
		synctest.Wait()
		if len(a.queue) != 20-maxSlotsPerPeer {
			t.Errorf("one that has gone waits: %d", len(a.queue))
		}
		began := time.Now()
		code, after := serve("192.0.2.1:98", t.Context())
		if code != 503 || after != "5" || time.Since(began) != maxWait {
			t.Errorf("after %s: %d, Retry-After %q", time.Since(began), code, after)
		}
		synctest.Wait() // the fourteen have waited the whole time
		close(release)
		wg.Wait()
		close(codes)
		count := map[int]int{}
		for c := range codes {
			count[c]++
		}
		if count[200] != maxSlotsPerPeer+1 || count[503] != 20-maxSlotsPerPeer {
			t.Errorf("codes %v", count)
		}
		if len(a.slots)+len(a.queue) != 0 {
			t.Errorf("%d are in, %d wait", len(a.slots), len(a.queue))
		}
	})
}

func TestPeers(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:5": "192.0.2.1", "[::ffff:192.0.2.1]:5": "192.0.2.1", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::/64",
		"[2001:db8:1:2:ffff::]:9": "2001:db8:1:2::/64",
		"[::1]:5":                 "::1", "[fe80::1%eth0]:5": "fe80::/64", "@": "@",
	} {
		if got := peerOf(remote); got != want {
			t.Errorf("%s is %s, want %s", remote, got, want)
		}
	}
}

// A body that does not come, and a header that does not end, affect only their sender: a reload is done at once,
// others are answered, and the connection ends in time.
func TestSlowRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reloads := 0
		l, end := served(t, Options{Reload: func(context.Context) error { reloads++; return nil }})
		for name, request := range map[string]string{
			"half a head": "GET /metrics HTTP/1.1\r\nHost: collec",
			"no body":     "POST /-/reload HTTP/1.1\r\nHost: collector\r\nContent-Length: 1000\r\n\r\nx",
			"chunks":      "POST /-/reload HTTP/1.1\r\nHost: collector\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
			"nothing":     "",
		} {
			c := l.dial("192.0.2.9:1")
			if _, err := io.WriteString(c, request); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if status, _, took := l.scrape(t, "192.0.2.9:2", "/metrics"); status != 200 || took > time.Second {
				t.Errorf("%s: others get %d after %s", name, status, took)
			}
			began := time.Now()
			_, _ = io.Copy(io.Discard, c)
			if took := time.Since(began); took > readTimeout {
				t.Errorf("%s: it ends after %s", name, took)
			}
			c.Close()
		}
		end()
		if reloads != 0 {
			t.Errorf("%d reloads from another machine", reloads)
		}
	})
}

// A disconnected reader is not logged once for each metric.
func TestDisconnectIsNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l, end := served(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		c := l.dial("192.0.2.9:1")
		if _, err := io.WriteString(c, "GET /metrics HTTP/1.1\r\nHost: collector\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * readerSlack)
		if n, err := io.Copy(io.Discard, c); n > 50_000 {
			t.Errorf("it is not cut off: %d bytes, %v", n, err)
		}
		end()
		if n := strings.Count(log.String(), "level=WARN"); n > 0 {
			t.Errorf("%d warnings:\n%.1000s", n, log.String())
		}
	})
}

// The same over sockets, whose buffers hold much of a response: twelve readers that read nothing, and
// normal scrapes from their own address.
func TestSlowReadersOnLoopback(t *testing.T) {
	big := bytes.Repeat([]byte("aws_ec2_instance_info{id=\"i-0123456789abcdef0\"} 1\n"), 500_000)
	m := new(Mounts)
	m.Swap(
		map[string]http.Handler{
			"/metrics/inventory": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(big) }),
		},
	)
	addr := start(t, newServer(t, Options{Mounts: m}))
	for range 12 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /metrics/inventory HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 33 {
		if code, body := get(t, &http.Client{Transport: &http.Transport{}},
			"http://"+addr+"/metrics/inventory"); code != 200 ||
			len(body) != len(big) {
			t.Fatalf("scrape %d: %d, %d bytes", n, code, len(body))
		}
	}
}
