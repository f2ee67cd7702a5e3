package auth

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
)

// ConfigFor is the process's configuration with a block's credentials, for a call to another service than those that are collected.
// It calls nobody: who the credentials turn out to be is not asked, as they may be those of a store that is not AWS's, and
// they are looked for when they are first needed. They renew themselves; what refuses them can say so to their method Invalidate.
func (s *Sessions) ConfigFor(ctx context.Context, a config.Account) (aws.Config, error) {
	steps, _, err := s.plan(ctx, a)
	if err != nil {
		return aws.Config{}, err
	}
	cfg := s.aws.Copy()
	s.mu.Lock()
	defer s.mu.Unlock()
	cfg.Credentials = &Session{top: s.topLayer(steps)}
	return cfg, nil
}
