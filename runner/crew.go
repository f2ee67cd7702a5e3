package runner

import (
	"sync"
	"time"
)

// A crew is the goroutines in which an engine does jobs. One that is done with a job waits a moment for the next: a call
// through AWS's SDK is some ninety functions deep, and a new goroutine comes to a stack for that by copying it four times.
type crew struct {
	next chan func() // to one who waits

	mu     sync.Mutex
	idle   int // who wait
	closed bool
	over   chan struct{} // closed with it
	wg     sync.WaitGroup
}

const (
	crewIdle     = 16          // as many wait at most: one comes free for each job that begins
	crewPatience = time.Second // so long one waits
)

func newCrew() *crew { return &crew{next: make(chan func()), over: make(chan struct{})} }

// do has somebody do f, and does not wait for it.
func (c *crew) do(f func()) {
	select {
	case c.next <- f:
	default:
		go c.work(f)
	}
}

func (c *crew) work(f func()) {
	patience := time.NewTimer(crewPatience)
	defer patience.Stop()
	for f != nil {
		f()
		patience.Reset(crewPatience)
		f = c.wait(patience.C)
	}
}

// wait is the next thing to do, or nil.
func (c *crew) wait(patience <-chan time.Time) func() {
	c.mu.Lock()
	if c.closed || c.idle == crewIdle {
		c.mu.Unlock()
		return nil
	}
	c.idle++
	c.wg.Add(1)
	c.mu.Unlock()
	var f func()
	select {
	case f = <-c.next:
	case <-patience:
	case <-c.over:
	}
	c.mu.Lock()
	c.idle--
	c.wg.Done()
	c.mu.Unlock()
	return f
}

// close lets those go who wait, and waits for them. Who is at work (a work that was given up on) goes when it is done.
func (c *crew) close() {
	c.mu.Lock()
	c.closed = true
	close(c.over)
	c.mu.Unlock()
	c.wg.Wait()
}
