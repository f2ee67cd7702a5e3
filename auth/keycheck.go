package auth

import (
	"context"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// A keyCheck is the last answer to whether AWS knows a session's credentials: all targets of an account ask at the same
// time, and STS is called once.
type keyCheck struct {
	mu    sync.Mutex
	keyID string
	until unixNano // the answer is too old after this; 0: it is not there yet
	call  *sharedCall[keyAnswer]
}

type keyAnswer struct{ renewed, valid bool }

// CheckKey is called when a service refused these credentials as unknown. It asks STS who they are. If STS refuses them
// as well, they are read again where they come from: a key may have been rotated in its file, and the identity of
// another key is asked again before it is used. renewed reports that the session has other credentials now; valid that
// STS knows the refused ones, so that the service refused them for another cause.
func (s *Session) CheckKey(ctx context.Context, c aws.Credentials) (renewed, valid bool) {
	if s.resolver == nil {
		return false, false
	}
	k := &s.resolver.keyCheck
	k.mu.Lock()
	if k.call == nil || k.keyID != c.AccessKeyID || k.until != 0 && unixNanoOf(now()) >= k.until {
		mine := newSharedCall[keyAnswer]()
		if !s.sessions.background.run(func(ctx context.Context) {
			answer := s.askAboutKey(ctx, c)
			k.mu.Lock()
			if k.call == mine {
				k.until = unixNanoOf(now().Add(retryPause))
			}
			k.mu.Unlock()
			mine.finish(answer, nil)
		}) {
			k.mu.Unlock()
			return false, false
		}
		k.call, k.keyID, k.until = mine, c.AccessKeyID, 0
	}
	call := k.call
	k.mu.Unlock()
	answer, err := call.wait(ctx, s.last.step.Name())
	return err == nil && answer.renewed, err == nil && answer.valid
}

func (s *Session) askAboutKey(ctx context.Context, c aws.Credentials) keyAnswer {
	used, _, err := resolveIdentity(ctx, s.sessions.sts, s.region, s.last)
	other := !sameCredentials(used, c)
	return keyAnswer{renewed: err == nil && other, valid: err == nil && !other}
}
