package auth

import (
	"context"
	"time"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/auth/internal/mfastore"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// A Login is an MFA session that a person asked for.
type Login struct {
	Device  string    // serial number
	Expires time.Time // of the session, unless it is renewed
}

// Login begins a new MFA session for the account and stores it for all processes that share the store. A running
// collector notices it, at the latest when its own session is about to expire. The code comes from the block if that
// has an unattended source (`totp_seed`, `token_command`), else from ask, which is called after a call has shown that
// the key is valid. Without ask, the block's `token_code` is sent.
//
// Its error holds a [record.Fault]. It does not assume the account's roles: [Sessions.Open] does, without a code.
func (s *Sessions) Login(
	ctx context.Context,
	a config.Account,
	ask func(ctx context.Context, device string) (secret.String, error),
) (Login, error) {
	steps, region, err := s.plan(ctx, a)
	if err != nil {
		return Login{}, err
	}
	mfa := s.resolverFor(steps, a.Name).last.findMFA()
	if mfa == nil {
		return Login{}, fault.New(record.MFASerial,
			"Set `serial_number`, or mfa_serial in the profile of the block, to name an MFA device; "+
				"an account without one needs no login.",
			"the account signs in without an MFA device")
	}
	step := mfa.step.(*mfaStep)
	base, err := step.baseKey(ctx, mfa.prev)
	if err != nil {
		return Login{}, err
	}
	codes := step.codes
	if ask != nil && (codes == nil || !codes.unattended()) {
		if _, err := s.sts.clockOffset(ctx, region, base); err != nil { // do not ask for a code that cannot be sent
			return Login{}, step.explain(err, base, secret.String{})
		}
		text, err := ask(ctx, step.serial)
		if err != nil {
			return Login{}, err
		}
		codes = literalCode{text}
	}
	out := Login{Device: step.serial}
	ctx, cancel := fault.WithTimeout(ctx, 2*mfaLockTimeout, step.Name())
	defer cancel()
	err = s.store.WithLock(ctx, step.device(base.AccessKeyID), func(stored *mfastore.Session, save func() error) error {
		if c, ok := codes.(literalCode); codes == nil || ok && stored.CodeUsed(step.hashCode(c.text), 0) {
			return step.codeUnavailable(stored, now())
		}
		c, err := step.beginSession(ctx, codes, base, stored, save)
		out.Expires = c.Expires
		return err
	})
	if err != nil {
		return Login{}, step.explain(err, base, secret.String{})
	}
	mfa.clear()
	return out, nil
}
