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
	renewalWindow    = 5 * time.Minute  // before expiry; up to half of it later, so that sessions do not end together
	retryPause       = 30 * time.Second // between two attempts to renew credentials that are still valid
	negativeCacheTTL = 10 * time.Second // how long a clear refusal is repeated without a call
	minimumAge       = 5 * time.Second  // younger credentials are not the ones that AWS refused as expired
	revocationAge    = 10 * time.Minute // younger credentials are not refreshed when AWS denies a call
)

// A Provider gives a step the credentials of the step before it.
type Provider interface {
	aws.CredentialsProvider
	// Drop reports that AWS refused these credentials: they are not returned again, if they are still the current ones.
	Drop(aws.Credentials)
	// Refresh replaces credentials that AWS accepts but denies a call that they should be allowed: a role's sessions can
	// be revoked by a policy that denies everything to sessions from before a time. false: there are no better ones.
	Refresh(context.Context, aws.Credentials) (aws.Credentials, bool)
}

// A layer is a step with its credentials, cached and renewed. It differs from the SDK's cache when something fails:
//   - renewal begins before expiry, in the background, and callers get the valid credentials in the meantime;
//   - a renewal that fails or hangs does not take valid credentials away;
//   - a caller waits no longer than its own context, and its context does not end the call for the others.
type layer struct {
	step       Step
	prev       *layer // nil for a base
	background *background

	lastUsed instant        // guarded by Sessions.mu
	resolver *ownerResolver // nil: no session ends with this layer. Guarded by Sessions.mu

	mu        sync.Mutex
	creds     *packedCredentials // nil: none
	rejected  *packedCredentials // the last ones that AWS refused, or that were revoked
	obtained  instant
	renewAt   instant      // when renewal begins; 0: never
	retryAt   instant      // no renewal before this
	cachedErr *cachedError // the last result, if it was a clear refusal
	renewal   *sharedCall[aws.Credentials]
}

// cachedError is a clear refusal, repeated until a time.
type cachedError struct {
	err   error
	until instant
}

// packedCredentials is the form in which a layer caches credentials: with ten thousand layers, one string is smaller.
// A layer holds a pointer to it, so that printing a layer prints no secret.
type packedCredentials struct {
	text                         string // the access key id, the secret, the token and the account id, concatenated
	secretAt, tokenAt, accountAt int32  // where these begin in text
	source                       string
	canExpire                    bool
	expires                      instant
}

func pack(c aws.Credentials) *packedCredentials {
	k := &packedCredentials{
		text:      c.AccessKeyID + c.SecretAccessKey + c.SessionToken + c.AccountID,
		source:    c.Source,
		canExpire: c.CanExpire,
		expires:   instantOf(c.Expires),
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

// An instant is a time in nanoseconds since 1970, smaller than a time.Time: ten thousand accounts have many layers.
type instant int64

func instantOf(t time.Time) instant {
	if t.IsZero() {
		return 0
	}
	return instant(t.UnixNano())
}

func (i instant) time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(i)).UTC()
}

// now is the wall clock: a session does not last longer because the machine slept.
func now() time.Time { return time.Now().Round(0) }

// Retrieve returns valid credentials, without waiting if there are any.
func (l *layer) Retrieve(ctx context.Context) (aws.Credentials, error) {
	if _, ok := l.step.(constant); ok {
		return l.step.Retrieve(ctx, nil)
	}
	l.mu.Lock()
	t := now()
	if l.valid(t) {
		c, at := l.creds.unpack(), instantOf(t)
		if l.renewal == nil && l.renewAt != 0 && at >= l.renewAt && at >= l.retryAt {
			l.startRenewal()
		}
		l.mu.Unlock()
		return c, nil
	}
	if l.cachedErr != nil && instantOf(t) < l.cachedErr.until {
		defer l.mu.Unlock()
		return aws.Credentials{}, l.cachedErr.err
	}
	f := l.renewal
	switch {
	case f != nil:
	case ctx == l.background.ctx: // a later step calls, on a background goroutine: it needs no other one
		f = newSharedCall[aws.Credentials]()
		l.renewal = f
		l.mu.Unlock()
		l.runRenewal(ctx, f)
		return f.val, f.err
	default:
		l.startRenewal()
		f = l.renewal
	}
	l.mu.Unlock()
	return f.wait(ctx, l.step.Name())
}

// startRenewal starts the one call that all callers wait for. l.mu is held.
func (l *layer) startRenewal() {
	f := newSharedCall[aws.Credentials]()
	l.renewal = f
	if !l.background.run(func(ctx context.Context) { l.runRenewal(ctx, f) }) {
		f.finish(aws.Credentials{}, errClosed) // l.renewal stays: no other renewal will start
	}
}

func (l *layer) runRenewal(ctx context.Context, f *sharedCall[aws.Credentials]) {
	c, err := l.retrieveStep(ctx)
	l.renewalDone(c, err)
	f.finish(c, err)
}

func (l *layer) retrieveStep(ctx context.Context) (c aws.Credentials, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &record.Fault{Reason: record.Panicked, Err: fmt.Errorf("%s: panic: %v", l.step.Name(), r)}
		}
	}()
	if l.prev == nil {
		return l.step.Retrieve(ctx, nil)
	}
	return l.step.Retrieve(ctx, l.prev)
}

func (l *layer) renewalDone(c aws.Credentials, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.renewal = nil
	t := now()
	l.retryAt = instantOf(t.Add(retryPause))
	if err == nil {
		l.creds, l.obtained, l.cachedErr = pack(c), instantOf(t), nil
		due := renewalTime(c, t)
		if s, ok := l.step.(rechecker); ok {
			due = s.recheckAt(due, t)
		}
		l.renewAt = instantOf(due)
		return
	}
	if isRefusal(err) {
		l.cachedErr = &cachedError{err, instantOf(t.Add(negativeCacheTTL))}
	}
	if l.valid(t) && l.background.ctx.Err() == nil {
		// No caller waits for this error, so it is logged.
		l.background.log.Warn("credentials not renewed; valid ones stay in use",
			"step", l.step.Name(), "expires", l.creds.expires.time(),
			"error", err, "reason", record.ReasonOf(err), "hint", record.HintOf(err))
	}
}

// Drop implements [Provider].
func (l *layer) Drop(c aws.Credentials) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.creds == nil {
		return
	}
	if mine := l.creds.unpack(); mine.AccessKeyID == c.AccessKeyID && mine.SessionToken == c.SessionToken {
		l.discard()
	}
}

// invalidate is Drop for a caller that does not know which credentials were refused. When several callers report it at
// once, the late ones do not drop what the first one fetched.
func (l *layer) invalidate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if instantOf(now().Add(-minimumAge)) >= l.obtained {
		l.discard()
	}
}

func (l *layer) discard() {
	if d, ok := l.step.(dropper); ok && l.creds != nil {
		d.drop(l.creds.unpack())
	}
	if l.creds != nil {
		l.rejected = l.creds
	}
	l.reset()
}

// isRejected reports whether AWS refused credentials that have not expired.
func (l *layer) isRejected(k *packedCredentials) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return k == l.rejected
}

// packedOf returns the cached form of c, the existing one if c is cached here.
func (l *layer) packedOf(c aws.Credentials) *packedCredentials {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.creds != nil && sameCredentials(l.creds.unpack(), c) {
		return l.creds
	}
	return pack(c)
}

// reset empties the cache. l.mu is held.
func (l *layer) reset() { l.creds, l.renewAt, l.retryAt, l.cachedErr = nil, 0, 0, nil }

// reload drops valid credentials, because the store has better ones.
func (l *layer) reload() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reset()
}

// Refresh implements [Provider]. A denial that is no revocation comes again, so there is at most one renewal per
// revocationAge, for all accounts behind a role.
func (l *layer) Refresh(ctx context.Context, c aws.Credentials) (aws.Credentials, bool) {
	if _, ok := l.step.(revocable); !ok {
		return c, false
	}
	l.mu.Lock()
	t := instantOf(now())
	switch {
	case l.creds != nil && !sameCredentials(l.creds.unpack(), c): // another caller already refreshed them
		defer l.mu.Unlock()
		return l.creds.unpack(), l.valid(now())
	case l.creds == nil || t < l.retryAt || t < l.obtained+instant(revocationAge):
		l.mu.Unlock()
		return c, false
	case l.renewal == nil:
		l.startRenewal()
	}
	f, old := l.renewal, l.creds
	l.mu.Unlock()
	other, err := f.wait(ctx, l.step.Name())
	if err != nil || sameCredentials(other, c) {
		return c, false // renewalDone logged the error, and kept the valid credentials
	}
	l.mu.Lock()
	l.rejected = old
	l.mu.Unlock()
	return other, true
}

// revocable is a step whose credentials can be revoked before they expire, without AWS calling them expired, and whose
// renewal costs only a call: a role's session, but not an MFA session, which costs a code.
type revocable interface{ revocable() }

func sameCredentials(a, b aws.Credentials) bool {
	return a.AccessKeyID == b.AccessKeyID && a.SecretAccessKey == b.SecretAccessKey && a.SessionToken == b.SessionToken
}

// A dropper is a step that also stores credentials elsewhere, and must not return refused ones from there.
type dropper interface{ drop(aws.Credentials) }

// A rechecker is a step whose credentials may be renewed elsewhere: it chooses when to look.
type rechecker interface {
	recheckAt(due, t time.Time) time.Time
}

func (l *layer) expires() (time.Time, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.creds == nil || !l.creds.canExpire {
		return time.Time{}, false
	}
	return l.creds.expires.time(), true
}

// mfaLayer is the layer of the MFA session; nil: there is none.
func (l *layer) mfaLayer() *layer {
	for ; l != nil; l = l.prev {
		if _, ok := l.step.(*mfaStep); ok {
			return l
		}
	}
	return nil
}

// path lists the names of the steps up to this one.
func (l *layer) path() []string {
	var names []string
	for ; l != nil; l = l.prev {
		name := l.step.Name()
		if n, ok := l.step.(interface{ nameWithSource(source string) string }); ok {
			l.mu.Lock()
			if l.creds != nil {
				name = n.nameWithSource(l.creds.source)
			}
			l.mu.Unlock()
		}
		names = append(names, name)
	}
	slices.Reverse(names)
	return names
}

// valid reports whether the cached credentials can be used. l.mu is held.
func (l *layer) valid(at time.Time) bool { return l.creds != nil && valid(l.creds.unpack(), at) }

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
