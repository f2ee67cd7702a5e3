package outputs

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs/parquet"
)

// An objectWriter writes one object after the other. It is for one goroutine.
type objectWriter interface {
	write(to *bytes.Buffer, lines [][]byte) error
}

type plainObjects struct{}

func newPlainObjects() (objectWriter, error) { return plainObjects{}, nil }

func (plainObjects) write(to *bytes.Buffer, lines [][]byte) error {
	for _, l := range lines {
		to.Write(l)
	}
	return nil
}

// compressedObjects is gzip or zstd.
type compressedObjects struct {
	c interface {
		io.WriteCloser
		Reset(io.Writer)
	}
}

func newGzipObjects() (objectWriter, error) { return compressedObjects{gzip.NewWriter(nil)}, nil }

func newZstdObjects() (objectWriter, error) {
	c, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	return compressedObjects{c}, err
}

func (w compressedObjects) write(to *bytes.Buffer, lines [][]byte) error {
	w.c.Reset(to)
	for _, l := range lines {
		if _, err := w.c.Write(l); err != nil {
			return err
		}
	}
	return w.c.Close()
}

type parquetObjects struct {
	w *parquet.Writer[parquet.Delivery]
}

func newParquetObjects() (objectWriter, error) {
	w, err := parquet.NewWriter[parquet.Delivery](io.Discard)
	return parquetObjects{w}, err
}

func (p parquetObjects) write(to *bytes.Buffer, lines [][]byte) error {
	p.w.Reset(to)
	for _, raw := range lines {
		l, err := parseLine(raw)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		d, err := deliveryOf(l)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrRefused, err)
		}
		if err := p.w.Write(d); err != nil {
			return err
		}
	}
	return p.w.Close()
}

// deliveryOf is a line as a row. Its state and type are those that the store would have.
func deliveryOf(l *Line) (parquet.Delivery, error) {
	if l.Target != "" {
		n := int64(l.Records)
		e := parquet.Envelope{Kind: l.Kind, Account: l.Account, Region: l.Region, Run: l.Run, State: string(l.State)}
		return parquet.Delivery{Envelope: e, Target: l.Target, Records: &n}, nil
	}
	d := parquet.Delivery{Envelope: parquet.EnvelopeOf(inventory.ResourceOf(l.Record)), Change: l.Change, ChangedAt: l.At, Ended: l.Ended}
	if l.Changes == nil {
		return d, nil
	}
	text, err := json.Marshal(l.Changes)
	d.Changes = string(text)
	return d, err
}
