package parquet

import (
	"errors"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// zstdCodec compresses pages with one encoder whose window is no larger than a page. The library's own codec keeps a window
// of 8 MiB for each encoder, and a pool of those.
type zstdCodec struct{ enc *zstd.Encoder }

const window = 1 << 20

func newCodec() (*zstdCodec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(window),
		zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false))
	return &zstdCodec{enc}, err
}

func (*zstdCodec) String() string                            { return "ZSTD" }
func (*zstdCodec) CompressionCodec() format.CompressionCodec { return format.Zstd }

func (c *zstdCodec) Encode(dst, src []byte) ([]byte, error) {
	return c.enc.EncodeAll(src, dst[:0]), nil
}

// Decode is for readers, and this is a writer.
func (*zstdCodec) Decode([]byte, []byte) ([]byte, error) { return nil, errors.ErrUnsupported }
