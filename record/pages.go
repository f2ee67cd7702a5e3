package record

import "sync/atomic"

// PagePool is the bound on memory: n pages exist, so n are decoded or delivered at once. It is not a sync.Pool, which
// bounds nothing and forgets at every collection.
type PagePool struct {
	free    chan *Page
	maxSize int
	waiters atomic.Int32
}

// NewPagePool makes n pages. A page that has grown beyond keep bytes is not kept when it comes back: a new one takes its
// place.
func NewPagePool(n, keep int) *PagePool {
	s := &PagePool{free: make(chan *Page, n), maxSize: keep}
	for range n {
		s.free <- new(Page)
	}
	return s
}

// Take waits for a page; nil says that done was closed first.
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

// HasWaiters reports whether somebody waits for a page.
func (s *PagePool) HasWaiters() bool { return s.waiters.Load() > 0 }

// Return gives a page back; only its owner may.
func (s *PagePool) Return(p *Page) {
	if p.MemorySize() > s.maxSize {
		p = new(Page)
	}
	s.put(p)
}

// ReplaceAbandoned puts a new page in the place of one whose owner was given up on, as work that ignores its context: that page
// may still be written to. If its owner returns it after all, there is no place for it any more, and it is dropped.
func (s *PagePool) ReplaceAbandoned() { s.put(new(Page)) }

func (s *PagePool) put(p *Page) {
	select {
	case s.free <- p:
	default:
	}
}
