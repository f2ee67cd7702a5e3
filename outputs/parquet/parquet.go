// Package parquet writes records as Apache Parquet: what the envelope of a record says is columns, and its data is a column
// of JSON, so that the files of all kinds have one schema. It knows no store and no receiver. Begin at [NewWriter].
//
// The writer is our own, in internal/format. A library for any schema, for reading and for every codec, took a tenth of the
// program's size, and what is needed of it is to write one schema. Tests read the files with that library, and with others.
package parquet

import (
	"fmt"
	"io"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs/parquet/internal/format"
)

// Envelope is the columns that every row has. What is "", or the zero time, is NULL, but for the maps: those are empty.
//
// The tags are for who reads the files in Go, with parquet-go/parquet-go. What is written is in columns.go; a test holds the two together.
type Envelope struct {
	Kind        string            `parquet:"kind"`
	ID          string            `parquet:"id"`
	Name        string            `parquet:"name,optional"`
	State       string            `parquet:"state,optional"` // as AWS says it, as in the store
	Type        string            `parquet:"type,optional"`
	Account     string            `parquet:"account"`
	AccountID   string            `parquet:"account_id"`
	Partition   string            `parquet:"partition"`
	Region      string            `parquet:"region"`
	Tags        map[string]string `parquet:"tags"`
	ExtraTags   map[string]string `parquet:"extra_tags"`
	Run         string            `parquet:"run"`
	CollectedAt time.Time         `parquet:"collected_at,optional,timestamp(microsecond)"`
	Data        []byte            `parquet:"data,json"` // never NULL: of the end of a target it is the JSON null
}

// A Version is a resource as the store remembers it: what it is now, or was for a time.
type Version struct {
	Envelope
	FirstSeen  time.Time `parquet:"first_seen,timestamp(microsecond)"`
	StateSince time.Time `parquet:"state_since,timestamp(microsecond)"`
	ValidFrom  time.Time `parquet:"valid_from,timestamp(microsecond)"`
	ValidTo    time.Time `parquet:"valid_to,optional,timestamp(microsecond)"` // NULL: it is so now
	Ended      string    `parquet:"ended,optional"`
	LastSeen   time.Time `parquet:"last_seen,optional,timestamp(microsecond)"`
}

// A Delivery is a line of an output. Of a record, all but the envelope is NULL.
type Delivery struct {
	Envelope
	Change    string    `parquet:"change,optional"` // of a change
	ChangedAt time.Time `parquet:"changed_at,optional,timestamp(microsecond)"`
	Ended     string    `parquet:"ended,optional"`
	Changes   string    `parquet:"changes,optional"` // JSON
	Target    string    `parquet:"target,optional"`  // of the end of a target, whose kind is _target; its state is State
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
	maxGroupRows  = 128 << 10
	maxGroupBytes = 64 << 20 // of data, before compression
)

// maxRowBytes is the largest row. The format counts a page in 31 bits, and a page holds a row at least.
const maxRowBytes = 1 << 30

// A Writer writes one file after the other. It is for one goroutine.
type Writer[Row Version | Delivery] struct {
	file            *format.File
	envelopeColumns []column[Envelope]
	rowColumns      []column[Row]
	row             Row // the one that is written: here it costs no allocation
	group           struct{ rows, bytes int }
}

// NewWriter begins a file. Nothing of w is asked for but to be written to.
func NewWriter[Row Version | Delivery](w io.Writer) (*Writer[Row], error) {
	wr := &Writer[Row]{envelopeColumns: envelopeColumns()}
	var name string
	switch more := any(&wr.rowColumns).(type) {
	case *[]column[Version]:
		name, *more = "Version", versionColumns()
	case *[]column[Delivery]:
		name, *more = "Delivery", deliveryColumns()
	}
	fields := make([]format.Field, 0, len(wr.envelopeColumns)+len(wr.rowColumns))
	for _, c := range wr.envelopeColumns {
		fields = append(fields, c.Field)
	}
	for _, c := range wr.rowColumns {
		fields = append(fields, c.Field)
	}
	var err error
	if wr.file, err = format.NewFile(w, name, creator, fields); err != nil {
		return nil, fmt.Errorf("parquet: %w", err)
	}
	return wr, nil
}

// creator has the form that readers know. The version is that of how files are written: should one turn out to be written
// wrongly, its readers can tell such files.
const creator = "aws-collector/collector version 1.0.0 (build 1)"

// Reset begins another file, whatever became of the last.
func (w *Writer[Row]) Reset(to io.Writer) {
	w.group.rows, w.group.bytes = 0, 0
	w.file.Reset(to)
}

// Write takes a row. Nothing of it is kept. What cannot be written to is said by the Write that ends a row group, or by Close.
func (w *Writer[Row]) Write(r Row) error {
	w.row = r
	e := envelope(&w.row)
	n := size(&w.row)
	if n > maxRowBytes {
		return fmt.Errorf("parquet: %s %s has %d bytes: a row may have %d", e.Kind, e.ID, n, maxRowBytes)
	}
	if w.group.rows > 0 && (w.group.rows >= maxGroupRows || w.group.bytes+n > maxGroupBytes) {
		if err := w.endGroup(); err != nil {
			return err
		}
	}
	w.group.rows++
	w.group.bytes += n
	columns := w.file.Columns
	for i := range w.envelopeColumns {
		w.envelopeColumns[i].write(columns[i], e)
	}
	columns = columns[len(w.envelopeColumns):]
	for i := range w.rowColumns {
		w.rowColumns[i].write(columns[i], &w.row)
	}
	w.file.EndRow()
	var none Row
	w.row = none
	return nil
}

func (w *Writer[Row]) endGroup() error {
	w.group.rows, w.group.bytes = 0, 0
	if err := w.file.EndGroup(); err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	return nil
}

// Close ends the file; a file without its end cannot be read. It does not close what was written to.
func (w *Writer[Row]) Close() error {
	if err := w.file.Close(); err != nil {
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
