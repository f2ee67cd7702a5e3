package auth

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
)

// ConfigFor returns the process's configuration with a block's credentials, for calls to a service that is not
// collected. It makes no calls: the credentials are fetched when they are first needed, and their identity is not
// checked, because they may belong to a store that is not AWS's. They are renewed automatically. A caller whose
// credentials were refused calls RejectCurrent.
func (s *Sessions) ConfigFor(ctx context.Context, a config.Account) (aws.Config, error) {
	steps, _, err := s.plan(ctx, a)
	if err != nil {
		return aws.Config{}, err
	}
	cfg := s.aws.Copy()
	s.mu.Lock()
	defer s.mu.Unlock()
	cfg.Credentials = &Session{last: s.lastStep(steps)}
	return cfg, nil
}
