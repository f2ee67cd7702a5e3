package record

import "sync/atomic"

// PagePool bounds memory: it has n pages, so at most n are decoded or delivered at once. A sync.Pool would set no
// bound.
type PagePool struct {
	free    chan *Page
	maxSize int
	waiters atomic.Int32
}

// NewPagePool makes n pages. A page that has grown beyond maxSize bytes is replaced by a new one when it is returned.
func NewPagePool(n, maxSize int) *PagePool {
	s := &PagePool{free: make(chan *Page, n), maxSize: maxSize}
	for range n {
		s.free <- new(Page)
	}
	return s
}

// Take waits for a page. It returns nil if done was closed first.
func (s *PagePool) Take(done <-chan struct{}) *Page {
	select {
	case p := <-s.free:
		return p
	default:
	}
	s.waiters.Add(1)
	defer s.waiters.Add(-1)
	select {
	case p := <-s.free:
		return p
	case <-done:
		return nil
	}
}

// HasWaiters reports whether a caller waits for a page.
func (s *PagePool) HasWaiters() bool { return s.waiters.Load() > 0 }

// Return gives a page back. Only its owner may do so.
func (s *PagePool) Return(p *Page) {
	if p.MemorySize() > s.maxSize {
		p = new(Page)
	}
	s.put(p)
}

// ReplaceAbandoned adds a new page for one whose owner was abandoned, because that owner may still write to the old
// page. If the old page is returned later, the pool is full and drops it.
func (s *PagePool) ReplaceAbandoned() { s.put(new(Page)) }

func (s *PagePool) put(p *Page) {
	select {
	case s.free <- p:
	default:
	}
}
