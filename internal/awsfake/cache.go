package awsfake

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"sync"
)

// A pageCache holds the compressed items of pages, so that an unchanged page is compressed once: compressing costs
// thirty times as much as serving.
type pageCache struct {
	mu    sync.Mutex
	level int // of compression; 0 is the fastest
	pages map[string][]byte
	size  int
}

// cacheSize is the most that the cache may hold, in bytes. A full cache is emptied.
const cacheSize = 64 << 20

// compress writes a response as one gzip member (RFC 1952): the head as a stored block, the items from the cache, the
// tail as the last stored block. Deflate blocks may be concatenated if each ends on a byte boundary (RFC 1951, 3.2.4).
func (c *pageCache) compress(out *response, write func([]byte) error) error {
	items, err := c.items(out)
	if err != nil {
		return err
	}
	b := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255}, storedBlock(out.head, false)...)
	if err := write(b); err != nil {
		return err
	}
	if err := write(items); err != nil {
		return err
	}
	sum, n := crc32.NewIEEE(), 0
	err = out.eachPart(func(p []byte) error { n += len(p); _, err := sum.Write(p); return err })
	if err != nil {
		return err
	}
	b = storedBlock(out.tail, true)
	b = binary.LittleEndian.AppendUint32(b, sum.Sum32())
	return write(binary.LittleEndian.AppendUint32(b, uint32(n)))
}

// storedBlock returns p as uncompressed blocks of up to 65,535 bytes.
func storedBlock(p []byte, last bool) []byte {
	var b []byte
	for {
		n := min(len(p), 65535)
		end := byte(0)
		if last && n == len(p) {
			end = 1
		}
		b = append(b, end)
		b = binary.LittleEndian.AppendUint16(b, uint16(n))
		b = binary.LittleEndian.AppendUint16(b, ^uint16(n))
		b = append(b, p[:n]...)
		if p = p[n:]; len(p) == 0 {
			return b
		}
	}
}

// items returns a response's items as deflate blocks that end on a byte boundary and are not marked as the last.
func (c *pageCache) items(out *response) ([]byte, error) {
	if out.cacheKey == "" {
		return deflateItems(out.items, flate.BestSpeed)
	}
	c.mu.Lock()
	p, ok := c.pages[out.cacheKey]
	level := cmp.Or(c.level, flate.BestSpeed)
	c.mu.Unlock()
	if ok {
		return p, nil
	}
	p, err := deflateItems(out.items, level)
	if err == nil {
		c.add(out.cacheKey, p)
	}
	return p, err
}

func deflateItems(items [][]byte, level int) ([]byte, error) {
	if len(items) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, level)
	if err != nil {
		return nil, err
	}
	for _, it := range items {
		if _, err := z.Write(it); err != nil {
			return nil, err
		}
	}
	if err := z.Flush(); err != nil { // ends on a byte boundary, with an empty stored block
		return nil, err
	}
	return bytes.Clone(b.Bytes()), nil
}

// SetGzipLevel sets the compression level of pages, as in compress/flate: 1, the default, is the fastest, and most
// servers use 6. EC2 documents no level. The better a page is compressed, the less it costs to decompress.
func (a *AWS) SetGzipLevel(level int) {
	c := &a.compressed
	c.mu.Lock()
	defer c.mu.Unlock()
	c.level, c.pages, c.size = level, nil, 0
}

func (c *pageCache) add(key string, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pages == nil || c.size+len(p) > cacheSize {
		c.pages, c.size = make(map[string][]byte), 0
	}
	c.pages[key] = p
	c.size += len(p)
}
