package format

import "github.com/klauspost/compress/zstd"

// newCodec compresses pages. Its window is a page: a larger one would only use memory.
func newCodec() (*zstd.Encoder, error) {
	return zstd.NewWriter(
		nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(pageBytes),
		zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false),
	)
}
