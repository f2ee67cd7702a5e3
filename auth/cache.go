package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/record"
)

// When credentials are renewed. The window is at most a quarter of their remaining lifetime: a window as long as the
// session would renew at every call.
const (
	renewalWindow    = 5 * time.Minute  // before expiry; up to half of it later, so that renewals do not coincide
	retryPause       = 30 * time.Second // between two attempts to renew credentials that are still valid
	negativeCacheTTL = 10 * time.Second // how long a clear refusal is returned without a call
	minimumAge       = 5 * time.Second  // younger credentials cannot be the ones that AWS refused as expired
	revocationAge    = 10 * time.Minute // younger credentials are not renewed when AWS denies a call
)

// A Provider gives a step the credentials of the step before it.
type Provider interface {
	aws.CredentialsProvider
	// Reject reports that AWS refused these credentials. If they are still the current ones, they are not returned again.
	Reject(aws.Credentials)
	// Renew replaces credentials that AWS accepts, but with which it denies a call that it should allow: a role's sessions
	// can be revoked by a policy that denies everything to sessions from before a time. false: there are no better ones.
	Renew(context.Context, aws.Credentials) (aws.Credentials, bool)
}

// A cachedStep is a step with its credentials, cached and renewed. It differs from the SDK's cache when something
// fails:
//   - renewal begins before expiry, in the background, and callers get the valid credentials in the meantime;
//   - a renewal that fails or hangs does not take valid credentials away;
//   - a caller waits no longer than its own context, and its context does not end the call for the others.
type cachedStep struct {
	step       Step
	prev       *cachedStep // nil for a base
	background *background

	lastUsed unixNano       // guarded by Sessions.mu
	resolver *ownerResolver // nil: no session ends with this step. Guarded by Sessions.mu

	mu        sync.Mutex
	creds     *packedCredentials // nil: none
	rejected  *packedCredentials // the last ones that AWS refused, or that were revoked
	obtained  unixNano
	renewAt   unixNano     // when renewal begins; 0: never
	retryAt   unixNano     // no renewal before this
	cachedErr *cachedError // the last result, if it was a clear refusal
	renewal   *sharedCall[aws.Credentials]
}

// A cachedError is a clear refusal that is returned until a time.
type cachedError struct {
	err   error
	until unixNano
}

// packedCredentials is the form in which credentials are cached: with ten thousand accounts, one string is smaller. A
// cachedStep holds a pointer to it, so that printing a cachedStep prints no secret.
type packedCredentials struct {
	text                         string // the access key id, the secret, the token and the account id, concatenated
	secretAt, tokenAt, accountAt int32  // where these begin in text
	source                       string
	canExpire                    bool
	expires                      unixNano
}

func pack(c aws.Credentials) *packedCredentials {
	k := &packedCredentials{
		text:      c.AccessKeyID + c.SecretAccessKey + c.SessionToken + c.AccountID,
		source:    c.Source,
		canExpire: c.CanExpire,
		expires:   unixNanoOf(c.Expires),
	}
	k.secretAt = int32(len(c.AccessKeyID))
	k.tokenAt = k.secretAt + int32(len(c.SecretAccessKey))
	k.accountAt = k.tokenAt + int32(len(c.SessionToken))
	return k
}

func (k *packedCredentials) unpack() aws.Credentials {
	return aws.Credentials{
		AccessKeyID:     k.text[:k.secretAt],
		SecretAccessKey: k.text[k.secretAt:k.tokenAt],
		SessionToken:    k.text[k.tokenAt:k.accountAt],
		AccountID:       k.text[k.accountAt:],
		Source:          k.source,
		CanExpire:       k.canExpire,
		Expires:         k.expires.time(),
	}
}

// A constant step takes its credentials from the configuration: they are not cached or renewed.
type constant interface{ constant() }

// unixNano is a time in nanoseconds since 1970, smaller than a time.Time: ten thousand accounts have many cached steps.
type unixNano int64

func unixNanoOf(t time.Time) unixNano {
	if t.IsZero() {
		return 0
	}
	return unixNano(t.UnixNano())
}

func (i unixNano) time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(i)).UTC()
}

// now is the wall clock: a session does not last longer because the machine slept.
func now() time.Time { return time.Now().Round(0) }

// Retrieve returns valid credentials, without waiting if there are any.
func (s *cachedStep) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if _, ok := s.step.(constant); ok {
		return s.step.Retrieve(ctx, nil)
	}
	s.mu.Lock()
	t := now()
	if s.valid(t) {
		c, at := s.creds.unpack(), unixNanoOf(t)
		if s.renewal == nil && s.renewAt != 0 && at >= s.renewAt && at >= s.retryAt {
			s.startRenewal()
		}
		s.mu.Unlock()
		return c, nil
	}
	if s.cachedErr != nil && unixNanoOf(t) < s.cachedErr.until {
		defer s.mu.Unlock()
		return aws.Credentials{}, s.cachedErr.err
	}
	f := s.renewal
	switch {
	case f != nil:
	case ctx == s.background.ctx: // a later step calls, on its background goroutine: no second one is needed
		f = newSharedCall[aws.Credentials]()
		s.renewal = f
		s.mu.Unlock()
		s.runRenewal(ctx, f)
		return f.val, f.err
	default:
		s.startRenewal()
		f = s.renewal
	}
	s.mu.Unlock()
	return f.wait(ctx, s.step.Name())
}

// startRenewal starts the one call that all callers wait for. s.mu is held.
func (s *cachedStep) startRenewal() {
	f := newSharedCall[aws.Credentials]()
	s.renewal = f
	if !s.background.run(func(ctx context.Context) { s.runRenewal(ctx, f) }) {
		f.finish(aws.Credentials{}, errClosed) // s.renewal stays: no other renewal will start
	}
}

func (s *cachedStep) runRenewal(ctx context.Context, f *sharedCall[aws.Credentials]) {
	c, err := s.retrieveStep(ctx)
	s.renewalDone(c, err)
	f.finish(c, err)
}

func (s *cachedStep) retrieveStep(ctx context.Context) (c aws.Credentials, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &record.Fault{Reason: record.Panicked, Err: fmt.Errorf("%s: panic: %v", s.step.Name(), r)}
		}
	}()
	if s.prev == nil {
		return s.step.Retrieve(ctx, nil)
	}
	return s.step.Retrieve(ctx, s.prev)
}

func (s *cachedStep) renewalDone(c aws.Credentials, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewal = nil
	t := now()
	s.retryAt = unixNanoOf(t.Add(retryPause))
	if err == nil {
		s.creds, s.obtained, s.cachedErr = pack(c), unixNanoOf(t), nil
		due := renewalTime(c, t)
		if r, ok := s.step.(rechecker); ok {
			due = r.recheckAt(due, t)
		}
		s.renewAt = unixNanoOf(due)
		return
	}
	if isRefusal(err) {
		s.cachedErr = &cachedError{err, unixNanoOf(t.Add(negativeCacheTTL))}
	}
	if s.valid(t) && s.background.ctx.Err() == nil {
		// No caller waits for this error, so it is logged.
		s.background.log.Warn("credentials not renewed; valid ones stay in use",
			"step", s.step.Name(), "expires", s.creds.expires.time(),
			"error", err, "reason", record.ReasonOf(err), "hint", record.HintOf(err))
	}
}

// Reject implements [Provider].
func (s *cachedStep) Reject(c aws.Credentials) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.creds == nil {
		return
	}
	if mine := s.creds.unpack(); mine.AccessKeyID == c.AccessKeyID && mine.SessionToken == c.SessionToken {
		s.rejectLocked()
	}
}

// rejectCurrent is Reject for a caller that does not know which credentials were refused. When several callers report
// it at once, the late ones do not reject what the first one fetched.
func (s *cachedStep) rejectCurrent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if unixNanoOf(now().Add(-minimumAge)) >= s.obtained {
		s.rejectLocked()
	}
}

// rejectLocked removes the current credentials from the cache, and from the step's own store. s.mu is held.
func (s *cachedStep) rejectLocked() {
	if d, ok := s.step.(rejecter); ok && s.creds != nil {
		d.reject(s.creds.unpack())
	}
	if s.creds != nil {
		s.rejected = s.creds
	}
	s.clearLocked()
}

// isRejected reports whether AWS refused credentials that have not expired.
func (s *cachedStep) isRejected(k *packedCredentials) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return k == s.rejected
}

// packedOf returns the cached form of c, the existing one if c is cached here.
func (s *cachedStep) packedOf(c aws.Credentials) *packedCredentials {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.creds != nil && sameCredentials(s.creds.unpack(), c) {
		return s.creds
	}
	return pack(c)
}

// clearLocked empties the cache. s.mu is held.
func (s *cachedStep) clearLocked() { s.creds, s.renewAt, s.retryAt, s.cachedErr = nil, 0, 0, nil }

// clear removes valid credentials, because the store has better ones.
func (s *cachedStep) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clearLocked()
}

// Renew implements [Provider]. A denial that is not a revocation comes again, so there is at most one renewal per
// revocationAge, for all accounts behind a role.
func (s *cachedStep) Renew(ctx context.Context, c aws.Credentials) (aws.Credentials, bool) {
	if _, ok := s.step.(revocable); !ok {
		return c, false
	}
	s.mu.Lock()
	t := unixNanoOf(now())
	switch {
	case s.creds != nil && !sameCredentials(s.creds.unpack(), c): // another caller already renewed them
		defer s.mu.Unlock()
		return s.creds.unpack(), s.valid(now())
	case s.creds == nil || t < s.retryAt || t < s.obtained+unixNano(revocationAge):
		s.mu.Unlock()
		return c, false
	case s.renewal == nil:
		s.startRenewal()
	}
	f, old := s.renewal, s.creds
	s.mu.Unlock()
	other, err := f.wait(ctx, s.step.Name())
	if err != nil || sameCredentials(other, c) {
		return c, false // renewalDone logged the error, and kept the valid credentials
	}
	s.mu.Lock()
	s.rejected = old
	s.mu.Unlock()
	return other, true
}

// revocable is a step whose credentials can be revoked before they expire, without AWS calling them expired, and whose
// renewal costs only a call: a role's session, but not an MFA session, which costs a code.
type revocable interface{ revocable() }

func sameCredentials(a, b aws.Credentials) bool {
	return a.AccessKeyID == b.AccessKeyID && a.SecretAccessKey == b.SecretAccessKey && a.SessionToken == b.SessionToken
}

// A rejecter is a step that also stores credentials elsewhere, and must not return refused ones from there.
type rejecter interface{ reject(aws.Credentials) }

// A rechecker is a step whose credentials another process may renew: it chooses when to read them again.
type rechecker interface {
	recheckAt(due, t time.Time) time.Time
}

func (s *cachedStep) expires() (time.Time, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.creds == nil || !s.creds.canExpire {
		return time.Time{}, false
	}
	return s.creds.expires.time(), true
}

// findMFA returns the step of the MFA session; nil: there is none.
func (s *cachedStep) findMFA() *cachedStep {
	for ; s != nil; s = s.prev {
		if _, ok := s.step.(*mfaStep); ok {
			return s
		}
	}
	return nil
}

// path lists the names of the steps up to this one.
func (s *cachedStep) path() []string {
	var names []string
	for ; s != nil; s = s.prev {
		name := s.step.Name()
		if n, ok := s.step.(interface{ nameWithSource(source string) string }); ok {
			s.mu.Lock()
			if s.creds != nil {
				name = n.nameWithSource(s.creds.source)
			}
			s.mu.Unlock()
		}
		names = append(names, name)
	}
	slices.Reverse(names)
	return names
}

// valid reports whether the cached credentials can be used. s.mu is held.
func (s *cachedStep) valid(at time.Time) bool { return s.creds != nil && valid(s.creds.unpack(), at) }

func valid(c aws.Credentials, at time.Time) bool {
	return c.HasKeys() && (!c.CanExpire || at.Before(c.Expires))
}

func renewalTime(c aws.Credentials, at time.Time) time.Time {
	if !c.CanExpire {
		return time.Time{}
	}
	w := min(renewalWindow, c.Expires.Sub(at)/4)
	return c.Expires.Add(-w + time.Duration(rand.Float64()*0.5*float64(w)))
}

// isRefusal reports whether a second call right away would fail in the same way.
func isRefusal(err error) bool {
	switch record.ReasonOf(err) {
	case record.TimedOut, record.Throttling, record.Network, record.Interrupted, record.Panicked, record.Other:
		return false
	}
	return true
}

// A sharedCall is one call for which many callers wait, each as long as its own context allows.
type sharedCall[T any] struct {
	done chan struct{}
	val  T
	err  error
}

func newSharedCall[T any]() *sharedCall[T] { return &sharedCall[T]{done: make(chan struct{})} }

func (f *sharedCall[T]) finish(v T, err error) {
	f.val, f.err = v, err
	close(f.done)
}

func (f *sharedCall[T]) wait(ctx context.Context, name string) (T, error) {
	select {
	case <-f.done:
		return f.val, f.err
	case <-ctx.Done():
		var zero T
		err := ctx.Err()
		if cause := context.Cause(ctx); !errors.Is(cause, err) {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		return zero, fmt.Errorf("%s: waiting for credentials: %w", name, err)
	}
}

var errClosed = &record.Fault{Reason: record.Interrupted, Err: errors.New("sign-in: the program is shutting down")}

// background owns the goroutines that renew credentials, and stops them with the Sessions. Its context is a field
// because a renewal belongs to all callers that wait for it, not to the first one.
type background struct {
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

func newBackground(log *slog.Logger) *background {
	ctx, cancel := context.WithCancel(context.Background())
	return &background{log: log, ctx: ctx, cancel: cancel}
}

// run starts fn; false: the background is stopped.
func (b *background) run(fn func(context.Context)) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.wg.Go(func() { fn(b.ctx) })
	return true
}

func (b *background) stop() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.wg.Wait()
}
