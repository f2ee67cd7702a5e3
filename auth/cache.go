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

// When credentials are renewed. The window never reaches a quarter of what is left of them: a window as long as the
// session would renew at every call.
const (
	renewalWindow    = 5 * time.Minute  // before their end, and up to half of it later, so that sessions do not end all at once
	retryPause       = 30 * time.Second // between two tries to renew what is still valid
	negativeCacheTTL = 10 * time.Second // so long a clear refusal is repeated without asking again
	minimumAge       = 5 * time.Second  // credentials younger than this are not what an "expired" was about
	revocationAge    = 10 * time.Minute // credentials older than this may have been revoked, where AWS denies what a role is there for
)

// A Provider gives a step the credentials before it.
type Provider interface {
	aws.CredentialsProvider
	// Drop says that AWS refuses these credentials: they are not given again, if they are still the current ones.
	Drop(aws.Credentials)
	// Refresh gives others in the place of these, which AWS takes and yet denies what they should be allowed: a role's sessions can be
	// revoked, by a policy that denies everything to those begun before. false: there are none that could be better.
	Refresh(context.Context, aws.Credentials) (aws.Credentials, bool)
}

// A layer is a step with its credentials, kept and renewed. It differs from the SDK's cache in what happens in bad times:
//   - renewal begins before the end, in the background, and those who ask meanwhile get what is still valid;
//   - a renewal that fails or hangs takes nothing away from anybody;
//   - nobody waits longer than its own context, and nobody's context ends the others' call.
type layer struct {
	step       Step
	prev       *layer // nil under a base
	background *background

	lastUsed instant        // guarded by Sessions.mu
	resolver *ownerResolver // the session that this layer is the last of; nil: none. Guarded by Sessions.mu

	mu        sync.Mutex
	creds     *packedCredentials // nil: none
	rejected  *packedCredentials // the last that AWS refused, or denied what others are allowed
	obtained  instant
	renewAt   instant      // when renewal begins; 0: never
	retryAt   instant      // no renewal before
	cachedErr *cachedError // the last answer, if it was a clear one
	renewal   *sharedCall[aws.Credentials]
}

// cachedError is a clear refusal, repeated until then.
type cachedError struct {
	err   error
	until instant
}

// packedCredentials is credentials as a layer keeps them: there may be ten thousand of them, so their texts are one. A layer has its address,
// which is what whoever prints a layer prints.
type packedCredentials struct {
	text                         string // the access key id, the secret, the token and the account's id, one after the other
	secretAt, tokenAt, accountAt int32  // where these begin
	source                       string
	canExpire                    bool
	expires                      instant
}

func pack(c aws.Credentials) *packedCredentials {
	k := &packedCredentials{text: c.AccessKeyID + c.SecretAccessKey + c.SessionToken + c.AccountID, source: c.Source, canExpire: c.CanExpire, expires: instantOf(c.Expires)}
	k.secretAt = int32(len(c.AccessKeyID))
	k.tokenAt = k.secretAt + int32(len(c.SecretAccessKey))
	k.accountAt = k.tokenAt + int32(len(c.SessionToken))
	return k
}

func (k *packedCredentials) unpack() aws.Credentials {
	return aws.Credentials{AccessKeyID: k.text[:k.secretAt], SecretAccessKey: k.text[k.secretAt:k.tokenAt], SessionToken: k.text[k.tokenAt:k.accountAt],
		AccountID: k.text[k.accountAt:], Source: k.source, CanExpire: k.canExpire, Expires: k.expires.time()}
}

// A constant step has its credentials from the configuration: there is nothing to wait for, to keep or to renew.
type constant interface{ constant() }

// An instant is a time in nanoseconds since 1970: a layer has five, and ten thousand accounts have twenty thousand layers.
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

// now is wall clock: a session does not last longer because the machine slept.
func now() time.Time { return time.Now().Round(0) }

// Retrieve gives valid credentials, without waiting where there are any.
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
	case ctx == l.background.ctx: // a step after this one asks: its goroutine is one that everybody waits for as it is
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

// startRenewal starts the one call that everybody waits for. l.mu is held.
func (l *layer) startRenewal() {
	f := newSharedCall[aws.Credentials]()
	l.renewal = f
	if !l.background.run(func(ctx context.Context) { l.runRenewal(ctx, f) }) {
		f.finish(aws.Credentials{}, errClosed) // and stays: there is no other to come
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
		// Nobody waits for this error, so it is said here.
		l.background.log.Warn("credentials not renewed; what is valid is kept", "step", l.step.Name(), "expires", l.creds.expires.time(),
			"err", err, "reason", record.ReasonOf(err), "hint", record.HintOf(err))
	}
}

// Drop is [Provider].
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

// invalidate is Drop by one who does not know which credentials were refused. Of several who find out at once, the late
// ones do not drop what the first one fetched.
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

// isRejected reports whether credentials that were kept are not to be given any more, though they are valid by the clock.
func (l *layer) isRejected(k *packedCredentials) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return k == l.rejected
}

// packedOf is credentials as they are kept here, or are to be.
func (l *layer) packedOf(c aws.Credentials) *packedCredentials {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.creds != nil && sameCredentials(l.creds.unpack(), c) {
		return l.creds
	}
	return pack(c)
}

// reset leaves the layer as it began. l.mu is held.
func (l *layer) reset() { l.creds, l.renewAt, l.retryAt, l.cachedErr = nil, 0, 0, nil }

// reload forgets what is still good, because there is better elsewhere.
func (l *layer) reload() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reset()
}

// Refresh is [Provider]. Whoever denies and is right, denies again: so it is one call in so long a time, however many behind one role
// are denied.
func (l *layer) Refresh(ctx context.Context, c aws.Credentials) (aws.Credentials, bool) {
	if _, ok := l.step.(revocable); !ok {
		return c, false
	}
	l.mu.Lock()
	t := instantOf(now())
	switch {
	case l.creds != nil && !sameCredentials(l.creds.unpack(), c): // somebody was faster
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
		return c, false // landed has said why, and kept what is valid
	}
	l.mu.Lock()
	l.rejected = old
	l.mu.Unlock()
	return other, true
}

// revocable is a step whose credentials can be taken back before their time without AWS calling them expired, and are had again for a
// call: a role's session, but no MFA session, which costs a code.
type revocable interface{ revocable() }

func sameCredentials(a, b aws.Credentials) bool {
	return a.AccessKeyID == b.AccessKeyID && a.SecretAccessKey == b.SecretAccessKey && a.SessionToken == b.SessionToken
}

// A dropper is a step that keeps credentials elsewhere and must not give the refused ones again.
type dropper interface{ drop(aws.Credentials) }

// A looker is a step whose credentials others may renew elsewhere: it says when to look.
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

// mfaLayer is the layer of the MFA session, nil without one.
func (l *layer) mfaLayer() *layer {
	for ; l != nil; l = l.prev {
		if _, ok := l.step.(*mfaStep); ok {
			return l
		}
	}
	return nil
}

// path is the names of the steps up to this one.
func (l *layer) path() []string {
	var names []string
	for ; l != nil; l = l.prev {
		name := l.step.Name()
		if n, ok := l.step.(interface{ found(source string) string }); ok {
			l.mu.Lock()
			if l.creds != nil {
				name = n.found(l.creds.source)
			}
			l.mu.Unlock()
		}
		names = append(names, name)
	}
	slices.Reverse(names)
	return names
}

// valid reports whether there are credentials to give. l.mu is held.
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

// isRefusal reports whether asking again at once would get the same answer.
func isRefusal(err error) bool {
	switch record.ReasonOf(err) {
	case record.TimedOut, record.Throttling, record.Network, record.Interrupted, record.Panicked, record.Other:
		return false
	}
	return true
}

// A flight is one piece of work for which many wait, each no longer than it wants to.
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
		var none T
		err := ctx.Err()
		if cause := context.Cause(ctx); !errors.Is(cause, err) {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		return none, fmt.Errorf("%s: waiting for credentials: %w", name, err)
	}
}

var errClosed = &record.Fault{Reason: record.Interrupted, Err: errors.New("sign-in: the program is ending")}

// background is as long as the sessions': it ends the goroutines that renew, and waits for them. Its context is kept because a
// renewal belongs to all who wait for it, not to the one who asked first.
type background struct {
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

func newBackground(log *slog.Logger) *background {
	ctx, stop := context.WithCancel(context.Background())
	return &background{log: log, ctx: ctx, cancel: stop}
}

// run starts fn, unless the life is over.
func (l *background) run(fn func(context.Context)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.wg.Go(func() { fn(l.ctx) })
	return true
}

func (l *background) stop() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.wg.Wait()
}
