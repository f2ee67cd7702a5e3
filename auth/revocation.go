package auth

import (
	"context"
	"hash/fnv"
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

// A revocation notices that the role's sessions were revoked: IAM then denies everything to sessions from before a time
// (the policy AWSRevokeOlderSessions), but does not report them as expired. GetCallerIdentity still works, because it
// needs no permission. So the only sign is that AWS denies a call that it allowed before.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html
type revocation struct {
	mu           sync.Mutex
	allowed      [4]uint64 // one bit per action, by hash: if two actions share it, the cost is one useless call
	renewedKeyID string    // the key id after the last renewal
}

func actionBit(action string) (word int, bit uint64) {
	h := fnv.New32a()
	h.Write([]byte(action)) // never fails
	n := h.Sum32()
	return int(n / 64 % 4), 1 << (n % 64)
}

// Allowed records that AWS allowed the action.
func (s *Session) Allowed(action string) {
	if s.resolver == nil {
		return
	}
	word, bit := actionBit(action)
	r := &s.resolver.revoked
	r.mu.Lock()
	defer r.mu.Unlock()
	r.allowed[word] |= bit
}

// Denied records that AWS denied the action to these credentials. If it was allowed before, the role is assumed again,
// at most once in ten minutes. true: there are new credentials, so the call should be repeated.
func (s *Session) Denied(ctx context.Context, c aws.Credentials, action string) bool {
	if s.resolver == nil {
		return false
	}
	r := &s.resolver.revoked
	word, bit := actionBit(action)
	r.mu.Lock()
	if c.AccessKeyID == r.renewedKeyID { // denied to a new session as well, so this is not a revocation
		r.allowed[word] &^= bit
	}
	wasAllowed := r.allowed[word]&bit != 0
	r.mu.Unlock()
	if !wasAllowed {
		return false
	}
	other, ok := s.last.Renew(ctx, c)
	if !ok {
		return false
	}
	r.mu.Lock()
	first := r.renewedKeyID != other.AccessKeyID
	r.renewedKeyID = other.AccessKeyID
	r.mu.Unlock()
	if first {
		s.last.background.log.Info("role re-assumed: AWS denied an allowed action",
			"account", s.block.Name, "action", action, "step", s.last.step.Name())
	}
	return true
}
