package accounts

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/runner/local"
)

// storedAccounts is a store that has only a list of accounts.
type storedAccounts struct {
	AccountStore
	accounts []inventory.Account
}

func (s storedAccounts) Accounts(context.Context) ([]inventory.Account, error) {
	return s.accounts, nil
}

// The last runs of blocks with positional names are found under their new names, if they are certainly the same blocks.
func TestTicksFollowRenamedAccounts(t *testing.T) {
	const profiles = "accounts: [{profile: a}, {profile: b}]\n"
	const roles = `accounts: [{assume_role_arn: "arn:aws:iam::111111111111:role/r"}, ` +
		`{assume_role_arn: "arn:aws:iam::222222222222:role/r"}]` + "\n"
	stored := func(ids ...string) (all []inventory.Account) {
		for i, id := range ids {
			all = append(all, inventory.Account{Name: fmt.Sprint("account-", i+1), Partition: "aws", AccountID: id})
		}
		return all
	}
	for name, c := range map[string]struct {
		file  string
		ticks []string
		known []inventory.Account
		want  map[string]string
	}{
		"as it was": {
			profiles, []string{"account-1", "account-2"}, stored("111111111111", "222222222222"),
			map[string]string{"account-1": "a", "account-2": "b"},
		},
		"without a store": {
			profiles, []string{"account-1", "account-2"}, nil, map[string]string{"account-1": "a", "account-2": "b"},
		},
		"one was removed meanwhile": {profiles, []string{"account-1", "account-2", "account-3"}, nil, nil},
		"one was added meanwhile":   {profiles, []string{"account-1"}, nil, nil},
		"somebody is called so":     {"accounts: [{profile: a}, {name: account-1}]\n", []string{"account-1"}, nil, nil},
		"the store says so": {
			roles, []string{"account-1", "account-2", "account-3"}, stored("111111111111", "222222222222"),
			map[string]string{"account-1": "111111111111", "account-2": "222222222222"},
		},
		"the store says otherwise": {
			roles, []string{"account-1", "account-2"}, stored("222222222222", "222222222222"),
			map[string]string{"account-2": "222222222222"},
		},
		"nothing is left of before": {profiles, []string{"a", "b"}, nil, nil},
		"an organization": {
			"organizations: [{role: r}]\n", []string{"organization:1"}, nil,
			map[string]string{"organization:1": "organization:default"},
		},
		"an organization and accounts": {
			"organizations: [{role: r}]\n" + profiles, []string{"organization:1", "account-7"}, nil,
			map[string]string{"organization:1": "organization:default"},
		},
	} {
		f, err := config.Parse([]byte(c.file), "c.yaml", config.Registry{Kinds: []string{"ec2_instance"}})
		if err != nil {
			t.Fatal(err)
		}
		identities, err := OpenIdentities(t.TempDir(), identity.Options{}, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		path := filepath.Join(t.TempDir(), "ticks.json")
		last := map[local.TickKey]time.Time{{Account: "named", Spec: "@daily"}: at}
		for i, name := range c.ticks {
			last[local.TickKey{Account: name, Spec: "@daily"}] = at.Add(time.Duration(i+1) * time.Hour)
		}
		files := local.FileTicks(path, slog.New(slog.DiscardHandler))
		if err := files.Save(last); err != nil {
			t.Fatal(err)
		}
		want := maps.Clone(last)
		for old, name := range c.want {
			from := local.TickKey{Account: old, Spec: "@daily"}
			want[local.TickKey{Account: name, Spec: "@daily"}] = want[from]
			delete(want, from)
		}
		got, err := FormerNames{
			Ticks: files, File: func() *config.File { return f }, Identities: identities,
			Store: storedAccounts{accounts: c.known},
			Named: func(name string) bool {
				return slices.ContainsFunc(f.Accounts, func(b config.Account) bool { return b.Name == name })
			},
		}.Load()
		if err != nil || !maps.EqualFunc(got, want, time.Time.Equal) {
			t.Errorf("%s: %v, %v\nwant %v", name, got, err, want)
		}
	}
}
