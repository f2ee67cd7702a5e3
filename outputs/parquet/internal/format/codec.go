package format

import "github.com/klauspost/compress/zstd"

// newCodec compresses pages. Its window is no larger than a page: what it keeps besides is memory for nothing.
func newCodec() (*zstd.Encoder, error) {
	return zstd.NewWriter(
		nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(pageBytes),
		zstd.WithLowerEncoderMem(true), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false),
	)
}
