package web

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws-collector/collector/record"
)

// Who acts: with web.act_users only a user named there; without, only a client on this machine, whatever its password.
// A reload without web.act_users also takes any password or a client certificate, as it always did.
func TestActor(t *testing.T) {
	users := webConfig(t, "basic_auth_users:\n  alice: "+hash(t)+"\n  scraper: "+hash(t)+"\n")
	noUsers := webConfig(t, "http_server_config:\n  http2: true\n")
	type change = func(*http.Request)
	all := func(fs ...change) change {
		return func(r *http.Request) {
			for _, f := range fs {
				f(r)
			}
		}
	}
	set := func(h, v string) change { return func(r *http.Request) { r.Header.Set(h, v) } }
	remote := func(r *http.Request) { r.RemoteAddr, r.Host = "192.0.2.7:5000", "collector.example" }
	user := func(name string) change { return func(r *http.Request) { r.SetBasicAuth(name, "open sesame") } }
	host := func(h string) change { return func(r *http.Request) { r.Host = h } }
	proxy := set("X-Forwarded-For", "192.0.2.7")
	foreign := set("Origin", "https://evil.example")
	certificate := func(r *http.Request) {
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{}}}}
	}
	for name, c := range map[string]struct {
		file          string
		named         []string
		with          change
		acts, reloads string // who; "": nobody
		reason        string // why nobody acts
	}{
		"loopback":                  {"", nil, all(), "loopback", "loopback", ""},
		"its own page":              {"", nil, set("Origin", "http://127.0.0.1:9420"), "loopback", "loopback", ""},
		"another machine":           {"", nil, remote, "", "", "not from this machine"},
		"foreign host":              {"", nil, host("evil.example:9420"), "", "", "is not this machine"},
		"cross origin":              {"", nil, foreign, "", "", "cross-origin"},
		"sandboxed frame":           {"", nil, set("Origin", "null"), "", "", "cross-origin"},
		"proxy":                     {"", nil, proxy, "", "", "through a proxy"},
		"a name without a password": {"", nil, all(remote, user("alice")), "", "", "not from this machine"},
		"a password, nobody named":  {users, nil, all(remote, user("alice")), "", "alice", "not from this machine"},
		"a certificate, nobody named": {noUsers, nil, all(remote, certificate), "", "client certificate",
			"not from this machine"},
		"a password on this machine": {users, nil, user("scraper"), "loopback", "scraper", ""},
		"named user":                 {users, []string{"alice"}, all(remote, user("alice")), "alice", "alice", ""},
		"named user by a proxy":      {users, []string{"alice"}, all(remote, user("alice"), proxy), "alice", "alice", ""},
		"named user, cross origin": {users, []string{"alice"}, all(remote, user("alice"), foreign), "", "",
			"cross-origin"},
		"other user": {users, []string{"alice"}, all(remote, user("scraper")), "", "",
			`"scraper" may not act`},
		"other user here":           {users, []string{"alice"}, user("scraper"), "", "", `"scraper" may not act`},
		"no user here":              {users, []string{"alice"}, all(), "", "", "no user"},
		"no user, certificate":      {users, []string{"alice"}, all(remote, certificate), "", "", "no user"},
		"named, but left the file":  {users, []string{"bob"}, all(remote, user("bob")), "", "", "no user"},
		"named, passwords left off": {noUsers, []string{"alice"}, user("alice"), "", "", "no user"},
		"a file that went away": {filepath.Join(t.TempDir(), "gone.yaml"), []string{"alice"}, user("alice"), "", "",
			"web.config_file"},
		"hostile name": {users, []string{"alice"}, user("\x1b[2J\u202e"), "", "", `no user`},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewGuard(c.file, c.named)
			r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:9420/api/v1/accounts/prod/run", nil)
			r.RemoteAddr = "127.0.0.1:51000"
			c.with(r)
			who, err := g.Actor(r)
			if who != c.acts || (err == nil) != (c.acts != "") || err != nil && !strings.Contains(err.Error(), c.reason) {
				t.Errorf("acts %q (%v), want %q (%s)", who, err, c.acts, c.reason)
			}
			if err != nil && c.reason != "cross-origin" && c.reason != "web.config_file" && record.HintOf(err) == "" {
				t.Errorf("%v has no hint", err)
			}
			who = ""
			g.protect(func(_ http.ResponseWriter, _ *http.Request, by string) { who = by })(httptest.NewRecorder(), r)
			if who != c.reloads {
				t.Errorf("reloads %q, want %q", who, c.reloads)
			}
		})
	}
}

// A reload is logged with who asked, and a scraper's password does not reload once web.act_users names others.
func TestReloadIsLogged(t *testing.T) {
	file := webConfig(t, "basic_auth_users:\n  alice: "+hash(t)+"\n  scraper: "+hash(t)+"\n")
	var log bytes.Buffer
	reloads := 0
	s := newServer(t, Options{
		ConfigFile: file, Guard: NewGuard(file, []string{"alice"}), Log: slog.New(slog.NewTextHandler(&log, nil)),
		Reload: func(context.Context) error { reloads++; return nil },
	})
	addr := start(t, s)
	post := func(user string) int {
		code, _ := get(t, http.DefaultClient, "http://"+addr+"/-/reload", func(r *http.Request) {
			r.Method = http.MethodPost
			r.SetBasicAuth(user, "open sesame")
		})
		return code
	}
	if code := post("scraper"); code != http.StatusForbidden || reloads != 0 {
		t.Errorf("a scraper reloads: %d, %d reloads", code, reloads)
	}
	if code := post("alice"); code != http.StatusOK || reloads != 1 || !strings.Contains(log.String(), "by=alice") {
		t.Errorf("alice: %d, %d reloads, log %q", code, reloads, log.String())
	}
}
