package mfastore

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/secret"
)

// TestStoreWait: the wait for a device's lock ends with its context, in every store.
func TestStoreWait(t *testing.T) {
	for name, store := range map[string]func(t *testing.T) Store{
		"directory": func(t *testing.T) Store { return New(t.TempDir(), secret.String{}) },
		"memory":    func(*testing.T) Store { return New("", secret.String{}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := store(t)
				err := s.WithLock(t.Context(), "d", func(mine *Session, save func() error) error {
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					defer cancel()
					nothing := func(*Session, func() error) error { return nil }
					if err := s.WithLock(ctx, "d", nothing); !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("the second got in: %v", err)
					}
					if err := s.WithLock(ctx, "other", nothing); err != nil && !errors.Is(err, context.DeadlineExceeded) {
						t.Errorf("another device: %v", err)
					}
					mine.UsedCodes = []string{"kept"}
					if err := save(); err != nil {
						return err
					}
					mine.UsedCodes[0] = "not saved"
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := s.WithLock(t.Context(), "d", func(got *Session, _ func() error) error {
					if len(got.UsedCodes) != 1 || got.UsedCodes[0] != "kept" {
						t.Errorf("got %v", got.UsedCodes)
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}
