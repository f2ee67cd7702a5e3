package local

import (
	"context"
	"fmt"
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
