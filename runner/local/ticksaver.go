package local

import (
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// A tickSaver saves the last tick of each schedule outside the engine's loop, because an fsync may take long, and at
// most once a second.
type tickSaver struct {
	ticks Ticks
	log   *slog.Logger
	mu    sync.Mutex
	last  map[TickKey]time.Time
	wake  chan struct{}
	quit  chan struct{}
	wg    sync.WaitGroup

	failing bool // the last save failed: a failure is logged once, and its end
}

func (e *Engine) newTickSaver() *tickSaver {
	s := &tickSaver{ticks: e.o.Ticks, log: e.o.Log, wake: make(chan struct{}, 1), quit: make(chan struct{})}
	if s.ticks != nil {
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
	err := runner.CatchPanic(func() error { return s.ticks.Save(last) })
	switch {
	case err != nil && !s.failing:
		s.log.Error("saving last run times failed; the next run retries", "error", err, "hint", record.HintOf(err))
	case err == nil && s.failing:
		s.log.Info("last run times saved again")
	}
	s.failing = err != nil
}

func (s *tickSaver) close() {
	close(s.quit)
	s.wg.Wait()
}
