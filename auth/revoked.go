package auth

import (
	"context"
	"hash/fnv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// What AWS allows a session and later denies may be denied because the role's sessions were revoked: IAM then denies everything to
// those begun before (the policy AWSRevokeOlderSessions), and calls none of them expired. GetCallerIdentity, which needs no
// permission, works all the same, so only a call that was allowed before can tell.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_revoke-sessions.html
type revocation struct {
	mu           sync.Mutex
	allowed      [4]uint64 // a bit an action, by hash: of two that share one, the other costs a call in vain at most
	renewedKeyID string    // the key id that came of the last denial
}

func actionBit(action string) (word int, bit uint64) {
	h := fnv.New32a()
	h.Write([]byte(action)) // never fails
	n := h.Sum32()
	return int(n / 64 % 4), 1 << (n % 64)
}

// Allowed notes that AWS allowed the action.
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

// Denied hears that AWS denied the action to these credentials. If it was allowed before, the role is entered anew, once in ten minutes
// at most. true: there are other credentials now, so try again.
func (s *Session) Denied(ctx context.Context, c aws.Credentials, action string) bool {
	if s.resolver == nil {
		return false
	}
	r := &s.resolver.revoked
	word, bit := actionBit(action)
	r.mu.Lock()
	if c.AccessKeyID == r.renewedKeyID { // so it is no revocation
		r.allowed[word] &^= bit
	}
	previous := r.allowed[word]&bit != 0
	r.mu.Unlock()
	if !previous {
		return false
	}
	other, ok := s.top.Refresh(ctx, c)
	if !ok {
		return false
	}
	r.mu.Lock()
	first := r.renewedKeyID != other.AccessKeyID
	r.renewedKeyID = other.AccessKeyID
	r.mu.Unlock()
	if first {
		s.top.background.log.Info("AWS denies what it allowed before, as where a role's sessions are revoked; the role was entered anew", "action", action, "step", s.top.step.Name())
	}
	return true
}
