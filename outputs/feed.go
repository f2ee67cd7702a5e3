package outputs

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
	"github.com/aws-collector/collector/record"
)

// A history is the part of [inventory.Reader] that a feed reads.
type changeReader interface {
	Changes(ctx context.Context, q inventory.Query, after time.Time) iter.Seq2[inventory.Change, error]
	Targets(ctx context.Context) iter.Seq2[inventory.Coverage, error]
}

// What an output is sent.
const (
	sendRecords = "records"
	sendChanges = "changes"
	sendBoth    = "both"
)

// The pace of a feed: it looks soon after a target has ended, and now and then for what ended otherwise, as an account that
// left the configuration.
const (
	feedDelay      = time.Second
	feedInterval   = time.Minute
	feedBatchBytes = 256 << 10 // a batch of changes
)

// A feed sends an output what changed. It reads the store by a cursor, so that the page path knows nothing of changes, and
// moves the cursor with each batch, when what was sent would survive a kill: each change is delivered at least once, in the order
// in which it happened, and a kill repeats one batch at most. An output that is new hears of what happens from then on.
//
// The cursor is a change of the store's, never a time of this machine's clock: the two may differ, as the store's only grow and a
// Postgres has a clock of its own.
type feed struct {
	name       string
	cursorPath string // file
	store      changeReader
	where      string
	send       func(context.Context, Batch) error
	flush      func(context.Context) error
	log        *slog.Logger

	wakeup          chan struct{}
	runMu           contextMutex
	position        position
	savedPosition   position // what the cursor on the disk says
	isNew           bool     // there was no cursor
	positionChecked bool     // the store was asked whether it knows of the cursor
	historyChecked  bool     // and which history it has
	cancel          context.CancelFunc
	done            chan struct{}
}

func newFeed(ctx context.Context, name, dir, where string, store changeReader, log *slog.Logger) (*feed, error) {
	f := &feed{name: name, cursorPath: filepath.Join(dir, name+".cursor"), where: where, store: store, log: log, wakeup: make(chan struct{}, 1), runMu: make(contextMutex, 1)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of cursors: %w", err)
	}
	f.loadCursor()
	if f.isNew { // now, so that nothing which happens from here on is missed; a store that cannot say is asked again
		if err := f.checkPosition(ctx); err != nil {
			f.position.after = time.Now().UTC()
		}
	}
	return f, nil
}

// loadCursor reads the cursor. Without one, changes are sent from the store's last on.
func (f *feed) loadCursor() {
	at, err := loadPosition(f.cursorPath, f.log.With("output", f.name))
	f.position, f.savedPosition, f.isNew = at, at, err != nil
}

// checkPosition asks the store, once, whether it knows of the cursor: a new output begins at the store's last instant, and so does
// one whose cursor is ahead of that, as where the clock went back and another database took the old one's place. It would
// hear nothing until then.
func (f *feed) checkPosition(ctx context.Context) error {
	if f.positionChecked || !f.isNew && !f.position.after.After(time.Now()) { // whatever database it is, its next instant is later
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
		f.log.Warn("change cursor is ahead of the store", "output", f.name, "cursor", f.cursorPath, "sent", f.position.after, "resumed_at", last,
			"hint", "Check whether the database was replaced; changes are sent from its latest one on.")
		f.position = position{after: last, history: f.position.history, quietUntil: f.position.quietUntil}
	}
	f.positionChecked = true
	return nil
}

// lastInstant is the store's last instant; zero if it remembers nothing. Each of its commits ends or retires a target, but a kind
// of one may have gone since, so the changes have the last word.
func (f *feed) lastInstant(ctx context.Context) (time.Time, error) {
	var last time.Time
	for c, err := range f.store.Targets(ctx) {
		if err != nil {
			return last, fmt.Errorf("changes: %w", err)
		}
		for _, at := range []time.Time{c.Ended, c.Retired} {
			if at.After(last) {
				last = at
			}
		}
	}
	for c, err := range f.store.Changes(ctx, inventory.Query{}, last) {
		if err != nil {
			return last, fmt.Errorf("changes: %w", err)
		}
		last = c.At
	}
	return last, nil
}

// start begins to send, where the feed before it stopped: one of the same name has moved the cursor since it was read, and of
// one with another name the output was given a new one.
func (f *feed) start(before *feed, send func(context.Context, Batch) error, flush func(context.Context) error) {
	f.send, f.flush = send, flush
	if before != nil && (before.cursorPath == f.cursorPath || f.isNew) {
		f.position, f.positionChecked, f.historyChecked, f.isNew = before.position, before.positionChecked, before.historyChecked, f.isNew && before.cursorPath != f.cursorPath
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel, f.done = cancel, make(chan struct{})
	go func() {
		defer close(f.done)
		if f.isNew {
			if err := f.saveCursor(); err != nil { // what happens until it can be saved would be sent again
				f.log.Warn("changes", "output", f.name, "error", err)
			}
		}
		f.run(ctx)
	}()
}

// stop ends what start began, and waits for it.
func (f *feed) stop() {
	f.cancel()
	<-f.done
}

// saveCursor replaces the cursor on the disk.
func (f *feed) saveCursor() error {
	if err := f.position.save(f.cursorPath); err != nil {
		return err
	}
	f.savedPosition = f.position
	return nil
}

// wake says that a target has ended.
func (f *feed) wake() {
	select {
	case f.wakeup <- struct{}{}:
	default:
	}
}

// run sends what changes until ctx ends. Its trouble is said once, and it goes on.
func (f *feed) run(ctx context.Context) {
	idle := time.NewTicker(feedInterval)
	defer idle.Stop()
	var trouble bool
	for {
		err := f.catchUp(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !trouble {
			f.log.Warn("changes cannot be sent; they are kept in the store and sent later", "output", f.name, "error", err, "hint", record.HintOf(err))
		} else if err == nil && trouble {
			f.log.Info("changes are sent again", "output", f.name)
		}
		trouble = err != nil
		select {
		case <-ctx.Done():
			return
		case <-idle.C:
			continue
		case <-f.wakeup:
		}
		select { // targets end by the hundred
		case <-ctx.Done():
			return
		case <-time.After(feedDelay):
		}
	}
}

// catchUp sends everything that has happened since the cursor.
func (f *feed) catchUp(ctx context.Context) error {
	if err := f.runMu.lock(ctx); err != nil {
		return err
	}
	defer f.runMu.unlock()
	var where *inventory.Where // applied here, not by the store: the cursor moves over what it leaves out
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
	known := baseline{feed: f}
	for c, err := range f.store.Changes(ctx, inventory.Query{Data: true}, f.position.queryAfter()) {
		if err != nil {
			return fmt.Errorf("changes: %w", err)
		}
		if f.position.covers(c) {
			continue
		}
		ok, err := matchesEither(where, c)
		if err == nil && ok {
			ok, err = known.shouldSend(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("changes: where: %w", err)
		}
		if err := b.add(ctx, c, ok); err != nil {
			return err
		}
	}
	return b.finish(ctx)
}

// A batcher sends changes together, and moves the cursor with them.
type batcher struct {
	feed *feed
	buf  bytes.Buffer
	enc  *json.Encoder
	n    int
	last position // of the changes that were read
}

func newBatcher(f *feed) *batcher {
	b := &batcher{feed: f, last: f.position}
	b.enc = json.NewEncoder(&b.buf)
	b.enc.SetEscapeHTML(false)
	return b
}

// add takes a change, which is sent, or only passed over.
func (b *batcher) add(ctx context.Context, c inventory.Change, send bool) error {
	b.last.advance(c)
	if !send {
		return nil
	}
	l, err := inventory.NewChangeLine(c)
	if err != nil {
		return fmt.Errorf("changes: %w", err)
	}
	if err := b.enc.Encode(l); err != nil {
		return fmt.Errorf("changes: %s: %w", l.ID, err)
	}
	b.n++
	if b.buf.Len() < feedBatchBytes {
		return nil
	}
	return b.sendBatch(ctx)
}

// sendBatch sends what there is, and moves the cursor when it is safe: a kill after that repeats none of it.
func (b *batcher) sendBatch(ctx context.Context) error {
	f := b.feed
	if b.n == 0 {
		return nil
	}
	id := fmt.Sprintf("changes/%s/%s", f.position.after.Format(time.RFC3339Nano), f.position.id)
	err := f.send(ctx, Batch{ID: id, N: b.n, Lines: b.buf.Bytes()})
	b.n = 0
	b.buf.Reset()
	if err == nil {
		err = f.flush(ctx)
	}
	if err != nil {
		return err
	}
	f.position = b.last
	return f.saveCursor()
}

// finish sends the rest. All changes of the last instant were read: nothing is added to an instant that is over.
func (b *batcher) finish(ctx context.Context) error {
	if err := b.sendBatch(ctx); err != nil {
		return err
	}
	b.last.id = ""
	b.feed.position = b.last
	if b.feed.savedPosition == b.feed.position { // not only b.f.at: a save that failed is tried again, also where nothing changes
		return nil
	}
	return b.feed.saveCursor()
}

// matchesEither reports whether what the resource was or what it has become satisfies the condition.
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
