package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws-collector/collector/internal/awsfake"
)

// A cloud serves a fake AWS over loopback, and counts connections.
type cloud struct {
	aws *awsfake.AWS
	url string
	ca  []byte // PEM; nil without TLS

	server      *http.Server
	served      chan error
	connections atomic.Int64
	recorder    atomic.Pointer[recording]
}

// serve starts a cloud. Over TLS it offers only HTTP/1.1, like EC2's endpoints.
func serve(aws *awsfake.AWS, overTLS bool) (*cloud, error) {
	c := &cloud{aws: aws, served: make(chan error, 1)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c.url = "http://" + l.Addr().String()
	if overTLS {
		c.url = "https://" + l.Addr().String()
		var pair tls.Certificate
		if pair, c.ca, err = selfSigned(); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}})
	}
	c.server = &http.Server{
		Handler:           c,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0), // a child closes connections in any state when it ends
		ConnState: func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				c.connections.Add(1)
			}
		},
	}
	go func() { c.served <- c.server.Serve(l) }()
	return c, nil
}

func (c *cloud) close() error {
	err := c.server.Close()
	if e := <-c.served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	return err
}

// reset sets the counters to zero and fills the token buckets, before a child is measured.
func (c *cloud) reset(t awsfake.Throttle) {
	c.connections.Store(0)
	c.aws.ResetCalls()
	c.aws.SetThrottle(t)
}

// rawPath answers a recorded page, without signature checks or other costs.
const rawPath = "/bench/page"

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := c.recorder.Load()
	switch {
	case rec == nil:
		c.aws.ServeHTTP(w, r)
	case r.URL.Path == rawPath:
		rec.replay(w, r)
	default:
		t := &bodyRecorder{ResponseWriter: w}
		c.aws.ServeHTTP(t, r)
		rec.add(t)
	}
}

// A recording holds the largest answer of each encoding, to serve it again unchanged.
type recording struct {
	mu    sync.Mutex
	pages map[string][]byte // by Content-Encoding
}

// startRecording makes the cloud record the largest answers.
func (c *cloud) startRecording() { c.recorder.Store(&recording{pages: map[string][]byte{}}) }

func (rec *recording) add(t *bodyRecorder) {
	encoding := t.Header().Get("Content-Encoding")
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(t.body) > len(rec.pages[encoding]) {
		rec.pages[encoding] = t.body
	}
}

func (rec *recording) replay(w http.ResponseWriter, r *http.Request) {
	encoding := ""
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		encoding = "gzip"
	}
	rec.mu.Lock()
	page := rec.pages[encoding]
	rec.mu.Unlock()
	if page == nil {
		http.Error(w, "no page of this encoding was recorded", http.StatusNotFound)
		return
	}
	if encoding != "" {
		w.Header().Set("Content-Encoding", encoding)
	}
	w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
	w.Header().Set("Content-Length", fmt.Sprint(len(page)))
	_, _ = w.Write(page) // fails only if the child has disconnected
}

type bodyRecorder struct {
	http.ResponseWriter
	body []byte
}

func (t *bodyRecorder) Write(p []byte) (int, error) {
	t.body = append(t.body, p...)
	return t.ResponseWriter.Write(p)
}

func (t *bodyRecorder) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// selfSigned returns a certificate for 127.0.0.1 that is its own authority.
func selfSigned() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	certificate := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// An account is one account of the configuration file.
type account struct {
	name, id, roleARN string
	key               awsfake.Key
}

// An organization holds the accounts that a benchmark collects.
type organization struct {
	regions   []string
	perRegion int // instances per region
	accounts  []account
}

// buildOrganization adds n accounts, each with its own access key and, if roles is set, a role that the key must
// assume. Each has perRegion instances in each region. All accounts share the same instances, so ten thousand accounts
// take no more memory than one, and each page is rendered and compressed only once.
func buildOrganization(aws *awsfake.AWS, n int, roles bool, perRegion int, regions ...string) *organization {
	o := &organization{regions: regions, perRegion: perRegion}
	var first *awsfake.Account
	for i := range n {
		a := aws.AddAccount(fmt.Sprintf("%012d", 100_000_000_001+i), "aws")
		if first == nil {
			first = a
			for _, r := range regions {
				if perRegion > 0 {
					a.AddInstances(r, perRegion)
				}
			}
		} else {
			a.ShareResources(first)
		}
		u := a.AddUser("collector")
		b := account{name: fmt.Sprintf("account-%05d", i+1), id: a.ID, key: u.NewKey()}
		if roles {
			b.roleARN = a.AddRole(
				"collector-readonly",
				awsfake.RoleOptions{Trust: []awsfake.Trust{{Principals: []string{u.ARN}}}},
			).ARN
		}
		o.accounts = append(o.accounts, b)
	}
	return o
}

func (o *organization) records() int { return len(o.accounts) * len(o.regions) * o.perRegion }

// withCloud runs f with a cloud that serves aws.
func withCloud(ctx context.Context, aws *awsfake.AWS, overTLS bool, f func(context.Context, *cloud) error) error {
	c, err := serve(aws, overTLS)
	if err != nil {
		return err
	}
	return errors.Join(f(ctx, c), c.close())
}
