package main

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/backfill"
	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/awsfake"
	"github.com/aws-collector/collector/internal/datadir"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/secret"
)

const (
	atOnce    = 32 // calls, and sign-ins
	unlimited = 1e6
)

// writeHistory writes the past of the simulation into the store, before the daemon starts.
func (d *demo) writeHistory(ctx context.Context) (err error) {
	now := time.Now()
	c := d.innerCLI()
	cfg, err := c.loadConfig(ctx)
	if err != nil {
		return err
	}
	if err := datadir.Make(cfg.File.DataDir); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler) // what fails on purpose is not an error of the demo
	digestKey, err := datadir.DigestKey(cfg.File.DataDir, true, log)
	if err != nil {
		return err
	}
	aws, err := c.openAWS(ctx, cfg, account.AWSOptions{
		Load: d.awsOptions(), Identities: identity.Options{ReadOnly: true}, DigestKey: digestKey, Log: log,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, aws.Close()) }()
	members := accounts.NewDirectory(aws.Sessions.Members, accounts.MembersPath(cfg.File.DataDir), log)
	defer members.Close()
	members.RefreshAll(ctx, cfg.File.Organizations)
	d.scene.AWS.SetThrottle(awsfake.Throttle{Off: true})
	defer d.scene.AWS.SetThrottle(awsfake.Throttle{})
	simulated, err := d.pastAccounts(ctx, aws, aws.AccountSet(cfg.File, members))
	if err != nil {
		return err
	}
	var clock backfill.Clock
	driver, err := sqlite.Open(ctx, sqlite.Options{Path: store.Path(cfg.File.DataDir), Log: log, Now: clock.Now})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, driver.Close()) }()
	return backfill.Write(ctx, backfill.Options{
		Simulation: d.scene, Accounts: simulated, Store: inventory.New(driver, inventory.Options{Log: log}),
		Batch: driver.Batch, Clock: &clock, Process: thisProcess(), From: now.AddDate(0, 0, -d.options.days), To: now,
	})
}

// pastAccounts returns the accounts of the configuration, each with a key that only the simulation of the past uses.
func (d *demo) pastAccounts(
	ctx context.Context, aws *account.AWS, set *accounts.Set,
) ([]*backfill.Account, error) {
	simulated := map[string]*awsfake.Account{}
	for _, a := range d.scene.All() {
		simulated[a.Name] = a.Account
	}
	all := make([]*backfill.Account, len(set.Accounts))
	errs := make([]error, len(all))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			block := &set.Accounts[i]
			if all[i], errs[i] = pastAccount(ctx, aws, block, simulated[block.Name]); errs[i] == nil {
				_, all[i].Member = set.Members[block.Name]
			}
		})
	}
	wg.Wait()
	return all, errors.Join(errs...)
}

// pastAccount signs in to an account of the simulation with a key of a user that the account's policies do not know.
func pastAccount(
	ctx context.Context, aws *account.AWS, block *config.Account, simulated *awsfake.Account,
) (*backfill.Account, error) {
	opener := &account.Opener{
		AWS: aws, Observe: runner.Tee(),
		UnknownFields: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "unknown_fields"}, []string{"kind"}),
	}
	configured, err := opener.Account(block)
	if err != nil {
		return nil, err
	}
	key := simulated.AddUser("past").NewKey()
	withKey := *block
	withKey.SignIn = config.SignIn{AKID: key.ID, AKSecret: secret.New(key.Secret), Partition: block.Partition}
	listed, err := opener.Account(&withKey)
	if err != nil {
		return nil, err
	}
	opened, err := listed.Open(ctx)
	if err != nil {
		return nil, err
	}
	limits := runner.NewLimits(atOnce, nil)
	plan, err := opened.Regions(ctx, limits.Gate(block.Name, "", runner.Kind{}))
	if err != nil {
		return nil, err
	}
	return &backfill.Account{
		Name: block.Name, Identity: opened.Identity(), Kinds: configured.Kinds, Regions: plan.Regions,
		Pages: func(
			ctx context.Context, k runner.Kind, t record.Target, run, parent string,
		) iter.Seq2[*record.Page, error] {
			k.Refill, k.Burst = unlimited, unlimited // simulated days lie between the calls
			return opened.Pages(ctx, limits.Gate(t.Account, t.Region, k), t, run, parent, new(record.ListStats))
		},
		SignIn: func(ctx context.Context) error {
			_, err := configured.Open(ctx)
			return err
		},
	}, nil
}
