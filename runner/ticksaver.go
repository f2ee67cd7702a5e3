package runner

import (
	"maps"
	"sync"
	"time"
)

// A tickSaver saves the last tick of each schedule outside the engine's loop, because an fsync may take long, and at
// most once a second.
type tickSaver struct {
	engine *Local
	mu     sync.Mutex
	last   map[TickKey]time.Time
	wake   chan struct{}
	quit   chan struct{}
	wg     sync.WaitGroup

	outage outage
}

func (l *Local) newTickSaver() *tickSaver {
	s := &tickSaver{engine: l, wake: make(chan struct{}, 1), quit: make(chan struct{}), outage: outage{
		failureMessage:  "saving last run times failed; the next run retries",
		recoveryMessage: "last run times saved again",
	}}
	if l.o.Ticks != nil {
		s.wg.Go(s.loop)
	}
	return s
}

func (s *tickSaver) save(last map[TickKey]time.Time) {
	s.mu.Lock()
	s.last = maps.Clone(last)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *tickSaver) loop() {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-s.quit:
			s.flush()
			return
		case <-pause.C:
		}
		select {
		case <-s.quit:
			s.flush()
			return
		case <-s.wake:
			s.flush()
			pause.Reset(time.Second)
		}
	}
}

func (s *tickSaver) flush() {
	s.mu.Lock()
	last := s.last
	s.last = nil
	s.mu.Unlock()
	if last == nil {
		return
	}
	err := catchPanic(func() error { return s.engine.o.Ticks.Save(last) })
	s.outage.report(s.engine.o.Log, "", err, nil)
}

func (s *tickSaver) close() {
	close(s.quit)
	s.wg.Wait()
}
