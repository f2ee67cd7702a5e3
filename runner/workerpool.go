package runner

import (
	"sync"
	"time"
)

// A workerPool reuses the goroutines in which an engine runs jobs: a worker that is done waits a moment for the next
// job. A call through AWS's SDK is some ninety functions deep, and a new goroutine grows its stack to that depth by
// copying it four times.
type workerPool struct {
	tasks chan func() // received by idle workers

	mu     sync.Mutex
	idle   int // workers that wait for a task
	closed bool
	done   chan struct{} // closed together with the pool
	wg     sync.WaitGroup
}

const (
	maxIdleWorkers    = 16 // enough: one worker becomes free for each job that begins
	workerIdleTimeout = time.Second
)

func newWorkerPool() *workerPool {
	return &workerPool{tasks: make(chan func()), done: make(chan struct{})}
}

// run runs f in a worker, and does not wait for it.
func (p *workerPool) run(f func()) {
	select {
	case p.tasks <- f:
	default:
		go p.worker(f)
	}
}

func (p *workerPool) worker(f func()) {
	timeout := time.NewTimer(workerIdleTimeout)
	defer timeout.Stop()
	for f != nil {
		f()
		timeout.Reset(workerIdleTimeout)
		f = p.nextTask(timeout.C)
	}
}

// nextTask waits for a task; nil means that the worker must end.
func (p *workerPool) nextTask(timeout <-chan time.Time) func() {
	p.mu.Lock()
	if p.closed || p.idle == maxIdleWorkers {
		p.mu.Unlock()
		return nil
	}
	p.idle++
	p.wg.Add(1)
	p.mu.Unlock()
	var f func()
	select {
	case f = <-p.tasks:
	case <-timeout:
	case <-p.done:
	}
	p.mu.Lock()
	p.idle--
	p.wg.Done()
	p.mu.Unlock()
	return f
}

// close ends the idle workers and waits for them. A busy worker (with an abandoned call) ends when its task returns.
func (p *workerPool) close() {
	p.mu.Lock()
	p.closed = true
	close(p.done)
	p.mu.Unlock()
	p.wg.Wait()
}
