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

// A Line is one line of a batch, decoded, for outputs that speak another format. It is one of three things: a record, a
// change, or the end of a target.
type Line struct {
	record.Record           // of a change: as it is after the change, or was before it was gone; of an end: Account, Region and Run
	Change        string    // inventory.WasAdded, WasChanged, WasGone; "" but for a change
	At            time.Time // when it happened, for a change
	Ended         string    // why, for what is gone
	Changes       []inventory.Delta

	Target  string       // the target's kind; "" but for an end
	State   record.State // the target's
	Records int

	Raw []byte // the line itself, without its \n; borrowed
}

// Lines ranges over the lines of a batch. What they hold is theirs, but for Raw.
func Lines(lines []byte) iter.Seq2[*Line, error] {
	return func(yield func(*Line, error) bool) {
		for raw := range bytes.Lines(lines) {
			l, err := parseLine(bytes.TrimSuffix(raw, []byte("\n")))
			if !yield(l, err) || err != nil {
				return
			}
		}
	}
}

func parseLine(raw []byte) (*Line, error) {
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
		return nil, fmt.Errorf("a line that is no JSON object: %w: %.100q", err, raw)
	}
	l := &Line{Record: in.Record, Change: in.Change, At: in.At, Ended: in.Ended, Changes: in.Changes,
		Target: in.Target, State: in.State, Records: in.Records, Raw: raw}
	if in.Change != "" && in.Of != nil {
		l.Record = *in.Of
	}
	return l, nil
}

// StableID names what the line says, the same whenever it is sent again: of the run, the resource and its content; of a
// change, also when and what. A receiver drops by it what came twice.
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
