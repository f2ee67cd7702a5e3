package postgrestest

import (
	"errors"
	"sync"
	"testing"
)

// ErrNoBouncer is returned if the machine has no PgBouncer.
var ErrNoBouncer = errors.New("no PgBouncer on this machine: apt-get install pgbouncer")

// A Shared is one server for all tests of a package. It starts when a test first needs it; the package's TestMain
// removes it.
type Shared struct {
	Settings []string

	once   sync.Once
	server *Server
	err    error
}

// Server returns the server. If the machine has none, it skips the test.
func (s *Shared) Server(t testing.TB) *Server {
	t.Helper()
	server, err := s.start()
	if errors.Is(err, ErrMissing) {
		t.Skipf("SKIPPED, NOT PASSED: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return server
}

func (s *Shared) start() (*Server, error) {
	s.once.Do(func() { s.server, s.err = Start(s.Settings...) })
	return s.server, s.err
}

// Available reports whether the machine has a server, for a condition of a script.
func (s *Shared) Available() (bool, error) {
	_, err := s.start()
	if errors.Is(err, ErrMissing) {
		return false, nil
	}
	return err == nil, err
}

// DSN returns the connection string of a server that is Available.
func (s *Shared) DSN(options ...string) string { return s.server.DSN(options...) }

// Remove removes the server if it was started.
func (s *Shared) Remove() error {
	s.once.Do(func() {})
	if s.server == nil {
		return nil
	}
	return s.server.Remove()
}
