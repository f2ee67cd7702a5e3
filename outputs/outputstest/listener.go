package outputstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// A FaultyListener is the listener of a receiver under test. It simulates network faults. It acts on connections, so it
// works with every protocol.
type FaultyListener struct {
	net.Listener        // with TLS if CA is not ""
	CA           string // a PEM file with the certificate to trust; "" without TLS

	mu      sync.Mutex
	state   listenerState
	changed chan struct{} // closed when state changes
	conns   map[*faultyConn]bool
}

type listenerState int

const (
	stateHealthy        listenerState = iota
	stateStalled                      // connections are accepted, but not read
	stateCut                          // connections are closed at once
	stateAnswersDropped               // requests arrive, but the connection closes instead of an answer
)

// newFaultyListener listens on loopback until the test ends.
func newFaultyListener(t *testing.T, withTLS bool) *FaultyListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w := &FaultyListener{changed: make(chan struct{}), conns: map[*faultyConn]bool{}}
	w.Listener = &faultyAccepter{Listener: l, parent: w}
	if withTLS {
		var cert tls.Certificate
		cert, w.CA = certificate(t)
		w.Listener = tls.NewListener(w.Listener, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	t.Cleanup(func() {
		w.Restore()
		_ = w.Listener.Close() // the receiver may have closed it
		w.mu.Lock()
		defer w.mu.Unlock()
		for c := range w.conns {
			_ = c.Conn.Close()
		}
	})
	return w
}

// URL returns the address with http:// or https://.
func (w *FaultyListener) URL() string {
	if w.CA != "" {
		return "https://" + w.Addr().String()
	}
	return "http://" + w.Addr().String()
}

// Stall makes the receiver hang: it accepts connections and reads nothing.
func (w *FaultyListener) Stall() { w.set(stateStalled) }

// Cut makes the receiver unreachable: it closes all connections, present and future.
func (w *FaultyListener) Cut() { w.set(stateCut) }

// DropAnswers delivers requests, but closes the connection instead of answering: the sender cannot know that the
// receiver has the data.
func (w *FaultyListener) DropAnswers() { w.set(stateAnswersDropped) }

// Restore ends the simulated fault.
func (w *FaultyListener) Restore() { w.set(stateHealthy) }

func (w *FaultyListener) set(s listenerState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.state = s
	close(w.changed)
	w.changed = make(chan struct{})
	if s == stateCut {
		for c := range w.conns {
			_ = c.Conn.Close()
		}
	}
}

func (w *FaultyListener) current() (listenerState, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.state, w.changed
}

type faultyAccepter struct {
	net.Listener
	parent *FaultyListener
}

func (l *faultyAccepter) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		w := l.parent
		w.mu.Lock()
		if w.state == stateCut {
			w.mu.Unlock()
			_ = c.Close() // as if no process listened on the port
			continue
		}
		wc := &faultyConn{Conn: c, parent: w, closed: make(chan struct{})}
		w.conns[wc] = true
		w.mu.Unlock()
		return wc, nil
	}
}

type faultyConn struct {
	net.Conn
	parent *FaultyListener
	once   sync.Once
	closed chan struct{}
}

func (c *faultyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for {
		s, moved := c.parent.current()
		if s != stateStalled {
			return n, err
		}
		select {
		case <-moved:
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
}

func (c *faultyConn) Write(p []byte) (int, error) {
	if s, _ := c.parent.current(); s == stateAnswersDropped {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func (c *faultyConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	c.parent.mu.Lock()
	delete(c.parent.conns, c)
	c.parent.mu.Unlock()
	return c.Conn.Close()
}

// certificate returns a self-signed certificate for 127.0.0.1, and the path of a file with it.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "receiver under test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:        true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	path := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, path
}
