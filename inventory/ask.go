package inventory

import (
	"context"
	"time"
)

// A Store is what every database's reader can do: answer questions, run SQL that reads, and say whether it is sound.
type Store interface {
	Reader
	// Query runs one statement of SQL that reads, and calls f with each row, or once with a nil row where there is none. f
	// borrows both. The documented views are resources, versions and targets: see docs/queries.md.
	Query(ctx context.Context, query string, f func(columns []string, row []any) error) error
	// Check reads the whole database.
	Check(ctx context.Context) (Summary, error)
	Close() error
}

// A Summary is what a check finds.
type Summary struct {
	Targets, Resources, Versions int64
	Bytes                        int64 // on the disk
	Free                         int64 // of them, in bytes: what vacuum frees
	Oldest, Newest               time.Time
	Damage                       []string // none: the database is sound
}
