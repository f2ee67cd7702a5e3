package inventory

import (
	"context"
	"time"
)

// A Store is what the reader of every database offers: answers to queries, read-only SQL, and a check for damage.
type Store interface {
	Reader
	RunReader
	// Query runs one read-only SQL statement and calls f with each row, or once with a nil row if there is none. f must
	// not keep either argument. The documented views are resources, versions, targets and runs: see docs/queries.md.
	Query(ctx context.Context, query string, f func(columns []string, row []any) error) error
	// Check reads the whole database.
	Check(ctx context.Context) (Summary, error)
	Close() error
}

// A Summary is the result of a check.
type Summary struct {
	Targets, Resources, Versions int64
	Bytes                        int64 // on the disk
	Free                         int64 // the part of Bytes that a vacuum frees
	Oldest, Newest               time.Time
	Damage                       []string // empty: the database is sound
}
