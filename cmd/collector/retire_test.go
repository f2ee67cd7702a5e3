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

// A store that is away, as far as retirement asks it.
type unreachableStore struct {
	inventory.Driver
	err error
}

func (s *unreachableStore) Accounts(context.Context) ([]inventory.Account, error) { return nil, s.err }

// A thousand accounts' runs end while the store is away: that is said once, and again when it is away again.
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
			t.Errorf("it was said %d times, want %d:\n%s", n, want, log.String())
		}
	}
	check(100, 1)
	s.err = nil
	check(2, 1)
	s.err = errors.New("away once more")
	check(3, 2)
}
