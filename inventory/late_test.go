package inventory

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/aws-collector/collector/record"
)

// A hung driver takes no end.
type hung struct{ Driver }

func (hung) Begin(context.Context, record.Target, Scope, string) (Turn, error) {
	return hungTurn{}, nil
}

type hungTurn struct{ Turn }

func (hungTurn) Known() bool { return false }
func (hungTurn) Commit(ctx context.Context, _ Commit) error {
	<-ctx.Done()
	return ctx.Err()
}

// An end that the store did not take in time was not remembered, and is counted; one that the program itself broke off is not
// the store's doing.
func TestAnEndThatIsLate(t *testing.T) {
	for _, c := range []struct {
		cause error
		lost  int
	}{{fmt.Errorf("no answer within 5s: %w", context.DeadlineExceeded), 1}, {errors.New("the program was stopping"), 0}} {
		i := New(hung{}, Options{})
		v, err := i.Begin(t.Context(), record.Target{Account: "prod"}, record.Identity{}, "R")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(c.cause)
		if err := v.End(ctx, record.Outcome{State: record.OK}); err == nil || i.Lost() != c.lost || (i.Err() != nil) != (c.lost > 0) {
			t.Errorf("%v: %v, %d lost, %v", c.cause, err, i.Lost(), i.Err())
		}
	}
}
