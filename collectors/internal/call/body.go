package call

import (
	"bufio"
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
)

// How much of a response is read before the body function is called. It is read as it comes, compressed: so each of the
// calls in flight that has a response holds this much and no more, and the bytes of most responses are all there.
const (
	firstRead = 4 << 10
	prefetch  = 32 << 10
)

// head is a buffer that is taken when there is a response: most of the calls in flight wait for AWS.
func (c *Caller) head() *[]byte {
	if b, ok := c.heads.Get().(*[]byte); ok {
		return b
	}
	b := make([]byte, firstRead)
	return &b
}

// readHead reads the beginning of a body into buf, which grows up to prefetch, and returns a reader of the whole.
func readHead(buf *[]byte, body io.Reader) (io.Reader, error) {
	for n := 0; ; {
		m, err := body.Read((*buf)[n:])
		n += m
		switch {
		case err == io.EOF:
			return bytes.NewReader((*buf)[:n]), nil
		case err != nil:
			return nil, err
		case n == prefetch:
			return io.MultiReader(bytes.NewReader((*buf)[:n]), body), nil
		case n == len(*buf):
			*buf = append(*buf, make([]byte, min(n, prefetch-n))...)
		}
	}
}

// A gunzip is what unzipping needs: a window of 32 KiB and the tables of the codes, and a buffer for what is read. Of
// the readers that flate knows by their type, and reads without a call a byte, none is quicker than bufio.Reader.
type gunzip struct {
	in  *bufio.Reader
	out *gzip.Reader
}

// unzipped is a compressed body. It takes its gunzip when it is first read, so that there are as many of them as there
// are pages to read into, and not as many as there are responses. net/http would unzip by itself, with the standard
// library's slower reader: see BenchmarkUnzip.
type unzipped struct {
	caller *Caller
	r      io.Reader
	z      *gunzip
}

func (u *unzipped) Read(p []byte) (int, error) {
	if u.z == nil {
		if err := u.open(); err != nil {
			return 0, err
		}
	}
	return u.z.out.Read(p)
}

func (u *unzipped) open() (err error) {
	z, ok := u.caller.gzips.Get().(*gunzip)
	if ok {
		z.in.Reset(u.r)
		err = z.out.Reset(z.in)
	} else {
		z = &gunzip{in: bufio.NewReaderSize(u.r, prefetch)}
		z.out, err = gzip.NewReader(z.in)
	}
	if err == io.EOF { // the body is empty, although the header announced compressed data
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		u.z = z
	}
	return err
}

func (u *unzipped) close() {
	if u.z != nil {
		u.z.in.Reset(nil) // it must not keep the response
		u.caller.gzips.Put(u.z)
	}
}
