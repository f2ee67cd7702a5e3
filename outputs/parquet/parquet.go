// Package parquet writes records as Apache Parquet: what the envelope of a record says is columns, and its data is a column
// of JSON, so that the files of all kinds have one schema. It knows no store and no receiver. Begin at [NewWriter].
package parquet

import (
	"fmt"
	"io"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/aws-collector/collector/inventory"
)

// Envelope is the columns that every row has. What is "", or the zero time, is NULL, but for the maps: those are empty.
type Envelope struct {
	Kind        string            `parquet:"kind,dict"`
	ID          string            `parquet:"id"`
	Name        string            `parquet:"name,optional"`
	State       string            `parquet:"state,optional,dict"` // as AWS says it, as in the store
	Type        string            `parquet:"type,optional,dict"`
	Account     string            `parquet:"account,dict"`
	AccountID   string            `parquet:"account_id,dict"`
	Partition   string            `parquet:"partition,dict"`
	Region      string            `parquet:"region,dict"`
	Tags        map[string]string `parquet:"tags"`
	ExtraTags   map[string]string `parquet:"extra_tags" parquet-key:",dict" parquet-value:",dict"`
	Run         string            `parquet:"run,dict"`
	CollectedAt time.Time         `parquet:"collected_at,optional,timestamp(microsecond)"`
	Data        []byte            `parquet:"data,json"` // the library cannot write JSON that is NULL: of the end of a target it is null
}

// A Version is a resource as the store remembers it: what it is now, or was for a time.
type Version struct {
	Envelope
	FirstSeen  time.Time `parquet:"first_seen,timestamp(microsecond)"`
	StateSince time.Time `parquet:"state_since,timestamp(microsecond)"`
	ValidFrom  time.Time `parquet:"valid_from,timestamp(microsecond)"`
	ValidTo    time.Time `parquet:"valid_to,optional,timestamp(microsecond)"` // NULL: it is so now
	Ended      string    `parquet:"ended,optional,dict"`
	LastSeen   time.Time `parquet:"last_seen,optional,timestamp(microsecond)"`
}

// A Delivery is a line of an output. Of a record, all but the envelope is NULL.
type Delivery struct {
	Envelope
	Change    string    `parquet:"change,optional,dict"` // of a change
	ChangedAt time.Time `parquet:"changed_at,optional,timestamp(microsecond)"`
	Ended     string    `parquet:"ended,optional,dict"`
	Changes   string    `parquet:"changes,optional"`     // JSON
	Target    string    `parquet:"target,optional,dict"` // of the end of a target, whose kind is _target; its state is State
	Records   *int64    `parquet:"records,optional"`
}

// EnvelopeOf borrows the resource's data and tags.
func EnvelopeOf(r *inventory.Resource) Envelope {
	return Envelope{
		Kind: r.Kind, ID: r.ID, Name: r.Name, State: r.State, Type: r.Type, Account: r.Account, AccountID: r.AccountID,
		Partition: r.Partition, Region: r.Region, Tags: r.Tags, ExtraTags: r.ExtraTags, Run: r.Run, CollectedAt: r.CollectedAt, Data: r.Data,
	}
}

// VersionOf borrows the resource's data and tags.
func VersionOf(r *inventory.Resource) Version {
	return Version{
		Envelope: EnvelopeOf(r), FirstSeen: r.FirstSeen, StateSince: r.StateSince, ValidFrom: r.ValidFrom, ValidTo: r.ValidTo,
		Ended: r.Ended, LastSeen: r.LastSeen,
	}
}

// What a row group may hold. It is kept in memory, compressed, until it is full: this is what bounds the memory of a file of
// any size. Readers take a group at a time, so small ones cost them little.
const (
	groupRows  = 128 << 10
	groupBytes = 64 << 20 // of data, before compression
	batch      = 64       // rows that are turned into columns at once
)

// A Writer writes one file after the other. It is for one goroutine.
type Writer[Row Version | Delivery] struct {
	w     *parquet.GenericWriter[Row]
	rows  []Row
	held  int // bytes of data in rows
	group struct{ rows, bytes int }
}

// NewWriter begins a file. Nothing of w is asked for but to be written to.
func NewWriter[Row Version | Delivery](w io.Writer) (*Writer[Row], error) {
	codec, err := newCodec()
	if err != nil {
		return nil, fmt.Errorf("parquet: zstd: %w", err)
	}
	return &Writer[Row]{
		w: parquet.NewGenericWriter[Row](w,
			parquet.Compression(codec),
			parquet.CreatedBy("aws-collector/collector", "", ""),
			parquet.DictionaryMaxBytes(1<<20),                  // beyond that a dictionary saves nothing
			parquet.SkipPageBounds("data"),                     // nobody looks for a document between two others
			parquet.ColumnPageBuffers(parquet.NewBufferPool()), // not the one that all programs share: it would keep the largest file's
		),
		rows: make([]Row, 0, batch),
	}, nil
}

// Reset begins another file, whatever became of the last.
func (w *Writer[Row]) Reset(to io.Writer) {
	clear(w.rows)
	w.rows, w.held = w.rows[:0], 0
	w.group.rows, w.group.bytes = 0, 0
	w.w.Reset(to)
}

// Write takes a row. What it refers to must stay as it is until Close.
func (w *Writer[Row]) Write(r Row) error {
	n := size(&r)
	if w.group.rows > 0 && (w.group.rows >= groupRows || w.group.bytes+n > groupBytes) {
		if err := w.turnOver(); err != nil {
			return err
		}
	}
	if e := envelope(&r); e.Data == nil {
		e.Data = []byte("null")
	}
	w.rows = append(w.rows, r)
	w.held += n
	w.group.rows++
	w.group.bytes += n
	if len(w.rows) == cap(w.rows) || w.held > 1<<20 {
		return w.columns()
	}
	return nil
}

// columns turns the rows that wait into columns.
func (w *Writer[Row]) columns() error {
	if len(w.rows) == 0 {
		return nil
	}
	if _, err := w.w.Write(w.rows); err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	clear(w.rows)
	w.rows, w.held = w.rows[:0], 0
	return nil
}

func (w *Writer[Row]) turnOver() error {
	if err := w.columns(); err != nil {
		return err
	}
	w.group.rows, w.group.bytes = 0, 0
	if err := w.w.Flush(); err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	return nil
}

// Close ends the file; a file without its end cannot be read. It does not close what was written to.
func (w *Writer[Row]) Close() error {
	if err := w.columns(); err != nil {
		return err
	}
	if err := w.w.Close(); err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	return nil
}

// size is about what a row adds to a group.
func size[Row Version | Delivery](r *Row) int {
	e := envelope(r)
	n := len(e.Data) + len(e.ID) + len(e.Name)
	for k, v := range e.Tags {
		n += len(k) + len(v)
	}
	if d, ok := any(r).(*Delivery); ok {
		n += len(d.Changes)
	}
	return n
}

func envelope[Row Version | Delivery](r *Row) *Envelope {
	switch r := any(r).(type) {
	case *Version:
		return &r.Envelope
	case *Delivery:
		return &r.Envelope
	}
	return nil // there is no third
}
