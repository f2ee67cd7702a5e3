// Package ec2xml turns one EC2 Query answer into records, streaming: XML in, JSON lines out, straight into a
// [record.Page]. It knows XML and the generated tables; it does not know HTTP, the SDK or who reads the page.
// Begin at [Spec], [Compile] and [Decoder.Decode].
package ec2xml

import (
	"errors"
	"io"

	"github.com/aws-collector/collector/record"
)

// A Mode says what becomes of sensitive members.
type Mode uint8

// The modes. Digest is the default: "hmac:" and 32 hex digits, the same for the same value and key.
const (
	Digest Mode = iota
	Clear
	Drop
)

// Options of one decoding.
type Options struct {
	Stamp     *record.Stamp
	Sensitive Mode
	DigestKey []byte // needed by Digest where the program has sensitive members
	Limits    Limits
}

// Limits bound what an answer may cost. Zero means the default.
type Limits struct {
	Depth int // of elements; 64
	Item  int // bytes of one record's JSON, its reservation's other instances included; 16 MiB
	Page  int // bytes of all lines; 256 MiB
	Token int // bytes of a tag, and of the pagination token; 64 KiB
}

// Errors that Decode wraps in an [Error]. An answer that ends early is io.ErrUnexpectedEOF, and a reader's own error is
// kept: both are worth another attempt. The others are not.
var (
	ErrMarkup   = errors.New("markup that EC2 does not send") // DOCTYPE, text beside elements, bytes after the end
	ErrSyntax   = errors.New("not well-formed XML")
	ErrEncoding = errors.New("not UTF-8")
	ErrLimit    = errors.New("over the limit")
	ErrNoID     = errors.New("a resource without an id")
)

// An Error says where in an answer decoding ended.
type Error struct {
	Op     string // DescribeVolumes
	Path   string // DescribeVolumesResponse/volumeSet/item
	Offset int64  // bytes into the answer
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// A Decoder holds the window over a stream and what it learnt of the order of members. The zero value is ready; it is
// kept with a page's place, for one goroutine at a time.
type Decoder struct{}

// Decode reads one whole answer into p, which it resets first, and returns the pagination token, "" at the end. Until
// it has returned nil, p is not a page.
func (d *Decoder) Decode(g *Program, o Options, r io.Reader, p *record.Page) (next string, err error) {
	return "", errors.New("ec2xml: not yet")
}
