// Package contextmutex is a mutex whose lock can be interrupted by a context.
package contextmutex

import (
	"context"
)

// A Mutex is a mutex whose lock can be interrupted by a context.
type Mutex chan struct{}

func New() Mutex { return make(Mutex, 1) }

func (t Mutex) Lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err // select chooses randomly
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t Mutex) Unlock() { <-t }
