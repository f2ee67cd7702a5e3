package auth

import (
	"context"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// A Login is an MFA session that was begun because a person asked for it.
type Login struct {
	Device  string    // serial number
	Expires time.Time // the end of the session, if nobody renews it
}

// Login begins a new MFA session for the account and keeps it where all who share the store find it: a running collector
// takes it up by itself, at the latest when its own session is about to end. The code comes from the block if that has one for
// each need (`totp_seed`, `token_command`), else from ask, which is called once the key has proved good. Without ask, the
// block's `token_code` is sent.
//
// Its error holds a [record.Fault]. It does not enter the account's roles: [Sessions.Open] does, without a code.
func (s *Sessions) Login(ctx context.Context, a config.Account, ask func(ctx context.Context, device string) (secret.String, error)) (Login, error) {
	steps, region, err := s.plan(ctx, a)
	if err != nil {
		return Login{}, err
	}
	at := s.resolverFor(steps).top.mfaLayer()
	if at == nil {
		return Login{}, fault(record.MFASerial, "a device is named by `serial_number`, or by mfa_serial in the profile of the block; an account without one needs no login",
			"the account signs in without an MFA device")
	}
	step := at.step.(*mfaStep)
	base, err := step.baseKey(ctx, at.prev)
	if err != nil {
		return Login{}, err
	}
	codes := step.codes
	if ask != nil && (codes == nil || !codes.unattended()) {
		if _, err := s.sts.clockOffset(ctx, region, base); err != nil { // nobody is asked for a code that cannot be sent
			return Login{}, step.explain(err, base, secret.String{})
		}
		text, err := ask(ctx, step.serial)
		if err != nil {
			return Login{}, err
		}
		codes = literalCode{text}
	}
	out := Login{Device: step.serial}
	ctx, cancel := withTimeout(ctx, 2*mfaLockTimeout, step.Name())
	defer cancel()
	err = s.store.WithLock(ctx, step.device(base.AccessKeyID), func(stored *MFASession, save func() error) error {
		if c, ok := codes.(literalCode); codes == nil || ok && stored.codeUsed(step.codeDigest(c.text), 0) {
			return step.codeUnavailable(stored, now())
		}
		c, err := step.beginSession(ctx, codes, base, stored, save)
		out.Expires = c.Expires
		return err
	})
	if err != nil {
		return Login{}, step.explain(err, base, secret.String{})
	}
	at.reload()
	return out, nil
}
