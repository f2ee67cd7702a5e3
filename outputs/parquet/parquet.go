// Package parquet writes records as Apache Parquet files. The fields of a record's envelope are columns, and its data
// is one column of JSON, so the files of all kinds have one schema. The package does not know the store or the
// receivers. Begin at [NewWriter].
//
// The writer is our own, in internal/format. A general library took a tenth of the program's size, and one schema is
// all that is written here. Tests read the files with that library and with other readers.
package parquet

import (
	"fmt"
	"io"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs/parquet/internal/format"
)

// Envelope is the columns that every row has. An empty string and the zero time are written as NULL where the column
// allows it; maps are never NULL.
//
// The struct tags let Go programs read the files with parquet-go/parquet-go. The columns that are written are in
// columns.go; a test checks that both agree.
type Envelope struct {
	Kind        string            `parquet:"kind"`
	ID          string            `parquet:"id"`
	Name        string            `parquet:"name,optional"`
	State       string            `parquet:"state,optional"` // AWS's text, as in the store
	Type        string            `parquet:"type,optional"`
	Account     string            `parquet:"account"`
	AccountID   string            `parquet:"account_id"`
	Partition   string            `parquet:"partition"`
	Region      string            `parquet:"region"`
	Tags        map[string]string `parquet:"tags"`
	ExtraTags   map[string]string `parquet:"extra_tags"`
	Run         string            `parquet:"run"`
	CollectedAt time.Time         `parquet:"collected_at,optional,timestamp(microsecond)"`
	Data        []byte            `parquet:"data,json"` // never NULL; JSON null for the end of a target
}

// A Version is one version of a resource in the store, with the time during which it was valid.
type Version struct {
	Envelope
	FirstSeen  time.Time `parquet:"first_seen,timestamp(microsecond)"`
	StateSince time.Time `parquet:"state_since,timestamp(microsecond)"`
	ValidFrom  time.Time `parquet:"valid_from,timestamp(microsecond)"`
	ValidTo    time.Time `parquet:"valid_to,optional,timestamp(microsecond)"` // NULL: still valid
	Ended      string    `parquet:"ended,optional"`
	LastSeen   time.Time `parquet:"last_seen,optional,timestamp(microsecond)"`
}

// A Delivery is one line of an output. The columns after the envelope are NULL for a record.
type Delivery struct {
	Envelope
	Change    string    `parquet:"change,optional"` // set for a change
	ChangedAt time.Time `parquet:"changed_at,optional,timestamp(microsecond)"`
	Ended     string    `parquet:"ended,optional"`
	Changes   string    `parquet:"changes,optional"` // JSON
	Target    string    `parquet:"target,optional"`  // set for the end of a target; kind is _target, State its state
	Records   *int64    `parquet:"records,optional"`
}

// EnvelopeOf makes an envelope that shares the resource's data and tags.
func EnvelopeOf(r *inventory.Resource) Envelope {
	return Envelope{
		Kind: r.Kind, ID: r.ID, Name: r.Name, State: r.State, Type: r.Type, Account: r.Account, AccountID: r.AccountID,
		Partition: r.Partition, Region: r.Region, Tags: r.Tags, ExtraTags: r.ExtraTags, Run: r.Run,
		CollectedAt: r.CollectedAt, Data: r.Data,
	}
}

// VersionOf makes a version that shares the resource's data and tags.
func VersionOf(r *inventory.Resource) Version {
	return Version{
		Envelope: EnvelopeOf(r), FirstSeen: r.FirstSeen, StateSince: r.StateSince, ValidFrom: r.ValidFrom, ValidTo: r.ValidTo,
		Ended: r.Ended, LastSeen: r.LastSeen,
	}
}

// The limits of a row group. A group stays in memory, compressed, until it is full, so these limits bound the memory
// for a file of any size. Readers take one group at a time, so small groups cost them little.
const (
	maxGroupRows  = 128 << 10
	maxGroupBytes = 64 << 20 // before compression
)

// maxRowBytes is the size of the largest row: the format has 31 bits for a page's size, and a page holds at least one
// row.
const maxRowBytes = 1 << 30

// A Writer writes one file after another. It is not safe for concurrent use.
type Writer[Row Version | Delivery] struct {
	file            *format.File
	envelopeColumns []column[Envelope]
	rowColumns      []column[Row]
	row             Row // the current row; a field saves an allocation a row
	group           struct{ rows, bytes int }
}

// NewWriter starts a file. It needs w for writing only.
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

// creator has the form that readers parse. Its version is the version of this writer: if a version turns out to write
// wrong files, readers can recognise them.
const creator = "aws-collector/collector version 1.0.0 (build 1)"

// Reset starts another file, even after a failed one.
func (w *Writer[Row]) Reset(to io.Writer) {
	w.group.rows, w.group.bytes = 0, 0
	w.file.Reset(to)
}

// Write copies a row into the file. A write error is returned by the Write that ends a row group, or by Close.
func (w *Writer[Row]) Write(r Row) error {
	w.row = r
	e := envelope(&w.row)
	n := size(&w.row)
	if n > maxRowBytes {
		return fmt.Errorf("parquet: %s %s has %d bytes; the limit of a row is %d", e.Kind, e.ID, n, maxRowBytes)
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

// Close writes the footer, without which a file cannot be read. It does not close the underlying writer.
func (w *Writer[Row]) Close() error {
	if err := w.file.Close(); err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	return nil
}

// size estimates what a row adds to a group.
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
	return nil // unreachable: Row has two types
}
