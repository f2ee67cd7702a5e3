package deliver

import (
	"context"
	"sync"

	"github.com/aws-collector/collector/outputs"
)

// A sharedOutput can be open only once, such as a file. All users of its key share it, and the last one closes it. So a
// reload can add a spool to an output, or rename it, while it stays open.
type sharedOutput struct {
	outputs.Output
	key string

	mu    sync.Mutex
	users int
}

// A sharedHandle is one user's handle of a sharedOutput.
type sharedHandle struct {
	*sharedOutput
	set *Set

	mu     sync.Mutex
	closed bool
}

// share shares the open output of the key, or opens it. What is open takes options through [Reconfigurer]. An output
// without a key is not shared.
func (s *Set) share(key string, open opener) opener {
	if key == "" {
		return open
	}
	return func(ctx context.Context, old outputs.Output) (outputs.Output, error) {
		if old != nil {
			return old, nil
		}
		s.mu.Lock()
		h := s.shared[key]
		s.mu.Unlock()
		if h != nil && h.addUser() {
			return &sharedHandle{sharedOutput: h, set: s}, nil
		}
		out, err := open(ctx, nil)
		if err != nil {
			return nil, err
		}
		h = &sharedOutput{Output: out, key: key, users: 1}
		s.mu.Lock()
		s.shared[key] = h
		s.mu.Unlock()
		return &sharedHandle{sharedOutput: h, set: s}, nil
	}
}

// addUser adds a user. It returns false if the last user has left.
func (h *sharedOutput) addUser() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users == 0 {
		return false
	}
	h.users++
	return true
}

func (h *sharedOutput) removeUser() (last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users--
	return h.users == 0
}

func (h *sharedHandle) isClosed() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

func (h *sharedHandle) Send(ctx context.Context, b outputs.Batch) error {
	if h.isClosed() {
		return outputs.ErrClosed
	}
	return h.Output.Send(ctx, b)
}

func (h *sharedHandle) Flush(ctx context.Context) error {
	if h.isClosed() {
		return outputs.ErrClosed
	}
	return h.Output.Flush(ctx)
}

// Close closes the output with its last user. For other users it flushes what they have sent.
func (h *sharedHandle) Close(ctx context.Context) error {
	h.mu.Lock()
	wasClosed := h.closed
	h.closed = true
	h.mu.Unlock()
	if wasClosed {
		return nil
	}
	if !h.removeUser() {
		return h.Output.Flush(ctx)
	}
	err := h.Output.Close(ctx)
	h.set.mu.Lock()
	defer h.set.mu.Unlock()
	if h.set.shared[h.key] == h.sharedOutput {
		delete(h.set.shared, h.key)
	}
	return err
}

func (h *sharedHandle) Reconfigure(options any) {
	if r, ok := h.Output.(outputs.Reconfigurer); ok {
		r.Reconfigure(options)
	}
}

// canReconfigure reports whether an open output takes new options.
func canReconfigure(o outputs.Output) bool {
	if h, ok := o.(*sharedHandle); ok {
		o = h.Output
	}
	if c, ok := o.(*redactedOutput); ok {
		o = c.Output
	}
	_, ok := o.(outputs.Reconfigurer)
	return ok
}
