package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws-collector/collector/inventory"
)

// unreachableStore is a store whose calls fail.
type unreachableStore struct {
	inventory.Driver
	err error
}

func (s *unreachableStore) Accounts(context.Context) ([]inventory.Account, error) { return nil, s.err }

// Many runs end while the store is unreachable: one error is logged, and one more when it is unreachable again.
func TestRetirementErrorLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	s := &unreachableStore{err: errors.New("the database is away")}
	r := newAccountRetirer(
		&runStore{inventory: inventory.New(s, inventory.Options{}), driver: s},
		slog.New(slog.NewTextHandler(&log, nil)),
	)
	check := func(times, want int) {
		t.Helper()
		r.setAccounts(&accountSet{})
		for range times {
			r.check(t.Context())
		}
		if n := strings.Count(log.String(), "removed accounts not retired"); n != want {
			t.Errorf("logged %d times, want %d:\n%s", n, want, log.String())
		}
	}
	check(100, 1)
	s.err = nil
	check(2, 1)
	s.err = errors.New("away once more")
	check(3, 2)
}
