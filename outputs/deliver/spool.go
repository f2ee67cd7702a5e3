package deliver

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

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/journal"
	"github.com/aws-collector/collector/record"
)

// SpoolState is the state of a spool.
type SpoolState struct {
	Dir         string
	Records     int       // waiting
	Bytes       int64     // waiting, on disk
	Oldest      time.Time // when the oldest waiting record was appended; zero if none waits
	Full        bool      // the spool drops records, or makes Send wait
	Dropped     int       // records, since the spool was opened
	DeadLetters int
	Retries     int
}

// A spool is an output that appends batches to a journal on disk. One goroutine, the feeder, sends them on to the inner
// output. So Send depends on the disk alone, flushed batches survive a power cut, and no page waits for a receiver. A
// spool belongs to the output's name: it stays at a reload and at a restart.
type spool struct {
	name     string
	dir      string
	log      *slog.Logger
	observer outputs.Observer
	onChange func() // called without mu when the output starts or stops working

	journal     *journal.Journal
	deadLetters *deadLetters
	losses      *losses
	wakeup      chan struct{} // tells the feeder of an append or a change

	mu             sync.Mutex
	options        outputs.Spool
	typ            string // of the inner output
	innerOptions   any
	key            string
	inner          outputs.Output
	replaced       []outputs.Output // the feeder closes them between two requests
	batching       outputs.Batching
	innerReplaced  chan struct{} // closed when inner is replaced
	progress       chan struct{} // closed when records were acknowledged, or the feeder stops
	drainStarted   chan struct{} // closed when requests no longer wait to fill up
	drainRequested bool
	drainAbandoned bool
	closed         bool
	cancel         context.CancelFunc // of the feeder; nil until it runs
	feederDone     chan struct{}

	full             bool
	droppedWhileFull int // since full was set
	lastErr          error
	downSince        time.Time
	feederBusy       bool
	permanent        bool      // the inner output failed permanently
	requestStarted   time.Time // zero if no request is in flight
	delivered        int
	errs             int
	stats            SpoolState
}

// openSpool opens the spool of an output. It sends nothing before applyConfig.
func openSpool(name string, o outputs.Spool, d outputs.Deps) (*spool, error) {
	dir := filepath.Join(d.SpoolDir, directoryName(name))
	if d.SpoolDir == "" {
		return nil, errors.New("no directory is set for spools")
	}
	s := &spool{
		name: name, dir: dir, log: d.Log.With("output", name), observer: d.Observer, onChange: func() {}, options: o,
		wakeup: make(chan struct{}, 1), innerReplaced: make(chan struct{}), progress: make(chan struct{}),
		drainStarted: make(chan struct{}), feederDone: make(chan struct{}), stats: SpoolState{Dir: dir},
		deadLetters: &deadLetters{path: filepath.Join(dir, "dead-letter.jsonl"), output: name},
	}
	var err error
	s.losses = loadLosses(filepath.Join(dir, "missing.json"), s.log)
	s.journal, err = journal.Open(journal.Options{
		Dir: dir, MaxBytes: int64(o.MaxBytes), Damaged: s.reportDamage, CursorReset: s.reportCursorReset,
	})
	if err != nil {
		return nil, s.wrapError("open", err)
	}
	return s, nil
}

// directoryName maps an output name to a unique file name. It escapes every byte that is not plainly part of a name.
func directoryName(name string) string {
	var b strings.Builder
	for i, c := range []byte(name) {
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if alphanumeric || c == '-' || c == '_' || c == '.' && i > 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// reportDamage reports damage that the journal found. The journal's lock is held.
func (s *spool) reportDamage(d journal.Damage) {
	if d.Torn { // an earlier process was killed while it wrote
		s.log.Warn("removed a half-written batch from the spool", "path", d.Path, "bytes", d.Bytes)
		return
	}
	s.log.Error("spool is damaged; skipping unreadable data",
		"path", d.Path, "offset", d.Offset, "bytes", d.Bytes, "records", d.Records,
		"hint", "Check the disk. The records are lost; the next run sends what exists then.")
	s.mu.Lock()
	s.stats.Dropped += d.Records
	s.mu.Unlock()
	if d.Records == 0 {
		return
	}
	s.reportUnsavedLosses(s.losses.addUnknown(d.Records))
	if s.observer != nil {
		s.observer.OutputDropped(s.name, d.Records, "damaged")
	}
}

// reportCursorReset reports that the last sent record is unknown.
func (s *spool) reportCursorReset(movedTo string, err error) {
	s.log.Warn("spool cursor is damaged", "error", err, "moved_to", movedTo,
		"hint", "Expect repeats: sent records of the spool's oldest file are sent again. None are lost.")
}

// applyConfig applies the options of an accepted configuration, and replaces the inner output if there is a new one.
func (s *spool) applyConfig(fo fanOutput) {
	s.journal.SetMax(int64(fo.spoolOptions.MaxBytes))
	s.losses.setEnabled(fo.wantsEnds)
	s.mu.Lock()
	s.options, s.typ, s.key, s.innerOptions = fo.spoolOptions, fo.typ, fo.key, fo.options
	s.batching = outputs.BatchingOf(fo.options)
	if fo.newInner != nil {
		if s.inner != nil {
			s.replaced = append(s.replaced, s.inner)
		}
		if r, ok := fo.newInner.(outputs.Reconfigurer); ok { // a shared output may be open with other options
			r.Reconfigure(fo.options)
		}
		s.inner, s.permanent = fo.newInner, false
		close(s.innerReplaced)
		s.innerReplaced = make(chan struct{})
	} else if r, ok := s.inner.(outputs.Reconfigurer); ok {
		r.Reconfigure(fo.options)
	}
	s.notifyProgressLocked() // a waiting Send checks when_full again
	if s.cancel == nil {
		ctx, cancel := context.WithCancel(context.Background()) // until Close
		s.cancel = cancel
		go func() {
			defer close(s.feederDone)
			s.runFeeder(ctx)
		}()
	}
	s.mu.Unlock()
	s.wakeFeeder()
	s.reportStat()
}

// blocksWhenFull reports whether a full spool makes its senders wait.
func (s *spool) blocksWhenFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.options.WhenFull == outputs.WhenFullBlock
}

// canKeepInner reports whether the inner output can stay open, with reconfigure at most.
func (s *spool) canKeepInner(typ, key string, options any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.typ != typ || s.inner == nil || s.permanent {
		return false
	}
	return key != "" && key == s.key && canReconfigure(s.inner) || reflect.DeepEqual(options, s.innerOptions)
}

// notifyProgressLocked wakes all waiters for progress. The caller holds s.mu.
func (s *spool) notifyProgressLocked() {
	close(s.progress)
	s.progress = make(chan struct{})
}

// wakeFeeder tells the feeder to check for work.
func (s *spool) wakeFeeder() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// Send appends the batch to the journal. If the spool is full, it drops old records or waits, as configured.
func (s *spool) Send(ctx context.Context, b outputs.Batch) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		s.mu.Lock()
		progress, drop, closed := s.progress, s.options.WhenFull != outputs.WhenFullBlock, s.closed
		s.mu.Unlock()
		if closed {
			return outputs.ErrClosed
		}
		if len(b.Lines) == 0 {
			return nil
		}
		dropped, err := s.journal.Append(journal.Entry{ID: b.ID, Run: b.Run, Target: b.Target, N: b.N}, b.Lines, drop)
		if dropped.Records > 0 {
			s.countDropped(dropped)
		}
		if errors.Is(err, journal.ErrFull) {
			s.markFull("spool is full; collecting waits")
			select {
			case <-progress:
				continue
			case <-ctx.Done():
				return s.wrapError("wait for space in", fmt.Errorf("%w: %w", err, context.Cause(ctx)))
			}
		}
		if err != nil {
			return s.wrapError("write", err)
		}
		s.wakeFeeder()
		s.reportStat()
		return nil
	}
}

// markFull sets full, and logs text the first time.
func (s *spool) markFull(text string) {
	s.mu.Lock()
	wasFull := s.full
	s.full = true
	lastErr := s.lastErr
	limit := s.options.MaxBytes
	s.mu.Unlock()
	if !wasFull {
		s.log.Error(text, "spool", s.dir, "max_bytes", limit, "error", lastErr,
			"hint", "Fix the receiver, or raise spool.max_bytes.")
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
	s.markFull("spool is full; dropping the oldest records")
	if s.observer != nil {
		s.observer.OutputDropped(s.name, n, "full")
	}
}

// reportUnsavedLosses logs that loss counts will be missing after a restart.
func (s *spool) reportUnsavedLosses(err error) {
	if err != nil {
		err = s.wrapError("save the loss counts of", err)
		s.log.Warn("loss counts were not saved", "error", err,
			"hint", addHint(err, "Do not rely on complete targets after a restart."))
	}
}

// addHint returns the hint of an error, followed by another sentence.
func addHint(err error, sentence string) string {
	return strings.TrimSpace(record.HintOf(err) + " " + sentence)
}

// markDrained clears full once an eighth of the spool is free.
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
		s.log.Warn("spool has space again", "spool", s.dir, "dropped", n)
		s.onChange()
	}
}

// reportStat tells the observer what waits.
func (s *spool) reportStat() {
	if s.observer == nil {
		return
	}
	st := s.journal.Stat()
	s.observer.OutputSpool(s.name, st.Records, st.Bytes, st.Oldest)
}

// Flush returns when everything that was sent before would survive a power cut.
func (s *spool) Flush(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return outputs.ErrClosed
	}
	return s.wrapError("flush", s.journal.Sync())
}

// drain waits until the receiver has everything, until ctx ends, or until waiting is useless. A caller that is not
// patient stops waiting once the receiver fails. From now on, requests no longer wait to fill up.
func (s *spool) drain(ctx context.Context, patient bool) {
	s.mu.Lock()
	if !s.drainRequested {
		s.drainRequested = true
		close(s.drainStarted)
	}
	running := s.cancel != nil && !s.closed
	s.mu.Unlock()
	for running {
		s.mu.Lock()
		progress := s.progress // read first, so that no notification is missed
		s.mu.Unlock()
		left := s.journal.Stat().Bytes // read before feederBusy: the feeder acknowledges first and gets idle after that
		s.mu.Lock()
		hopeless, busy := s.permanent || !patient && s.lastErr != nil, s.feederBusy
		s.mu.Unlock()
		if hopeless || left == 0 && !busy {
			return
		}
		select {
		case <-progress:
		case <-ctx.Done():
			s.mu.Lock()
			s.drainAbandoned = true
			s.mu.Unlock()
			return
		}
	}
}

// Close sends what it can until ctx ends. It logs what stays on disk. It may be called twice.
func (s *spool) Close(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); !s.cannotDrain(ok) {
		if ok { // leaves a sixth of the time for closing
			short, cancel := context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/6))
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
			case <-time.After(time.Second): // the output ignores its context; it ends with the process
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
		errs = append(errs, s.wrapError("close", err))
	}
	if left.Records > 0 {
		s.log.Warn("records are left in the spool", "records", left.Records, "spool", s.dir,
			"hint", "Keep an output of this name: it sends them after the next start.")
	}
	return errors.Join(errs...)
}

// cannotDrain reports whether waiting for the receiver is useless.
func (s *spool) cannotDrain(bounded bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drainAbandoned || s.permanent || !bounded && s.lastErr != nil
}

// merge adds the spool's state to the worker's, which is about the disk.
func (s *spool) merge(st *State) {
	waiting := s.journal.Stat()
	s.mu.Lock()
	defer s.mu.Unlock()
	ss := s.stats
	ss.Records, ss.Bytes, ss.Oldest, ss.Full = waiting.Records, waiting.Bytes, waiting.Oldest, s.full
	st.Spool, st.Type, st.Records = &ss, s.typ, s.delivered
	st.Errors += s.errs
	if !st.Up {
		return // a disk that fails is worse than a receiver that fails
	}
	err := s.lastErr
	if d := time.Since(s.requestStarted); err == nil && !s.requestStarted.IsZero() && d > 2*requestTimeout {
		err = errStalled
	}
	if err != nil {
		st.Up, st.Error, st.Hint, st.Since = false, err.Error(), record.HintOf(err), s.downSince
	}
	if errors.Is(s.lastErr, errRefusesAll) { // waiting does not help: somebody has to change something
		st.Ready = false
	}
	if s.full {
		st.Up, st.Ready = false, false
		what := fmt.Sprintf("spool is full: dropped %d records", ss.Dropped)
		if s.options.WhenFull == outputs.WhenFullBlock {
			what = "spool is full: collecting waits"
		}
		if st.Error != "" {
			what += "; " + st.Error
		}
		st.Error = what
	}
}

// wrapError adds the spool's directory and a hint to an error.
func (s *spool) wrapError(doing string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, journal.ErrClosed) {
		return outputs.ErrClosed
	}
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "Free disk space below data_dir, or lower spool.max_bytes. No restart is needed."
	case errors.Is(err, journal.ErrLocked):
		hint = "Stop the other collector that uses this data_dir, or give this one its own data_dir."
	case errors.Is(err, journal.ErrTooLarge), errors.Is(err, journal.ErrFull):
		hint = "Raise spool.max_bytes."
	case errors.Is(err, fs.ErrPermission):
		hint = fmt.Sprintf("Let uid %d write %s.", os.Getuid(), s.dir)
	case errors.Is(err, syscall.EROFS):
		hint = "Put data_dir on a writable volume: this file system is read-only."
	}
	return &record.Fault{Reason: record.Other, Hint: hint, Err: fmt.Errorf("%s spool %s: %w", doing, s.dir, err)}
}
