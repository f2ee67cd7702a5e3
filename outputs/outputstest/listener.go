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

// A Wire is the listener that a receiver under test serves on, and the ways in which what leads there goes wrong. It
// knows no protocol: it acts on connections, so it does the same to whatever speaks over them.
type FaultyListener struct {
	net.Listener        // TLS already, if CA is not ""
	CA           string // a PEM file with what the receiver's certificate is to be trusted by; "" where the wire is plain

	mu      sync.Mutex
	state   listenerState
	changed chan struct{} // closed when state changes
	conns   map[*faultyConn]bool
}

type listenerState int

const (
	stateHealthy        listenerState = iota
	stateStalled                      // connections are taken, and nothing is read from them
	stateCut                          // connections end as they begin
	stateAnswersDropped               // requests arrive, answers do not: the connection ends in their place
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
		_ = w.Listener.Close() // the receiver may have
		w.mu.Lock()
		defer w.mu.Unlock()
		for c := range w.conns {
			_ = c.Conn.Close()
		}
	})
	return w
}

// URL is its address with http:// or https:// before it.
func (w *FaultyListener) URL() string {
	if w.CA != "" {
		return "https://" + w.Addr().String()
	}
	return "http://" + w.Addr().String()
}

// Stall makes the receiver hang: it takes connections and reads nothing.
func (w *FaultyListener) Stall() { w.set(stateStalled) }

// Cut makes the receiver dead: connections end at once, those that are open too.
func (w *FaultyListener) Cut() { w.set(stateCut) }

// DropAnswers lets requests arrive and ends the connection in place of the answer: what was sent has been received, and its
// sender cannot know.
func (w *FaultyListener) DropAnswers() { w.set(stateAnswersDropped) }

// Restore ends whatever was wrong.
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
			_ = c.Close() // as a port that nobody listens on
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

// certificate is one for 127.0.0.1 that vouches for itself, and the path of a file with it.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "receiver under test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	path := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, path
}
