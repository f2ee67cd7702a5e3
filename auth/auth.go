// Package auth turns an account block into credentials: base → MFA session → role hops → identity check, a file a step.
package auth

import (
	"context"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

// Options is what the program passes in. Only cmd reads the environment, so it comes as a function.
type Options struct {
	AWS     aws.Config // loaded once for the process by [LoadAWS]
	Getenv  func(string) string
	DataDir string
	Log     *slog.Logger
}

// A Session is an account, entered. One an effective identity, shared by every region and every goroutine.
type Session struct {
	*aws.CredentialsCache // Retrieve, Invalidate
	Identity              record.Identity
	Path                  []string // "ak AKIA…MPLE", "mfa arn:…", "role arn:…"
}

// Sessions outlives reloads.
type Sessions struct{}

// LoadAWS loads the SDK's configuration and the one transport.
func LoadAWS(ctx context.Context) (aws.Config, error) { return aws.Config{}, nil }

// NewSessions has no session yet.
func NewSessions(Options) *Sessions { return &Sessions{} }

// Open signs in and checks who answered. Its error holds a *record.Fault.
func (s *Sessions) Open(ctx context.Context, a config.Account) (*Session, error) { return nil, nil }
