package inventory

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/aws-collector/collector/record"
)

// A hungDriver never finishes a commit.
type hungDriver struct{ Driver }

func (hungDriver) Begin(context.Context, record.Target, Scope, string) (ScopeUpdate, error) {
	return hungUpdate{}, nil
}

func (hungDriver) Ping(context.Context) error { return nil }

type hungUpdate struct{ ScopeUpdate }

func (hungUpdate) HasScope() bool { return false }
func (hungUpdate) Commit(ctx context.Context, _ Commit) error {
	<-ctx.Done()
	return ctx.Err()
}

// An end that the store did not take in time is counted as not stored. An end that the program itself cancelled is not.
func TestLateEndIsNotStored(t *testing.T) {
	for _, c := range []struct {
		cause error
		lost  int
	}{{fmt.Errorf("no answer within 5s: %w", context.DeadlineExceeded), 1}, {errors.New("the program was stopping"), 0}} {
		i := New(hungDriver{}, Options{})
		v, err := i.Begin(t.Context(), record.Target{Account: "prod"}, record.Identity{}, "R")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(c.cause)
		if err := v.End(ctx, record.Outcome{State: record.OK}); err == nil || i.NotStored() != c.lost ||
			(i.Err() != nil) != (c.lost > 0) {
			t.Errorf("%v: %v, %d lost, %v", c.cause, err, i.NotStored(), i.Err())
		}
	}
}

// An emptyDriver has no live resources and accepts everything.
type emptyDriver struct{ Driver }

func (emptyDriver) Begin(context.Context, record.Target, Scope, string) (ScopeUpdate, error) {
	return emptyUpdate{}, nil
}

type emptyUpdate struct{ copyPacker }

func (emptyUpdate) HasScope() bool                                                     { return true }
func (emptyUpdate) Live(context.Context, func([]byte, record.Digest, int) error) error { return nil }
func (emptyUpdate) Commit(context.Context, Commit) error                               { return nil }
func (emptyUpdate) Stage(context.Context, []Pack) error                                { return nil }

// A writer gives back all its memory, also one that was dropped.
func TestWritersFreeMemory(t *testing.T) {
	i := New(emptyDriver{}, Options{})
	for name, end := range map[string]func(ScopeWriter){
		"an end": func(v ScopeWriter) {
			if err := v.End(t.Context(), record.Outcome{State: record.OK}); err != nil {
				t.Error(err)
			}
		},
		"none": func(v ScopeWriter) {
			v.Drop()
			v.Drop()
		},
	} {
		v, err := i.Begin(
			t.Context(), record.Target{Account: "prod", Region: "r", Kind: "ec2_instance"},
			record.Identity{AccountID: "222222222222", Partition: "aws"}, "R",
		)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Page(t.Context(), testPage(t, 1000, "")); err != nil {
			t.Fatal(err)
		}
		if i.buffered.Load() == 0 || i.indexed.Load() < 1000*int64(len("i-1")) {
			t.Fatal("the writer buffers nothing")
		}
		end(v)
		if n := i.buffered.Load() + i.indexed.Load(); n != 0 {
			t.Errorf("%s: %d bytes were not freed", name, n)
		}
	}
}
