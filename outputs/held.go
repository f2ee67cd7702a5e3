package outputs

import (
	"context"
	"sync"
)

// A held output is one that can be open only once, as a file is: whoever asks for its key while it is open gets it, and it is
// closed with the last of them. So an output can be given a spool, or another name, by a reload that keeps it.
type sharedOutput struct {
	Output
	key string

	mu    sync.Mutex
	users int
}

// A hold is a user's side of it.
type sharedHandle struct {
	*sharedOutput
	set *Set

	mu     sync.Mutex
	closed bool
}

// openShared is the output of the key that is open already, else a new one. Both may take options, by [reconfigurer].
func (s *Set) openShared(ctx context.Context, t Type, m fanOutput) (Output, error) {
	open := func() (Output, error) {
		out, err := t.Open(ctx, m.options, s.depsFor(m.name, m.redactor))
		if err != nil {
			return nil, err
		}
		return m.redactor.wrapOutput(out), nil
	}
	if m.key == "" {
		return open()
	}
	s.mu.Lock()
	h := s.shared[m.key]
	s.mu.Unlock()
	if h != nil && h.addUser() {
		return &sharedHandle{sharedOutput: h, set: s}, nil
	}
	out, err := open()
	if err != nil {
		return nil, err
	}
	h = &sharedOutput{Output: out, key: m.key, users: 1}
	s.mu.Lock()
	s.shared[m.key] = h
	s.mu.Unlock()
	return &sharedHandle{sharedOutput: h, set: s}, nil
}

// addUser adds a user, unless the last has left.
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

func (h *sharedHandle) Send(ctx context.Context, b Batch) error {
	if h.isClosed() {
		return ErrClosed
	}
	return h.Output.Send(ctx, b)
}

func (h *sharedHandle) Flush(ctx context.Context) error {
	if h.isClosed() {
		return ErrClosed
	}
	return h.Output.Flush(ctx)
}

// Close closes the output with its last user. What one that leaves earlier has sent is flushed.
func (h *sharedHandle) Close(ctx context.Context) error {
	h.mu.Lock()
	was := h.closed
	h.closed = true
	h.mu.Unlock()
	if was {
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

func (h *sharedHandle) reconfigure(options any) {
	if r, ok := h.Output.(reconfigurer); ok {
		r.reconfigure(options)
	}
}

// canReconfigure reports whether an open output can be given new options.
func canReconfigure(o Output) bool {
	if h, ok := o.(*sharedHandle); ok {
		o = h.Output
	}
	if c, ok := o.(*redactedOutput); ok {
		o = c.Output
	}
	_, ok := o.(reconfigurer)
	return ok
}
