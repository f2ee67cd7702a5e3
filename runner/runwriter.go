package runner

import (
	"context"
	"sync"
	"time"
)

// A runWriter stores runs and sign-ins in the order of their events, in a goroutine of its own: whoever adds one may
// hold a lock, and a slow store must not delay a run. The store reports its errors itself.
type runWriter struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu    sync.Mutex
	queue []func(context.Context)
	idle  chan struct{} // closed when the queue is empty; nil: it is
}

func newRunWriter() *runWriter {
	w := new(runWriter)
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

func (w *runWriter) add(write func(context.Context) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, func(ctx context.Context) { _ = catchPanic(func() error { return write(ctx) }) })
	if w.idle == nil {
		w.idle = make(chan struct{})
		go w.write(w.idle)
	}
}

func (w *runWriter) write(idle chan struct{}) {
	defer close(idle)
	for {
		w.mu.Lock()
		todo := w.queue
		w.queue = nil
		if len(todo) == 0 {
			w.idle = nil
			w.mu.Unlock()
			return
		}
		ctx := w.ctx
		w.mu.Unlock()
		for _, write := range todo {
			write(ctx)
		}
	}
}

// flush waits until all is stored, at most this long: then the rest is dropped.
func (w *runWriter) flush(timeout time.Duration) {
	w.mu.Lock()
	idle := w.idle
	w.mu.Unlock()
	if idle == nil {
		return
	}
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-idle:
		return
	case <-t.C:
	}
	w.mu.Lock()
	w.queue = nil
	w.cancel()
	w.ctx, w.cancel = context.WithCancel(context.Background()) // an engine may run again
	w.mu.Unlock()
	<-idle
}
