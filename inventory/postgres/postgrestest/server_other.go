//go:build !unix

// Package postgrestest runs a Postgres server for tests, on Unix.
package postgrestest

import "errors"

// ErrMissing says that the machine has no Postgres.
var ErrMissing = errors.New("no Postgres server is run for tests on this system")

// User and Password are the superuser's.
const (
	User     = "collector"
	Password = "correct-horse-EXAMPLE-battery"
)

// A Server is never made here.
type Server struct{}

// Start reports ErrMissing.
func Start(...string) (*Server, error) { return nil, ErrMissing }

// What a server can do elsewhere.
func (s *Server) Start() error         { return ErrMissing }
func (s *Server) DSN(...string) string { return "" }
func (s *Server) Port() int            { return 0 }
func (s *Server) Stop() error          { return ErrMissing }
func (s *Server) Crash() error         { return ErrMissing }
func (s *Server) Remove() error        { return ErrMissing }
