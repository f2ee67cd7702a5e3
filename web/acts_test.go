package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/query"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/board"
	"github.com/aws-collector/collector/web/act"
	"github.com/aws-collector/collector/web/api"
)

// An idleEngine counts what it is asked.
type idleEngine struct{ calls int }

func (e *idleEngine) Start(context.Context, string) (string, error) {
	e.calls++
	return "01JD", nil
}

func (e *idleEngine) Cancel(context.Context, string, error) ([]string, error) {
	e.calls++
	return []string{"01JD"}, nil
}

// acting returns a server whose API acts on one account, which cannot list its volumes.
func acting(t *testing.T, configFile string, users []string, log *bytes.Buffer) (*Server, *idleEngine) {
	t.Helper()
	status, engine := board.New(), &idleEngine{}
	directives, err := runner.OpenDirectives("", nil)
	if err != nil {
		t.Fatal(err)
	}
	status.Observe(runner.Configured{
		Kinds:         map[string][]string{"prod": {"ec2_volume"}},
		Configuration: &runner.Configuration{Directives: directives},
	})
	status.Observe(runner.TargetEnded{Outcome: record.Outcome{
		Target: record.Target{Account: "prod", Region: "us-east-1", Kind: "ec2_volume"}, State: record.Denied,
		Reason: record.AccessDenied,
	}})
	guard, logger := NewGuard(configFile, users), slog.New(slog.NewTextHandler(log, nil))
	return newServer(t, Options{
		ConfigFile: configFile, Guard: guard, Log: logger,
		API: api.New(api.Options{
			Board: status, Accounts: func() query.Accounts { return query.Accounts{} },
			Status: func() api.Status { return api.Status{} }, Actor: guard.Actor,
			Acts: act.New(act.Options{
				Engine: engine, Board: status, Directives: directives, Log: logger,
				Check: func(context.Context, string) (map[string]any, error) {
					engine.calls++
					return map[string]any{}, nil
				},
				Login: func(context.Context, string, string) (act.Session, error) {
					engine.calls++
					return act.Session{}, nil
				},
			}),
		}),
	}), engine
}

// actRoutes are the routes of the contract that act, with the bodies of their examples.
func actRoutes(t *testing.T, s *Server) map[string]string {
	t.Helper()
	var contract struct {
		Paths map[string]struct {
			Post *struct {
				RequestBody struct {
					Content map[string]struct{ Example json.RawMessage }
				}
			}
		}
	}
	if err := json.Unmarshal(ask(s, "GET", api.Prefix+"openapi.json").Body.Bytes(), &contract); err != nil {
		t.Fatal(err)
	}
	routes := map[string]string{}
	for path, p := range contract.Paths {
		if p.Post != nil {
			routes[strings.Replace(path, "{name}", "prod", 1)] =
				string(p.Post.RequestBody.Content["application/json"].Example)
		}
	}
	if len(routes) != 7 {
		t.Fatalf("the contract has the acts %v", routes)
	}
	return routes
}

// Each act, and each kind of client: who may act, acts, and is named in the log. For all others nothing happens.
func TestWhoMayActOnEachRoute(t *testing.T) {
	file := webConfig(t, "basic_auth_users:\n  alice: "+hash(t)+"\n  scraper: "+hash(t)+"\n")
	remote := func(r *http.Request) { r.RemoteAddr, r.Host = "192.0.2.7:5000", "collector.example" }
	user := func(name string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(name, "open sesame") }
	}
	set := func(h, v string) func(*http.Request) { return func(r *http.Request) { r.Header.Set(h, v) } }
	for name, c := range map[string]struct {
		file  string
		users []string
		with  []func(*http.Request)
		who   string // "": refused
	}{
		"loopback":        {"", nil, nil, "loopback"},
		"foreign origin":  {"", nil, []func(*http.Request){set("Origin", "https://evil.example")}, ""},
		"cross site":      {"", nil, []func(*http.Request){set("Sec-Fetch-Site", "cross-site")}, ""},
		"through a proxy": {"", nil, []func(*http.Request){set("X-Real-Ip", "192.0.2.7")}, ""},
		"named user":      {file, []string{"alice"}, []func(*http.Request){remote, user("alice")}, "alice"},
		"other user":      {file, []string{"alice"}, []func(*http.Request){remote, user("scraper")}, ""},
		"no user":         {file, []string{"alice"}, nil, ""},
		"another machine": {"", nil, []func(*http.Request){remote, func(r *http.Request) {
			ctx := context.WithValue(r.Context(), http.LocalAddrContextKey, nil)
			*r, r.Host = *r.WithContext(ctx), "127.0.0.1:9420"
		}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			s, engine := acting(t, c.file, c.users, &log)
			routes := actRoutes(t, s)
			if c.users != nil {
				s.hosts = newHosts([]string{"collector.example"})
			}
			for path, body := range routes {
				log.Reset()
				w := httptest.NewRecorder()
				r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:9420"+path, strings.NewReader(body))
				r.RemoteAddr = "127.0.0.1:51000"
				r.Header.Set("Content-Type", "application/json")
				for _, f := range c.with {
					f(r)
				}
				s.Handler().ServeHTTP(w, r)
				switch {
				case c.who == "" && (w.Code != http.StatusForbidden || log.Len() != 0 || engine.calls != 0):
					t.Errorf("%s: %d %s, %d calls, log %s", path, w.Code, w.Body, engine.calls, &log)
				case c.who != "" && (w.Code >= 300 || !strings.Contains(log.String(), "by="+c.who)):
					t.Errorf("%s: %d %s, log %s", path, w.Code, w.Body, &log)
				}
			}
		})
	}
}

// Acts that last do not keep pages waiting: they have slots of their own.
func TestChecksDoNotBlockPages(t *testing.T) {
	release, begun := make(chan struct{}), make(chan struct{}, maxSlots)
	s, _ := acting(t, "", nil, new(bytes.Buffer))
	status := board.New()
	kinds := map[string][]string{}
	for _, name := range strings.Fields("a b c d e f") {
		kinds[name] = nil
	}
	status.Observe(runner.Configured{Kinds: kinds})
	s.o.API = api.New(api.Options{
		Board: status, Actor: s.o.Guard.Actor, Accounts: func() query.Accounts { return query.Accounts{} },
		Status: func() api.Status { return api.Status{} },
		Acts: act.New(act.Options{Board: status, Check: func(ctx context.Context, _ string) (map[string]any, error) {
			begun <- struct{}{}
			select {
			case <-release:
				return nil, nil
			case <-ctx.Done():
				return nil, errors.New("it was cut off")
			}
		}}),
	})
	s.http.Handler = s.Handler()
	addr := start(t, s)
	done := make(chan int)
	for name := range kinds {
		go func() {
			code, _ := get(t, &http.Client{Transport: &http.Transport{}}, "http://"+addr+"/api/v1/accounts/"+name+"/check",
				func(r *http.Request) { r.Method = http.MethodPost })
			done <- code
		}()
	}
	for range kinds {
		<-begun
	}
	asked := time.Now()
	if code, _ := get(t, &http.Client{Transport: &http.Transport{}}, "http://"+addr+"/api/v1/kinds"); code != 200 ||
		time.Since(asked) > maxWait/2 {
		t.Errorf("a page during the checks: %d after %s", code, time.Since(asked))
	}
	close(release)
	for range kinds {
		if code := <-done; code != http.StatusOK {
			t.Errorf("a check: %d", code)
		}
	}
}
