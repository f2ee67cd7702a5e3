package outputs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/inventory"
)

// A position is how far an output was sent the changes. Changes of one instant are of one commit, which may have ten thousand of
// them, in the order of their ids: so within an instant the position is an id.
//
// Its file has the instant in the first line, which a person may write, and the rest as JSON in the second.
type position struct {
	after      time.Time // zero: before the first change
	id         string    // the last that was sent of that instant; "": all of it was
	history    string    // in which it is; "": not known yet
	quietUntil time.Time // until when first listings are no news, as another history took the place of the one before; zero: it was always this one
}

type positionDetails struct {
	ID         string    `json:"id,omitempty"`
	History    string    `json:"history,omitempty"`
	QuietUntil time.Time `json:"quiet_until,omitzero"`
}

// queryAfter is the instant after which the store is to be asked, whose instants are whole microseconds.
func (p *position) queryAfter() time.Time {
	if p.id == "" {
		return p.after
	}
	return p.after.Add(-time.Microsecond)
}

// covers reports whether the change was sent.
func (p *position) covers(c inventory.Change) bool {
	return p.id != "" && (c.At.Before(p.after) || c.At.Equal(p.after) && c.Resource().ID <= p.id)
}

func (p *position) advance(c inventory.Change) { p.after, p.id = c.At, c.Resource().ID }

func (p *position) save(path string) error {
	b := append(p.after.AppendFormat(nil, time.RFC3339Nano), '\n')
	if rest := (positionDetails{p.id, p.history, p.quietUntil}); rest != (positionDetails{}) {
		line, err := json.Marshal(rest)
		if err != nil {
			return fmt.Errorf("save the change cursor: %w", err)
		}
		b = append(append(b, line...), '\n')
	}
	if err := statefile.Write(path, b); err != nil {
		return fmt.Errorf("save the change cursor: %w", err)
	}
	return nil
}

// loadPosition reads a position. A file that cannot be used is moved aside, which is logged: no feed and no start fails by it.
func loadPosition(path string, log *slog.Logger) (position, error) {
	b, err := statefile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return position{}, err
	}
	var p position
	if err == nil {
		p, err = parsePosition(b)
	}
	if err == nil {
		return p, nil
	}
	aside, moved := statefile.MoveDamaged(path)
	args := []any{"cursor", path, "error", err, "moved", aside,
		"hint", "Changes are sent from the store's latest one on. To have earlier ones sent, stop the collector and write the instant " +
			"after which they happened into the cursor's file, as 2026-11-01T00:00:00Z."}
	if moved != nil {
		args = append(args, "move_error", moved)
	}
	log.Warn("change cursor is damaged", args...)
	return position{}, err
}

func parsePosition(b []byte) (p position, err error) {
	first, second, _ := bytes.Cut(bytes.TrimSpace(b), []byte("\n"))
	if p.after, err = time.Parse(time.RFC3339Nano, string(bytes.TrimSpace(first))); err != nil {
		return position{}, err
	}
	p.after = p.after.UTC()
	if len(bytes.TrimSpace(second)) == 0 {
		return p, nil
	}
	var rest positionDetails
	if err := json.Unmarshal(second, &rest); err != nil {
		return position{}, fmt.Errorf("second line: %w", err)
	}
	p.id, p.history, p.quietUntil = rest.ID, rest.History, rest.QuietUntil
	return p, nil
}

// checkHistory finds out, once, whether the store has the history that the cursor is of. In a history that was begun anew, as after the
// database was lost, what each target's first complete listing shows was there before: it is not sent as added.
func (f *feed) checkHistory(ctx context.Context) error {
	if f.historyChecked {
		return nil
	}
	for c, err := range f.store.Targets(ctx) {
		if err != nil {
			return fmt.Errorf("changes: %w", err)
		}
		f.historyChecked = true
		if c.History == f.position.history {
			break
		}
		if f.position.history != "" {
			f.position.quietUntil = time.Now().Add(newHistoryPeriod).UTC().Round(0)
			f.position.id = "" // of the other history's commit
			f.log.Warn("the store has another history", "output", f.name, "cursor", f.cursorPath, "resumed_at", f.position.after,
				"hint", "What each target's first complete listing shows is not sent as added; what happens after it is.")
		}
		f.position.history = c.History
		return f.saveCursor()
	}
	return nil
}

// newHistoryPeriod is how long a history counts as begun anew: long enough for what is listed once a week. What is listed for the first
// time after that is new.
const newHistoryPeriod = 8 * 24 * time.Hour

// A baseline tells what is new from what was there before the history was begun anew.
type baseline struct {
	feed          *feed
	firstComplete map[inventory.Scope]time.Time
}

// shouldSend reports whether a change is one that the output should hear of.
func (b *baseline) shouldSend(ctx context.Context, c inventory.Change) (bool, error) {
	if c.Op != inventory.WasAdded || !c.At.Before(b.feed.position.quietUntil) {
		return true, nil
	}
	if b.firstComplete == nil { // later than the changes were read: so it is there for each of them
		b.firstComplete = map[inventory.Scope]time.Time{}
		for t, err := range b.feed.store.Targets(ctx) {
			if err != nil {
				return false, err
			}
			b.firstComplete[inventory.Scope{Partition: t.Partition, AccountID: t.AccountID, Region: t.Region, Kind: t.Kind}] = t.FirstComplete
		}
	}
	r := c.Resource()
	first := b.firstComplete[inventory.Scope{Partition: r.Partition, AccountID: r.AccountID, Region: r.Region, Kind: r.Kind}]
	return !first.IsZero() && c.At.After(first), nil
}
