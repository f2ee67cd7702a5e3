package outputs

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// A Line is one decoded line of a batch, for outputs that send another format: a record, a change, or the end of a
// target.
type Line struct {
	// Record is the resource: for a change, after the change or before it was gone; for an end, only Account, Region and
	// Run.
	record.Record
	Change  string    // inventory.WasAdded, WasChanged or WasGone; "" for other lines
	At      time.Time // the time of a change
	Ended   string    // why the resource is gone
	Changes []inventory.Delta

	Target  string       // the target's kind; "" for other lines
	State   record.State // the target's
	Records int

	Raw []byte // the line without its \n; valid as long as the batch
}

// Lines ranges over the lines of a batch. Except for Raw, they are copies.
func Lines(lines []byte) iter.Seq2[*Line, error] {
	return func(yield func(*Line, error) bool) {
		for raw := range bytes.Lines(lines) {
			l, err := ParseLine(bytes.TrimSuffix(raw, []byte("\n")))
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}

func ParseLine(raw []byte) (*Line, error) {
	var in struct {
		record.Record
		Change  string            `json:"change"`
		At      time.Time         `json:"at"`
		Ended   string            `json:"ended"`
		Changes []inventory.Delta `json:"changes"`
		Of      *record.Record    `json:"record"`
		Target  string            `json:"target"`
		State   record.State      `json:"state"`
		Records int               `json:"records"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return nil, fmt.Errorf("a line is not a JSON object: %w: %.100q", err, raw)
	}
	l := &Line{Record: in.Record, Change: in.Change, At: in.At, Ended: in.Ended, Changes: in.Changes,
		Target: in.Target, State: in.State, Records: in.Records, Raw: raw}
	if in.Change != "" && in.Of != nil {
		l.Record = *in.Of
	}
	return l, nil
}

// StableID identifies the content of a line, so that a receiver can drop duplicates. It is equal whenever the line is
// sent again: it depends on the run, the resource and its data, and for a change on its time and type.
func (l *Line) StableID() string {
	h := sha256.New()
	for _, s := range []string{l.Run, l.Partition, l.AccountID, l.Region, l.Kind, l.ID, l.Change, l.Target, l.Account} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	if l.Change != "" {
		fmt.Fprintf(h, "%d", l.At.UnixNano())
	}
	h.Write(l.Data)
	return hex.EncodeToString(h.Sum(nil)[:16])
}
