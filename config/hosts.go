package config

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// hostPattern matches a host name in a request, or a glob of host names. The RFCs allow no underscore, but many
// services in compose files have one.
var hostPattern = regexp.MustCompile(`^[A-Za-z0-9_*?-]+(\.[A-Za-z0-9_*?-]+)*\.?$`)

// IsLoopback reports whether a host is always this machine: a loopback address, or localhost and its subdomains
// (RFC 6761, 6.3).
func IsLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// checkHosts checks web.hosts.
func (d *decoder) checkHosts(w *Web) {
	if p, ok := d.Checkable(&w.Hosts); ok && len(w.Hosts) == 0 {
		d.Report(p, "is empty", "name a host, or remove the key")
	}
	for i := range w.Hosts {
		d.checkHost(&w.Hosts[i])
	}
}

func (d *decoder) checkHost(ptr *string) {
	p, ok := d.Checkable(ptr)
	if !ok {
		return
	}
	const remedy = `write a name such as collector.example.com, a glob such as "*.example.com", or an IP address`
	host := strings.TrimSuffix(strings.TrimPrefix(*ptr, "["), "]")
	name, port, err := net.SplitHostPort(*ptr)
	_, noPort := strconv.ParseUint(port, 10, 16)
	switch _, noIP := netip.ParseAddr(host); {
	case noIP == nil:
	case strings.HasPrefix(*ptr, "!"):
		d.Report(p, d.Show(p, *ptr)+" cannot exclude a host", "list only the hosts that requests may name")
	case strings.Contains(*ptr, "/"):
		d.Report(p, d.Show(p, *ptr)+" is not a host name",
			"write it without a scheme or a path, such as collector.example.com")
	case err == nil && (noPort == nil || port == "" || port == "*") && name != "":
		d.Report(p, d.Show(p, *ptr)+" has a port", "write the host without its port: every port matches")
	case strings.ContainsFunc(*ptr, func(r rune) bool { return r > '~' }):
		d.Report(p, d.Show(p, *ptr)+" is not a host name", "write it in ASCII, as requests carry it: xn--…")
	case !hostPattern.MatchString(*ptr):
		d.Report(p, d.Show(p, *ptr)+" is not a host name", remedy)
	case strings.Trim(*ptr, "*") == "":
		d.Warn(p, d.Show(p, *ptr)+" matches every host: a web page can then read what is served here "+
			"through a name that resolves to this address (DNS rebinding)", "list the hosts")
	}
}
