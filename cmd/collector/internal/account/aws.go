// Package account makes of the account blocks of a configuration what the runner runs: it selects blocks, knows their
// kinds and schedules, and opens accounts, which sign in, find their regions and list pages of records. Begin at
// [Opener].
package account

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/auth"
	"github.com/aws-collector/collector/auth/identity"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// AWS is what signs in to accounts, and what lists them.
type AWS struct {
	Sessions   *auth.Sessions
	Identities *accounts.Identities // which account each block was
	Lister     *collectors.Lister
	Pages      *record.PagePool
}

// AWSOptions are the options of [OpenAWS].
type AWSOptions struct {
	Load       auth.LoadOptions
	Identities identity.Options
	CommandEnv func() []string // the environment of commands that sign-in runs
	DigestKey  []byte          // of sensitive values; nil in a command that stores nothing
	Log        *slog.Logger
}

// OpenAWS opens the sessions and the clients that list, with the limits of a configuration. It makes no AWS calls.
func OpenAWS(ctx context.Context, f *config.File, o AWSOptions) (*AWS, error) {
	awsConfig, err := auth.LoadAWS(ctx, o.Load)
	if err != nil {
		return nil, err
	}
	l := f.Limits
	a := &AWS{Pages: record.NewPagePool(l.Pages, maxRetainedPage)}
	a.Lister, err = collectors.New(collectors.Options{
		AWS: awsConfig, Pages: a.Pages, Attempts: l.Attempts, MaxBackoff: time.Duration(l.MaxBackoff),
		CallTimeout: time.Duration(l.CallTimeout), GZIP: l.GZIP == nil || *l.GZIP, DigestKey: o.DigestKey, Log: o.Log,
		SDKStack: o.Load.Getenv(sdkStackVariable) != "",
	})
	if err != nil {
		return nil, err
	}
	if a.Identities, err = accounts.OpenIdentities(f.DataDir, o.Identities, o.Log); err != nil {
		return nil, err
	}
	a.Sessions = auth.NewSessions(auth.Options{
		AWS: awsConfig, Getenv: o.Load.Getenv, CommandEnv: o.CommandEnv,
		DataDir: f.DataDir, SessionKey: f.SessionKey, Identities: a.Identities.Store, Log: o.Log,
	})
	return a, nil
}

// AccountSet returns the account blocks of a configuration, with those of known members.
func (a *AWS) AccountSet(f *config.File, members *accounts.Directory) *accounts.Set {
	if len(f.Organizations) == 0 {
		return members.Resolve(f, nil)
	}
	return members.Resolve(f, a.Identities.LastOf(f))
}

// Close ends what runs in the background and saves the identities.
func (a *AWS) Close() error {
	a.Sessions.Close()
	return a.Identities.Flush()
}

// sdkStackVariable names the variable that makes the program call EC2 as earlier releases did. It is not documented,
// and the next release does not have it.
const sdkStackVariable = "COLLECTOR_SDK_STACK"

// maxRetainedPage is the largest buffer of a page that is reused for the next page: 1,000 instances take about 7 MiB.
const maxRetainedPage = 16 << 20
