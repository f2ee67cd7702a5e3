package s3

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/parquet"
	"github.com/aws-collector/collector/record"
)

// An objectWriter encodes one object after another. It is not safe for concurrent use.
type objectWriter interface {
	write(to *bytes.Buffer, lines [][]byte) error
}

type plainWriter struct{}

func newPlainWriter() (objectWriter, error) { return plainWriter{}, nil }

func (plainWriter) write(to *bytes.Buffer, lines [][]byte) error {
	for _, l := range lines {
		to.Write(l)
	}
	return nil
}

// compressedWriter uses gzip or zstd.
type compressedWriter struct {
	encoder interface {
		io.WriteCloser
		Reset(io.Writer)
	}
}

func newGzipWriter() (objectWriter, error) { return compressedWriter{gzip.NewWriter(nil)}, nil }

func newZstdWriter() (objectWriter, error) {
	c, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true))
	return compressedWriter{c}, err
}

func (w compressedWriter) write(to *bytes.Buffer, lines [][]byte) error {
	w.encoder.Reset(to)
	for _, l := range lines {
		if _, err := w.encoder.Write(l); err != nil {
			return err
		}
	}
	return w.encoder.Close()
}

type parquetWriter struct {
	writer *parquet.Writer[parquet.Delivery]
	kind   func(string) record.KindInfo
}

func newParquetWriter(kind func(string) record.KindInfo) func() (objectWriter, error) {
	return func() (objectWriter, error) {
		return parquetWriter{parquet.NewWriter[parquet.Delivery](io.Discard), kind}, nil
	}
}

func (p parquetWriter) write(to *bytes.Buffer, lines [][]byte) error {
	p.writer.Reset(to)
	for _, raw := range lines {
		l, err := outputs.ParseLine(raw)
		if err != nil {
			return fmt.Errorf("%w: %w", outputs.ErrRefused, err)
		}
		d, err := deliveryOf(l, p.kind(l.Kind))
		if err != nil {
			return fmt.Errorf("%w: %w", outputs.ErrRefused, err)
		}
		if err := p.writer.Write(d); err != nil {
			return err
		}
	}
	return p.writer.Close()
}

// deliveryOf converts a line to a row. Its state and type are the same as in the store.
func deliveryOf(l *outputs.Line, kind record.KindInfo) (parquet.Delivery, error) {
	if l.Target != "" {
		n := int64(l.Records)
		e := parquet.Envelope{Kind: l.Kind, Account: l.Account, Region: l.Region, Run: l.Run, State: string(l.State)}
		return parquet.Delivery{Envelope: e, Target: l.Target, Records: &n}, nil
	}
	d := parquet.Delivery{
		Envelope:  parquet.EnvelopeOf(inventory.ResourceOf(l.Record, kind)),
		Change:    l.Change,
		ChangedAt: l.At,
		Ended:     l.Ended,
	}
	if l.Changes == nil {
		return d, nil
	}
	text, err := json.Marshal(l.Changes)
	d.Changes = string(text)
	return d, err
}
