//go:build !unix

// Package postgrestest runs a Postgres server for tests, on Unix.
package postgrestest

import "errors"

// ErrMissing is returned on every other system.
var ErrMissing = errors.New("tests run no Postgres server on this system")

// User and Password are the superuser's.
const (
	User     = "collector"
	Password = "correct-horse-EXAMPLE-battery"
)

// A Server cannot be made on this system.
type Server struct{}

// Start returns ErrMissing.
func Start(...string) (*Server, error) { return nil, ErrMissing }

// The methods that a server has on Unix.
func (s *Server) Start() error         { return ErrMissing }
func (s *Server) DSN(...string) string { return "" }
func (s *Server) Port() int            { return 0 }
func (s *Server) Stop() error          { return ErrMissing }
func (s *Server) Crash() error         { return ErrMissing }
func (s *Server) Remove() error        { return ErrMissing }

// A Bouncer cannot be made on this system.
type Bouncer struct{}

// StartBouncer returns ErrNoBouncer.
func (s *Server) StartBouncer(...string) (*Bouncer, error) { return nil, ErrNoBouncer }

// The methods that a pooler has on Unix.
func (b *Bouncer) DSN() string { return "" }
func (b *Bouncer) Stop() error { return ErrNoBouncer }
