package web

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2" // exporter-toolkit decodes the same file with it
)

// A guard allows requests that change something. Either the web configuration requires authentication, which the
// listener has checked before; or the request comes from this machine. A browser on this machine is not enough: a page
// of another site can make it send requests (Origin), also under a name that resolves to this machine (DNS rebinding:
// Host).
type guard struct {
	configFile  string
	crossOrigin *http.CrossOriginProtection
}

func newGuard(configFile string) *guard {
	return &guard{configFile: configFile, crossOrigin: http.NewCrossOriginProtection()}
}

// protect answers 403, with the reason, to requests that are not allowed.
func (g *guard) protect(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := g.check(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		next(w, r)
	}
}

var errRemote = errors.New("allowed only from this machine, or with authentication configured in web.config_file")

func (g *guard) check(r *http.Request) error {
	// Also when a password was checked: a browser adds it to requests that any page causes.
	if err := g.crossOrigin.Check(r); err != nil {
		return err
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return nil // authenticated by a client certificate
	}
	auth, err := requiresPassword(g.configFile)
	if err != nil {
		return err
	}
	if auth {
		return nil
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return errRemote
	}
	// A proxy on this machine forwards requests of other machines.
	if h := cmp.Or(forwardingHeader(r.Header), forwardingHeader(r.Trailer)); h != "" {
		return fmt.Errorf("header %.100q shows that the request came through a proxy: %w", h, errRemote)
	}
	if !arrivedOnLoopback(r) || !loopbackHost(r.Host) {
		return fmt.Errorf("host %.200q is not this machine: use 127.0.0.1 or localhost, "+
			"or configure authentication in web.config_file", r.Host)
	}
	return nil
}

// directHeaders are the headers, besides Sec-…, that clients send themselves: browsers, curl, wget, and HTTP libraries.
// Each proxy and CDN has its own header names for the client's address, and may be configured to use any other. So any
// header outside this list shows that a request came through a proxy.
var directHeaders = map[string]bool{
	"Accept": true, "Accept-Charset": true, "Accept-Encoding": true, "Accept-Language": true,
	"Authorization": true, "Baggage": true, "Cache-Control": true, "Connection": true, "Content-Encoding": true,
	"Content-Language": true, "Content-Length": true, "Content-Type": true, "Cookie": true, "Date": true,
	"Dnt": true, "Expect": true, "From": true, "Host": true, "If-Match": true, "If-Modified-Since": true,
	"If-None-Match": true, "If-Unmodified-Since": true, "Keep-Alive": true, "Origin": true, "Pragma": true,
	"Priority": true, "Referer": true, "Te": true, "Traceparent": true, "Tracestate": true,
	"Transfer-Encoding": true, "Upgrade-Insecure-Requests": true, "User-Agent": true, "X-Requested-With": true,
}

// forwardingHeader returns a header that shows that the request came through a proxy, even with an empty value; "" if
// there is none.
func forwardingHeader(h http.Header) string {
	var found []string
	for name := range h {
		if !directHeaders[name] && !strings.HasPrefix(name, "Sec-") {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return ""
	}
	return slices.Min(found)
}

// requiresPassword reports whether the listener requires a password. It reads the file each time, as the listener does,
// because users can be added without a restart.
func requiresPassword(configFile string) (bool, error) {
	p, err := ProtectionOf(configFile)
	return p.Password, err
}

// A Protection says how a web configuration protects the listener.
type Protection struct{ Password, ClientCertificate, TLS bool }

// ProtectionOf reads a web configuration; "" protects nothing.
func ProtectionOf(configFile string) (Protection, error) {
	if configFile == "" {
		return Protection{}, nil
	}
	b, err := os.ReadFile(configFile)
	if err != nil {
		return Protection{}, fmt.Errorf("web.config_file: %w", err)
	}
	var c toolkit.Config
	if err := yaml.UnmarshalStrict(b, &c); err != nil {
		// the error's text could hold hashes
		return Protection{}, errors.New("web.config_file is not a valid web configuration")
	}
	return Protection{
		Password: len(c.Users) > 0, TLS: c.TLSConfig.TLSCertPath != "" || c.TLSConfig.TLSCert != "",
		ClientCertificate: c.TLSConfig.ClientAuth == "RequireAndVerifyClientCert",
	}, nil
}
