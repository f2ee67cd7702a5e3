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
	"go.yaml.in/yaml/v2" // the decoder of exporter-toolkit's own types: the file means here what it means there
)

// A guard lets through what may act. Either the web configuration asks for authentication, which the listener has
// then checked before anything comes here; or the request comes from this machine. A browser on this machine is not
// enough: a page of another site can make it send requests (Origin), also under a name that points here (DNS
// rebinding: Host).
type guard struct {
	configFile  string
	crossOrigin *http.CrossOriginProtection
}

func newGuard(configFile string) *guard {
	return &guard{configFile: configFile, crossOrigin: http.NewCrossOriginProtection()}
}

// protect answers 403, and why, to what may not act.
func (g *guard) protect(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := g.check(r); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		next(w, r)
	}
}

var errRemote = errors.New("only from this machine, or with authentication configured in web.config_file")

func (g *guard) check(r *http.Request) error {
	// Also where a password was checked: a browser adds it to whatever page makes it ask.
	if err := g.crossOrigin.Check(r); err != nil {
		return err
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return nil // by its client certificate
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
	if h := cmp.Or(forwardingHeader(r.Header), forwardingHeader(r.Trailer)); h != "" { // a proxy on this machine speaks for somebody else
		return fmt.Errorf("the header %.100q is one that no client sends by itself: %w", h, errRemote)
	}
	if !arrivedOnLoopback(r) || !loopbackHost(r.Host) {
		return fmt.Errorf("host %.200q is not this machine: ask 127.0.0.1 or localhost, "+
			"or configure authentication in web.config_file", r.Host)
	}
	return nil
}

// directHeaders are the headers, beside Sec-…, that a client sends of its own: browsers, curl, wget, and the HTTP
// libraries of programs. Each proxy and each CDN has its own names for whom it speaks for, and may be told to use
// any other, so what shows that a request came through one is not a list of names: it is a header that no client
// sends by itself.
var directHeaders = map[string]bool{
	"Accept": true, "Accept-Charset": true, "Accept-Encoding": true, "Accept-Language": true,
	"Authorization": true, "Baggage": true, "Cache-Control": true, "Connection": true, "Content-Encoding": true,
	"Content-Language": true, "Content-Length": true, "Content-Type": true, "Cookie": true, "Date": true,
	"Dnt": true, "Expect": true, "From": true, "Host": true, "If-Match": true, "If-Modified-Since": true,
	"If-None-Match": true, "If-Unmodified-Since": true, "Keep-Alive": true, "Origin": true, "Pragma": true,
	"Priority": true, "Referer": true, "Te": true, "Traceparent": true, "Tracestate": true,
	"Transfer-Encoding": true, "Upgrade-Insecure-Requests": true, "User-Agent": true, "X-Requested-With": true,
}

// forwardingHeader is a header that shows that the request came through a proxy, also where it is empty; "" if there is
// none.
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

// requiresPassword reports whether the listener lets nobody through without one. The file is read each time, as the
// listener itself does: users are added without a restart.
func requiresPassword(configFile string) (bool, error) {
	if configFile == "" {
		return false, nil
	}
	b, err := os.ReadFile(configFile)
	if err != nil {
		return false, fmt.Errorf("web.config_file: %w", err)
	}
	var c toolkit.Config
	if err := yaml.UnmarshalStrict(b, &c); err != nil {
		return false, errors.New("web.config_file cannot be read as a web configuration") // its text holds hashes
	}
	return len(c.Users) > 0, nil
}
