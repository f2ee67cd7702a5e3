package outputs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws-collector/collector/outputs/internal/journal"
	"github.com/aws-collector/collector/record"
)

// Spool is what waits on disk for an output whose receiver may be away.
type Spool struct {
	MaxBytes SpoolSize `yaml:"max_bytes" doc:"How large it may grow on disk, as 1GiB; records are compressed there, to about a tenth. Default: 1GiB."`
	WhenFull string    `yaml:"when_full" enum:"drop_oldest,block" doc:"drop_oldest loses the oldest records, and counts them; block makes collecting wait until the receiver takes some: then nothing is lost, and every account stands still. Default: drop_oldest."`
}

const (
	whenFullDropOldest = "drop_oldest"
	whenFullBlock      = "block"

	minSpoolBytes     = 1 << 20 // some pages
	defaultSpoolBytes = 1 << 30
)

// SpoolSize is [Bytes] that are enough for a spool.
type SpoolSize Bytes

// UnmarshalText takes a whole number and a unit.
func (s *SpoolSize) UnmarshalText(text []byte) error {
	b := (*Bytes)(s)
	if err := b.UnmarshalText(text); err != nil {
		return err
	}
	if *b < minSpoolBytes {
		return fmt.Errorf("%s is less than 1MiB, a page of records or two", b)
	}
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (s SpoolSize) MarshalText() ([]byte, error) { return Bytes(s).MarshalText() }

func (s SpoolSize) String() string { return Bytes(s).String() }

// withDefaults is what was written, with the defaults.
func (s *Spool) withDefaults() Spool {
	out := Spool{MaxBytes: defaultSpoolBytes, WhenFull: whenFullDropOldest}
	if s != nil && s.MaxBytes != 0 {
		out.MaxBytes = s.MaxBytes
	}
	if s != nil && s.WhenFull != "" {
		out.WhenFull = s.WhenFull
	}
	return out
}

// SpoolState is how a spool fares.
type SpoolState struct {
	Dir         string
	Records     int       // that wait
	Bytes       int64     // of them on disk
	Oldest      time.Time // since when the oldest waits; zero if none does
	Full        bool      // it drops records, or makes Send wait
	Dropped     int       // records, since it was opened
	DeadLetters int
	Retries     int
}

// A spool is an output that keeps what it is sent on disk, and one goroutine that hands it on to the output proper. So
// Send is the disk's matter, Flush says that a power cut would lose nothing, and no page waits for a receiver. It is the
// output's name that it belongs to: it outlives a reload, and the process.
type spool struct {
	name     string
	dir      string
	log      *slog.Logger
	observer Observer
	onChange func() // the lane's: whether the output works is another now; called without mu

	journal     *journal.Journal
	deadLetters *deadLetters
	losses      *losses
	wakeup      chan struct{} // something was appended, or is otherwise new for the feeder

	mu             sync.Mutex
	options        Spool
	typ            string // the output proper, and what it was opened with
	innerOptions   any
	key            string
	inner          Output
	replaced       []Output // replaced, to be closed by the feeder between two requests
	batching       Batching
	innerReplaced  chan struct{} // closed when inner is replaced
	progress       chan struct{} // closed when something was acknowledged, or the feeder has given up
	drainStarted   chan struct{} // closed when nothing is to wait any more
	drainRequested bool
	drainAbandoned bool // draining has been given up
	closed         bool
	cancel         context.CancelFunc // of the feeder; nil until it runs
	feederDone     chan struct{}

	full             bool
	droppedWhileFull int // dropped in this episode
	lastErr          error
	downSince        time.Time
	feederBusy       bool      // the feeder is
	permanent        bool      // the output proper will never work again
	requestStarted   time.Time // since when a request is under way; zero: none is
	delivered        int
	errs             int
	stats            SpoolState
}

// defaultBatching is for outputs that have no say in it.
var defaultBatching = Batching{MaxRecords: 5000, MaxBytes: 4 << 20}

// openSpool opens the spool of an output, which it then owns. Nothing is handed on before start.
func openSpool(name string, o Spool, d Deps) (*spool, error) {
	dir := filepath.Join(d.SpoolDir, folderName(name))
	if d.SpoolDir == "" {
		return nil, errors.New("there is no folder for its spool")
	}
	s := &spool{
		name: name, dir: dir, log: d.Log.With("output", name), observer: d.Observer, onChange: func() {}, options: o,
		wakeup: make(chan struct{}, 1), innerReplaced: make(chan struct{}), progress: make(chan struct{}), drainStarted: make(chan struct{}),
		feederDone: make(chan struct{}), stats: SpoolState{Dir: dir}, deadLetters: &deadLetters{path: filepath.Join(dir, "dead-letter.jsonl"), output: name},
	}
	var err error
	s.losses = loadLosses(filepath.Join(dir, "missing.json"), s.log)
	s.journal, err = journal.Open(journal.Options{Dir: dir, MaxBytes: int64(o.MaxBytes), Damaged: s.reportDamage, CursorReset: s.reportCursorReset})
	if err != nil {
		return nil, s.fault("open", err)
	}
	return s, nil
}

// folderName is a name as a file name, one to one: what could be more than a name is escaped.
func folderName(name string) string {
	var b strings.Builder
	for i, c := range []byte(name) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' && i > 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// reportDamage says what the disk has lost. The journal is locked.
func (s *spool) reportDamage(d journal.Damage) {
	if d.Torn {
		s.log.Warn("spool ended in half a batch, which is cut off; an earlier process was stopped while it wrote", "path", d.Path, "bytes", d.Bytes)
		return
	}
	s.log.Error("spool is damaged; what cannot be read is left out", "path", d.Path, "at", d.Offset, "bytes", d.Bytes, "records", d.Records)
	s.mu.Lock()
	s.stats.Dropped += d.Records
	s.mu.Unlock()
	if s.observer != nil && d.Records > 0 {
		s.observer.OutputDropped(s.name, d.Records, "damaged")
	}
}

// reportCursorReset says that it is not known how far the spool was handed on.
func (s *spool) reportCursorReset(moved string, err error) {
	s.log.Warn("spool cursor is damaged", "error", err, "moved", moved,
		"hint", "What was handed on of the spool's oldest file is handed on again; nothing is lost.")
}

// applyConfig takes the accepted configuration's options, and the output made of them in place of the one before.
func (s *spool) applyConfig(m fanOutput) {
	s.journal.SetMax(int64(m.spoolOptions.MaxBytes))
	s.losses.setEnabled(m.wantsEnds)
	s.mu.Lock()
	s.options, s.typ, s.key, s.innerOptions, s.batching = m.spoolOptions, m.typ, m.key, m.options, defaultBatching
	if b, ok := m.options.(interface{ batching() *Batching }); ok {
		s.batching = *b.batching()
	}
	if m.newInner != nil {
		if s.inner != nil {
			s.replaced = append(s.replaced, s.inner)
		}
		if r, ok := m.newInner.(reconfigurer); ok { // it may have been open before, with other options
			r.reconfigure(m.options)
		}
		s.inner, s.permanent = m.newInner, false
		close(s.innerReplaced)
		s.innerReplaced = make(chan struct{})
	} else if r, ok := s.inner.(reconfigurer); ok {
		r.reconfigure(m.options)
	}
	s.notifyProgressLocked() // another policy may let a Send go on
	if s.cancel == nil {
		ctx, cancel := context.WithCancel(context.Background()) // until Close
		s.cancel = cancel
		go func() { defer close(s.feederDone); s.runFeeder(ctx) }()
	}
	s.mu.Unlock()
	s.wakeFeeder()
	s.reportStat()
}

// blocksWhenFull reports whether a full spool makes its senders wait.
func (s *spool) blocksWhenFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.options.WhenFull == whenFullBlock
}

// canKeepInner reports whether the output proper can stay as it is, but for a reconfigure.
func (s *spool) canKeepInner(t Type, key string, options any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.typ != t.Name || s.inner == nil || s.permanent {
		return false
	}
	return key != "" && key == s.key && canReconfigure(s.inner) || reflect.DeepEqual(options, s.innerOptions)
}

// notifyProgressLocked tells all who wait for room or for the end. s.mu is held.
func (s *spool) notifyProgressLocked() {
	close(s.progress)
	s.progress = make(chan struct{})
}

// wakeFeeder tells the feeder to look again.
func (s *spool) wakeFeeder() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// Send puts the batch on disk. If there is no room, it makes some or waits for some, as configured.
func (s *spool) Send(ctx context.Context, b Batch) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.mu.Lock()
		moved, drop, closed := s.progress, s.options.WhenFull != whenFullBlock, s.closed
		s.mu.Unlock()
		if closed {
			return ErrClosed
		}
		if len(b.Lines) == 0 {
			return nil
		}
		dropped, err := s.journal.Append(journal.Entry{ID: b.ID, Run: b.Run, Target: b.Target, N: b.N}, b.Lines, drop)
		if dropped.Records > 0 {
			s.countDropped(dropped)
		}
		if errors.Is(err, journal.ErrFull) {
			s.markFull("spool is full; collecting waits until the receiver takes something")
			select {
			case <-moved:
				continue
			case <-ctx.Done():
				return s.fault("wait for room in", fmt.Errorf("%w: %w", err, context.Cause(ctx)))
			}
		}
		if err != nil {
			return s.fault("write", err)
		}
		s.wakeFeeder()
		s.reportStat()
		return nil
	}
}

// markFull begins the episode of a full spool, and says so once.
func (s *spool) markFull(text string) {
	s.mu.Lock()
	was := s.full
	s.full = true
	down := s.lastErr
	limit := s.options.MaxBytes
	s.mu.Unlock()
	if !was {
		s.log.Error(text, "spool", s.dir, "max_bytes", limit, "error", down,
			"hint", "see to the receiver, or raise spool.max_bytes")
		s.onChange()
	}
}

func (s *spool) countDropped(d journal.Dropped) {
	n := d.Records
	s.reportUnsavedLosses(s.losses.add(d.Sources))
	s.mu.Lock()
	s.droppedWhileFull += n
	s.stats.Dropped += n
	s.mu.Unlock()
	s.markFull("spool is full; the oldest records are dropped until there is room")
	if s.observer != nil {
		s.observer.OutputDropped(s.name, n, "full")
	}
}

// reportUnsavedLosses says that a restart will not know what is missing.
func (s *spool) reportUnsavedLosses(err error) {
	if err != nil {
		err = s.fault("write what is missing to", err)
		s.log.Warn("after a restart ends of targets may say that all is there", "error", err, "hint", record.HintOf(err))
	}
}

// markDrained ends the episode when an eighth is free again.
func (s *spool) markDrained() {
	st := s.journal.Stat()
	s.mu.Lock()
	ends := s.full && st.Bytes < int64(s.options.MaxBytes)/8*7
	n := s.droppedWhileFull
	if ends {
		s.full, s.droppedWhileFull = false, 0
	}
	s.mu.Unlock()
	if ends {
		s.log.Warn("spool has room again", "spool", s.dir, "dropped", n)
		s.onChange()
	}
}

// reportStat tells what waits.
func (s *spool) reportStat() {
	if s.observer == nil {
		return
	}
	st := s.journal.Stat()
	s.observer.OutputSpool(s.name, st.Records, st.Bytes, st.Oldest)
}

// Flush waits until what was sent before would survive a power cut.
func (s *spool) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	return s.fault("flush", s.journal.Sync())
}

// drain waits until the receiver has everything, as long as ctx lets it and there is hope: for one who is not patient there is
// none once the receiver fails. From now on nothing waits to fill a request.
func (s *spool) drain(ctx context.Context, patient bool) {
	s.mu.Lock()
	if !s.drainRequested {
		s.drainRequested = true
		close(s.drainStarted)
	}
	runs := s.cancel != nil && !s.closed
	s.mu.Unlock()
	for runs {
		s.mu.Lock()
		moved := s.progress // first, so that no step is missed
		s.mu.Unlock()
		left := s.journal.Stat().Bytes // then busy: who has acknowledged the last may not have noted it yet
		s.mu.Lock()
		gone, busy := s.permanent || !patient && s.lastErr != nil, s.feederBusy
		s.mu.Unlock()
		if gone || left == 0 && !busy {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			s.mu.Lock()
			s.drainAbandoned = true
			s.mu.Unlock()
			return
		}
	}
}

// Close hands on what it can while ctx lets it; what is left stays on disk, and is said. Safe twice.
func (s *spool) Close(ctx context.Context) error {
	if at, ok := ctx.Deadline(); !s.cannotDrain(ok) {
		if ok { // some of it is for the closing itself
			short, cancel := context.WithDeadline(ctx, at.Add(-time.Until(at)/6))
			s.drain(short, true)
			cancel()
		} else {
			s.drain(ctx, false)
		}
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.notifyProgressLocked()
	cancel, inner := s.cancel, append(s.replaced, s.inner)
	s.replaced = nil
	s.mu.Unlock()
	if cancel != nil {
		cancel()
		select {
		case <-s.feederDone:
		case <-ctx.Done():
			select {
			case <-s.feederDone:
			case <-time.After(time.Second): // an output that ignores its context: its end is the process's
				return fmt.Errorf("spool %s: close: %w", s.dir, errStalled)
			}
		}
	}
	var errs []error
	for _, o := range inner {
		if o != nil {
			errs = append(errs, o.Close(ctx))
		}
	}
	left := s.journal.Stat()
	if err := s.journal.Close(); err != nil {
		errs = append(errs, s.fault("close", err))
	}
	if left.Records > 0 {
		s.log.Warn("records are left in the spool; the next output of this name sends them", "records", left.Records, "spool", s.dir)
	}
	return errors.Join(errs...)
}

// cannotDrain reports whether there is no point in waiting for the receiver.
func (s *spool) cannotDrain(bounded bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drainAbandoned || s.permanent || !bounded && s.lastErr != nil
}

// merge puts what the spool knows into the lane's state, which is about the disk.
func (s *spool) merge(st *State) {
	waits := s.journal.Stat()
	s.mu.Lock()
	defer s.mu.Unlock()
	ss := s.stats
	ss.Records, ss.Bytes, ss.Oldest, ss.Full = waits.Records, waits.Bytes, waits.Oldest, s.full
	st.Spool, st.Type, st.Records = &ss, s.typ, s.delivered
	st.Errors += s.errs
	if !st.Up {
		return // a disk that fails is the worse
	}
	down := s.lastErr
	if d := time.Since(s.requestStarted); down == nil && !s.requestStarted.IsZero() && d > 2*requestTimeout {
		down = errStalled
	}
	if down != nil {
		st.Up, st.Error, st.Hint, st.Since = false, down.Error(), record.HintOf(down), s.downSince
	}
	if s.full {
		st.Up, st.Ready = false, false
		what := fmt.Sprintf("its spool is full: %d records were dropped", ss.Dropped)
		if s.options.WhenFull == whenFullBlock {
			what = "its spool is full: collecting waits"
		}
		if st.Error != "" {
			what += "; " + st.Error
		}
		st.Error = what
	}
}

// fault names the folder, and what a person can do.
func (s *spool) fault(doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, journal.ErrClosed) {
		return ErrClosed
	}
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "make room below data_dir, or lower spool.max_bytes; it goes on by itself"
	case errors.Is(err, journal.ErrLocked):
		hint = "another collector uses this data_dir: stop it, or give this one its own data_dir"
	case errors.Is(err, journal.ErrTooLarge), errors.Is(err, journal.ErrFull):
		hint = "raise spool.max_bytes"
	case errors.Is(err, fs.ErrPermission):
		hint = fmt.Sprintf("let uid %d write %s", os.Getuid(), s.dir)
	case errors.Is(err, syscall.EROFS):
		hint = "the file system is read-only: data_dir must be on a volume that can be written"
	}
	return &record.Fault{Reason: record.Other, Hint: hint, Err: fmt.Errorf("%s spool %s: %w", doing, s.dir, err)}
}
