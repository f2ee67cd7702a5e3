package runner

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// A runWriter stores runs and sign-ins, in a goroutine of its own: whoever adds one may hold a lock, and a slow store
// must not delay a run. The ends of runs are stored first, and again after a failure: without its end a run would be
// running for ever. The order does not matter to the store. It reports its errors itself.
type runWriter struct {
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex
	ends   []runWrite
	others []runWrite
	failed []runWrite    // ends to write again when the store works
	idle   chan struct{} // closed when nothing is to be written; nil: nothing is
}

type runWrite func(context.Context) error

// maxFailedEnds limits the ends that wait for the store.
const maxFailedEnds = 10_000

func newRunWriter(log *slog.Logger) *runWriter {
	w := &runWriter{log: log}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// add writes what may be lost while the store fails.
func (w *runWriter) add(write runWrite) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.others = append(w.others, write)
	w.start()
}

// addEnd writes the end of a run.
func (w *runWriter) addEnd(write runWrite) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = append(w.ends, write)
	w.start()
}

// start begins to write. w.mu is held.
func (w *runWriter) start() {
	if w.idle == nil {
		w.idle = make(chan struct{})
		go w.write(w.idle)
	}
}

func (w *runWriter) write(idle chan struct{}) {
	defer close(idle)
	for {
		w.mu.Lock()
		from := &w.ends
		if len(w.ends) == 0 {
			from = &w.others
		}
		if len(*from) == 0 {
			w.idle = nil
			w.mu.Unlock()
			return
		}
		isEnd, next, ctx := from == &w.ends, (*from)[0], w.ctx
		*from = (*from)[1:]
		w.mu.Unlock()
		err := CatchPanic(func() error { return next(ctx) })
		w.mu.Lock()
		switch p := (*panicError)(nil); {
		case errors.As(err, &p):
			w.log.Error("panic", "panic", p.Error(), "stack", string(p.stack))
		case err != nil && isEnd && len(w.failed) < maxFailedEnds:
			w.failed = append(w.failed, next)
		case err == nil && len(w.failed) > 0:
			w.ends, w.failed = append(w.ends, w.failed...), nil
		}
		w.mu.Unlock()
	}
}

// flush waits until all is stored, at most this long: then the rest is dropped.
func (w *runWriter) flush(timeout time.Duration) {
	w.mu.Lock()
	if len(w.failed) > 0 {
		w.ends, w.failed = append(w.ends, w.failed...), nil
		w.start()
	}
	idle := w.idle
	w.mu.Unlock()
	if idle == nil {
		return
	}
	t := time.NewTimer(timeout)
	defer t.Stop()
	select {
	case <-idle:
	case <-t.C:
		w.mu.Lock()
		w.failed = append(append(w.failed, w.ends...), w.others...)
		w.ends, w.others = nil, nil
		w.cancel()
		w.ctx, w.cancel = context.WithCancel(context.Background()) // an engine may run again
		w.mu.Unlock()
		<-idle
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.failed); n > 0 {
		w.log.Warn("runs not stored", "writes", n,
			"hint", "Check the database. The next start shows runs without an end as interrupted.")
	}
	w.failed = nil
}
