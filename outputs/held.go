package outputs

import (
	"context"
	"sync"
)

// A held output is one that can be open only once, as a file is: whoever asks for its key while it is open gets it, and it is
// closed with the last of them. So an output can be given a spool, or another name, by a reload that keeps it.
type held struct {
	Output
	key string

	mu    sync.Mutex
	users int
}

// A hold is a user's side of it.
type hold struct {
	*held
	set *Set

	mu     sync.Mutex
	closed bool
}

// opened is the output of the key that is open already, else a new one. Both may take options, by [reconfigurer].
func (s *Set) opened(ctx context.Context, t Type, m member) (Output, error) {
	open := func() (Output, error) {
		out, err := t.Open(ctx, m.options, s.depsOf(m.name, m.hide))
		if err != nil {
			return nil, err
		}
		return m.hide.output(out), nil
	}
	if m.key == "" {
		return open()
	}
	s.mu.Lock()
	h := s.held[m.key]
	s.mu.Unlock()
	if h != nil && h.join() {
		return &hold{held: h, set: s}, nil
	}
	out, err := open()
	if err != nil {
		return nil, err
	}
	h = &held{Output: out, key: m.key, users: 1}
	s.mu.Lock()
	s.held[m.key] = h
	s.mu.Unlock()
	return &hold{held: h, set: s}, nil
}

// join adds a user, unless the last has left.
func (h *held) join() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users == 0 {
		return false
	}
	h.users++
	return true
}

func (h *held) leave() (last bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users--
	return h.users == 0
}

func (h *hold) over() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.closed
}

func (h *hold) Send(ctx context.Context, b Batch) error {
	if h.over() {
		return ErrClosed
	}
	return h.Output.Send(ctx, b)
}

func (h *hold) Flush(ctx context.Context) error {
	if h.over() {
		return ErrClosed
	}
	return h.Output.Flush(ctx)
}

// Close closes the output with its last user. What one that leaves earlier has sent is flushed.
func (h *hold) Close(ctx context.Context) error {
	h.mu.Lock()
	was := h.closed
	h.closed = true
	h.mu.Unlock()
	if was {
		return nil
	}
	if !h.leave() {
		return h.Output.Flush(ctx)
	}
	err := h.Output.Close(ctx)
	h.set.mu.Lock()
	defer h.set.mu.Unlock()
	if h.set.held[h.key] == h.held {
		delete(h.set.held, h.key)
	}
	return err
}

func (h *hold) reconfigure(options any) {
	if r, ok := h.Output.(reconfigurer); ok {
		r.reconfigure(options)
	}
}

// takes reports whether an open output can be given new options.
func takes(o Output) bool {
	if h, ok := o.(*hold); ok {
		o = h.Output
	}
	if c, ok := o.(*concealed); ok {
		o = c.Output
	}
	_, ok := o.(reconfigurer)
	return ok
}
