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
type history interface {
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
	feedSoon  = time.Second
	feedIdle  = time.Minute
	feedBytes = 256 << 10 // a batch of changes
)

// A feed sends an output what changed. It reads the store by a cursor, so that the page path knows nothing of changes, and
// moves the cursor with each batch, when what was sent would survive a kill: each change is delivered at least once, in the order
// in which it happened, and a kill repeats one batch at most. An output that is new hears of what happens from then on.
//
// The cursor is a change of the store's, never a time of this machine's clock: the two may differ, as the store's only grow and a
// Postgres has a clock of its own.
type feed struct {
	name   string
	cursor string // file
	store  history
	where  string
	send   func(context.Context, Batch) error
	flush  func(context.Context) error
	log    *slog.Logger

	poke   chan struct{}
	turn   turn
	at     position
	saved  position // what the cursor on the disk says
	fresh  bool     // there was no cursor
	sure   bool     // the store was asked whether it knows of the cursor
	knows  bool     // and which history it has
	cancel context.CancelFunc
	over   chan struct{}
}

func newFeed(ctx context.Context, name, dir, where string, store history, log *slog.Logger) (*feed, error) {
	f := &feed{name: name, cursor: filepath.Join(dir, name+".cursor"), where: where, store: store, log: log, poke: make(chan struct{}, 1), turn: make(turn, 1)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create the directory of cursors: %w", err)
	}
	f.load()
	if f.fresh { // now, so that nothing which happens from here on is missed; a store that cannot say is asked again
		if err := f.settle(ctx); err != nil {
			f.at.after = time.Now().UTC()
		}
	}
	return f, nil
}

// load reads the cursor. Without one, changes are sent from the store's last on.
func (f *feed) load() {
	at, err := loadPosition(f.cursor, f.log.With("output", f.name))
	f.at, f.saved, f.fresh = at, at, err != nil
}

// settle asks the store, once, whether it knows of the cursor: a new output begins at the store's last instant, and so does
// one whose cursor is ahead of that, as where the clock went back and another database took the old one's place. It would
// hear nothing until then.
func (f *feed) settle(ctx context.Context) error {
	if f.sure || !f.fresh && !f.at.after.After(time.Now()) { // whatever database it is, its next instant is later
		f.sure = true
		return nil
	}
	last, err := f.last(ctx)
	if err != nil {
		return err
	}
	switch {
	case f.fresh:
		f.at = position{after: last}
	case last.Before(f.at.after):
		f.log.Warn("change cursor is ahead of the store", "output", f.name, "cursor", f.cursor, "sent", f.at.after, "resumed_at", last,
			"hint", "Check whether the database was replaced; changes are sent from its latest one on.")
		f.at = position{after: last, history: f.at.history, quiet: f.at.quiet}
	}
	f.sure = true
	return nil
}

// last is the store's last instant; zero if it remembers nothing. Each of its commits ends or retires a target, but a kind
// of one may have gone since, so the changes have the last word.
func (f *feed) last(ctx context.Context) (time.Time, error) {
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
	if before != nil && (before.cursor == f.cursor || f.fresh) {
		f.at, f.sure, f.knows, f.fresh = before.at, before.sure, before.knows, f.fresh && before.cursor != f.cursor
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel, f.over = cancel, make(chan struct{})
	go func() {
		defer close(f.over)
		if f.fresh {
			if err := f.save(); err != nil { // what happens until it can be saved would be sent again
				f.log.Warn("changes", "output", f.name, "error", err)
			}
		}
		f.run(ctx)
	}()
}

// stop ends what start began, and waits for it.
func (f *feed) stop() {
	f.cancel()
	<-f.over
}

// save replaces the cursor on the disk.
func (f *feed) save() error {
	if err := f.at.save(f.cursor); err != nil {
		return err
	}
	f.saved = f.at
	return nil
}

// nudge says that a target has ended.
func (f *feed) nudge() {
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

// run sends what changes until ctx ends. Its trouble is said once, and it goes on.
func (f *feed) run(ctx context.Context) {
	idle := time.NewTicker(feedIdle)
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
		case <-f.poke:
		}
		select { // targets end by the hundred
		case <-ctx.Done():
			return
		case <-time.After(feedSoon):
		}
	}
}

// catchUp sends everything that has happened since the cursor.
func (f *feed) catchUp(ctx context.Context) error {
	if err := f.turn.take(ctx); err != nil {
		return err
	}
	defer f.turn.give()
	var where *inventory.Where // applied here, not by the store: the cursor moves over what it leaves out
	if f.where != "" {
		var err error
		if where, err = inventory.ParseWhere(f.where, time.Now()); err != nil {
			return fmt.Errorf("where: %w", err)
		}
	}
	if err := f.settle(ctx); err != nil {
		return err
	}
	if err := f.meet(ctx); err != nil {
		return err
	}
	b := newBatcher(f)
	known := baseline{f: f}
	for c, err := range f.store.Changes(ctx, inventory.Query{Data: true}, f.at.before()) {
		if err != nil {
			return fmt.Errorf("changes: %w", err)
		}
		if f.at.past(c) {
			continue
		}
		ok, err := either(where, c)
		if err == nil && ok {
			ok, err = known.news(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("changes: where: %w", err)
		}
		if err := b.add(ctx, c, ok); err != nil {
			return err
		}
	}
	return b.end(ctx)
}

// A batcher sends changes together, and moves the cursor with them.
type batcher struct {
	f    *feed
	buf  bytes.Buffer
	enc  *json.Encoder
	n    int
	last position // of the changes that were read
}

func newBatcher(f *feed) *batcher {
	b := &batcher{f: f, last: f.at}
	b.enc = json.NewEncoder(&b.buf)
	b.enc.SetEscapeHTML(false)
	return b
}

// add takes a change, which is sent, or only passed over.
func (b *batcher) add(ctx context.Context, c inventory.Change, send bool) error {
	b.last.pass(c)
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
	if b.buf.Len() < feedBytes {
		return nil
	}
	return b.hand(ctx)
}

// hand sends what there is, and moves the cursor when it is safe: a kill after that repeats none of it.
func (b *batcher) hand(ctx context.Context) error {
	f := b.f
	if b.n == 0 {
		return nil
	}
	id := fmt.Sprintf("changes/%s/%s", f.at.after.Format(time.RFC3339Nano), f.at.id)
	err := f.send(ctx, Batch{ID: id, N: b.n, Lines: b.buf.Bytes()})
	b.n = 0
	b.buf.Reset()
	if err == nil {
		err = f.flush(ctx)
	}
	if err != nil {
		return err
	}
	f.at = b.last
	return f.save()
}

// end sends the rest. All changes of the last instant were read: nothing is added to an instant that is over.
func (b *batcher) end(ctx context.Context) error {
	if err := b.hand(ctx); err != nil {
		return err
	}
	b.last.id = ""
	b.f.at = b.last
	if b.f.saved == b.f.at { // not only b.f.at: a save that failed is tried again, also where nothing changes
		return nil
	}
	return b.f.save()
}

// either reports whether what the resource was or what it has become satisfies the condition.
func either(where *inventory.Where, c inventory.Change) (bool, error) {
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
