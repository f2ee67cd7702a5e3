package outputs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
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
// moves the cursor only when what it has sent would survive a kill: each change is delivered at least once, in the order in
// which it happened. An output that is new hears of what happens from then on.
//
// The cursor is an instant of the store's, never of this machine's clock: the two may differ, as the store's only grow and a
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
	after  time.Time // zero: from the first change on
	fresh  bool      // there was no cursor
	sure   bool      // the store was asked whether it knows of after
	cancel context.CancelFunc
	over   chan struct{}
}

func newFeed(ctx context.Context, name, dir, where string, store history, log *slog.Logger) (*feed, error) {
	f := &feed{name: name, cursor: filepath.Join(dir, name+".cursor"), where: where, store: store, log: log, poke: make(chan struct{}, 1), turn: make(turn, 1)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("where the changes go on: %w", err)
	}
	if err := f.load(); err != nil {
		return nil, err
	}
	if f.fresh { // now, so that nothing which happens from here on is missed; a store that cannot say is asked again
		if err := f.settle(ctx); err != nil {
			f.after = time.Now().UTC()
		}
	}
	return f, nil
}

// load reads where the changes go on. Without a cursor, that is behind what the store has.
func (f *feed) load() error {
	b, err := os.ReadFile(f.cursor)
	switch {
	case err == nil:
		if f.after, err = time.Parse(time.RFC3339Nano, strings.TrimSpace(string(b))); err != nil {
			return &record.Fault{Reason: record.Other, Err: fmt.Errorf("%s: where the changes go on: %w", f.cursor, err),
				Hint: "write the instant from which on changes are to be sent, as 2026-11-01T00:00:00Z, or remove the file: then they are sent from now on"}
		}
		return nil
	case errors.Is(err, fs.ErrNotExist):
		f.fresh = true
		return nil
	}
	return fmt.Errorf("where the changes go on: %w", err)
}

// settle asks the store, once, whether it knows of the cursor: a new output begins at the store's last instant, and so does
// one whose cursor is ahead of that, as where the clock went back and another database took the old one's place. It would
// hear nothing until then.
func (f *feed) settle(ctx context.Context) error {
	if f.sure || !f.fresh && !f.after.After(time.Now()) { // whatever database it is, its next instant is later
		f.sure = true
		return nil
	}
	last, err := f.last(ctx)
	if err != nil {
		return err
	}
	switch {
	case f.fresh:
		f.after = last
	case last.Before(f.after):
		f.log.Warn("changes go on from the store's last: it knows nothing as late as what this output was sent last; it may be another database",
			"output", f.name, "cursor", f.cursor, "sent", f.after, "last", last)
		f.after = last
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
		f.after, f.sure, f.fresh = before.after, before.sure, f.fresh && before.cursor != f.cursor
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

// save replaces the cursor. A power cut that undoes it has changes sent twice, no more.
func (f *feed) save() error {
	next := f.cursor + ".new"
	if err := os.WriteFile(next, []byte(f.after.Format(time.RFC3339Nano)+"\n"), 0o600); err != nil {
		return fmt.Errorf("where the changes go on: %w", err)
	}
	if err := os.Rename(next, f.cursor); err != nil {
		return fmt.Errorf("where the changes go on: %w", err)
	}
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
	var buf bytes.Buffer
	n, sent, last := 0, 0, f.after
	hand := func() error {
		if n == 0 {
			return nil
		}
		b := Batch{ID: fmt.Sprintf("changes/%s/%d", f.after.Format(time.RFC3339Nano), sent), N: n, Lines: buf.Bytes()}
		err := f.send(ctx, b)
		sent, n = sent+n, 0
		buf.Reset()
		return err
	}
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	for c, err := range f.store.Changes(ctx, inventory.Query{Data: true}, f.after) {
		if err != nil {
			return fmt.Errorf("changes: %w", err)
		}
		last = c.At
		if ok, err := either(where, c); err != nil {
			return fmt.Errorf("changes: where: %w", err)
		} else if !ok {
			continue
		}
		l, err := inventory.NewChangeLine(c)
		if err != nil {
			return fmt.Errorf("changes: %w", err)
		}
		if err := enc.Encode(l); err != nil {
			return fmt.Errorf("changes: %s: %w", l.ID, err)
		}
		n++
		if buf.Len() >= feedBytes {
			if err := hand(); err != nil {
				return err
			}
		}
	}
	if err := hand(); err != nil {
		return err
	}
	if last.Equal(f.after) {
		return nil
	}
	if sent > 0 {
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	// One commit's changes share an instant, so the cursor moves over whole commits only: all that was read is.
	f.after = last
	return f.save()
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
