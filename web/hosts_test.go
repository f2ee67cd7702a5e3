package web

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// arriving sets the local address of a request's connection.
func arriving(at string) func(*http.Request) {
	return func(r *http.Request) {
		host, _, _ := net.SplitHostPort(at)
		*r = *r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey,
			&net.TCPAddr{IP: net.ParseIP(host), Port: 9420}))
	}
}

func naming(host string) func(*http.Request) { return func(r *http.Request) { r.Host = host } }

// Which Host is allowed, by the local address of the connection and web.hosts.
func TestHosts(t *testing.T) {
	const loop, lan, mapped, v6, lan6 = "127.0.0.1:9420", "192.0.2.10:9420", "[::ffff:127.0.0.1]:9420", "[::1]:9420",
		"[2001:db8::7]:9420"
	listed := []string{"Collector.example.com", "*.svc.cluster.local.", "collector", "10.0.0.?", "[2001:DB8:0::7]"}
	for _, c := range []struct {
		at    string
		hosts []string
		host  string
		want  bool
	}{
		// A connection on a loopback address: loopback hosts.
		{loop, nil, "localhost", true}, {loop, nil, "localhost:9420", true}, {loop, nil, "LOCALHOST:9420", true},
		{loop, nil, "localhost.:9420", true},
		{loop, nil, "app.localhost:80", true}, {loop, nil, "127.0.0.1", true}, {loop, nil, "127.0.0.1.", true},
		{loop, nil, "127.8.9.1:1", true},
		{loop, nil, "[::1]", true}, {loop, nil, "[::1]:9420", true}, {loop, nil, "::1", true},
		{loop, nil, "[::ffff:127.0.0.1]:9420", true},
		{loop, nil, "[::FFFF:7F00:1]", true}, {loop, nil, "[0:0:0:0:0:0:0:1]:9420", true}, {v6, nil, "localhost", true},
		{mapped, nil, "127.0.0.1", true},
		{loop, nil, "localhost:", true},
		// No others: names, and what only looks like a loopback host.
		{loop, nil, "", false}, {loop, nil, "evil.example", false}, {loop, nil, "evil.example:9420", false},
		{v6, nil, "evil.example", false},
		{mapped, nil, "evil.example", false}, {loop, nil, "127.0.0.1.evil.example", false},
		{loop, nil, "127.0.0.1.nip.io:9420", false},
		{loop, nil, "localhost.evil.example", false}, {loop, nil, "xlocalhost", false}, {loop, nil, "localhost..", false},
		{loop, nil, "localhost.localdomain", false},
		{loop, nil, "localhost:evil", false}, {loop, nil, "localhost:9420:1", false},
		{loop, nil, "localhost:99999", false}, {loop, nil, "localhost@evil.example", false},
		{loop, nil, "evil.example@localhost", false}, {loop, nil, "[::1]evil.example", false},
		{loop, nil, "[::1].evil.example:80", false},
		{loop, nil, "[evil.example]", false}, {loop, nil, "[127.0.0.1]", false}, {loop, nil, "[::1", false},
		{loop, nil, "0.0.0.0:9420", false},
		{loop, nil, "192.0.2.10:9420", false}, {loop, nil, "[::2]", false}, {loop, nil, "128.0.0.1", false},
		{loop, nil, "localhost,evil.example", false},
		// Another address answers every host, while web.hosts is empty.
		{lan, nil, "evil.example", true}, {lan, nil, "collector:9420", true}, {lan, nil, "", true}, {lan6, nil, "x", true},
		// web.hosts holds for every address, in addition to the loopback hosts.
		{loop, listed, "collector.example.com", true}, {loop, listed, "COLLECTOR.EXAMPLE.COM.:443", true},
		{loop, listed, "localhost:9420", true},
		{loop, listed, "a.b.svc.cluster.local:9420", true}, {loop, listed, "svc.cluster.local", false},
		{loop, listed, "collector.example.com.evil.example", false},
		{loop, listed, "evil.example", false}, {loop, listed, "", false}, {lan, listed, "collector:9420", true},
		{lan, listed, "localhost:9420", true},
		{lan, listed, "10.0.0.5:9420", true}, {lan, listed, "10.0.0.55", false}, {lan, listed, "[2001:db8::7]:9420", true},
		{lan, listed, "[2001:db8::8]", false},
		{lan, listed, "evil.example", false}, {lan, listed, "192.0.2.10:9420", false}, {lan, listed, "", false},
		{lan6, listed, "evil.example", false},
		{lan, []string{"*"}, "evil.example", true}, {lan, []string{"*"}, "a/b", false},
	} {
		s := newServer(t, Options{Hosts: c.hosts})
		w := ask(s, "GET", "/metrics", arriving(c.at), naming(c.host))
		if got := w.Code == 200; got != c.want || !got && w.Code != http.StatusMisdirectedRequest {
			t.Errorf("at %s, hosts %q: Host %q answers %d", c.at, c.hosts, c.host, w.Code)
		}
		if !c.want && (!strings.Contains(w.Body.String(), "web.hosts") || strings.Count(w.Body.String(), "\n") != 1) {
			t.Errorf("Host %q: %q", c.host, w.Body)
		}
	}
}

// Every route checks the host, whatever the method, except the two for orchestrators; those do not show reasons.
func TestHostsEverywhere(t *testing.T) {
	m := new(Mounts)
	m.Swap(map[string]http.Handler{"/metrics/inventory": saying("mine"), "/api/v1/sd/nodes": saying("mine")})
	s := newServer(t, Options{Mounts: m, Reload: func(context.Context) error { t.Error("reloaded"); return nil },
		Ready: func() []string { return []string{"output secret-bucket: denied"} }})
	for _, path := range []string{"/", "/metrics", "/metrics/inventory", "/api/v1/sd/nodes", "/nowhere", "/-/reload",
		"//metrics", "/-/healthy/../../metrics", "/-/healthy/"} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "PUT", "TRACE", "BREW"} {
			for _, at := range []string{"127.0.0.1:9420", "[::1]:9420"} {
				w := ask(s, method, path, arriving(at), naming("evil.example:9420"))
				if w.Code != http.StatusMisdirectedRequest || w.Header().Get("X-Content-Type-Options") != "nosniff" {
					t.Errorf("%s %s at %s: %d %q", method, path, at, w.Code, w.Body)
				}
			}
		}
	}
	if w := ask(s, "GET", "/-/healthy", naming("10.1.2.3")); w.Code != 200 {
		t.Errorf("/-/healthy: %d", w.Code)
	}
	if w := ask(s, "GET", "/-/ready", naming("evil.example")); w.Code != 503 ||
		strings.Contains(w.Body.String(), "secret-bucket") {
		t.Errorf("/-/ready: %d %q", w.Code, w.Body)
	}
	if w := ask(s, "GET", "/-/ready"); w.Code != 503 || !strings.Contains(w.Body.String(), "secret-bucket") {
		t.Errorf("/-/ready at localhost: %d %q", w.Code, w.Body)
	}
}

// Requests as an attacker or an old client writes them, to a real listener. The listener has
// all addresses, and is reached by the loopback address.
func TestHostsOnTheWire(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", "0.0.0.0:0", "[::]:0"} {
		l, err := Listen(t.Context(), listen)
		if err != nil {
			t.Logf("%s: %v", listen, err) // a machine without IPv6
			continue
		}
		addr := serving(t, newServer(t, Options{}), l)
		_, port, _ := net.SplitHostPort(addr)
		for request, want := range map[string]int{
			"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n":                                      200,
			"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n":                                   421,
			"GET /metrics HTTP/1.1\r\nhost: \t EVIL.example\r\n\r\n":                                421,
			"GET /metrics HTTP/1.1\r\nHost:\r\n\r\n":                                                421,
			"GET /metrics HTTP/1.1\r\n\r\n":                                                         400,
			"GET /metrics HTTP/1.0\r\n\r\n":                                                         421,
			"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n":                400,
			"GET /metrics HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost\r\n\r\n":    421,
			"GET http://evil.example/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n":                   421,
			"GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n":                      200,
			"OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n\r\n":                                      421,
			"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\n\r\n":                          421,
			"GET /-/healthy HTTP/1.1\r\nHost: evil.example\r\n\r\n":                                 200,
			"GET http://evil.example/-/healthy HTTP/1.1\r\nHost: evil.example\r\n\r\n":              200,
			"GET /-/healthy/../../metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n":                   421,
			"GET /%2D/healthy?x=/metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n":                    200,
			"GET /metrics?/-/healthy HTTP/1.1\r\nHost: evil.example\r\nConnection: upgrade\r\n\r\n": 421,
		} {
			c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, request); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatalf("%q: %v", request, err)
			}
			if resp.StatusCode != want {
				t.Errorf("%s: %q is answered with %s, want %d", listen, request, resp.Status, want)
			}
			c.Close()
		}
	}
}

func TestHostsHTTP2(t *testing.T) {
	certFile, keyFile, pool := certificate(t)
	file := webConfig(t, fmt.Sprintf("tls_server_config:\n  cert_file: %s\n  key_file: %s\n", certFile, keyFile))
	addr := start(t, newServer(t, Options{ConfigFile: file}))
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	for host, want := range map[string]int{"": 200, "localhost": 200, "evil.example": 421} {
		if code, body := get(t, c, "https://"+addr+"/metrics", naming(host),
			func(r *http.Request) { r.Proto = "HTTP/2.0" }); code != want {
			t.Errorf("authority %q: %d %s, want %d", host, code, body, want)
		}
	}
}

// A header that clients do not send themselves shows a proxy, whatever its name, also if it is empty; then only an
// authenticated client may act.
func TestForwarded(t *testing.T) {
	for _, h := range []string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Prefix",
		"X-Forwarded-Server", "X-Forwarded", "Forwarded-For",
		"X_Forwarded_For", "X-Real-IP", "Via", "CF-Connecting-IP", "CF-Connecting-IPv6", "CF-Ray", "True-Client-IP",
		"X-Client-IP", "X-Original-Forwarded-For",
		"X-Original-Host", "X-Original-URI", "X-ProxyUser-Ip", "Proxy-Client-IP", "WL-Proxy-Client-IP", "Fastly-Client-IP",
		"Fly-Client-IP",
		"X-Envoy-External-Address", "X-Envoy-Expected-Rq-Timeout-Ms", "X-Cluster-Client-IP", "X-Remote-Addr",
		"X-Remote-User", "X-Appengine-User-Ip",
		"X-Azure-ClientIP", "X-Azure-SocketIP", "X-Amzn-Trace-Id", "X-Amz-Cf-Id", "CloudFront-Viewer-Address",
		"Akamai-Origin-Hop", "CDN-Loop",
		"Ali-CDN-Real-IP", "Incap-Client-IP", "L5d-Client-Id", "X-Vercel-Forwarded-For", "X-B3-Traceid", "Client-IP",
		"X-Host", "Max-Forwards",
		"Proxy-Connection", "X-Tailscale-User", "Tailscale-User-Login", "X-Any-Of-Tomorrow",
	} {
		for _, value := range []string{"192.0.2.7", "127.0.0.1", ""} {
			with := func(r *http.Request) { r.Header.Set(h, value) }
			acted := false
			s := newServer(t, Options{Reload: func(context.Context) error { acted = true; return nil }})
			if w := ask(s, "POST", "/-/reload", with); w.Code != http.StatusForbidden || acted ||
				!strings.Contains(w.Body.String(), "web.config_file") {
				t.Errorf("%s: %q: %d %s", h, value, w.Code, w.Body)
			}
			if w := ask(s, "GET", "/metrics", with); w.Code != 200 { // reading is allowed
				t.Errorf("%s: reading: %d", h, w.Code)
			}
		}
	}
	for client, headers := range map[string]string{
		"curl":     "User-Agent Accept Content-Length Content-Type Expect",
		"wget":     "User-Agent Accept Accept-Encoding Connection Content-Type Content-Length",
		"Go":       "User-Agent Content-Length Accept-Encoding",
		"requests": "User-Agent Accept-Encoding Accept Connection Content-Length",
		"browser": "User-Agent Accept Accept-Language Accept-Encoding Content-Length Connection " +
			"Referer Cookie Priority Pragma Cache-Control DNT " +
			"Sec-Fetch-Dest Sec-Fetch-Mode Sec-GPC Sec-Ch-Ua Sec-Ch-Ua-Mobile Upgrade-Insecure-Requests",
		"OpenTelemetry": "User-Agent Traceparent Tracestate Baggage",
	} {
		s := newServer(t, Options{Reload: func(context.Context) error { return nil }})
		if w := ask(s, "POST", "/-/reload", func(r *http.Request) {
			for _, h := range strings.Fields(headers) {
				r.Header.Set(h, "x")
			}
		}); w.Code != 200 {
			t.Errorf("%s: %d %s", client, w.Code, w.Body)
		}
	}
}

// A listed host may read but not act: it may be the host of a proxy that adds no header.
func TestListedHostIsReadOnly(t *testing.T) {
	s := newServer(t,
		Options{Hosts: []string{"collector.example"}, Reload: func(context.Context) error { return errors.New("acted") }},
	)
	if w := ask(s, "GET", "/metrics", naming("collector.example")); w.Code != 200 {
		t.Errorf("reading: %d", w.Code)
	}
	if w := ask(s, "POST", "/-/reload", naming("collector.example")); w.Code != http.StatusForbidden {
		t.Errorf("acting: %d %s", w.Code, w.Body)
	}
}
