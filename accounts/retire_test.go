package accounts

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
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
	r := NewRetirer(s, slog.New(slog.NewTextHandler(&log, nil)))
	check := func(times, want int) {
		t.Helper()
		r.SetAccounts(&Set{})
		for range times {
			r.Check(t.Context())
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

func TestRemovedAccounts(t *testing.T) {
	acc := func(name, id string) inventory.Account {
		return inventory.Account{Name: name, Partition: "aws", AccountID: id}
	}
	known := []inventory.Account{acc("prod", "1"), acc("dev", "2")}
	for name, c := range map[string]struct {
		blocks    []string
		confirmed map[string]string
		want      []inventory.Account
	}{
		"all there, none signed in yet": {blocks: []string{"prod", "dev"}},
		"one removed":                   {blocks: []string{"prod"}, want: known[1:]},
		"one renamed, not signed in":    {blocks: []string{"prod", "development"}},
		"one renamed, signed in": {
			blocks: []string{"prod", "development"}, confirmed: map[string]string{"development": "2"},
		},
		"one removed, a new one not signed in": {blocks: []string{"prod", "new"}},
		"one removed, a new one signed in": {
			blocks: []string{"prod", "new"}, confirmed: map[string]string{"new": "3"}, want: known[1:],
		},
		"a block that moved to a new account": {
			blocks: []string{"prod", "dev"}, confirmed: map[string]string{"dev": "3"}, want: known[1:],
		},
		"names exchanged, one signed in": {
			blocks: []string{"prod", "dev"}, confirmed: map[string]string{"prod": "2"}, want: nil,
		},
		"names exchanged, both signed in": {
			blocks: []string{"prod", "dev"}, confirmed: map[string]string{"prod": "2", "dev": "1"},
		},
		"everything replaced, none signed in": {blocks: []string{"a", "b"}},
	} {
		t.Run(name, func(t *testing.T) {
			confirmed := map[string]record.Identity{}
			for n := range maps.Keys(c.confirmed) {
				confirmed[n] = record.Identity{AccountID: c.confirmed[n], Partition: "aws"}
			}
			if got := removedAccounts(known, c.blocks, confirmed); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}
