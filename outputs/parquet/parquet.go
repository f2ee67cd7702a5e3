// Package parquet writes records as Apache Parquet files. The fields of a record's envelope are columns, and its data
// is one column of JSON, so the files of all kinds have one schema. The package does not know the store or the
// receivers. Begin at [NewWriter].
package parquet

import (
	"fmt"
	"io"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/aws-collector/collector/inventory"
)

// Envelope is the columns that every row has. An empty string and the zero time are written as NULL where the column
// is optional; maps are never NULL. Columns with few distinct values have a dictionary.
type Envelope struct {
	Kind        string            `parquet:"kind,dict"`
	ID          string            `parquet:"id"`
	Name        string            `parquet:"name,optional"`
	State       string            `parquet:"state,optional,dict"` // AWS's text, as in the store
	Type        string            `parquet:"type,optional,dict"`
	Account     string            `parquet:"account,dict"`
	AccountID   string            `parquet:"account_id,dict"`
	Partition   string            `parquet:"partition,dict"`
	Region      string            `parquet:"region,dict"`
	Tags        map[string]string `parquet:"tags"`
	ExtraTags   map[string]string `parquet:"extra_tags" parquet-key:",dict" parquet-value:",dict"`
	Run         string            `parquet:"run,dict"`
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
	Ended      string    `parquet:"ended,optional,dict"`
	LastSeen   time.Time `parquet:"last_seen,optional,timestamp(microsecond)"`
}

// A Delivery is one line of an output. The columns after the envelope are NULL for a record.
type Delivery struct {
	Envelope
	Change    string    `parquet:"change,optional,dict"` // set for a change
	ChangedAt time.Time `parquet:"changed_at,optional,timestamp(microsecond)"`
	Ended     string    `parquet:"ended,optional,dict"`
	Changes   string    `parquet:"changes,optional"`     // JSON
	Target    string    `parquet:"target,optional,dict"` // set for the end of a target; kind is _target, State its state
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
// for a file of any size. Readers take one group at a time, so small groups cost them little. Until its end, a group
// also has the least and the greatest value of each page, uncut: that is little, unless rows are as large as pages.
const (
	maxGroupRows  = 128 << 10
	maxGroupBytes = 32 << 20 // before compression
)

// maxRowBytes is the size of the largest row: the format has 31 bits for a page's size, and a page holds at least one
// row.
const maxRowBytes = 1 << 30

// maxPageBytes is the size from which a page is finished. A page is the smallest unit that a reader decodes.
const maxPageBytes = 1 << 20

// maxDictionaryBytes is the size from which a dictionary saves nothing.
const maxDictionaryBytes = 1 << 20

// maxBoundBytes is how much of the least and the greatest value of a page its index has: enough for ids and ARNs.
const maxBoundBytes = 128

// A Writer writes one file after another. It is not safe for concurrent use.
type Writer[Row Version | Delivery] struct {
	file    *parquet.GenericWriter[Row]
	row     [1]Row // the current row; a field saves an allocation a row
	group   struct{ rows, bytes int }
	largest int // row of the file
}

// NewWriter starts a file. It needs w for writing only.
func NewWriter[Row Version | Delivery](w io.Writer) *Writer[Row] {
	return &Writer[Row]{file: newFile[Row](w)}
}

func newFile[Row Version | Delivery](w io.Writer) *parquet.GenericWriter[Row] {
	return parquet.NewGenericWriter[Row](
		w,
		parquet.Compression(&zstd.Codec{Level: zstd.SpeedDefault, Concurrency: 1}),
		// All readers support these.
		parquet.DataPageVersion(1),
		parquet.DefaultEncodingFor(parquet.ByteArray, &parquet.Plain),
		parquet.PageBufferSize(maxPageBytes),
		parquet.DictionaryMaxBytes(maxDictionaryBytes),
		// The page index has the bounds of pages, cut to a length. Page headers would have them whole.
		parquet.DataPageStatistics(false),
		parquet.ColumnIndexSizeLimit(func([]string) int { return maxBoundBytes }),
	)
}

// Reset starts another file, even after a failed one.
func (w *Writer[Row]) Reset(to io.Writer) {
	w.group.rows, w.group.bytes, w.largest = 0, 0, 0
	w.file.Reset(to)
}

// Write copies a row into the file. A write error is returned by the Write that ends a row group, or by Close.
func (w *Writer[Row]) Write(r Row) error {
	w.row[0] = r
	defer clear(w.row[:])
	e := envelope(&w.row[0])
	if e.Data == nil {
		e.Data = []byte("null")
	}
	n := size(&w.row[0])
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
	w.largest = max(w.largest, n)
	if _, err := w.file.Write(w.row[:]); err != nil {
		return fmt.Errorf("parquet: %s %s: %w", e.Kind, e.ID, err)
	}
	return nil
}

func (w *Writer[Row]) endGroup() error {
	w.group.rows, w.group.bytes = 0, 0
	if err := w.file.Flush(); err != nil {
		return fmt.Errorf("parquet: %w", err)
	}
	return nil
}

// Close writes the footer, without which a file cannot be read. It does not close the underlying writer.
func (w *Writer[Row]) Close() error {
	err := w.file.Close()
	if w.largest > maxPageBytes { // the library keeps buffers of several times the size
		w.file = newFile[Row](io.Discard)
	}
	if err != nil {
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
