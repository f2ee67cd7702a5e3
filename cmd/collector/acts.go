package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"

	"github.com/aws-collector/collector/accounts"
	"github.com/aws-collector/collector/cmd/collector/internal/check"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/secret"
	"github.com/aws-collector/collector/web/act"
)

// newActs returns the acts that people may ask for.
func (p *program) newActs() *act.Acts {
	return act.New(act.Options{
		Engine: p.engine, Board: p.board, Directives: p.directives, Check: p.checkAccount, Login: p.loginAccount, Log: p.log,
	})
}

func directivesPath(dataDir string) string { return filepath.Join(dataDir, "directives.json") }

// blocks are the account blocks of the configuration in force.
type blocks struct {
	file *config.File
	set  *accounts.Set
}

// find returns the block of an account or of an organization, as what signs in.
func (b *blocks) find(name string) (block config.Account, organization bool, err error) {
	if i := slices.IndexFunc(b.set.Accounts, func(a config.Account) bool { return a.Name == name }); i >= 0 {
		return b.set.Accounts[i], false, nil
	}
	for _, o := range b.file.Organizations {
		if o.Label == name {
			return config.Account{Name: o.Label, SignIn: o.Via, Collect: o.Collect}, true, nil
		}
	}
	return config.Account{}, false, fmt.Errorf("account %q: %w", name, runner.ErrUnknownAccount)
}

// checkAccount checks an account with the sessions and within the limits of the runs.
func (p *program) checkAccount(ctx context.Context, name string) (map[string]any, error) {
	block, organization, err := p.blocks.Load().find(name)
	switch {
	case err != nil:
		return nil, err
	case organization:
		return nil, &act.Error{
			Status: http.StatusConflict, Hint: "Start a run of the organization: it lists the members.",
			Err: fmt.Errorf("%q is an organization, which has no resources to check", name),
		}
	}
	return (&check.Checker{AWS: p.aws, Selection: p.opt.only}).Result(ctx, block, p.limits)
}

// loginAccount begins an MFA session with a code, as the command does, and signs in with it.
func (p *program) loginAccount(ctx context.Context, name, code string) (act.Session, error) {
	block, _, err := p.blocks.Load().find(name)
	if err != nil {
		return act.Session{}, err
	}
	login, err := p.aws.Sessions.Login(ctx, block, func(context.Context, string) (secret.String, error) {
		return secret.New(code), nil
	})
	if err != nil {
		return act.Session{}, fmt.Errorf("account %q: %w", name, err)
	}
	s := act.Session{Account: name, Device: login.Device, Expires: login.Expires.UTC()}
	session, err := p.aws.Sessions.Open(ctx, block)
	if err != nil {
		return s, &record.Fault{
			Reason: record.ReasonOf(err), Hint: record.HintOf(err),
			Err: fmt.Errorf("account %q: the MFA session is valid, but %w", name, err),
		}
	}
	s.ARN = session.Identity.ARN
	due, _ := session.LoginDue()
	p.observe(runner.SessionExpires{Account: name, At: due})
	return s, nil
}
