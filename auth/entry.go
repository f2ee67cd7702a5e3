package auth

import (
	"context"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/record"
)

// An entry stands between the last layer of a pipeline and its Sessions: it knows whose the credentials are, and
// gives none of which it does not. Each new key or session is asked about once; the same key, read again, is not.
type ownerResolver struct {
	top *layer

	mu      sync.Mutex
	owner   *owner                         // of the credentials that were given last
	region  string                         // whose STS answered last
	retryAt instant                        // nobody is asked before, as long as the owner's credentials are valid
	pending map[string]*sharedCall[*owner] // by region: where it is not enabled, a key is refused that others take

	revoked revocation
}

// An owner is credentials and whose they are. Immutable.
type owner struct {
	creds    *packedCredentials
	identity record.Identity
}

// retrieve gives credentials and their owner. region is whose STS is asked; "": the one that answered last. Where the
// layer has new credentials and nobody can say whose they are, those from before are given as long as they are valid.
func (e *ownerResolver) retrieve(ctx context.Context, s *Sessions, region string) (aws.Credentials, *owner, error) {
	c, err := e.top.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, nil, err
	}
	e.mu.Lock()
	previous, t := e.owner, now()
	if previous != nil && sameCredentials(previous.creds.unpack(), c) {
		e.mu.Unlock()
		return c, previous, nil
	}
	if step, ok := e.top.step.(identifier); ok {
		if who, ok := step.knownIdentity(c); ok {
			defer e.mu.Unlock()
			return c, e.setOwner(s, c, who), nil
		}
	}
	if region == "" {
		region = e.region
	}
	old := previous != nil && valid(previous.creds.unpack(), t) && !e.top.isRejected(previous.creds)
	f := e.pending[region]
	if f == nil && !(old && instantOf(t) < e.retryAt) {
		if f = e.start(s, region); f == nil {
			e.mu.Unlock()
			return aws.Credentials{}, nil, errClosed
		}
	}
	e.mu.Unlock()
	if old {
		return previous.creds.unpack(), previous, nil
	}
	of, err := f.wait(ctx, e.top.step.Name())
	if err != nil {
		return aws.Credentials{}, nil, err
	}
	return of.creds.unpack(), of, nil
}

// start begins to find out whose the credentials are; nil: the program ends. e.mu is held.
func (e *ownerResolver) start(s *Sessions, region string) *sharedCall[*owner] {
	f := newSharedCall[*owner]()
	if !s.background.run(func(ctx context.Context) {
		c, who, err := resolveIdentity(ctx, s.sts, region, e.top)
		f.finish(e.finish(s, region, c, who, err), err)
	}) {
		return nil
	}
	if e.pending == nil {
		e.pending = map[string]*sharedCall[*owner]{}
	}
	e.pending[region] = f
	return f
}

func (e *ownerResolver) finish(s *Sessions, region string, c aws.Credentials, who record.Identity, err error) *owner {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.pending, region)
	if len(e.pending) == 0 {
		e.pending = nil
	}
	previous, t := e.owner, now()
	if err != nil {
		e.retryAt = instantOf(t.Add(retryPause))
		if previous != nil && valid(previous.creds.unpack(), t) && s.background.ctx.Err() == nil {
			s.log.Warn("new credentials not used: their account is unknown",
				"step", e.top.step.Name(), "account_id", previous.identity.AccountID, "error", err, "reason", record.ReasonOf(err), "hint", record.HintOf(err))
		}
		return nil
	}
	e.region = region
	return e.setOwner(s, c, who)
}

// setOwner notes whose the credentials are. e.mu is held.
func (e *ownerResolver) setOwner(s *Sessions, c aws.Credentials, who record.Identity) *owner {
	switch previous := e.owner; {
	case previous != nil && previous.identity == who:
		who = previous.identity // the same texts once
	case previous == nil || principal(previous.identity.ARN) != principal(who.ARN):
		s.log.Info("signed in", "arn", who.ARN, "account_id", who.AccountID, "path", strings.Join(e.top.path(), " → "))
	}
	e.owner, e.retryAt = &owner{creds: e.top.packedOf(c), identity: who}, 0
	return e.owner
}

// principal is an ARN without the name of the role session, which some sources choose anew each time.
func principal(arn string) string {
	if i := strings.LastIndexByte(arn, '/'); i > 0 && strings.Contains(arn, ":assumed-role/") {
		return arn[:i]
	}
	return arn
}
