package auth

import (
	"context"
	"log/slog"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// A sign-in uses one goroutine, however many steps it has: each step calls the previous one on it.
func TestOneGoroutineAChain(t *testing.T) {
	background := newBackground(slog.New(slog.DiscardHandler))
	defer background.stop()
	stack := ""
	base := &cachedStep{background: background, step: fakeStep(func(context.Context, Provider) (aws.Credentials, error) {
		stack = string(debug.Stack())
		return aws.Credentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "s"}, nil
	})}
	top := &cachedStep{
		background: background,
		prev:       base,
		step: fakeStep(func(ctx context.Context, prev Provider) (aws.Credentials, error) {
			return prev.Retrieve(ctx)
		}),
	}
	if c, err := top.Retrieve(t.Context()); err != nil || c.AccessKeyID != "AKIAIOSFODNN7EXAMPLE" {
		t.Fatalf("%+v, %v", c.AccessKeyID, err)
	}
	if n := strings.Count(stack, "(*cachedStep).runRenewal("); n != 2 {
		t.Errorf("the base was called below %d steps, itself included, want 2:\n%s", n, stack)
	}
}

type fakeStep func(context.Context, Provider) (aws.Credentials, error)

func (fakeStep) Name() string { return "fake" }
func (fakeStep) Key() string  { return "fake" }
func (f fakeStep) Retrieve(ctx context.Context, prev Provider) (aws.Credentials, error) {
	return f(ctx, prev)
}
