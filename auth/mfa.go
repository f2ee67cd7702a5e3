package auth

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// mfaSession is the longest session that GetSessionToken gives a user.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
const mfaSession = 36 * time.Hour

// An MFAStore is where MFA sessions and used codes are kept: a directory, or a table that replicas share.
type MFAStore interface {
	// With locks the device, across processes where the store is shared, and hands fn what is stored of it. save keeps what
	// fn has made of s, at once and durably, while the lock is held. The lock ends with fn; ctx ends the wait for it.
	With(ctx context.Context, device string, fn func(s *MFASession, save func() error) error) error
}

// An MFASession is what is known of a device: its last session, which may be over, and the codes that were sent. It prints
// without its secrets, wherever it stands.
type MFASession struct {
	AccessKeyID     string
	SecretAccessKey secret.String
	SessionToken    secret.String
	Expires         time.Time
	Spent           []string // digests of codes, the newest last
}

func (s *MFASession) credentials() aws.Credentials {
	return aws.Credentials{
		AccessKeyID: s.AccessKeyID, SecretAccessKey: s.SecretAccessKey.Reveal(), SessionToken: s.SessionToken.Reveal(),
		Source: "GetSessionToken", CanExpire: true, Expires: s.Expires,
	}
}

func (s *MFASession) keep(c aws.Credentials) {
	s.AccessKeyID, s.SecretAccessKey, s.SessionToken, s.Expires = c.AccessKeyID, secret.New(c.SecretAccessKey), secret.New(c.SessionToken), c.Expires
}

// mfaStep turns a user's long-lived key and a code into a session, from which roles are then assumed without a code. The
// session belongs to the device: all accounts behind one device share it, as do processes and restarts.
type mfaStep struct {
	tokens    tokens
	store     MFAStore
	region    string
	serial    string
	partition string
	code      secret.String
	duration  time.Duration
	after     string // name of the step before
	log       *slog.Logger

	mu      sync.Mutex
	refused string // access key id of a stored session that AWS no longer takes
}

func (s *mfaStep) Name() string { return "mfa " + s.serial }

// Key holds the code's digest, so that a new code in the file gets its chance; the session behind it stays the same.
func (s *mfaStep) Key() string {
	return fmt.Sprintf("mfa %s %s %s %s %s", s.partition, s.serial, s.digest(), s.duration, s.region)
}

// device names what the session belongs to: a key and a device.
func (s *mfaStep) device(keyID string) string {
	return digest(s.partition + "\n" + keyID + "\n" + s.serial)
}

// digest stands for the code. Six digits can be found again from it, but it is kept only once the code is worthless.
func (s *mfaStep) digest() string {
	if s.code.IsZero() {
		return ""
	}
	return digest(s.partition + "\n" + s.serial + "\n" + s.code.Reveal())
}

func (s *mfaStep) drop(c aws.Credentials) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = c.AccessKeyID
}

func (s *mfaStep) taken(c aws.Credentials) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.AccessKeyID != s.refused
}

// mfaWait is how long another process may hold the device: it sends two calls at most.
const mfaWait = 2*callTimeout + 10*time.Second

func (s *mfaStep) Retrieve(ctx context.Context, prev Provider) (c aws.Credentials, err error) {
	base, err := prev.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	if base.SessionToken != "" {
		return aws.Credentials{}, fault(record.BadKey, "an MFA session can only be had with a user's own long-lived key, not with temporary credentials",
			"%s: the credentials of %s are temporary", s.Name(), s.after)
	}
	ctx, cancel := within(ctx, mfaWait, s.Name())
	defer cancel()
	err = s.store.With(ctx, s.device(base.AccessKeyID), func(kept *MFASession, save func() error) error {
		t := now()
		old := kept.credentials()
		good := valid(old, t) && s.taken(old)
		fresh := !s.code.IsZero() && !slices.Contains(kept.Spent, s.digest())
		if good && (!fresh || t.Before(kept.Expires.Add(-window))) {
			c = old
			return nil
		}
		if !fresh {
			return s.needed(kept, t)
		}
		// A code is worth more than a call: first see that the key, the clock and the network are in order.
		if _, err := s.tokens.identity(ctx, s.region, base); err != nil {
			return s.explain(err, base)
		}
		// Before the call, not after it: what happens to a code that was sent is not known until STS answers.
		kept.Spent = append(kept.Spent[max(0, len(kept.Spent)-spentKept):], s.digest())
		if err := save(); err != nil {
			return err
		}
		got, err := s.tokens.session(ctx, s.region, base, &sts.GetSessionTokenInput{
			SerialNumber: aws.String(s.serial), TokenCode: aws.String(s.code.Reveal()), DurationSeconds: aws.Int32(int32(s.duration / time.Second)),
		})
		if err != nil {
			if unsent(err) {
				kept.Spent = kept.Spent[:len(kept.Spent)-1]
				if err := save(); err != nil {
					return err
				}
			}
			if good { // the old session has minutes left
				c = old
				return nil
			}
			return s.explain(err, base)
		}
		kept.keep(got)
		c = got
		if err := save(); err != nil { // no reason to throw away what the code has bought
			s.log.Warn("mfa session not kept: a restart will need a new code", "serial_number", s.serial, "err", err, "hint", record.HintOf(err))
		}
		return nil
	})
	if err != nil {
		return aws.Credentials{}, explain(err, clues{doing: s.Name(), signer: s.after, serial: s.serial, region: s.region, used: base})
	}
	return c, nil
}

// spentKept is how many digests are remembered: a code is good for a minute or two.
const spentKept = 20

func (s *mfaStep) explain(err error, base aws.Credentials) error {
	return explain(err, clues{
		doing: "get an MFA session with " + s.serial, signer: s.after, serial: s.serial, region: s.region, used: base, code: s.code.Reveal(),
	})
}

// needed is said without asking STS.
func (s *mfaStep) needed(kept *MFASession, t time.Time) error {
	const hint = "put the device's next code into `token_code` (in quotes) and reload; a literal code is good for one session of up to 36h"
	var why string
	switch {
	case s.code.IsZero():
		why = "no `token_code` is given"
	case kept.AccessKeyID != "" && !t.Before(kept.Expires):
		why = "the session ended at " + kept.Expires.UTC().Format(time.RFC3339) + " and the `token_code` was used before"
	default:
		why = "the `token_code` was used before, and a code is good once"
	}
	return fault(record.MFANeeded, hint, "%s: %s", s.Name(), why)
}
