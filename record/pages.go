package record

import "sync/atomic"

// Pages is the bound on memory: n pages exist, so n are decoded or delivered at once. It is not a sync.Pool, which
// bounds nothing and forgets at every collection.
type Pages struct {
	free  chan *Page
	keep  int
	waits atomic.Int32
}

// NewPages makes n pages. A page that has grown beyond keep bytes is not kept when it comes back: a new one takes its
// place.
func NewPages(n, keep int) *Pages {
	s := &Pages{free: make(chan *Page, n), keep: keep}
	for range n {
		s.free <- new(Page)
	}
	return s
}

// Take waits for a page; nil says that done was closed first.
func (s *Pages) Take(done <-chan struct{}) *Page {
	select {
	case p := <-s.free:
		return p
	default:
	}
	s.waits.Add(1)
	defer s.waits.Add(-1)
	select {
	case p := <-s.free:
		return p
	case <-done:
		return nil
	}
}

// Wanted reports whether somebody waits for a page.
func (s *Pages) Wanted() bool { return s.waits.Load() > 0 }

// Return gives a page back; only its owner may.
func (s *Pages) Return(p *Page) {
	if p.Size() > s.keep {
		p = new(Page)
	}
	s.put(p)
}

// Replace puts a new page in the place of one whose owner was given up on, as work that ignores its context: that page
// may still be written to. If its owner returns it after all, there is no place for it any more, and it is dropped.
func (s *Pages) Replace() { s.put(new(Page)) }

func (s *Pages) put(p *Page) {
	select {
	case s.free <- p:
	default:
	}
}
