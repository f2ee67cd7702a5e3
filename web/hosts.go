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

// hosts decides which Host a request may have. A web page can make its own name resolve to this machine (DNS rebinding)
// and then read, in its visitor's browser, everything that is served here: to the browser it is the page's own site.
// But the page cannot choose the Host header that the browser sends. So on a connection to a loopback address, which
// such a page can reach and the network cannot, a request must have a loopback host, or one in web.hosts. If web.hosts
// is set, this holds for every connection.
type hosts struct {
	patterns []string // path.Match's, of canonical hosts
}

// newHosts takes web.hosts, validated by package config.
func newHosts(patterns []string) *hosts {
	h := &hosts{}
	for _, p := range patterns {
		h.patterns = append(h.patterns, canonicalHost(p))
	}
	return h
}

// wrap answers 421 to requests with another host; clients of the Model Context Protocol expect 403. The two routes for
// orchestrators answer every host, but see [Server.ready].
func (h *hosts) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.allows(r) || r.URL.Path == "/-/healthy" || r.URL.Path == "/-/ready" {
			next.ServeHTTP(w, r)
			return
		}
		status := http.StatusMisdirectedRequest
		if r.URL.Path == mcpPath {
			status = http.StatusForbidden
		}
		text(w, status, fmt.Sprintf("Host %.200q is not allowed. "+
			"Use localhost or 127.0.0.1, or add the host to web.hosts in the configuration.\n", r.Host))
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

// arrivedOnLoopback reports whether the connection's local address is a loopback address, also if the listener has all
// addresses. An unknown address, or one of another network, counts as loopback: only this machine can use it.
func arrivedOnLoopback(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return !ok || local.AddrPort().Addr().Unmap().IsLoopback()
}

// loopbackHost reports whether a Host header always means this machine, whatever name servers say: a loopback address,
// or localhost and its subdomains, which resolvers answer themselves (RFC 6761, 6.3).
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

// hostOf returns a Host header without its port; false if the header is not valid.
func hostOf(header string) (string, bool) {
	if _, err := netip.ParseAddr(header); err == nil {
		return header, true // also IPv6 without brackets
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

// canonicalHost returns the canonical form of a host: in lower case, without the final dot and without brackets; an
// address as Go formats it, an IPv4-mapped IPv6 address as IPv4.
func canonicalHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")); err == nil {
		return ip.Unmap().WithZone("").String()
	}
	return host
}
