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

// The limits on answers that cost something. A peer is an address, or IPv6's /64; everybody behind one proxy is one
// peer, so a peer may have most of the slots, and leaves some to others.
const (
	maxSlots          = 8
	maxSlotsPerPeer   = 6
	maxWaiting        = 100 // requests that wait for a slot
	maxWaitingPerPeer = 32
	maxWait           = 8 * time.Second // a scrape has 10 s by Prometheus's default
	retryAfter        = 5 * time.Second
	evictInterval     = 100 * time.Millisecond
	minBytesPerSecond = 32 << 10               // a second: who reads slower than this for long is cut off
	readerSlack       = 10 * time.Second       // how long a reader may take nothing, or be behind slowestBytes
	contendedSlack    = time.Second            // the same, while others wait for the slot
	pacedChunk        = 32 << 10               // of one write: what progress is measured in
	deadlineInterval  = 250 * time.Millisecond // a deadline is a system call: it is not set for every write
	sendBufferSize    = 128 << 10              // what the kernel takes of an answer before its reader's pace shows
)

// An admission bounds how many answers are being written, and cuts off readers that keep slots from others. A reader
// that takes nothing, or drips, has a slot for [readerSlack]; once others wait, for [wantedSlack]. Those wait in a
// short queue, and the peer that holds the fewest slots is let in first.
type admission struct {
	mu    sync.Mutex
	slots map[*slot]bool
	queue []*waiter // oldest first
}

// A slot is an answer's right to be written.
type slot struct {
	admission *admission
	peer      string
	endBy     time.Time // when the answer must be out, however fast it is read

	// Under in.mu.
	abort          func() // ends a write that is under way
	writeSince     time.Time
	slack          time.Duration // how much longer the reader may take for what was written
	contendedSlack time.Duration // the same while others wait
	evicted        bool
}

type waiter struct {
	peer    string
	granted chan *slot // holds one
}

func newAdmission() *admission { return &admission{slots: map[*slot]bool{}} }

// wrap admits requests to a handler, and watches how their answers are read.
func (a *admission) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 { // else the server waits for the body before it sends the answer's head, and no cut ends that
			w.Header().Set("Connection", "close")
		}
		p := a.enter(r.Context(), peerOf(r.RemoteAddr))
		if p == nil {
			w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
			text(w, http.StatusServiceUnavailable, "too many answers are being written; ask again later.\n")
			return
		}
		control := http.NewResponseController(w)
		a.mu.Lock()
		p.abort = func() { _ = control.SetWriteDeadline(time.Unix(1, 0)) } // of a writer without deadlines, nobody waits
		a.mu.Unlock()
		defer func() {
			a.leave(p)
			_ = control.SetWriteDeadline(time.Now().Add(readerSlack)) // for what the server still holds of it
		}()
		next.ServeHTTP(&pacedWriter{ResponseWriter: w, control: control, slot: p}, r)
	})
}

// enter waits for a slot; nil: there is none.
func (a *admission) enter(ctx context.Context, peer string) *slot {
	a.mu.Lock()
	if a.admits(peer) {
		defer a.mu.Unlock()
		return a.newSlot(peer)
	}
	mine := 0
	for _, w := range a.queue {
		if w.peer == peer {
			mine++
		}
	}
	if len(a.queue) >= maxWaiting || mine >= maxWaitingPerPeer {
		a.mu.Unlock()
		return nil
	}
	w := &waiter{peer: peer, granted: make(chan *slot, 1)}
	a.queue = append(a.queue, w)
	a.mu.Unlock()

	ctx, cancel := context.WithTimeout(ctx, maxWait)
	defer cancel()
	look := time.NewTicker(evictInterval)
	defer look.Stop()
	for {
		select {
		case p := <-w.granted:
			return p
		case <-look.C:
			a.evictSlowReaders(time.Now())
		case <-ctx.Done():
			a.mu.Lock()
			defer a.mu.Unlock()
			if i := slices.Index(a.queue, w); i >= 0 {
				a.queue = slices.Delete(a.queue, i, i+1)
				return nil
			}
			return <-w.granted // it came at the last moment
		}
	}
}

// admits reports whether there is a slot for the peer. a.mu is held, as below.
func (a *admission) admits(peer string) bool {
	return len(a.slots) < maxSlots && a.slotsOf(peer) < maxSlotsPerPeer
}

func (a *admission) slotsOf(peer string) (n int) {
	for p := range a.slots {
		if p.peer == peer {
			n++
		}
	}
	return n
}

func (a *admission) newSlot(peer string) *slot {
	p := &slot{admission: a, peer: peer, endBy: time.Now().Add(writeTimeout), slack: readerSlack, contendedSlack: contendedSlack, abort: func() {}}
	a.slots[p] = true
	return p
}

// leave gives the slot back, and others in.
func (a *admission) leave(p *slot) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p.abort = func() {} // its connection may serve another request
	delete(a.slots, p)
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

// evictSlowReaders cuts off readers that are behind, the longest first, as far as somebody waits for their slots.
func (a *admission) evictSlowReaders(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	wanted := map[string]int{}
	for _, w := range a.queue {
		wanted[w.peer]++
	}
	leaving := 0
	var behind []*slot
	for p := range a.slots {
		switch {
		case p.evicted:
			leaving++
		case !p.writeSince.IsZero() && now.Sub(p.writeSince) >= p.contendedSlack:
			behind = append(behind, p)
		}
	}
	slices.SortFunc(behind, func(p, q *slot) int { return p.writeSince.Compare(q.writeSince) })
	for _, p := range behind {
		if leaving >= len(a.queue) {
			return
		}
		if len(a.slots) < maxSlots && wanted[p.peer] == 0 {
			continue // whoever waits does so for the slots of another peer
		}
		p.evicted = true
		p.abort()
		leaving++
	}
}

// beginWrite notes that a write begins, and says by when it must be done; false: the reader has lost its slot.
func (p *slot) beginWrite(now time.Time) (time.Time, bool) {
	p.admission.mu.Lock()
	defer p.admission.mu.Unlock()
	p.writeSince = now
	by := now.Add(p.slack)
	if p.endBy.Before(by) {
		by = p.endBy
	}
	return by, !p.evicted && by.After(now)
}

// endWrite notes how a write went: bytes buy time, up to the slack.
func (p *slot) endWrite(now time.Time, n int) {
	p.admission.mu.Lock()
	defer p.admission.mu.Unlock()
	change := time.Duration(n)*time.Second/minBytesPerSecond - now.Sub(p.writeSince)
	p.writeSince = time.Time{}
	p.slack, p.contendedSlack = min(readerSlack, p.slack+change), min(contendedSlack, p.contendedSlack+change)
}

// A pacedWriter writes an answer in chunks, each of which has its deadline.
type pacedWriter struct {
	http.ResponseWriter
	control     *http.ResponseController
	slot        *slot
	deadlineSet time.Time // when the deadline was set last
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

// setDeadline sets it, unless the slot has just been lost.
func (p *slot) setDeadline(c *http.ResponseController, by time.Time) {
	p.admission.mu.Lock()
	defer p.admission.mu.Unlock()
	if !p.evicted {
		_ = c.SetWriteDeadline(by) // a writer without deadlines is a test's
	}
}

// peerOf is whom a request comes from: its address, of IPv6 the /64, which is one customer's.
func peerOf(remote string) string {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	ip := at.Addr().Unmap().WithZone("")
	if ip.Is6() && !ip.IsLoopback() {
		if p, err := ip.Prefix(64); err == nil {
			return p.String()
		}
	}
	return ip.String()
}

// abortBroken ends an answer at the first write that fails, for handlers that would go on, and log each.
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

// A pacedListener has the kernel hold little of what is sent, so that a slow reader shows, and takes little memory
// there.
type pacedListener struct{ net.Listener }

func (l pacedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBufferSize) // where it cannot be set, a slow reader shows later
	}
	return c, err
}
