package awsfake

import (
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// A response is a body in parts, so that the items of a page need not be copied: each is rendered once.
type response struct {
	head        []byte
	items       [][]byte
	tail        []byte
	cacheKey    string // of the compressed items; "": do not cache
	contentType string // Content-Type; XML where empty

	header http.Header
}

func (o *response) size() int {
	n := len(o.head) + len(o.tail)
	for _, it := range o.items {
		n += len(it)
	}
	return n
}

// eachPart calls f with each part of the body, until f fails.
func (o *response) eachPart(f func([]byte) error) error {
	if err := f(o.head); err != nil {
		return err
	}
	for _, it := range o.items {
		if err := f(it); err != nil {
			return err
		}
	}
	return f(o.tail)
}

// xmlWriter writes XML as EC2 does: indented by four spaces a level.
type xmlWriter struct {
	buf   []byte
	depth int
}

func (m *xmlWriter) line() {
	m.buf = append(m.buf, '\n')
	for range m.depth {
		m.buf = append(m.buf, "    "...)
	}
}

// begin starts a document.
func (m *xmlWriter) begin(root, namespace string) {
	m.buf = append(m.buf, `<?xml version="1.0" encoding="UTF-8"?>`...)
	m.buf = append(m.buf, "\n<"+root+` xmlns="`+namespace+`">`...)
	m.depth = 1
}

func (m *xmlWriter) end(root string) { m.buf = append(m.buf, "\n</"+root+">\n"...) }

// element writes an element that contains others.
func (m *xmlWriter) element(name string, f func()) {
	m.line()
	at := len(m.buf)
	m.buf = append(m.buf, "<"+name+">"...)
	m.depth++
	begun := len(m.buf)
	f()
	m.depth--
	if len(m.buf) == begun {
		m.buf = append(m.buf[:at], "<"+name+"/>"...)
		return
	}
	m.line()
	m.buf = append(m.buf, "</"+name+">"...)
}

func (m *xmlWriter) text(name, value string) {
	m.line()
	if value == "" {
		m.buf = append(m.buf, "<"+name+"/>"...)
		return
	}
	m.buf = append(m.buf, "<"+name+">"...)
	m.buf = appendEscaped(m.buf, value)
	m.buf = append(m.buf, "</"+name+">"...)
}

func (m *xmlWriter) bool(name string, v bool) { m.text(name, strconv.FormatBool(v)) }
func (m *xmlWriter) int(name string, v int)   { m.text(name, strconv.Itoa(v)) }

// list writes the element name with n <item> elements.
func (m *xmlWriter) list(name string, n int, f func(i int)) {
	m.element(name, func() {
		for i := range n {
			m.element("item", func() { f(i) })
		}
	})
}

func appendEscaped(b []byte, s string) []byte {
	for _, r := range s {
		switch r {
		case '&':
			b = append(b, "&amp;"...)
		case '<':
			b = append(b, "&lt;"...)
		case '>':
			b = append(b, "&gt;"...)
		case '"':
			b = append(b, "&quot;"...)
		case '\r':
			b = append(b, "&#xD;"...)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// errorResponse encodes an error in the format of the service.
func (a *AWS) errorResponse(q *request, e *apiError) *response {
	if q.service == "organizations" {
		return q.organizationsError(e)
	}
	m := new(xmlWriter)
	switch q.service {
	case "ec2":
		m.buf = append(m.buf, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<Response><Errors><Error><Code>"...)
		m.buf = append(appendEscaped(m.buf, e.code), "</Code><Message>"...)
		m.buf = append(
			appendEscaped(m.buf, e.message),
			"</Message></Error></Errors><RequestID>"+q.id+"</RequestID></Response>"...)
	default:
		m.buf = append(m.buf, `<ErrorResponse xmlns="`+stsNamespace+`">`...)
		m.depth = 1
		m.element("Error", func() {
			kind := "Sender"
			if e.status >= 500 {
				kind = "Receiver"
			}
			m.text("Type", kind)
			m.text("Code", e.code)
			m.text("Message", e.message)
		})
		m.text("RequestId", q.id)
		m.buf = append(m.buf, "\n</ErrorResponse>\n"...)
	}
	return &response{head: m.buf}
}

// minGzipSize is the size from which on a body is compressed.
const minGzipSize = 1024

// send writes a response, changed by the fault if there is one.
func (a *AWS) send(w http.ResponseWriter, q *request, out *response) {
	if q.fault != nil && a.applyFault(w, q, out, q.fault) {
		return
	}
	if q.http.Context().Err() != nil {
		return
	}
	h := w.Header()
	kind := out.contentType
	if kind == "" {
		kind = "text/xml;charset=UTF-8"
	}
	h.Set("Content-Type", kind)
	h.Set("X-Amzn-Requestid", q.id)
	for k, v := range out.header {
		h[k] = v
	}
	n := out.size()
	write := func(p []byte) error { _, err := w.Write(p); q.call.Bytes += int64(len(p)); return err }
	if !a.opts.NoGzip && n >= minGzipSize && strings.Contains(q.http.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		w.WriteHeader(q.call.Status)
		_ = a.compressed.compress(out, write) // fails only if the client has disconnected
		return
	}
	h.Set("Content-Length", strconv.Itoa(n))
	w.WriteHeader(q.call.Status)
	_ = out.eachPart(write)
}

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
