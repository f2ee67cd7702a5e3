package web

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	toolkit "github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v2" // exporter-toolkit decodes the same file with it

	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/record"
)

// A Guard decides who may act: change something, or make the collector do something. It is a user of web.act_users,
// whose password the listener has checked. Without that list, it is somebody on this machine. A browser is not enough:
// a page of another site can make it send requests (Origin), also under a name that resolves to this machine (DNS
// rebinding: Host).
type Guard struct {
	configFile  string
	users       []string // web.act_users
	crossOrigin *http.CrossOriginProtection
}

// NewGuard takes web.config_file and web.act_users.
func NewGuard(configFile string, users []string) *Guard {
	return &Guard{configFile: configFile, users: users, crossOrigin: http.NewCrossOriginProtection()}
}

// protect answers 403, with the reason, to requests that may not reload, and tells next who asks.
func (g *Guard) protect(next func(w http.ResponseWriter, r *http.Request, who string)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		who, err := g.reloader(r)
		if err != nil {
			http.Error(w, printable.Text(err.Error()), http.StatusForbidden)
			return
		}
		next(w, r, who)
	}
}

const loopback = "loopback" // who acts, if it is nobody with a name

var (
	errRemote = errors.New("allowed only from this machine, or with authentication configured in web.config_file")
	errNobody = &record.Fault{
		Reason: record.Other, Err: errors.New("only users of web.act_users may act, or clients on this machine"),
		Hint: "Name who may act in web.act_users, or call the collector on its machine, at 127.0.0.1.",
	}
)

// Actor returns who acts with a request: the name of a user, or loopback. Its error says why nobody may, with a hint.
func (g *Guard) Actor(r *http.Request) (string, error) {
	if err := g.crossOrigin.Check(r); err != nil {
		return "", err
	}
	if len(g.users) > 0 {
		return g.user(r)
	}
	if err := local(r); err != nil {
		return "", fmt.Errorf("%w: %w", err, errNobody)
	}
	return loopback, nil
}

// user returns the user of a request if it may act. The listener has checked the password, if the file still has users.
func (g *Guard) user(r *http.Request) (string, error) {
	protection, err := ProtectionOf(g.configFile)
	if err != nil {
		return "", err
	}
	name, _, ok := r.BasicAuth()
	if !ok || !slices.Contains(protection.Users, name) {
		return "", &record.Fault{
			Reason: record.Other, Err: errors.New("the request has no user of web.config_file"),
			Hint: "Send the name and the password of a user of web.act_users.",
		}
	}
	if !slices.Contains(g.users, name) {
		return "", &record.Fault{
			Reason: record.Other, Err: fmt.Errorf("user %.100q may not act", name),
			Hint: "Add the user to web.act_users, or ask one of the users there.",
		}
	}
	return name, nil
}

// reloader returns who reloads. Without web.act_users, a password or a client certificate is enough.
func (g *Guard) reloader(r *http.Request) (string, error) {
	if len(g.users) > 0 {
		return g.Actor(r)
	}
	// Also when a password was checked: a browser adds it to requests that any page causes.
	if err := g.crossOrigin.Check(r); err != nil {
		return "", err
	}
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return "client certificate", nil
	}
	protection, err := ProtectionOf(g.configFile)
	if err != nil {
		return "", err
	}
	if len(protection.Users) > 0 {
		name, _, _ := r.BasicAuth()
		return name, nil
	}
	if err := local(r); err != nil {
		return "", fmt.Errorf("%w: %w", err, errRemote)
	}
	return loopback, nil
}

// local returns why a request may not be of a person or program on this machine; nil if it is.
func local(r *http.Request) error {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return errors.New("the request is not from this machine")
	}
	// A proxy on this machine forwards requests of other machines.
	if h := cmp.Or(forwardingHeader(r.Header), forwardingHeader(r.Trailer)); h != "" {
		return fmt.Errorf("header %.100q shows that the request came through a proxy", h)
	}
	if !arrivedOnLoopback(r) || !loopbackHost(r.Host) {
		return fmt.Errorf("host %.200q is not this machine: use 127.0.0.1 or localhost", r.Host)
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

// A Protection says how a web configuration protects the listener.
type Protection struct {
	Users                  []string // names; if there is one, the listener requires a password
	ClientCertificate, TLS bool
}

// ProtectionOf reads a web configuration; "" protects nothing. Callers read it each time, as the listener does, because
// users can be added without a restart.
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
		Users: slices.Sorted(maps.Keys(c.Users)), TLS: c.TLSConfig.TLSCertPath != "" || c.TLSConfig.TLSCert != "",
		ClientCertificate: c.TLSConfig.ClientAuth == "RequireAndVerifyClientCert",
	}, nil
}
