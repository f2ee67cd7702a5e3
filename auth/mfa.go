package auth

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/auth/internal/mfastore"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// defaultMFASession is the longest session that GetSessionToken gives a user.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
const defaultMFASession = 36 * time.Hour

// mfaStep makes a session of a user's long-lived key and a code. With the session, roles can be assumed without a code.
// The session belongs to the device: all accounts of one device share it, in all processes and across restarts.
type mfaStep struct {
	sts       stsClient
	store     mfastore.Store
	region    string
	serial    string
	partition string
	codes     codeSource // nil: only a login begins a session
	duration  time.Duration
	signer    string // name of the previous step
	log       *slog.Logger

	mu            sync.Mutex
	rejectedKeyID string    // access key id of a stored session that AWS refused
	warnedExpiry  time.Time // expiry of the session that warnExpiry has warned of
}

func (s *mfaStep) Name() string { return "mfa " + s.serial }

// Key includes the code source, so that a new code in the file is tried; the session itself stays the same.
func (s *mfaStep) Key() string {
	codes := ""
	if s.codes != nil {
		codes = s.codes.key()
	}
	return fmt.Sprintf("mfa %s %s %s %s %s", s.partition, s.serial, codes, s.duration, s.region)
}

// device identifies what a session belongs to: a key and a device.
func (s *mfaStep) device(keyID string) string {
	return hashSecret(s.partition + "\n" + keyID + "\n" + s.serial)
}

// hashCode replaces a code in the store. The six digits can be guessed from the hash, but only used codes are stored.
func (s *mfaStep) hashCode(code secret.String) string {
	return hashSecret(s.partition + "\n" + s.serial + "\n" + code.Reveal())
}

func (s *mfaStep) reject(c aws.Credentials) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rejectedKeyID = c.AccessKeyID
}

func (s *mfaStep) isAccepted(c aws.Credentials) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.AccessKeyID != s.rejectedKeyID
}

const (
	// mfaLockTimeout is the longest time that the device's lock is needed: for a check of the key, and twice for a window,
	// a command and a call. It is less than the four minutes of filelock.Lock.
	mfaLockTimeout = callTimeout + 2*(codePeriod+commandTimeout+callTimeout)

	minWindowLeft     = 2 * time.Second  // of a window, to send its code
	warnBefore        = 2 * time.Hour    // before the expiry of a session that is not renewed
	recheckEvery      = 15 * time.Minute // for a login in another process
	refusedCodesPause = time.Hour        // how long a source is not used after two refused codes
)

func (s *mfaStep) Retrieve(ctx context.Context, prev Provider) (aws.Credentials, error) {
	base, err := s.baseKey(ctx, prev)
	if err != nil {
		return aws.Credentials{}, err
	}
	c, err := s.session(ctx, base)
	if record.ReasonOf(err) != record.BadKey {
		return c, err
	}
	prev.Reject(base) // it may have been rotated in the file or the process that it comes from
	other, otherErr := s.baseKey(ctx, prev)
	if otherErr != nil || sameCredentials(other, base) {
		return c, err
	}
	return s.session(ctx, other)
}

// session returns the stored session of a key, or begins one.
func (s *mfaStep) session(ctx context.Context, base aws.Credentials) (c aws.Credentials, err error) {
	ctx, cancel := fault.WithTimeout(ctx, 2*mfaLockTimeout, s.Name()) // the lock of another process, then our own
	defer cancel()
	var noCode error
	err = s.store.WithLock(ctx, s.device(base.AccessKeyID), func(stored *mfastore.Session, save func() error) error {
		t := now()
		noCode = s.codeUnavailable(stored, t)
		old := stored.Credentials()
		usable := valid(old, t) && s.isAccepted(old)
		if usable && (noCode != nil || t.Before(stored.Expires.Add(-renewalWindow))) {
			c = old
			return nil
		}
		switch {
		case stored.Unusable != nil && (noCode != nil || stored.OtherKey && !s.codes.unattended()):
			return stored.Unusable
		case noCode != nil:
			return noCode
		case stored.Unusable != nil:
			s.log.Warn("stored MFA session not usable; beginning another", "serial_number", s.serial,
				"error", stored.Unusable, "hint", "Nothing to do: the new session replaces it, with a new code.")
		}
		var err error
		c, err = s.beginSession(ctx, s.codes, base, stored, save)
		if err != nil && usable { // the old session still has minutes left
			s.log.Warn("MFA session not renewed; used until it expires", "serial_number", s.serial,
				"expires", old.Expires, "error", err, "reason", record.ReasonOf(err), "hint", record.HintOf(err))
			c, err = old, nil
		}
		return err
	})
	if err != nil {
		return aws.Credentials{}, s.explain(err, base, secret.String{})
	}
	if noCode != nil {
		s.warnExpiry(c)
	}
	return c, nil
}

// baseKey returns the long-lived key that the session is requested with.
func (s *mfaStep) baseKey(ctx context.Context, prev Provider) (aws.Credentials, error) {
	base, err := prev.Retrieve(ctx)
	if err == nil && base.SessionToken != "" {
		err = fault.New(record.BadKey,
			"Use a user's own long-lived key: STS gives no MFA session for temporary credentials.",
			"%s: the credentials of %s are temporary", s.Name(), s.signer)
	}
	return base, err
}

// beginSession requests a session with a code, and with a second code if the first was refused. The device is locked.
func (s *mfaStep) beginSession(
	ctx context.Context,
	codes codeSource,
	base aws.Credentials,
	stored *mfastore.Session,
	save func() error,
) (aws.Credentials, error) {
	// A code works once: first check the key, the clock and the network with another call.
	offset, err := s.sts.clockOffset(ctx, s.region, base)
	if err != nil {
		return aws.Credentials{}, s.explain(err, base, secret.String{})
	}
	for again := codes.unattended(); ; again = false {
		code, counter, err := s.nextCode(ctx, codes, stored, offset)
		if err != nil {
			return aws.Credentials{}, err
		}
		last := stored.Counter
		got, err := s.sendCode(ctx, base, code, counter, stored, save)
		if err == nil {
			stored.SetCredentials(got)
			s.trySave(save)
			return got, nil
		}
		if at, ok := serverDate(err); ok {
			if d := significantOffset(at, now()); (d - offset).Abs() >= codes.period() {
				offset, stored.Counter = d, last // the code was of another window than expected
			}
		}
		err = s.explain(err, base, code)
		switch {
		case record.ReasonOf(err) != record.MFAInvalid || !codes.unattended():
			return aws.Credentials{}, err
		case !again:
			stored.Refused, stored.RefusedAt = hashSecret(codes.key()), now()
			s.trySave(save)
			return aws.Credentials{}, s.refusedTwice(codes, stored, err)
		}
	}
}

// trySave saves what is known of the device. If that fails, the new session is used anyway: it has cost a code.
func (s *mfaStep) trySave(save func() error) {
	if err := save(); err != nil {
		s.log.Warn("MFA session not saved; restart needs a code",
			"serial_number", s.serial, "error", err,
			"hint", cmp.Or(record.HintOf(err), "Make data_dir writable, and free space there."))
	}
}

// nextCode returns a code that was not sent before and is valid for some time. It waits for one window at most. offset
// is how far AWS's clock is ahead of this machine's.
func (s *mfaStep) nextCode(
	ctx context.Context,
	codes codeSource,
	stored *mfastore.Session,
	offset time.Duration,
) (code secret.String, counter int64, err error) {
	if !codes.unattended() {
		return codes.code(ctx, now())
	}
	for waited := time.Duration(0); ; {
		at := now().Add(offset)
		_, left := codeWindow(at, codes.period())
		if left >= minWindowLeft {
			if code, counter, err = codes.code(ctx, at); err != nil || !stored.CodeUsed(s.hashCode(code), counter) {
				return code, counter, err
			}
			_, left = codeWindow(now().Add(offset), codes.period()) // a command takes time
		}
		if waited += left; waited > codes.period()+minWindowLeft {
			return code, 0, fault.New(record.MFAInvalid,
				"Correct the source of the codes: "+codes.name()+" must give a new code every 30 seconds.",
				"%s: %s gave a code that was used before, and again in the next window", s.Name(), codes.name())
		}
		if err := sleep(ctx, left); err != nil {
			return code, 0, err
		}
	}
}

// sendCode sends a code to STS and returns the session.
func (s *mfaStep) sendCode(
	ctx context.Context,
	base aws.Credentials,
	code secret.String,
	counter int64,
	stored *mfastore.Session,
	save func() error,
) (aws.Credentials, error) {
	// Save before the call: without a response, it is unknown whether STS accepted the code.
	before := *stored
	stored.MarkUsed(s.hashCode(code), counter)
	if err := save(); err != nil {
		return aws.Credentials{}, err
	}
	got, err := s.sts.sessionToken(ctx, s.region, base, &sts.GetSessionTokenInput{
		SerialNumber:    aws.String(s.serial),
		TokenCode:       aws.String(code.Reveal()),
		DurationSeconds: aws.Int32(int32(s.duration / time.Second)),
	})
	if err != nil && neverSent(err) {
		stored.UsedCodes, stored.Counter = before.UsedCodes, before.Counter
		if err := save(); err != nil {
			return aws.Credentials{}, err
		}
	}
	return got, err
}

func (s *mfaStep) explain(err error, base aws.Credentials, code secret.String) error {
	operation := s.Name()
	if !code.IsZero() {
		operation = "get an MFA session with " + s.serial
	}
	return explain(err, errorContext{
		operation: operation, signer: s.signer, serial: s.serial, region: s.region, creds: base, code: code.Reveal(),
	})
}

const loginHint = "Run `collector login` with the account's name, or put the device's next code into `token_code` " +
	"(in quotes) and reload. A code is good for one session of up to 36h; " +
	"set `totp_seed` or `token_command` to renew sessions without a person."

// codeUnavailable is why there is no code to send, found without a call to STS; nil: there may be one.
func (s *mfaStep) codeUnavailable(stored *mfastore.Session, t time.Time) error {
	expired := stored.AccessKeyID != "" && !t.Before(stored.Expires)
	ended := "the session expired at " + stored.Expires.UTC().Format(time.RFC3339)
	code, literal := s.codes.(literalCode)
	var cause string
	switch {
	case s.codes == nil && expired:
		cause = ended + ", and no source gives a new code"
	case s.codes == nil:
		cause = "there is no session, and no source gives a code"
	case literal && !slices.Contains(stored.UsedCodes, s.hashCode(code.text)):
		return nil
	case literal && expired:
		cause = ended + ", and the `token_code` was used before"
	case literal:
		cause = "the `token_code` was used before, and a code works once"
	case stored.Refused == hashSecret(s.codes.key()) && t.Before(stored.RefusedAt.Add(refusedCodesPause)):
		err := fault.New(record.MFAInvalid, "", "%s: two codes of %s were refused at %s",
			s.Name(), s.codes.name(), stored.RefusedAt.UTC().Format(time.RFC3339))
		return s.refusedTwice(s.codes, stored, err)
	default:
		return nil
	}
	return fault.New(record.MFANeeded, loginHint, "%s: %s", s.Name(), cause)
}

// refusedTwice is the error after two refused codes: more codes of this source would be refused too.
func (s *mfaStep) refusedTwice(codes codeSource, stored *mfastore.Session, err error) error {
	return &record.Fault{
		Reason: record.MFAInvalid,
		Hint: fmt.Sprintf("Check that %s is of this device, which may have been replaced, and that nobody else uses its "+
			"codes: two codes in a row were refused. STS is called again after %s, or when %s changes.",
			codes.name(), stored.RefusedAt.Add(refusedCodesPause).UTC().Format(time.RFC3339), codes.name()),
		Err: err,
	}
}

// warnExpiry warns once a session that it will expire and is not renewed.
func (s *mfaStep) warnExpiry(c aws.Credentials) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.warnedExpiry.Equal(c.Expires) || c.Expires.Sub(now()) > min(warnBefore, s.duration/2) {
		return
	}
	s.warnedExpiry = c.Expires
	s.log.Warn("MFA session expires soon and is not renewed",
		"serial_number", s.serial, "expires", c.Expires, "hint", loginHint)
}

// recheckAt is when to read the store again: earlier if only people begin sessions, to notice a login.
func (s *mfaStep) recheckAt(due, t time.Time) time.Time {
	if next := t.Add(recheckEvery); (s.codes == nil || !s.codes.unattended()) && next.Before(due) {
		return next
	}
	return due
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
