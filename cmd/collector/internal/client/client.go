// Package client asks a running collector over its API: to act on an account, and the questions of commands, with the
// answers that package query has for a store. Begin at [New].
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"

	"github.com/aws-collector/collector/record"
)

// Options say where the collector is, and as whom to ask it.
type Options struct {
	Server         string // http://host:port or https://host:port
	User, Password string // "": none
}

// A Client asks one collector, one question at a time.
type Client struct {
	o    Options
	base *url.URL
	http *http.Client
	last *end // of the last stream; nil: it had none, or was not read to its end
}

// ListenURL is the URL of a collector on this machine that listens at an address.
func ListenURL(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Errorf("listen address %q: %w", address, err)
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// New checks the options. A password is sent without TLS on this machine only.
func New(o Options) (*Client, error) {
	base, err := url.Parse(o.Server)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https":
		return nil, errors.New("--server is not a URL such as https://collector.example.com:9420")
	case base.User != nil:
		return nil, &record.Fault{
			Reason: record.Other, Err: errors.New("--server has a user: other users of this machine can see arguments"),
			Hint: "Set COLLECTOR_USER, and COLLECTOR_PASSWORD_FILE or COLLECTOR_PASSWORD.",
		}
	case o.Password != "" && base.Scheme == "http" && !isLoopback(base.Hostname()):
		return nil, &record.Fault{
			Reason: record.Other, Err: fmt.Errorf("the password would be sent to %s without TLS", base.Host),
			Hint: "Set tls_server_config in web.config_file of the collector, and use https:// in --server.",
		}
	}
	t := &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}
	return &Client{o: o, base: base, http: &http.Client{
		Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // an act has no other address, and the password is for this one
		},
	}}, nil
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// A Refusal is why the collector does not act, or does not answer.
type Refusal struct {
	Status int
	Hint   string
	text   string
}

func (r *Refusal) Error() string { return r.text }

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// Act asks for an act on an account: its verb is the last part of the route. body is sent as JSON, unless it is nil,
// and the answer is decoded into answer. If the collector refuses, the error has a [Refusal] and a hint.
func (c *Client) Act(ctx context.Context, account, verb string, body, answer any) error {
	content := []byte(nil)
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(
		ctx, http.MethodPost, c.at("accounts/"+url.PathEscape(account)+"/"+verb), bytes.NewReader(content))
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", c.base.Host, err)
	}
	return c.decode(b, answer)
}

// at is the URL of a route.
func (c *Client) at(path string) string {
	return strings.TrimSuffix(c.base.String(), "/") + "/api/v1/" + path
}

// do sends a request. An answer that is not a success is an error.
func (c *Client) do(r *http.Request) (*http.Response, error) {
	if c.o.User != "" || c.o.Password != "" {
		r.SetBasicAuth(c.o.User, c.o.Password)
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(r.Context(), err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.base.Host, err)
	}
	return nil, c.refusal(resp, b)
}

// decode decodes an answer, or a part of one.
func (c *Client) decode(b []byte, into any) error {
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("the answer of %s is not that of a collector: %w", c.base.Host, err)
	}
	return nil
}

// unreachable explains an error without an answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	f := &record.Fault{Reason: record.Network, Err: fmt.Errorf("ask the collector at %s: %w", c.base.Host, err)}
	if errors.Is(err, syscall.ECONNREFUSED) {
		f.Hint = "Start it with `collector run`, or name another address with --server."
	}
	return f
}

// refusal is an answer that is not a success.
func (c *Client) refusal(resp *http.Response, body []byte) error {
	refused := &Refusal{Status: resp.StatusCode, text: strings.TrimSpace(string(body))}
	var p struct{ Detail, Hint string }
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") && json.Unmarshal(body, &p) == nil {
		refused.text, refused.Hint = p.Detail, p.Hint
	} else {
		refused.text = fmt.Sprintf("%s answers %s: %.300s", c.base.Host, resp.Status, refused.text)
	}
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		refused.Hint = "Set COLLECTOR_USER, and COLLECTOR_PASSWORD_FILE or COLLECTOR_PASSWORD."
	case resp.StatusCode == http.StatusBadRequest && strings.Contains(refused.text, "HTTPS server"):
		refused.Hint = "Name the collector with --server https://NAME:PORT: it uses TLS."
	}
	if refused.Hint == "" {
		return refused
	}
	return &record.Fault{Reason: record.Other, Hint: refused.Hint, Err: refused}
}
