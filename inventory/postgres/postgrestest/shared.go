package postgrestest

import (
	"errors"
	"sync"
	"testing"
)

// A Shared is one server for all tests of a package. It starts when the first test asks; the package's TestMain removes it.
type Shared struct {
	Settings []string

	once   sync.Once
	server *Server
	err    error
}

// Server is the server. Where the machine has none the test is skipped, which is no pass.
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

// Available reports whether the machine has a server, for a script's condition.
func (s *Shared) Available() (bool, error) {
	_, err := s.start()
	if errors.Is(err, ErrMissing) {
		return false, nil
	}
	return err == nil, err
}

// DSN is that of a server which is There.
func (s *Shared) DSN(options ...string) string { return s.server.DSN(options...) }

// Remove ends it, if it was started.
func (s *Shared) Remove() error {
	s.once.Do(func() {})
	if s.server == nil {
		return nil
	}
	return s.server.Remove()
}
