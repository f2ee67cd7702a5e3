package runner

import (
	"maps"
	"sync"
	"time"
)

// A keeper saves the last run times apart from the loop, as an fsync may take long, and at most once a second.
type keeper struct {
	l     *Local
	mu    sync.Mutex
	last  map[TickKey]time.Time
	nudge chan struct{}
	quit  chan struct{}
	wg    sync.WaitGroup

	trouble outage
}

func (l *Local) keep() *keeper {
	k := &keeper{l: l, nudge: make(chan struct{}, 1), quit: make(chan struct{}), trouble: outage{
		trouble: "a restart will not know which runs it missed; it is tried again at each run",
		over:    "a restart will know again which runs it missed",
	}}
	if l.o.Ticks != nil {
		k.wg.Go(k.loop)
	}
	return k
}

func (k *keeper) save(last map[TickKey]time.Time) {
	k.mu.Lock()
	k.last = maps.Clone(last)
	k.mu.Unlock()
	select {
	case k.nudge <- struct{}{}:
	default:
	}
}

func (k *keeper) loop() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-k.quit:
			k.flush()
			return
		case <-pause.C:
		}
		select {
		case <-k.quit:
			k.flush()
			return
		case <-k.nudge:
			k.flush()
			pause.Reset(time.Second)
		}
	}
}

func (k *keeper) flush() {
	k.mu.Lock()
	last := k.last
	k.last = nil
	k.mu.Unlock()
	if last == nil {
		return
	}
	err := guard(func() error { return k.l.o.Ticks.Save(last) })
	k.trouble.met(k.l.o.Log, "", err, nil)
}

func (k *keeper) close() {
	close(k.quit)
	k.wg.Wait()
}
