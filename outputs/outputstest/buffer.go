package outputstest

import (
	"bytes"
	"sync"
)

// A Buffer can be read while it is written. It accepts its input in small pieces, so that the lines of two concurrent
// writers would mix.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *Buffer) Write(p []byte) (int, error) {
	for i := 0; i < len(p); i += 1000 {
		b.mu.Lock()
		b.b.Write(p[i:min(i+1000, len(p))])
		b.mu.Unlock()
	}
	return len(p), nil
}

func (b *Buffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.b.Bytes())
}
