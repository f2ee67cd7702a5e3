package web

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"
)

// The limits on expensive responses. A peer is an address, or a /64 of IPv6. All clients behind one proxy are one peer,
// so a peer may have most of the slots, but not all.
const (
	maxSlots          = 8
	maxSlotsPerPeer   = 6
	maxWaiting        = 100 // requests that wait for a slot
	maxWaitingPerPeer = 32
	maxWait           = 8 * time.Second // a scrape has 10 s by Prometheus's default
	retryAfter        = 5 * time.Second
	evictInterval     = 100 * time.Millisecond
	minBytesPerSecond = 32 << 10               // a client that reads more slowly for long is disconnected
	readerSlack       = 10 * time.Second       // how long a client may read nothing, or be behind minBytesPerSecond
	contendedSlack    = time.Second            // the same, while others wait for the slot
	pacedChunk        = 32 << 10               // of one write: progress is measured in chunks
	deadlineInterval  = 250 * time.Millisecond // a deadline costs a system call: it is not set for every write
	sendBufferSize    = 128 << 10              // small, because the kernel's buffer hides how slowly a client reads
)

// An admission limits how many responses are written at once, and disconnects slow clients. A client that reads nothing
// or very little has a slot for [readerSlack]; while others wait, for [contendedSlack]. Others wait in a short queue;
// the peer with the fewest slots is admitted first.
type admission struct {
	maxSlots, maxSlotsPerPeer int
	maxTime                   time.Duration // of a whole response; 0: no limit

	mu    sync.Mutex
	slots map[*slot]bool
	queue []*waiter // oldest first
}

// A slot is the right to write a response.
type slot struct {
	admission *admission
	peer      string
	endBy     time.Time // the deadline of the whole response; zero: none

	// Guarded by admission.mu.
	abort          func() // ends a write in progress
	writeSince     time.Time
	slack          time.Duration // how much longer the client may take to read what was written
	contendedSlack time.Duration // the same while others wait
	evicted        bool
}

type waiter struct {
	peer    string
	granted chan *slot // holds one
}

func newAdmission() *admission {
	return &admission{
		maxSlots: maxSlots, maxSlotsPerPeer: maxSlotsPerPeer, maxTime: writeTimeout, slots: map[*slot]bool{},
	}
}

// newStreamAdmission admits answers without a limit of their time.
func newStreamAdmission(most, mostPerPeer int) *admission {
	return &admission{maxSlots: most, maxSlotsPerPeer: mostPerPeer, slots: map[*slot]bool{}}
}

// wrap admits requests to a handler, and measures how fast clients read the responses.
func (a *admission) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// With keep-alive, the server would read the whole body before it sends the response header; abort does not end that.
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
		}
		s := a.enter(r.Context(), peerOf(r.RemoteAddr))
		if s == nil {
			w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
			text(w, http.StatusServiceUnavailable, "Too many requests in progress. Try again later.\n")
			return
		}
		control := http.NewResponseController(w)
		a.mu.Lock()
		s.abort = func() { _ = control.SetWriteDeadline(time.Unix(1, 0)) } // fails only in tests
		a.mu.Unlock()
		defer func() {
			a.leave(s)
			_ = control.SetWriteDeadline(time.Now().Add(readerSlack)) // for buffered data
		}()
		next.ServeHTTP(&pacedWriter{ResponseWriter: w, control: control, slot: s}, r)
	})
}

// enter waits for a slot; nil: there is none.
func (a *admission) enter(ctx context.Context, peer string) *slot {
	a.mu.Lock()
	if a.admits(peer) {
		defer a.mu.Unlock()
		return a.newSlot(peer)
	}
	waitingOfPeer := 0
	for _, w := range a.queue {
		if w.peer == peer {
			waitingOfPeer++
		}
	}
	if len(a.queue) >= maxWaiting || waitingOfPeer >= maxWaitingPerPeer {
		a.mu.Unlock()
		return nil
	}
	w := &waiter{peer: peer, granted: make(chan *slot, 1)}
	a.queue = append(a.queue, w)
	a.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	ticker := time.NewTicker(evictInterval)
	defer ticker.Stop()
	for {
		select {
		case s := <-w.granted:
			return s
		case <-ticker.C:
			a.evictSlowReaders(time.Now())
		case <-ctx.Done():
			a.mu.Lock()
			defer a.mu.Unlock()
			if i := slices.Index(a.queue, w); i >= 0 {
				a.queue = slices.Delete(a.queue, i, i+1)
				return nil
			}
			return <-w.granted // granted at the last moment
		}
	}
}

// admits reports whether there is a slot for the peer. a.mu is held, here and in slotsOf and newSlot.
func (a *admission) admits(peer string) bool {
	return len(a.slots) < a.maxSlots && a.slotsOf(peer) < a.maxSlotsPerPeer
}

func (a *admission) slotsOf(peer string) (n int) {
	for s := range a.slots {
		if s.peer == peer {
			n++
		}
	}
	return n
}

func (a *admission) newSlot(peer string) *slot {
	s := &slot{
		admission: a, peer: peer, slack: readerSlack, contendedSlack: contendedSlack, abort: func() {},
	}
	if a.maxTime > 0 {
		s.endBy = time.Now().Add(a.maxTime)
	}
	a.slots[s] = true
	return s
}

// leave releases the slot, and admits those who wait for it.
func (a *admission) leave(s *slot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.abort = func() {} // its connection may serve another request
	delete(a.slots, s)
	for {
		best := -1
		for i, w := range a.queue {
			if a.admits(w.peer) && (best < 0 || a.slotsOf(w.peer) < a.slotsOf(a.queue[best].peer)) {
				best = i
			}
		}
		if best < 0 {
			return
		}
		w := a.queue[best]
		a.queue = slices.Delete(a.queue, best, best+1)
		w.granted <- a.newSlot(w.peer)
	}
}

// evictSlowReaders disconnects clients that are behind, the slowest first, while others wait for their slots.
func (a *admission) evictSlowReaders(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	wanted := map[string]int{}
	for _, w := range a.queue {
		wanted[w.peer]++
	}
	leaving := 0
	var behind []*slot
	for s := range a.slots {
		switch {
		case s.evicted:
			leaving++
		case !s.writeSince.IsZero() && now.Sub(s.writeSince) >= s.contendedSlack:
			behind = append(behind, s)
		}
	}
	slices.SortFunc(behind, func(a, b *slot) int { return a.writeSince.Compare(b.writeSince) })
	for _, s := range behind {
		if leaving >= len(a.queue) {
			return
		}
		if len(a.slots) < a.maxSlots && wanted[s.peer] == 0 {
			continue // the waiting peers are at their own limit: this slot would not help them
		}
		s.evicted = true
		s.abort()
		leaving++
	}
}

// beginWrite records that a write begins, and returns its deadline; false: the slot was lost.
func (s *slot) beginWrite(now time.Time) (time.Time, bool) {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	s.writeSince = now
	by := now.Add(s.slack)
	if !s.endBy.IsZero() && s.endBy.Before(by) {
		by = s.endBy
	}
	return by, !s.evicted && by.After(now)
}

// endWrite records the bytes of a write: each byte earns time, up to the slack.
func (s *slot) endWrite(now time.Time, n int) {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	change := time.Duration(n)*time.Second/minBytesPerSecond - now.Sub(s.writeSince)
	s.writeSince = time.Time{}
	s.slack, s.contendedSlack = min(readerSlack, s.slack+change), min(contendedSlack, s.contendedSlack+change)
}

// A pacedWriter writes a response in chunks, each with its own deadline.
type pacedWriter struct {
	http.ResponseWriter
	control     *http.ResponseController
	slot        *slot
	deadlineSet time.Time // when the deadline was last set
}

// Unwrap is for [http.ResponseController].
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *pacedWriter) Write(b []byte) (written int, err error) {
	for first := true; first || len(b) > 0; first = false {
		now := time.Now()
		by, ok := w.slot.beginWrite(now)
		if !ok {
			return written, os.ErrDeadlineExceeded
		}
		if w.deadlineSet.IsZero() || now.Sub(w.deadlineSet) >= deadlineInterval {
			w.deadlineSet = now
			w.slot.setDeadline(w.control, by)
		}
		n, err := w.ResponseWriter.Write(b[:min(len(b), pacedChunk)])
		w.slot.endWrite(time.Now(), n)
		if written, b = written+n, b[n:]; err != nil {
			return written, err
		}
	}
	return written, nil
}

// setDeadline sets the deadline, unless the slot was lost meanwhile.
func (s *slot) setDeadline(c *http.ResponseController, by time.Time) {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	if !s.evicted {
		_ = c.SetWriteDeadline(by) // fails only in tests
	}
}

// peerOf returns the peer of a request: its address, or for IPv6 the /64, which belongs to one customer.
func peerOf(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is6() && !ip.IsLoopback() {
		if prefix, err := ip.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return ip.String()
}

// abortBroken ends a response at the first failed write, for handlers that would continue and log every failure.
func abortBroken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next.ServeHTTP(abortingWriter{w}, r) })
}

type abortingWriter struct{ http.ResponseWriter }

func (w abortingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w abortingWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

// A pacedListener keeps the kernel's send buffer small, so that a slow client is noticed and uses little memory.
type pacedListener struct{ net.Listener }

func (l pacedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBufferSize) // where it cannot be set, a slow reader shows later
	}
	return c, err
}
