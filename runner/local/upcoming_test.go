package local

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/runner"
)

// The start says when each account is next due, and a reload says it of new accounts only.
func TestNextRunsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{}, Options{})
		old := []*runner.Account{
			account("a", &fakeAccount{}, at("@every 6h")),
			account("b", &fakeAccount{}, at("0 3 * * *")),
			account("c", &fakeAccount{}, at("0 3 * * *")),
		}
		g.runner.Swap(buildConfiguration(t, old...))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- g.local.Run(ctx) }()
		synctest.Wait()
		first := g.logs.String()
		for _, want := range []string{
			`msg="runs scheduled" schedule="0 3 * * *" accounts="b, c" next_run=2000-01-01T03:00:00Z`,
			`msg="runs scheduled" schedule="@every 6h" accounts=a next_run=2000-01-01T06:00:00Z`,
		} {
			if strings.Count(first, want) != 1 {
				t.Errorf("want %s in\n%s", want, first)
			}
		}
		g.runner.Swap(buildConfiguration(t, append(old, account("d", &fakeAccount{}, at("@every 1h")))...))
		synctest.Wait()
		added := strings.TrimPrefix(g.logs.String(), first)
		if strings.Count(added, "runs scheduled") != 1 || !strings.Contains(added, "accounts=d next_run=2000-01-01T01:00") {
			t.Errorf("after the reload:\n%s", added)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Thousands of accounts and schedules do not fill the log.
func TestNextRunsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newHarness(t, runner.Options{}, Options{})
		var accounts []*runner.Account
		for i := range 500 {
			spec := "0 4 * * *"
			if i >= 450 {
				spec = fmt.Sprintf("%d 5 * * *", i-450)
			}
			accounts = append(accounts, account(fmt.Sprintf("a%03d", i), &fakeAccount{}, at(spec)))
		}
		conf := buildConfiguration(t, accounts...)
		conf.Jitter = 30 * time.Second
		g.runner.Swap(conf)
		g.run(time.Minute)
		logs := g.logs.String()
		if n := strings.Count(logs, "runs scheduled"); n != 11 || len(logs) > 4000 {
			t.Errorf("%d lines:\n%s", n, logs)
		}
		for _, want := range []string{` and 445 more" next_run=2000-01-01T04:00:00Z spread=30s`,
			`msg="more runs scheduled" schedules=41 accounts=41 next_run=2000-01-01T05:09:`} {
			if !strings.Contains(logs, want) {
				t.Errorf("want %s in\n%s", want, logs)
			}
		}
	})
}

// Without a collector, the file of ticks says what is due next; a damaged file is left as it is.
func TestNextRuns(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	conf := buildConfiguration(t, account("a", &fakeAccount{}, at("0 3 * * *"), at("@every 6h"), at("0 4 1 1 *")),
		account("b", &fakeAccount{}, at("@daily")))
	path := filepath.Join(t.TempDir(), "ticks.json")
	specs := func() (all []string) {
		for _, n := range NextRuns(conf, "a", path, now) {
			all = append(all, fmt.Sprintf("%s %s %t", n.Spec, n.At.Format(time.RFC3339), n.Missed))
		}
		return all
	}
	first := []string{
		"@every 6h 2026-11-21T18:00:00Z false", "0 3 * * * 2026-11-22T03:00:00Z false",
		"0 4 1 1 * 2027-01-01T04:00:00Z false",
	}
	if got := specs(); !slices.Equal(got, first) {
		t.Errorf("without a file: %q", got)
	}
	if err := FileTicks(path, slog.New(slog.DiscardHandler)).Save(map[TickKey]time.Time{
		{"a", "0 3 * * *"}: now.AddDate(0, 0, -2), {"a", "@every 6h"}: now.Add(-5 * time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	if got := specs(); !slices.Equal(got, []string{
		"0 3 * * * 2026-11-21T12:00:00Z true", "@every 6h 2026-11-21T13:00:00Z false",
		"0 4 1 1 * 2027-01-01T04:00:00Z false",
	}) {
		t.Errorf("with one: %q", got)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := specs(); !slices.Equal(got, first) {
		t.Errorf("with a damaged one: %q", got)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("it was moved: %v", err)
	}
}
