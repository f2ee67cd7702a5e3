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

// Changes ranges over what happened after an instant, as [inventory.Reader.Changes] does.
type Changes func(ctx context.Context, q inventory.Query, after time.Time) iter.Seq2[inventory.Change, error]

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
type feed struct {
	name    string
	cursor  string // file
	changes Changes
	where   string
	send    func(context.Context, Batch) error
	flush   func(context.Context) error
	log     *slog.Logger

	poke  chan struct{}
	turn  turn
	after time.Time
}

func newFeed(name, dir string, changes Changes, log *slog.Logger) (*feed, error) {
	f := &feed{name: name, cursor: filepath.Join(dir, name+".cursor"), changes: changes, log: log, poke: make(chan struct{}, 1), turn: make(turn, 1)}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("where the changes go on: %w", err)
	}
	b, err := os.ReadFile(f.cursor)
	switch {
	case err == nil:
		if f.after, err = time.Parse(time.RFC3339Nano, strings.TrimSpace(string(b))); err != nil {
			return nil, &record.Fault{Reason: record.Other, Err: fmt.Errorf("%s: where the changes go on: %w", f.cursor, err),
				Hint: "write the instant from which on changes are to be sent, as 2026-11-01T00:00:00Z, or remove the file: then they are sent from now on"}
		}
		return f, nil
	case errors.Is(err, fs.ErrNotExist):
		f.after = time.Now().UTC()
		return f, f.save()
	}
	return nil, fmt.Errorf("where the changes go on: %w", err)
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
	q := inventory.Query{Data: true}
	if f.where != "" {
		var err error
		if q.Where, err = inventory.ParseWhere(f.where, time.Now()); err != nil {
			return fmt.Errorf("where: %w", err)
		}
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
	for c, err := range f.changes(ctx, q, f.after) {
		if err != nil {
			return fmt.Errorf("changes: %w", err)
		}
		l, err := inventory.NewChangeLine(c)
		if err != nil {
			return fmt.Errorf("changes: %w", err)
		}
		if err := enc.Encode(l); err != nil {
			return fmt.Errorf("changes: %s: %w", l.ID, err)
		}
		n, last = n+1, c.At
		if buf.Len() >= feedBytes {
			if err := hand(); err != nil {
				return err
			}
		}
	}
	if err := hand(); err != nil {
		return err
	}
	if sent == 0 {
		return nil
	}
	if err := f.flush(ctx); err != nil {
		return err
	}
	// One commit's changes share an instant, so the cursor moves over whole commits only: all that was read is.
	f.after = last
	return f.save()
}
