package auth

import (
	"context"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/record"
)

// An ownerResolver finds the owner of the credentials of a pipeline's last step, and returns no credentials whose owner
// is unknown. It asks AWS once for each new key or session, not when the same key is read again.
type ownerResolver struct {
	last    *cachedStep
	account string // the block that was opened first; others with the same steps share the credentials

	mu      sync.Mutex
	owner   *owner                         // of the credentials that were returned last
	region  string                         // the STS region that responded last
	retryAt unixNano                       // no call before this, while the owner's credentials are valid
	pending map[string]*sharedCall[*owner] // by region: where it is not enabled, STS refuses a valid key

	revoked  revocation
	keyCheck keyCheck
}

// An owner is credentials with their identity. It is immutable.
type owner struct {
	creds    *packedCredentials
	identity record.Identity
}

// retrieve returns credentials and their owner. region is the STS region to call; "": the one that responded last. If
// the step has new credentials whose owner cannot be found, the earlier ones are returned while they are valid.
func (e *ownerResolver) retrieve(ctx context.Context, s *Sessions, region string) (aws.Credentials, *owner, error) {
	c, err := e.last.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, nil, err
	}
	e.mu.Lock()
	previous, t := e.owner, now()
	if previous != nil && sameCredentials(previous.creds.unpack(), c) {
		e.mu.Unlock()
		return c, previous, nil
	}
	if step, ok := e.last.step.(identifier); ok {
		if identity, ok := step.knownIdentity(c); ok {
			defer e.mu.Unlock()
			return c, e.setOwner(s, c, identity), nil
		}
	}
	if region == "" {
		region = e.region
	}
	usable := previous != nil && valid(previous.creds.unpack(), t) && !e.last.isRejected(previous.creds)
	f := e.pending[region]
	if f == nil && !(usable && unixNanoOf(t) < e.retryAt) {
		if f = e.start(s, region); f == nil {
			e.mu.Unlock()
			return aws.Credentials{}, nil, errClosed
		}
	}
	e.mu.Unlock()
	if usable {
		return previous.creds.unpack(), previous, nil
	}
	found, err := f.wait(ctx, e.last.step.Name())
	if err != nil {
		return aws.Credentials{}, nil, err
	}
	return found.creds.unpack(), found, nil
}

// start begins to resolve the owner of the credentials; nil: the program is shutting down. e.mu is held.
func (e *ownerResolver) start(s *Sessions, region string) *sharedCall[*owner] {
	f := newSharedCall[*owner]()
	if !s.background.run(func(ctx context.Context) {
		c, identity, err := resolveIdentity(ctx, s.sts, region, e.last)
		f.finish(e.finish(s, region, c, identity, err), err)
	}) {
		return nil
	}
	if e.pending == nil {
		e.pending = map[string]*sharedCall[*owner]{}
	}
	e.pending[region] = f
	return f
}

func (e *ownerResolver) finish(
	s *Sessions,
	region string,
	c aws.Credentials,
	identity record.Identity,
	err error,
) *owner {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.pending, region)
	if len(e.pending) == 0 {
		e.pending = nil
	}
	previous, t := e.owner, now()
	if err != nil {
		e.retryAt = unixNanoOf(t.Add(retryPause))
		if previous != nil && valid(previous.creds.unpack(), t) && s.background.ctx.Err() == nil {
			s.log.Warn("new credentials not used: their account is unknown",
				"account", e.account, "step", e.last.step.Name(), "account_id", previous.identity.AccountID,
				"error", err, "reason", record.ReasonOf(err), "hint", record.HintOf(err))
		}
		return nil
	}
	e.region = region
	return e.setOwner(s, c, identity)
}

// setOwner stores the owner of the credentials. e.mu is held.
func (e *ownerResolver) setOwner(s *Sessions, c aws.Credentials, identity record.Identity) *owner {
	switch previous := e.owner; {
	case previous != nil && previous.identity == identity:
		identity = previous.identity // shares its strings
	case previous == nil || principal(previous.identity.ARN) != principal(identity.ARN):
		s.log.Info("signed in", "account", e.account,
			"arn", identity.ARN, "account_id", identity.AccountID, "steps", strings.Join(e.last.path(), " → "))
	}
	e.owner, e.retryAt = &owner{creds: e.last.packedOf(c), identity: identity}, 0
	return e.owner
}

// principal is an ARN without the role session name, which some sources change for each session.
func principal(arn string) string {
	if i := strings.LastIndexByte(arn, '/'); i > 0 && strings.Contains(arn, ":assumed-role/") {
		return arn[:i]
	}
	return arn
}
