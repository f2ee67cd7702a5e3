package inventory

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// A Stall is the error of a driver whose database accepts no call for now: another process holds a lock, or nothing
// answers. Nobody waits for the database until [Driver.ProbeWrite] succeeds.
type Stall struct {
	Err       error
	ReadsWork bool // reads are still answered
}

func (s *Stall) Error() string { return s.Err.Error() }
func (s *Stall) Unwrap() error { return s.Err }

// A healthTracker is the one place that knows whether the store works. The log, /-/ready and the metrics show what it
// knows.
type healthTracker struct {
	log      *slog.Logger
	onChange func(bool) // called at the beginning and the end of an outage; may be nil

	mu              sync.Mutex
	err             error         // why the last write failed; nil after a write succeeded
	since           time.Time     // when the outage began
	notStored       int           // target ends and retirements that were not stored, since the start
	notStoredBefore int           // those of earlier outages
	stalled         bool          // callers must not wait
	driverReported  bool          // the driver found the error without a call, and will find its end
	writesStalled   chan struct{} // closed while no write may wait
	readsStalled    chan struct{} // closed while no read may wait
}

func newHealthTracker(log *slog.Logger) *healthTracker {
	return &healthTracker{log: log, writesStalled: make(chan struct{}), readsStalled: make(chan struct{})}
}

// Health is the state of the store.
type Health struct {
	Err       error     // why writes fail; nil: they work
	Since     time.Time // zero: they work
	NotStored int       // target ends and retirements that were not stored, since the start
}

func (h *healthTracker) snapshot() Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Health{h.err, h.since, h.notStored}
}

func (h *healthTracker) writeFailed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.notStored++
	h.beginOutage(err)
}

// runWriteFailed is for a run or a sign-in that was not stored: no target is lost.
func (h *healthTracker) runWriteFailed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beginOutage(err)
}

// beginOutage records an error, and logs the first one. The caller holds h.mu.
func (h *healthTracker) beginOutage(err error) {
	isFirst := h.err == nil
	if isFirst && (errors.As(err, new(knownOutage)) || errors.As(err, new(*Stall))) {
		return // it was known when the call failed, and is over
	}
	if isFirst || !h.stalled {
		h.err = err
	}
	if !isFirst {
		return
	}
	h.since = time.Now()
	h.log.Error("store writes fail; outputs still get records", "error", err, "hint", record.HintOf(err))
	if h.onChange != nil {
		h.onChange(true)
	}
}

// observeDriver records what the driver finds without a call.
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

// writeSucceeded ends an outage, but not a stall: only the probe ends that.
func (h *healthTracker) writeSucceeded() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil && !h.stalled {
		h.endOutage()
	}
}

// endOutage clears the error. The caller holds h.mu.
func (h *healthTracker) endOutage() {
	h.log.Info(
		"store writes recovered", "duration", time.Since(h.since).Round(time.Millisecond),
		"not_stored", h.notStored-h.notStoredBefore,
	)
	h.err, h.since, h.notStoredBefore, h.driverReported = nil, time.Time{}, h.notStored, false
	if h.onChange != nil {
		h.onChange(false)
	}
}

// beginStall makes all callers stop waiting. It reports whether the stall is new: then the caller must probe until it
// ends.
func (h *healthTracker) beginStall(s *Stall) (isNew bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beginOutage(s.Err)
	h.err = s.Err // the latest error says most
	isNew = !h.stalled
	if h.stalled = true; isNew {
		close(h.writesStalled)
	}
	if !s.ReadsWork && !isClosed(h.readsStalled) {
		close(h.readsStalled)
	}
	return isNew
}

// updateStall records the latest error of the probe.
func (h *healthTracker) updateStall(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stalled {
		h.err = err
	}
}

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

// stallSignal returns the channel that is closed when a write, or a read, may no longer wait.
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
