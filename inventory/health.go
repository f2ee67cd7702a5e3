package inventory

import (
	"log/slog"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// A Stall is a driver's word that its database lets no call in for now: another process holds a lock, or nothing answers.
// Whoever waits as well would wait in vain, so nobody does until [Driver.Probe] says that the database works again.
type Stall struct {
	Err       error
	ReadsWork bool // reads are answered as ever
}

func (s *Stall) Error() string { return s.Err.Error() }
func (s *Stall) Unwrap() error { return s.Err }

// Health is the one state of a store: it works, or it is in trouble since an instant. The log, /-/ready and the metrics show
// this and nothing else.
type healthTracker struct {
	log      *slog.Logger
	onChange func(bool) // hears of each change; nil: nobody

	mu              sync.Mutex
	err             error         // why the last write failed; nil once one has worked again
	since           time.Time     // the first of those that failed
	notStored       int           // ends of targets, and retirements, that are not stored, since the start
	notStoredBefore int           // of them, those of earlier outages
	stalled         bool          // nobody is to wait
	driverReported  bool          // the driver sees the trouble without a call, and will see its end
	writesStalled   chan struct{} // closed while nobody is to wait for a write
	readsStalled    chan struct{} // closed while nobody is to wait for a read either
}

func newHealthTracker(log *slog.Logger) *healthTracker {
	return &healthTracker{log: log, writesStalled: make(chan struct{}), readsStalled: make(chan struct{})}
}

// Health is how the store fares.
type Health struct {
	Err       error     // nil: it works
	Since     time.Time // zero: it works
	NotStored int       // ends of targets, and retirements, that it did not store since the start
}

func (h *healthTracker) snapshot() Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Health{h.err, h.since, h.notStored}
}

// writeFailed notes that a write failed.
func (h *healthTracker) writeFailed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notStored++
	h.beginOutage(err)
}

// beginOutage notes the trouble, and logs its first error. h.mu is held.
func (h *healthTracker) beginOutage(err error) {
	first := h.err == nil
	if first || !h.stalled {
		h.err = err
	}
	if !first {
		return
	}
	h.since = time.Now()
	h.log.Error("store writes fail", "error", err, "hint", record.HintOf(err), "delivery", "continues")
	if h.onChange != nil {
		h.onChange(true)
	}
}

// observeDriver notes what the driver sees without a call.
func (h *healthTracker) observeDriver(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil && h.err == nil:
		h.driverReported = true
		h.beginOutage(err)
	case err == nil && h.driverReported && !h.stalled:
		h.endOutage()
	}
}

// writeSucceeded notes that a write was stored. It ends trouble but a stall, which the probe ends.
func (h *healthTracker) writeSucceeded() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil && !h.stalled {
		h.endOutage()
	}
}

// endOutage is the end of the trouble. h.mu is held.
func (h *healthTracker) endOutage() {
	h.log.Info("store writes recovered", "duration", time.Since(h.since).Round(time.Millisecond), "not_stored", h.notStored-h.notStoredBefore)
	h.err, h.since, h.notStoredBefore, h.driverReported = nil, time.Time{}, h.notStored, false
	if h.onChange != nil {
		h.onChange(false)
	}
}

// beginStall has everybody stop waiting, and reports whether it is a new one: then the caller probes until it is over.
func (h *healthTracker) beginStall(s *Stall) (begun bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beginOutage(s.Err)
	h.err = s.Err // the latest says most
	begun = !h.stalled
	if h.stalled = true; begun {
		close(h.writesStalled)
	}
	if !s.ReadsWork && !isClosed(h.readsStalled) {
		close(h.readsStalled)
	}
	return begun
}

// updateStall notes what the probe says of a stall that goes on.
func (h *healthTracker) updateStall(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stalled {
		h.err = err
	}
}

// endStall ends a stall.
func (h *healthTracker) endStall() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stalled {
		return
	}
	h.stalled, h.writesStalled = false, make(chan struct{})
	if isClosed(h.readsStalled) {
		h.readsStalled = make(chan struct{})
	}
	h.endOutage()
}

// stallSignal is the channel that closes when nobody is to wait any longer, for a write or for a read.
func (h *healthTracker) stallSignal(write bool) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if write {
		return h.writesStalled
	}
	return h.readsStalled
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
