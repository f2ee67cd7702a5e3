package web

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path"
	"strconv"
	"strings"
)

// hosts decides which Host a request may name. A web page can have its own name lead to this machine (DNS rebinding)
// and then read, in its visitor's browser, whatever is served here: to the browser it is the page's own site. The
// page cannot choose the Host that the browser sends with it, though. So where a connection arrives on a loopback
// address, which such a page reaches and the network does not, a request must name a loopback host, or one that the
// configuration lists. Where the configuration lists hosts, that holds for every connection.
type hosts struct {
	patterns []string // path.Match's, of canonical hosts
}

// newHosts takes web.hosts, which config has validated.
func newHosts(patterns []string) *hosts {
	h := &hosts{}
	for _, p := range patterns {
		h.patterns = append(h.patterns, canonicalHost(p))
	}
	return h
}

// wrap answers 421 to requests that name another host. The two routes that orchestrators ask are answered to all,
// but see [Server.ready].
func (h *hosts) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.allows(r) || r.URL.Path == "/-/healthy" || r.URL.Path == "/-/ready" {
			next.ServeHTTP(w, r)
			return
		}
		text(w, http.StatusMisdirectedRequest, fmt.Sprintf("host %.200q is not answered here: "+
			"use localhost or 127.0.0.1, or add the host to web.hosts of the configuration.\n", r.Host))
	})
}

func (h *hosts) allows(r *http.Request) bool {
	if len(h.patterns) == 0 && !arrivedOnLoopback(r) || loopbackHost(r.Host) {
		return true
	}
	name, ok := hostOf(r.Host)
	if !ok {
		return false
	}
	name = canonicalHost(name)
	for _, p := range h.patterns {
		if match, err := path.Match(p, name); match && err == nil {
			return true
		}
	}
	return false
}

// arrivedOnLoopback reports whether the connection's own end has a loopback address: also where the listener is at
// every address. An address that is not known, or of another kind, is taken for one: nobody but this machine can
// have it.
func arrivedOnLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return !ok || local.AddrPort().Addr().Unmap().IsLoopback()
}

// loopbackHost reports whether a Host header names this machine in a way that no name server can give to another: a
// loopback address, or localhost and what is below it, which resolvers answer themselves (RFC 6761, 6.3).
func loopbackHost(host string) bool {
	name, ok := hostOf(host)
	if !ok {
		return false
	}
	name = canonicalHost(name)
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.IsLoopback()
}

// hostOf is a Host header without its port; false where it is no host and port.
func hostOf(header string) (string, bool) {
	if _, err := netip.ParseAddr(header); err == nil {
		return header, true // IPv6 without its brackets, too: it is no name
	}
	end := strings.IndexByte(header, ':')
	if strings.HasPrefix(header, "[") {
		end = strings.IndexByte(header, ']') + 1
		if ip, err := netip.ParseAddr(strings.Trim(header[:end], "[]")); err != nil || !ip.Is6() {
			return "", false
		}
	} else if end < 0 {
		end = len(header)
	}
	port, colon := strings.CutPrefix(header[end:], ":")
	if _, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || !colon) {
		return "", false
	}
	return header[:end], end > 0
}

// canonicalHost is the one spelling of a host: lower case, without the dot of the root and without brackets; an
// address as Go writes it, IPv4 where IPv6 holds one.
func canonicalHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")); err == nil {
		return ip.Unmap().WithZone("").String()
	}
	return host
}
