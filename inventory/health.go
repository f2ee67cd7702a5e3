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
	Err   error
	Reads bool // reads are answered as ever
}

func (s *Stall) Error() string { return s.Err.Error() }
func (s *Stall) Unwrap() error { return s.Err }

// Health is the one state of a store: it works, or it is in trouble since an instant. The log, /-/ready and the metrics show
// this and nothing else.
type health struct {
	log     *slog.Logger
	trouble func(bool) // hears of each change; nil: nobody

	mu      sync.Mutex
	err     error         // why the last write failed; nil once one has worked again
	since   time.Time     // the first of those that failed
	lost    int           // ends of targets, and retirements, that are not stored, since the start
	before  int           // of them, those of earlier outages
	stalled bool          // nobody is to wait
	visible bool          // the driver sees the trouble without a call, and will see its end
	writes  chan struct{} // closed while nobody is to wait for a write
	reads   chan struct{} // closed while nobody is to wait for a read either
}

func newHealth(log *slog.Logger) *health {
	return &health{log: log, writes: make(chan struct{}), reads: make(chan struct{})}
}

// Trouble is how the store fares.
type Trouble struct {
	Err   error     // nil: it works
	Since time.Time // zero: it works
	Lost  int       // ends of targets, and retirements, that it did not store since the start
}

func (h *health) now() Trouble {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Trouble{h.err, h.since, h.lost}
}

// failed notes that a write failed.
func (h *health) failed(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost++
	h.begin(err)
}

// begin notes the trouble, and logs its first error. h.mu is held.
func (h *health) begin(err error) {
	first := h.err == nil
	if first || !h.stalled {
		h.err = err
	}
	if !first {
		return
	}
	h.since = time.Now()
	h.log.Error("store writes fail", "error", err, "hint", record.HintOf(err), "delivery", "continues")
	if h.trouble != nil {
		h.trouble(true)
	}
}

// see notes what the driver sees without a call.
func (h *health) see(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err != nil && h.err == nil:
		h.visible = true
		h.begin(err)
	case err == nil && h.visible && !h.stalled:
		h.end()
	}
}

// worked notes that a write was stored. It ends trouble but a stall, which the probe ends.
func (h *health) worked() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil && !h.stalled {
		h.end()
	}
}

// end is the end of the trouble. h.mu is held.
func (h *health) end() {
	h.log.Info("store writes recovered", "duration", time.Since(h.since).Round(time.Millisecond), "not_stored", h.lost-h.before)
	h.err, h.since, h.before, h.visible = nil, time.Time{}, h.lost, false
	if h.trouble != nil {
		h.trouble(false)
	}
}

// stall has everybody stop waiting, and reports whether it is a new one: then the caller probes until it is over.
func (h *health) stall(s *Stall) (begun bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.begin(s.Err)
	h.err = s.Err // the latest says most
	begun = !h.stalled
	if h.stalled = true; begun {
		close(h.writes)
	}
	if !s.Reads && !closed(h.reads) {
		close(h.reads)
	}
	return begun
}

// still notes what the probe says of a stall that goes on.
func (h *health) still(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.stalled {
		h.err = err
	}
}

// released ends a stall.
func (h *health) released() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stalled {
		return
	}
	h.stalled, h.writes = false, make(chan struct{})
	if closed(h.reads) {
		h.reads = make(chan struct{})
	}
	h.end()
}

// gate is the channel that closes when nobody is to wait any longer, for a write or for a read.
func (h *health) gate(write bool) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if write {
		return h.writes
	}
	return h.reads
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
