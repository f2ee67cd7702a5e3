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

// defaultMFASession is the longest session that GetSessionToken gives a user.
// https://docs.aws.amazon.com/STS/latest/APIReference/API_GetSessionToken.html
const defaultMFASession = 36 * time.Hour

// mfaStep turns a user's long-lived key and a code into a session, from which roles are then assumed without a code. The
// session belongs to the device: all accounts behind one device share it, as do processes and restarts.
type mfaStep struct {
	sts       stsClient
	store     MFAStore
	region    string
	serial    string
	partition string
	codes     codeSource // nil: only a login begins a session
	duration  time.Duration
	signer    string // name of the step before
	log       *slog.Logger

	mu             sync.Mutex
	rejectedKeyID  string    // access key id of a stored session that AWS no longer takes
	remindedExpiry time.Time // the end of a session that was warned of
}

func (s *mfaStep) Name() string { return "mfa " + s.serial }

// Key holds what gives the codes, so that a new code in the file gets its chance; the session behind it stays the same.
func (s *mfaStep) Key() string {
	codes := ""
	if s.codes != nil {
		codes = s.codes.key()
	}
	return fmt.Sprintf("mfa %s %s %s %s %s", s.partition, s.serial, codes, s.duration, s.region)
}

// device names what the session belongs to: a key and a device.
func (s *mfaStep) device(keyID string) string {
	return digest(s.partition + "\n" + keyID + "\n" + s.serial)
}

// codeDigest stands for a code. Six digits can be found again from it, but it is kept only once the code is worthless.
func (s *mfaStep) codeDigest(code secret.String) string {
	return digest(s.partition + "\n" + s.serial + "\n" + code.Reveal())
}

func (s *mfaStep) drop(c aws.Credentials) {
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
	// mfaLockTimeout is the most that one who holds the device needs: a look at the key, and twice a window, a command and a call.
	mfaLockTimeout = callTimeout + 2*(codePeriod+commandTimeout+callTimeout)

	maxSpentCodes     = 20              // digests that are remembered: a code is good for a minute or two
	minWindowLeft     = 2 * time.Second // what must be left of a window for its code to be sent
	remindBefore      = 2 * time.Hour   // of the end of a session that nobody renews
	recheckEvery      = 15 * time.Minute
	refusedCodesPause = time.Hour // how long what gave two wrong codes is not asked again
)

func (s *mfaStep) Retrieve(ctx context.Context, prev Provider) (c aws.Credentials, err error) {
	base, err := s.baseKey(ctx, prev)
	if err != nil {
		return aws.Credentials{}, err
	}
	ctx, cancel := withTimeout(ctx, 2*mfaLockTimeout, s.Name()) // once for another process, once for us
	defer cancel()
	var noCode error
	err = s.store.WithLock(ctx, s.device(base.AccessKeyID), func(stored *MFASession, save func() error) error {
		t := now()
		noCode = s.codeUnavailable(stored, t)
		old := stored.credentials()
		good := valid(old, t) && s.isAccepted(old)
		if good && (noCode != nil || t.Before(stored.Expires.Add(-renewalWindow))) {
			c = old
			return nil
		}
		switch {
		case stored.Unusable != nil && (noCode != nil || stored.Locked && !s.codes.unattended()):
			return stored.Unusable
		case noCode != nil:
			return noCode
		case stored.Unusable != nil:
			s.log.Warn("stored mfa session not used; beginning a new one", "serial_number", s.serial, "error", stored.Unusable)
		}
		var err error
		if c, err = s.beginSession(ctx, s.codes, base, stored, save); err != nil && good { // the old session has minutes left
			s.log.Warn("mfa session not renewed; it is used to its end", "serial_number", s.serial, "expires", old.Expires,
				"err", err, "reason", record.ReasonOf(err), "hint", record.HintOf(err))
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

// baseKey is the key that a session is had with.
func (s *mfaStep) baseKey(ctx context.Context, prev Provider) (aws.Credentials, error) {
	base, err := prev.Retrieve(ctx)
	if err == nil && base.SessionToken != "" {
		err = fault(record.BadKey, "an MFA session can only be had with a user's own long-lived key, not with temporary credentials",
			"%s: the credentials of %s are temporary", s.Name(), s.signer)
	}
	return base, err
}

// beginSession gets a session for a code, for two if the first was refused. What is known of the device is locked.
func (s *mfaStep) beginSession(ctx context.Context, codes codeSource, base aws.Credentials, stored *MFASession, save func() error) (aws.Credentials, error) {
	// A code is worth more than a call: first see that the key, the clock and the network are in order.
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
			stored.setCredentials(got)
			s.trySave(save)
			return got, nil
		}
		if at, ok := serverDate(err); ok {
			if d := significantOffset(at, now()); (d - offset).Abs() >= codes.period() {
				offset, stored.Counter = d, last // that window was another than we thought
			}
		}
		err = s.explain(err, base, code)
		switch {
		case record.ReasonOf(err) != record.MFAInvalid || !codes.unattended():
			return aws.Credentials{}, err
		case !again:
			stored.Refused, stored.RefusedAt = digest(codes.key()), now()
			s.trySave(save)
			return aws.Credentials{}, s.refusedTwice(codes, stored, err)
		}
	}
}

// trySave keeps what is known. That it cannot is no reason to throw away what a code has bought.
func (s *mfaStep) trySave(save func() error) {
	if err := save(); err != nil {
		s.log.Warn("mfa session not kept: a restart will need a new code", "serial_number", s.serial, "err", err, "hint", record.HintOf(err))
	}
}

// nextCode is a code that was not sent before and has some time left, for which it waits one window at most. ahead is how far
// AWS's clock is before this machine's.
func (s *mfaStep) nextCode(ctx context.Context, codes codeSource, stored *MFASession, offset time.Duration) (code secret.String, counter int64, err error) {
	if !codes.unattended() {
		return codes.code(ctx, now())
	}
	for waited := time.Duration(0); ; {
		at := now().Add(offset)
		_, left := codeWindow(at, codes.period())
		if left >= minWindowLeft {
			if code, counter, err = codes.code(ctx, at); err != nil || !stored.codeUsed(s.codeDigest(code), counter) {
				return code, counter, err
			}
			_, left = codeWindow(now().Add(offset), codes.period()) // a command takes its time
		}
		if waited += left; waited > codes.period()+minWindowLeft {
			return code, 0, fault(record.MFAInvalid, "the codes do not change with time: "+codes.name()+" must give a new one every 30 seconds",
				"%s: %s gave a code that was used before, and in the next window again", s.Name(), codes.name())
		}
		if err := sleep(ctx, left); err != nil {
			return code, 0, err
		}
	}
}

// sendCode spends a code.
func (s *mfaStep) sendCode(ctx context.Context, base aws.Credentials, code secret.String, counter int64, stored *MFASession, save func() error) (aws.Credentials, error) {
	// Before the call, not after it: what happens to a code that was sent is not known until STS answers.
	before := *stored
	stored.Spent = append(slices.Clone(stored.Spent[max(0, len(stored.Spent)-maxSpentCodes):]), s.codeDigest(code))
	if counter > 0 {
		stored.Counter = counter
	}
	if err := save(); err != nil {
		return aws.Credentials{}, err
	}
	got, err := s.sts.sessionToken(ctx, s.region, base, &sts.GetSessionTokenInput{
		SerialNumber: aws.String(s.serial), TokenCode: aws.String(code.Reveal()), DurationSeconds: aws.Int32(int32(s.duration / time.Second)),
	})
	if err != nil && neverSent(err) {
		stored.Spent, stored.Counter = before.Spent, before.Counter
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
	return explain(err, errorContext{operation: operation, signer: s.signer, serial: s.serial, region: s.region, creds: base, code: code.Reveal()})
}

const loginHint = "run `collector login` with the account's name, or put the device's next code into `token_code` (in quotes) and reload; " +
	"a code is good for one session of up to 36h. `totp_seed` or `token_command` make it last"

// codeUnavailable is why there is no code to send, said without asking STS; nil if there is one.
func (s *mfaStep) codeUnavailable(stored *MFASession, t time.Time) error {
	over := stored.AccessKeyID != "" && !t.Before(stored.Expires)
	ended := "the session ended at " + stored.Expires.UTC().Format(time.RFC3339)
	code, literal := s.codes.(literalCode)
	var cause string
	switch {
	case s.codes == nil && over:
		cause = ended + ", and nothing gives a new code"
	case s.codes == nil:
		cause = "there is no session, and nothing gives a code"
	case literal && !slices.Contains(stored.Spent, s.codeDigest(code.text)):
		return nil
	case literal && over:
		cause = ended + " and the `token_code` was used before"
	case literal:
		cause = "the `token_code` was used before, and a code is good once"
	case stored.Refused == digest(s.codes.key()) && t.Before(stored.RefusedAt.Add(refusedCodesPause)):
		return s.refusedTwice(s.codes, stored, fault(record.MFAInvalid, "", "%s: two codes of %s were refused at %s", s.Name(), s.codes.name(), stored.RefusedAt.UTC().Format(time.RFC3339)))
	default:
		return nil
	}
	return fault(record.MFANeeded, loginHint, "%s: %s", s.Name(), cause)
}

// refusedTwice is the end of a source whose codes are wrong: more of them would be too.
func (s *mfaStep) refusedTwice(codes codeSource, stored *MFASession, err error) error {
	return &record.Fault{
		Reason: record.MFAInvalid,
		Hint: fmt.Sprintf("two codes in a row were refused, so %s is not of this device (was it made anew?), or somebody else spends its codes; "+
			"STS is asked again after %s, or as soon as %s is another", codes.name(), stored.RefusedAt.Add(refusedCodesPause).UTC().Format(time.RFC3339), codes.name()),
		Err: err,
	}
}

// warnExpiry says once a session that it will end and that nobody renews it.
func (s *mfaStep) warnExpiry(c aws.Credentials) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.remindedExpiry.Equal(c.Expires) || c.Expires.Sub(now()) > min(remindBefore, s.duration/2) {
		return
	}
	s.remindedExpiry = c.Expires
	s.log.Warn("mfa session ends soon, and nothing renews it", "serial_number", s.serial, "expires", c.Expires, "hint", loginHint)
}

// recheckAt is when the store is looked into again: where only people begin sessions, now and then, so that a login is noticed.
func (s *mfaStep) recheckAt(due, t time.Time) time.Time {
	if next := t.Add(recheckEvery); (s.codes == nil || !s.codes.unattended()) && next.Before(due) {
		return next
	}
	return due
}
