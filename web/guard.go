package web

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2" // the decoder of exporter-toolkit's own types: the file means here what it means there
)

// A guard lets through what may act. Either the web configuration asks for authentication, which the listener has then
// checked before anything comes here; or the request comes from this machine. A browser on this machine is not enough:
// a page of another site can make it send requests (Origin), also under a name that points here (DNS rebinding: Host).
type guard struct {
	configFile string
	cross      *http.CrossOriginProtection
}

func newGuard(configFile string) *guard {
	return &guard{configFile: configFile, cross: http.NewCrossOriginProtection()}
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
	if err := g.cross.Check(r); err != nil {
		return err
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return nil // by its client certificate
	}
	auth, err := asksForPassword(g.configFile)
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
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" { // a proxy on this machine speaks for somebody else
			return fmt.Errorf("it came through a proxy (%s): %w", h, errRemote)
		}
	}
	if !loopbackHost(r.Host) {
		return fmt.Errorf("host %q is not this machine: ask 127.0.0.1 or localhost, or configure authentication in web.config_file", r.Host)
	}
	return nil
}

// loopbackHost reports whether a Host header names this machine in a way that no name server can give to another: a
// loopback address, or localhost, which resolvers answer themselves (RFC 6761, 6.3).
func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// asksForPassword reports whether the listener lets nobody through without one. The file is read each time, as the
// listener itself does: users are added without a restart.
func asksForPassword(configFile string) (bool, error) {
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
