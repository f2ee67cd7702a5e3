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
type entry struct {
	top *layer

	mu      sync.Mutex
	owner   *owner                     // of the credentials that were given last
	region  string                     // whose STS answered last
	next    instant                    // nobody is asked before, as long as the owner's credentials are valid
	flights map[string]*flight[*owner] // by region: where it is not enabled, a key is refused that others take

	revoked revocation
}

// An owner is credentials and whose they are. Immutable.
type owner struct {
	creds *kept
	who   record.Identity
}

// retrieve gives credentials and their owner. region is whose STS is asked; "": the one that answered last. Where the
// layer has new credentials and nobody can say whose they are, those from before are given as long as they are valid.
func (e *entry) retrieve(ctx context.Context, s *Sessions, region string) (aws.Credentials, *owner, error) {
	c, err := e.top.Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, nil, err
	}
	e.mu.Lock()
	was, t := e.owner, now()
	if was != nil && same(was.creds.credentials(), c) {
		e.mu.Unlock()
		return c, was, nil
	}
	if step, ok := e.top.step.(identifier); ok {
		if who, ok := step.identified(c); ok {
			defer e.mu.Unlock()
			return c, e.settle(s, c, who), nil
		}
	}
	if region == "" {
		region = e.region
	}
	old := was != nil && valid(was.creds.credentials(), t) && !e.top.refused(was.creds)
	f := e.flights[region]
	if f == nil && !(old && instantOf(t) < e.next) {
		if f = e.ask(s, region); f == nil {
			e.mu.Unlock()
			return aws.Credentials{}, nil, errClosed
		}
	}
	e.mu.Unlock()
	if old {
		return was.creds.credentials(), was, nil
	}
	of, err := f.wait(ctx, e.top.step.Name())
	if err != nil {
		return aws.Credentials{}, nil, err
	}
	return of.creds.credentials(), of, nil
}

// ask begins to find out whose the credentials are; nil: the program ends. e.mu is held.
func (e *entry) ask(s *Sessions, region string) *flight[*owner] {
	f := newFlight[*owner]()
	if !s.life.run(func(ctx context.Context) {
		c, who, err := whoami(ctx, s.tokens, region, e.top)
		f.land(e.arrived(s, region, c, who, err), err)
	}) {
		return nil
	}
	if e.flights == nil {
		e.flights = map[string]*flight[*owner]{}
	}
	e.flights[region] = f
	return f
}

func (e *entry) arrived(s *Sessions, region string, c aws.Credentials, who record.Identity, err error) *owner {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.flights, region)
	if len(e.flights) == 0 {
		e.flights = nil
	}
	was, t := e.owner, now()
	if err != nil {
		e.next = instantOf(t.Add(pause))
		if was != nil && valid(was.creds.credentials(), t) && s.life.ctx.Err() == nil {
			s.log.Warn("new credentials not used: their account is unknown",
				"step", e.top.step.Name(), "account_id", was.who.AccountID, "error", err, "reason", record.ReasonOf(err), "hint", record.HintOf(err))
		}
		return nil
	}
	e.region = region
	return e.settle(s, c, who)
}

// settle notes whose the credentials are. e.mu is held.
func (e *entry) settle(s *Sessions, c aws.Credentials, who record.Identity) *owner {
	switch was := e.owner; {
	case was != nil && was.who == who:
		who = was.who // the same texts once
	case was == nil || principal(was.who.ARN) != principal(who.ARN):
		s.log.Info("signed in", "arn", who.ARN, "account_id", who.AccountID, "path", strings.Join(e.top.path(), " → "))
	}
	e.owner, e.next = &owner{creds: e.top.keptOf(c), who: who}, 0
	return e.owner
}

// principal is an ARN without the name of the role session, which some sources choose anew each time.
func principal(arn string) string {
	if i := strings.LastIndexByte(arn, '/'); i > 0 && strings.Contains(arn, ":assumed-role/") {
		return arn[:i]
	}
	return arn
}
