package record

import (
	"context"
	"sync/atomic"
	"time"
)

// PagePool bounds memory: it has n pages, so at most n are decoded or delivered at once. A sync.Pool would set no
// bound. A borrower that hangs keeps its page, and may still write to it: such a page is replaced by a new one.
type PagePool struct {
	free    chan *Page
	maxSize int
	waiters atomic.Int32
}

// replaceAfter is how long a borrower may keep its page after its context has ended.
const replaceAfter = 3 * time.Second

// A loan is one use of a page, from Take to Return. Each use has its own, so that a late timer of one does not end the
// next.
type loan struct {
	over        atomic.Bool // the page was returned or replaced
	stopWaiting func() bool // for the end of the borrower's context
}

// NewPagePool makes n pages. A page that has grown beyond maxSize bytes is replaced by a new one when it is returned.
func NewPagePool(n, maxSize int) *PagePool {
	s := &PagePool{free: make(chan *Page, n), maxSize: maxSize}
	for range n {
		s.free <- new(Page)
	}
	return s
}

// Take waits for a page. It returns nil if ctx ended first. The borrower must return the page soon after ctx ends.
func (s *PagePool) Take(ctx context.Context) *Page {
	p := s.wait(ctx.Done())
	if p == nil {
		return nil
	}
	l := &loan{}
	l.stopWaiting = context.AfterFunc(ctx, func() {
		time.AfterFunc(replaceAfter, func() { s.end(l, new(Page)) })
	})
	p.loan = l
	return p
}

func (s *PagePool) wait(done <-chan struct{}) *Page {
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

// Return gives a page back. Only its borrower may do so. A page that was replaced is not used again.
func (s *PagePool) Return(p *Page) {
	l := p.loan
	l.stopWaiting()
	if p.MemorySize() > s.maxSize {
		p = new(Page)
	}
	s.end(l, p)
}

// end ends a loan, once, and puts a page in the place of the one that was lent.
func (s *PagePool) end(l *loan, p *Page) {
	if l.over.CompareAndSwap(false, true) {
		s.free <- p
	}
}
