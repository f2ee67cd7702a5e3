package deliver

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/contextmutex"
	"github.com/aws-collector/collector/record"
)

// A changeReader is the part of [inventory.Reader] that a feed uses.
type changeReader interface {
	Changes(ctx context.Context, q inventory.Query, after time.Time) iter.Seq2[inventory.Change, error]
	Targets(ctx context.Context) iter.Seq2[inventory.Coverage, error]
}

// A feed checks for changes soon after a target has ended. It also checks at an interval, for changes that do not come
// with the end of a target, such as an account that left the configuration.
const (
	feedDelay      = time.Second
	feedInterval   = time.Minute
	feedBatchBytes = 256 << 10
)

// A feed sends changes to an output. It reads them from the store after a cursor, so that the page path does not deal
// with changes. It moves the cursor after each batch, once that batch would survive a kill. So each change is delivered
// at least once, in order, and a kill repeats one batch at most. A new output gets the changes from its start on.
//
// The cursor is the instant of a change in the store, never this machine's clock. The store's instants only grow, and
// Postgres has a clock of its own.
type feed struct {
	name       string
	cursorPath string
	store      changeReader
	where      string
	to         outputs.Output
	log        *slog.Logger

	wakeup          chan struct{}
	runMu           contextmutex.Mutex
	position        position
	savedPosition   position // on disk
	isNew           bool     // there was no cursor
	positionChecked bool     // by checkPosition
	historyChecked  bool     // by checkHistory
	cancel          context.CancelFunc
	done            chan struct{}
}

func newFeed(ctx context.Context, name, dir, where string, store changeReader, log *slog.Logger) (*feed, error) {
	f := &feed{
		name: name, cursorPath: filepath.Join(dir, name+".cursor"), where: where, store: store, log: log,
		wakeup: make(chan struct{}, 1), runMu: contextmutex.New(),
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of cursors: %w", err)
	}
	f.loadCursor()
	if f.isNew { // checked now, to miss no later change; if the store fails, it is asked again
		if err := f.checkPosition(ctx); err != nil {
			f.position.after = time.Now().UTC()
		}
	}
	return f, nil
}

// loadCursor reads the cursor. Without one, the feed starts after the latest change in the store.
func (f *feed) loadCursor() {
	p, err := loadPosition(f.cursorPath, f.log.With("output", f.name))
	f.position, f.savedPosition, f.isNew = p, p, err != nil
}

// checkPosition compares, once, the position with the store. A new output starts at the store's last instant. So does
// an output whose cursor is ahead of the store, for example after the clock went back and the database was replaced:
// otherwise it would get no changes until the store's clock passes the cursor.
func (f *feed) checkPosition(ctx context.Context) error {
	// The next instant of any database is later than a position in the past.
	if f.positionChecked || !f.isNew && !f.position.after.After(time.Now()) {
		f.positionChecked = true
		return nil
	}
	last, err := f.lastInstant(ctx)
	if err != nil {
		return err
	}
	switch {
	case f.isNew:
		f.position = position{after: last}
	case last.Before(f.position.after):
		f.log.Warn("change cursor is ahead of the store",
			"output", f.name, "cursor", f.cursorPath, "sent", f.position.after, "resumed_at", last,
			"hint", "Check whether the database was replaced. Changes are sent from its latest one on.")
		f.position = position{after: last, history: f.position.history, quietUntil: f.position.quietUntil}
	}
	f.positionChecked = true
	return nil
}

// lastInstant returns the store's last instant, or zero if the store is empty. Each commit ends or retires a target.
// But a target's kind may have been removed since, so the changes are checked too.
func (f *feed) lastInstant(ctx context.Context) (time.Time, error) {
	var last time.Time
	for c, err := range f.store.Targets(ctx) {
		if err != nil {
			return last, fmt.Errorf("read changes: %w", err)
		}
		for _, at := range []time.Time{c.Ended, c.Retired} {
			if at.After(last) {
				last = at
			}
		}
	}
	for c, err := range f.store.Changes(ctx, inventory.Query{}, last) {
		if err != nil {
			return last, fmt.Errorf("read changes: %w", err)
		}
		last = c.At
	}
	return last, nil
}

// start starts the feed where the previous one stopped. A previous feed with the same name has moved the cursor since
// this feed read it. After one with another name, the output has a new name.
func (f *feed) start(previous *feed, to outputs.Output) {
	f.to = to
	if previous != nil && (previous.cursorPath == f.cursorPath || f.isNew) {
		f.position = previous.position
		f.positionChecked, f.historyChecked = previous.positionChecked, previous.historyChecked
		f.isNew = f.isNew && previous.cursorPath != f.cursorPath
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel, f.done = cancel, make(chan struct{})
	go func() {
		defer close(f.done)
		if f.isNew {
			if err := f.saveCursor(); err != nil { // until it is saved, a restart sends changes again
				f.log.Warn("cannot save the change cursor",
					"output", f.name, "error", err, "hint", record.HintOf(err))
			}
		}
		f.run(ctx)
	}()
}

// stop stops the feed and waits for its goroutine.
func (f *feed) stop() {
	f.cancel()
	<-f.done
}

// saveCursor replaces the cursor on disk.
func (f *feed) saveCursor() error {
	if err := f.position.save(f.cursorPath); err != nil {
		return err
	}
	f.savedPosition = f.position
	return nil
}

// wake tells the feed that a target has ended.
func (f *feed) wake() {
	select {
	case f.wakeup <- struct{}{}:
	default:
	}
}

// run sends changes until ctx ends. It logs the first failure of a row, and retries.
func (f *feed) run(ctx context.Context) {
	idle := time.NewTicker(feedInterval)
	defer idle.Stop()
	var failing bool
	for {
		err := f.catchUp(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			f.log.Warn("cannot send changes; they stay in the store",
				"output", f.name, "error", err, "hint", record.HintOf(err))
		} else if err == nil && failing {
			f.log.Info("changes are sent again", "output", f.name)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
			continue
		case <-f.wakeup:
		}
		select { // targets end by the hundreds
		case <-ctx.Done():
			return
		case <-time.After(feedDelay):
		}
	}
}

// catchUp sends all changes after the cursor.
func (f *feed) catchUp(ctx context.Context) error {
	if err := f.runMu.Lock(ctx); err != nil {
		return err
	}
	defer f.runMu.Unlock()
	var where *inventory.Where // applied here, not in the query: the cursor also moves over changes that are left out
	if f.where != "" {
		var err error
		if where, err = inventory.ParseWhere(f.where, time.Now()); err != nil {
			return fmt.Errorf("where: %w", err)
		}
	}
	if err := f.checkPosition(ctx); err != nil {
		return err
	}
	if err := f.checkHistory(ctx); err != nil {
		return err
	}
	b := newBatcher(f)
	filter := baseline{feed: f}
	for c, err := range f.store.Changes(ctx, inventory.Query{Data: true}, f.position.queryAfter()) {
		if err != nil {
			return fmt.Errorf("read changes: %w", err)
		}
		if f.position.covers(c) {
			continue
		}
		ok, err := matchesEither(where, c)
		if err == nil && ok {
			ok, err = filter.shouldSend(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("filter changes: %w", err)
		}
		if err := b.add(ctx, c, ok); err != nil {
			return err
		}
	}
	return b.finish(ctx)
}

// A batcher sends changes in batches and moves the cursor with each batch.
type batcher struct {
	feed *feed
	buf  bytes.Buffer
	enc  *json.Encoder
	n    int
	last position // of the changes read so far
}

func newBatcher(f *feed) *batcher {
	b := &batcher{feed: f, last: f.position}
	b.enc = json.NewEncoder(&b.buf)
	b.enc.SetEscapeHTML(false)
	return b
}

// add adds a change to the batch, or only moves past it.
func (b *batcher) add(ctx context.Context, c inventory.Change, send bool) error {
	b.last.advance(c)
	if !send {
		return nil
	}
	l, err := inventory.NewChangeLine(c)
	if err != nil {
		return fmt.Errorf("encode a change: %w", err)
	}
	if err := b.enc.Encode(l); err != nil {
		return fmt.Errorf("encode the change of %s: %w", l.ID, err)
	}
	b.n++
	if b.buf.Len() < feedBatchBytes {
		return nil
	}
	return b.sendBatch(ctx)
}

// sendBatch sends and flushes the batch, then moves the cursor: a later kill repeats none of it.
func (b *batcher) sendBatch(ctx context.Context) error {
	f := b.feed
	if b.n == 0 {
		return nil
	}
	id := fmt.Sprintf("changes/%s/%s", f.position.after.Format(time.RFC3339Nano), f.position.id)
	err := f.to.Send(ctx, outputs.Batch{ID: id, N: b.n, Lines: b.buf.Bytes()})
	b.n = 0
	b.buf.Reset()
	if err == nil {
		err = f.to.Flush(ctx)
	}
	if err != nil {
		return err
	}
	f.position = b.last
	return f.saveCursor()
}

// finish sends the rest. All changes of the last instant were read: no change is added to a past instant.
func (b *batcher) finish(ctx context.Context) error {
	if err := b.sendBatch(ctx); err != nil {
		return err
	}
	b.last.id = ""
	b.feed.position = b.last
	if b.feed.savedPosition == b.feed.position { // compared with the disk, so that a failed save is retried
		return nil
	}
	return b.feed.saveCursor()
}

// matchesEither reports whether the resource satisfies the condition, before or after the change.
func matchesEither(where *inventory.Where, c inventory.Change) (bool, error) {
	for _, r := range []*inventory.Resource{c.After, c.Before} {
		if r == nil {
			continue
		}
		if ok, err := where.Match(r); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}
