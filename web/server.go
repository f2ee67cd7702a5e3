package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	toolkit "github.com/prometheus/exporter-toolkit/web"

	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/web/api"
)

// Options configure a Server.
type Options struct {
	Gather prometheus.Gatherer
	Log    *slog.Logger // nil: silence
	// ConfigFile is exporter-toolkit's web configuration: TLS and basic auth; "" for neither.
	// https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
	ConfigFile string
	Hosts      []string // allowed besides this machine: host names, globs of them, addresses; see hosts
	Guard      *Guard   // who may act; nil: that of ConfigFile, without web.act_users
	// Ready returns the reasons why the program is not ready: no configuration yet, an output that fails. If it is nil or
	// returns none, the program is ready. It is called from several goroutines and must not block.
	Ready  func() []string
	Mounts *Mounts      // nil: none
	API    *api.API     // nil: none
	MCP    http.Handler // answers at /mcp, and limits the bodies of requests; nil: none
	// Routes are the routes of the page, by their patterns for [http.ServeMux].
	Routes map[string]http.Handler
	// Reload loads the configuration again; the client gets its error. Nil: reload is not supported.
	Reload func(context.Context) error
}

// The limits for each client. A slow client is disconnected; see also admission.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 60 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 32 << 10
	maxBody        = 4 << 10 // that of an act, with a note
)

// A Server serves /metrics, health and the page.
type Server struct {
	o     Options
	hosts *hosts
	http  *http.Server

	streams context.Context // ends at shutdown, and streams with it
}

// NewServer refuses an invalid web configuration; the error names its path.
func NewServer(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := toolkit.Validate(o.ConfigFile); err != nil {
		return nil, fmt.Errorf("web.config_file %s: %w", o.ConfigFile, err)
	}
	if o.Guard == nil {
		o.Guard = NewGuard(o.ConfigFile, nil)
	}
	s := &Server{o: o, hosts: newHosts(o.Hosts)}
	s.http = &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		DisableGeneralOptionsHandler: true, // it would answer "OPTIONS *" before the host is checked
		// At level debug, because anybody can break off a TLS handshake.
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	streams, endStreams := context.WithCancel(context.Background())
	s.streams = streams
	s.http.RegisterOnShutdown(endStreams)
	return s, nil
}

// Listen opens the address. Its error names the key to change.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("web.listen (--listen, COLLECTOR_LISTEN): %w", err)
	}
	return l, nil
}

// Serve answers on l until Shutdown, then it returns nil. It closes l.
func (s *Server) Serve(l net.Listener) error {
	err := toolkit.Serve(pacedListener{l}, s.http, &toolkit.FlagConfig{WebConfigFile: &s.o.ConfigFile}, s.o.Log)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("web: %w", errors.Join(err, ignoreClosed(l.Close())))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Shutdown accepts no new requests and waits for those in progress until ctx ends; then it closes their connections. It
// may be called twice.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return fmt.Errorf("web: %w", errors.Join(context.Cause(ctx), s.http.Close()))
	}
	return nil
}

// Handler serves all routes, without the listener's TLS and passwords.
func (s *Server) Handler() http.Handler {
	metrics := promhttp.HandlerFor(s.o.Gather, promhttp.HandlerOpts{EnableOpenMetrics: true,
		ErrorHandling: promhttp.ContinueOnError, ErrorLog: slog.NewLogLogger(s.o.Log.Handler(), slog.LevelWarn)})
	mux := http.NewServeMux() // GET includes HEAD; another method gets 405 with Allow
	mux.Handle("GET /metrics", newAdmission().wrap(abortBroken(metrics)))
	mux.HandleFunc("GET /-/healthy", s.healthy)
	mux.HandleFunc("GET /-/ready", s.ready)
	mux.HandleFunc("POST /-/reload", s.o.Guard.protect(s.reload))
	if s.o.API != nil {
		mux.Handle(api.Prefix, s.serveAPI())
	}
	views, acts := newAdmission(), newAdmission()
	for pattern, h := range s.o.Routes {
		if strings.HasPrefix(pattern, http.MethodPost) {
			mux.Handle(pattern, acts.wrap(h))
		} else {
			mux.Handle(pattern, views.wrap(h))
		}
	}
	return secured(s.hosts.wrap(s.withMCP(http.MaxBytesHandler(s.o.Mounts.wrap(mux), maxBody))))
}

// policy is the Content-Security-Policy: scripts, styles and images come from here as files, and nothing is inline.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secured sets the headers on every response that protect it in a browser.
// https://owasp.org/www-project-secure-headers/
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY") // frame-ancestors, for old browsers
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

func text(w http.ResponseWriter, status int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, printable.Lines(s)) // an error means that the client has gone
}

// healthy reports only that the process answers, so that trouble elsewhere does not restart it.
func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	text(w, http.StatusOK, "collector is healthy.\n")
}

// ready tells every client whether the process is ready, but the reasons only to allowed hosts, like the other routes:
// the reasons name outputs and their errors.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	if reasons := s.notReady(); len(reasons) > 0 {
		if !s.hosts.allows(r) {
			text(w, http.StatusServiceUnavailable,
				"collector is not ready. The reasons are shown only to localhost and web.hosts.\n")
			return
		}
		text(w, http.StatusServiceUnavailable, "collector is not ready:\n- "+strings.Join(reasons, "\n- ")+"\n")
		return
	}
	text(w, http.StatusOK, "collector is ready.\n")
}

func (s *Server) notReady() []string {
	if s.o.Ready == nil {
		return nil
	}
	return s.o.Ready()
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request, who string) {
	if s.o.Reload == nil {
		text(w, http.StatusNotFound, "Reload is not supported.\n")
		return
	}
	s.o.Log.Info("reload requested", "by", who)
	// A client that disconnects must not leave a configuration half applied.
	if err := s.o.Reload(context.WithoutCancel(r.Context())); err != nil {
		text(w, http.StatusInternalServerError,
			"Reload refused. The former configuration stays in force:\n"+err.Error()+"\n")
		return
	}
	text(w, http.StatusOK, "Configuration reloaded.\n")
}
