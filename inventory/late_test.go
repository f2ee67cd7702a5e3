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

func (hung) Pulse(context.Context) error { return nil }

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

// A willing driver has nothing live, and takes what comes.
type willing struct{ Driver }

func (willing) Begin(context.Context, record.Target, Scope, string) (Turn, error) {
	return willingTurn{}, nil
}

type willingTurn struct{ packing }

func (willingTurn) Known() bool                                                     { return true }
func (willingTurn) Live(context.Context, func([]byte, record.Sum, int) error) error { return nil }
func (willingTurn) Commit(context.Context, Commit) error                            { return nil }
func (willingTurn) Stage(context.Context, []Pack) error                             { return nil }

// What visits may keep together is whole again after each, also after one that has no end.
func TestVisitsGiveBackWhatTheyHold(t *testing.T) {
	i := New(willing{}, Options{})
	for name, end := range map[string]func(*Visit){
		"an end": func(v *Visit) {
			if err := v.End(t.Context(), record.Outcome{State: record.OK}); err != nil {
				t.Error(err)
			}
		},
		"none": func(v *Visit) { v.Drop(); v.Drop() },
	} {
		v, err := i.Begin(t.Context(), record.Target{Account: "prod", Region: "r", Kind: "ec2_instance"}, record.Identity{AccountID: "222222222222", Partition: "aws"}, "R")
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Page(t.Context(), views(t, 1000, "")); err != nil {
			t.Fatal(err)
		}
		if i.held.Load() == 0 || i.live.Load() < 1000*int64(len("i-1")) {
			t.Fatal("the visit keeps nothing")
		}
		end(v)
		if n := i.held.Load() + i.live.Load(); n != 0 {
			t.Errorf("%s: %d bytes are kept for ever", name, n)
		}
	}
}
