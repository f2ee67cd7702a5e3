package deliver

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

// A position is the last change that was sent to an output. Changes of one commit share an instant and are sorted by
// id, so the position within an instant is an id. A commit may have ten thousand changes.
//
// The first line of its file is the instant, which a person may edit. The second line holds the rest as JSON.
type position struct {
	after      time.Time // zero: before the first change
	id         string    // last one sent of that instant; "" if all of them were
	history    string    // that the position belongs to; "" if unknown
	quietUntil time.Time // first listings are not sent as added before this; zero if the history was never replaced
}

type positionDetails struct {
	ID         string    `json:"id,omitempty"`
	History    string    `json:"history,omitempty"`
	QuietUntil time.Time `json:"quiet_until,omitzero"`
}

// queryAfter returns the instant after which to query the store. The store's instants are whole microseconds.
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
	if details := (positionDetails{p.id, p.history, p.quietUntil}); details != (positionDetails{}) {
		line, err := json.Marshal(details)
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

// loadPosition reads a position. It moves a damaged file aside and logs that, so that no feed and no start fails.
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
	movedTo, moveErr := statefile.MoveDamaged(path)
	args := []any{"cursor", path, "error", err, "moved_to", movedTo,
		"hint", "Changes are sent from the latest one in the store. To send earlier ones, stop the collector and write " +
			"the instant after which they happened to the cursor file, for example 2026-11-01T00:00:00Z."}
	if moveErr != nil {
		args = append(args, "move_error", moveErr)
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
	var details positionDetails
	if err := json.Unmarshal(second, &details); err != nil {
		return position{}, fmt.Errorf("second line: %w", err)
	}
	p.id, p.history, p.quietUntil = details.ID, details.History, details.QuietUntil
	return p, nil
}

// checkHistory compares, once, the store's history with the cursor's. After the database was lost, the store has a new
// history. Then each target's first complete listing shows resources that existed before: they are not sent as added.
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
			f.position.id = "" // of a commit in the other history
			f.log.Warn("the store has another history",
				"output", f.name, "cursor", f.cursorPath, "resumed_at", f.position.after,
				"hint", "The first complete listing of each target is not sent as added; later changes are sent.")
		}
		f.position.history = c.History
		return f.saveCursor()
	}
	return nil
}

// newHistoryPeriod is how long first listings of a new history are not sent as added. It is long enough for targets
// that are listed once a week. What is listed for the first time after it is new.
const newHistoryPeriod = 8 * 24 * time.Hour

// A baseline separates new resources from those that existed before the history was replaced.
type baseline struct {
	feed          *feed
	firstComplete map[inventory.Scope]time.Time
}

// shouldSend reports whether to send a change.
func (b *baseline) shouldSend(ctx context.Context, c inventory.Change) (bool, error) {
	if c.Op != inventory.WasAdded || !c.At.Before(b.feed.position.quietUntil) {
		return true, nil
	}
	if b.firstComplete == nil { // read after the changes, so that it covers all of them
		b.firstComplete = map[inventory.Scope]time.Time{}
		for t, err := range b.feed.store.Targets(ctx) {
			if err != nil {
				return false, err
			}
			scope := inventory.Scope{Partition: t.Partition, AccountID: t.AccountID, Region: t.Region, Kind: t.Kind}
			b.firstComplete[scope] = t.FirstComplete
		}
	}
	r := c.Resource()
	scope := inventory.Scope{Partition: r.Partition, AccountID: r.AccountID, Region: r.Region, Kind: r.Kind}
	first := b.firstComplete[scope]
	return !first.IsZero() && c.At.After(first), nil
}
