package runner

import (
	"sync"
	"time"
)

// A crew is the goroutines in which an engine does jobs. One that is done with a job waits a moment for the next: a call
// through AWS's SDK is some ninety functions deep, and a new goroutine comes to a stack for that by copying it four times.
type workerPool struct {
	tasks chan func() // to one who waits

	mu     sync.Mutex
	idle   int // who wait
	closed bool
	done   chan struct{} // closed with it
	wg     sync.WaitGroup
}

const (
	maxIdleWorkers    = 16          // as many wait at most: one comes free for each job that begins
	workerIdleTimeout = time.Second // so long one waits
)

func newWorkerPool() *workerPool {
	return &workerPool{tasks: make(chan func()), done: make(chan struct{})}
}

// run has somebody do f, and does not wait for it.
func (c *workerPool) run(f func()) {
	select {
	case c.tasks <- f:
	default:
		go c.worker(f)
	}
}

func (c *workerPool) worker(f func()) {
	patience := time.NewTimer(workerIdleTimeout)
	defer patience.Stop()
	for f != nil {
		f()
		patience.Reset(workerIdleTimeout)
		f = c.nextTask(patience.C)
	}
}

// nextTask is the next thing to do, or nil.
func (c *workerPool) nextTask(patience <-chan time.Time) func() {
	c.mu.Lock()
	if c.closed || c.idle == maxIdleWorkers {
		c.mu.Unlock()
		return nil
	}
	c.idle++
	c.wg.Add(1)
	c.mu.Unlock()
	var f func()
	select {
	case f = <-c.tasks:
	case <-patience:
	case <-c.done:
	}
	c.mu.Lock()
	c.idle--
	c.wg.Done()
	c.mu.Unlock()
	return f
}

// close lets those go who wait, and waits for them. Who is at work (a work that was given up on) goes when it is done.
func (c *workerPool) close() {
	c.mu.Lock()
	c.closed = true
	close(c.done)
	c.mu.Unlock()
	c.wg.Wait()
}
