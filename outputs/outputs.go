// Package outputs is where records go: one file an output. What can block or fail stands behind a spool.
package outputs

import (
	"context"
	"io"
	"log/slog"
)

// A Batch is lines with a name that does not change when it is sent again. Lines is borrowed until Send returns.
type Batch struct {
	ID    string
	N     int
	Lines []byte
}

// An Output sends batches. Send may return before the receiver has the batch only if Flush then waits for it.
type Output interface {
	Send(context.Context, Batch) error
	Flush(context.Context) error
	Close(context.Context) error // safe twice
}

// A Type is an output that can be named in the file: a row, in plain sight.
type Type struct {
	Name    string
	Options func() any // a struct with defaults, decoded and validated by config
	Open    func(ctx context.Context, options any, d Deps) (Output, error)
	Direct  bool // needs no spool: stdout, file
}

// Deps is what the wire gives.
type Deps struct {
	Stdout io.Writer
	Log    *slog.Logger
}
