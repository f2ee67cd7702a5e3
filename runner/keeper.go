package runner

import (
	"maps"
	"sync"
	"time"
)

// A keeper saves the last run times apart from the loop, as an fsync may take long, and at most once a second.
type tickSaver struct {
	l    *Local
	mu   sync.Mutex
	last map[TickKey]time.Time
	wake chan struct{}
	quit chan struct{}
	wg   sync.WaitGroup

	outage outage
}

func (l *Local) newTickSaver() *tickSaver {
	k := &tickSaver{l: l, wake: make(chan struct{}, 1), quit: make(chan struct{}), outage: outage{
		failureMessage:  "a restart will not know which runs it missed; it is tried again at each run",
		recoveryMessage: "a restart will know again which runs it missed",
	}}
	if l.o.Ticks != nil {
		k.wg.Go(k.loop)
	}
	return k
}

func (k *tickSaver) save(last map[TickKey]time.Time) {
	k.mu.Lock()
	k.last = maps.Clone(last)
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *tickSaver) loop() {
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
		case <-k.wake:
			k.flush()
			pause.Reset(time.Second)
		}
	}
}

func (k *tickSaver) flush() {
	k.mu.Lock()
	last := k.last
	k.last = nil
	k.mu.Unlock()
	if last == nil {
		return
	}
	err := catchPanic(func() error { return k.l.o.Ticks.Save(last) })
	k.outage.report(k.l.o.Log, "", err, nil)
}

func (k *tickSaver) close() {
	close(k.quit)
	k.wg.Wait()
}
