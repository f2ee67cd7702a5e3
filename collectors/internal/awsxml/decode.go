// Package awsxml decodes a response of a Query protocol, EC2's or that of older services (awsquery), into records: it
// reads a stream of XML and writes JSON lines into a [record.Page]. It knows XML and the generated tables, but neither
// HTTP nor the SDK. Begin at [Format], [Spec], [Compile] and [Decoder.Decode].
//
// The JSON is what the AWS CLI prints. Where the tables leave a question open, the decoder does what the CLI's parser
// does:
//   - an empty list is [], an empty structure {}, an empty string ""; an absent member is absent
//   - a boolean is true only if its text is "true"
//   - xsi:nil and all other attributes are ignored
//   - every element in a list is an element of the list, regardless of its name
//
// Where the CLI and the SDK fail, this package continues: an invalid number becomes a string, an empty one null. It
// merges repeated members like the SDK: the last scalar wins, lists and structures are extended. An element that the
// tables do not contain is written under its wire name: as a string, as a list if it repeats or contains elements
// called item, else as an object. Next to the item list, where there is no record, unknown elements are only counted.
//
// A resource without an id, or with a character that XML does not allow, is set aside; see [record.SetAside]. Such a
// character in what stands around several items sets these aside.
package awsxml

import (
	"bytes"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/aws-collector/collector/record"
)

// A Mode determines how sensitive members are written.
type Mode uint8

// The modes. Digest, the default, writes "hmac:" and 32 hex digits of HMAC-SHA-256, equal for equal values and keys.
// Empty text stays empty. The digest of a structure or a list covers its canonical form. Clear writes the value, Drop
// nothing.
const (
	Digest Mode = iota
	Clear
	Drop
)

// Options of one call of Decode.
type Options struct {
	Envelope  *record.Envelope
	Sensitive Mode
	DigestKey []byte // required by Digest if the program has sensitive members
	Limits    Limits

	// Tags returns the tags of an item by the value of [Spec.TagsBy]. An item with an error is set aside, but for
	// [ErrVanished].
	Tags  func(name string) ([]Tag, error)
	Under string // the value of [Spec.Under]
}

// Limits bound the size of a response. Zero means the default.
type Limits struct {
	Depth int // nesting of elements; 64
	Item  int // bytes of one record's JSON; 16 MiB
	Page  int // bytes of all lines with their marks; 256 MiB, at most 1 GiB
	Token int // bytes of a tag, and of the pagination token; 16 KiB
}

func (l *Limits) defaults() {
	set := func(n *int, to, most int) {
		if *n <= 0 {
			*n = to
		}
		*n = min(*n, most)
	}
	set(&l.Depth, 64, 1000)
	set(&l.Page, 256<<20, 1<<30)
	set(&l.Item, 16<<20, l.Page)
	set(&l.Token, 16<<10, 1<<20)
}

// Errors that Decode wraps in an [Error]. It reports a truncated response as io.ErrUnexpectedEOF and wraps the errors
// of the reader. Only these two are worth another attempt.
var (
	ErrMarkup   = errors.New("unexpected markup") // DOCTYPE, text next to elements, the root of another response
	ErrSyntax   = errors.New("not well-formed XML")
	ErrEncoding = errors.New("not UTF-8")
	ErrLimit    = errors.New("limit exceeded")
	ErrNoID     = errors.New("resource has no id")
	ErrKey      = errors.New("digest key is missing")
)

// An Error says where in a response decoding failed.
type Error struct {
	Op     string // DescribeVolumes
	Path   string // DescribeVolumesResponse/volumeSet/item
	Offset int64  // bytes into the response
	Err    error
}

func (e *Error) Error() string {
	return fmt.Sprintf("decode response of %s at byte %d, in %s: %v", e.Op, e.Offset, e.Path, e.Err)
}
func (e *Error) Unwrap() error { return e.Err }

// A hint records what followed a member, or what a structure began with, the last time. The decoder tries it first.
type hint struct {
	next   uint8 // number of the member; atEnd if the structure ended
	indent uint8 // length of the white space before it
}

const atEnd = maxFields // no member has this number

// A Decoder holds the window over a stream and what it has learnt about the order of members. The zero value is ready.
// It must not be used concurrently.
type Decoder struct {
	window
	program   *Program
	options   Options
	page      *record.Page
	draft     *record.Draft // page.Items or page.Enclosing
	hints     []hint        // by slot of the program
	path      []string      // the open elements
	itemStart int           // size of page.Items before the current item
	itemOpen  bool          // an item is being written
	groupOpen bool          // the structure around items is being read
	work      int           // bytes moved and searched because of repeated members

	text             []byte // text of the current element, if it has more than plain characters
	textErr          error  // a character in it that XML does not allow
	itemErr          error  // the first such text of the current item
	groupErr         error  // the first such text around the items of the current group
	idUnread         bool   // such a text is part of the current item's id
	nextToken        []byte
	tagKey, tagValue record.Span // of the current tag
	tagsBy           record.Span // of the current item: the value of Spec.TagsBy
	mac              hash.Hash
	macKey           []byte
	scratch          []byte
	canonical        record.Canonicalizer
}

// Decode resets p, reads one whole response into it and returns the pagination token, "" at the end of the listing. If
// it returns an error, the content of p is undefined.
func (d *Decoder) Decode(g *Program, o Options, r io.Reader, p *record.Page) (next string, err error) {
	o.Limits.defaults()
	if d.program != g {
		d.program, d.hints = g, append(d.hints[:0], make([]hint, g.hintSlots)...)
	}
	d.options, d.page, d.draft = o, p, &p.Enclosing
	d.groupOpen, d.groupErr = false, nil
	d.path, d.nextToken, d.itemOpen, d.work = d.path[:0], d.nextToken[:0], false, 0
	d.window.reset(r, o.Limits.Token)
	p.Reset(o.Envelope)
	p.SetFixedID(g.spec.ConstID)
	p.SetEscapedParts(g.escapedParts)
	if err = d.response(); err == nil {
		next = string(d.nextToken)
	} else {
		err = d.errorHere(err)
	}
	d.page, d.draft, d.options, d.r = nil, nil, Options{}, nil
	clear(d.path[:cap(d.path)])
	return next, err
}

func (d *Decoder) errorHere(err error) *Error {
	return &Error{Op: d.program.spec.Op, Path: strings.Join(d.path, "/"), Offset: d.offset(), Err: err}
}

func (d *Decoder) response() error {
	if d.program.sensitive && d.options.Sensitive == Digest {
		if len(d.options.DigestKey) == 0 {
			return ErrKey
		}
		d.setDigestKey(d.options.DigestKey)
	}
	if err := d.checkEncoding(); err != nil {
		return err
	}
	raw, k, err := d.nextTag()
	if err != nil {
		return err
	}
	if k == endTag {
		return ErrSyntax
	}
	name := string(raw)
	if !strings.EqualFold(name, d.program.spec.Op+d.program.format.RootSuffix) {
		return fmt.Errorf("%w: the root element is <%.40s>", ErrMarkup, name)
	}
	if d.program.format.ResultSuffix == "" {
		err = d.responseMembers(name, k == emptyTag)
	} else {
		err = d.result(name, k == emptyTag)
	}
	if err == nil && d.program.sealAtEnd {
		err = d.sealGroup()
	}
	if err == nil {
		err = d.finish()
	}
	return err
}

// responseMembers reads the response's members, which are in the element name.
func (d *Decoder) responseMembers(name string, empty bool) error {
	switch {
	case d.program.spec.Items == "":
		return d.item(d.program.item, name, empty)
	case empty:
		return nil
	}
	return d.members(d.program.root, name, 0, new(seenMembers))
}

// result reads a root element with one element that has the members, and skips the others. A response without it is an
// error: it would look as if nothing existed.
func (d *Decoder) result(root string, empty bool) error {
	want := d.program.spec.Op + d.program.format.ResultSuffix
	if empty {
		return fmt.Errorf("%w: no <%s>", ErrMarkup, want)
	}
	if err := d.openElement(root); err != nil {
		return err
	}
	for found := false; ; {
		raw, k, err := d.nextTag()
		switch name := string(raw); {
		case err != nil:
			return err
		case k == endTag && !found:
			return fmt.Errorf("%w: no <%s>", ErrMarkup, want)
		case k == endTag:
			return d.endElement(raw, root)
		case !found && strings.EqualFold(name, want):
			found = true
			err = d.responseMembers(name, k == emptyTag)
		case k != emptyTag:
			err = d.skip(name)
		}
		if err != nil {
			return err
		}
	}
}

// openElement and closeElement track the path of open elements. After an error it stays, so that the error can report
// it.
func (d *Decoder) openElement(name string) error {
	d.path = append(d.path, name)
	if len(d.path) > d.options.Limits.Depth {
		return fmt.Errorf("%w: elements nested more than %d deep", ErrLimit, d.options.Limits.Depth)
	}
	return nil
}

func (d *Decoder) closeElement() { d.path = d.path[:len(d.path)-1] }

// responseMember reads the members that are not data, of the response and of the structures around the items.
func (d *Decoder) responseMember(f *field, name string, empty bool, n *node) error {
	switch {
	case f.role&isToken != 0:
		d.nextToken = d.nextToken[:0]
		if empty {
			return nil
		}
		if err := d.readText(name); err != nil {
			return err
		}
		if len(d.text) > d.options.Limits.Token {
			return fmt.Errorf("%w: the pagination token has %d bytes", ErrLimit, len(d.text))
		}
		d.nextToken = append(d.nextToken, d.text...)
		return nil
	case f.role&isSkip != 0:
		if empty {
			return nil
		}
		return d.skip(name)
	case d.program.grouped && n == d.program.root:
		return d.groups(f.node, name, empty)
	}
	return d.itemList(f.node, name, empty)
}

// groups reads the list or structure around the items: reservations.
func (d *Decoder) groups(n *node, name string, empty bool) error {
	if empty {
		return nil
	}
	if n.typ == Struct {
		return d.group(n, name)
	}
	if n.flat {
		return d.group(n.elem, name)
	}
	return d.eachElement(n, name, func(elem string, empty bool) error {
		if empty {
			return nil
		}
		return d.group(n.elem, elem)
	})
}

func (d *Decoder) group(n *node, name string) error {
	d.groupOpen, d.groupErr = true, nil
	if err := d.members(n, name, 0, new(seenMembers)); err != nil {
		return err
	}
	d.groupOpen = false
	if d.groupErr != nil {
		d.page.SetGroupAside(d.groupErr.Error())
	}
	return d.sealGroup()
}

func (d *Decoder) itemList(n *node, name string, empty bool) (err error) {
	w := d.draft
	d.draft = &d.page.Items
	if n == d.program.item { // not a list: the structure is the item
		err = d.item(n, name, empty)
	} else if n.flat {
		err = d.item(n.elem, name, empty)
	} else if !empty {
		err = d.eachElement(n, name, func(elem string, empty bool) error { return d.item(n.elem, elem, empty) })
	}
	d.draft = w
	return err
}

// item reads one item.
func (d *Decoder) item(n *node, name string, empty bool) error {
	d.draft = &d.page.Items
	from := len(d.draft.Buf)
	d.itemStart, d.itemOpen = d.draft.Size(), true
	d.textErr, d.itemErr, d.idUnread, d.tagsBy = nil, nil, false, record.Span{}
	d.page.BeginItem(max(d.program.idMembers, 1))
	if err := d.value(n, name, empty); err != nil {
		return err
	}
	if n.typ < Struct {
		d.page.SetID(0, record.SpanOf(from, len(d.draft.Buf)))
		d.idUnread = d.textErr != nil
	}
	keep := d.addMembers()
	if err := d.checkLimits(); err != nil {
		return err
	}
	d.itemOpen = false
	hasID := d.page.EndItem()
	if !keep {
		d.page.DropItem()
		return nil
	}
	if d.itemErr == nil && !hasID {
		d.itemErr = d.errorHere(fmt.Errorf("%w: %s is missing", ErrNoID, strings.Join(d.program.spec.ID, ", ")))
	}
	if d.itemErr != nil {
		d.page.SetItemAside(!d.idUnread, d.itemErr.Error())
	}
	if d.program.grouped || d.program.sealAtEnd {
		return nil
	}
	return d.sealGroup()
}

// sealGroup completes the lines of a group of items.
func (d *Decoder) sealGroup() error {
	if err := d.checkLimits(); err != nil {
		return err
	}
	if n := d.page.MaxEncodedSize(); n > d.options.Limits.Page {
		return fmt.Errorf("%w: the page has more than %d bytes", ErrLimit, d.options.Limits.Page)
	}
	d.page.EncodeLines(d.program.enclosingKey)
	return nil
}

// checkLimits is called whenever the draft grows, to bound the memory, and after each item and group, so that the
// result does not depend on the capacity of the page's buffers.
func (d *Decoder) checkLimits() error {
	if d.itemOpen && d.page.Items.Size()-d.itemStart > d.options.Limits.Item ||
		d.page.Enclosing.Size() > d.options.Limits.Item {
		return fmt.Errorf("%w: a record has more than %d bytes", ErrLimit, d.options.Limits.Item)
	}
	if d.page.UsedSize() > d.options.Limits.Page {
		return fmt.Errorf("%w: the page has more than %d bytes", ErrLimit, d.options.Limits.Page)
	}
	return nil
}

// eachElement reads the elements of a list up to its end and calls do after the start tag of each.
func (d *Decoder) eachElement(n *node, name string, do func(elem string, empty bool) error) error {
	if err := d.openElement(name); err != nil {
		return err
	}
	for {
		elem, empty, end, err := d.element(n, name)
		if err != nil {
			return err
		}
		if end {
			return nil
		}
		if err := do(elem, empty); err != nil {
			return err
		}
	}
}

// element reads the start tag of the next element of a list or a map, or the end tag of the list, which it closes. Like
// the CLI, it accepts elements of any name in a list.
func (d *Decoder) element(n *node, name string) (elem string, empty, end bool, err error) {
	d.ensureLookahead()
	b, i := d.buf, d.spaceEnd()
	if b[i] == '<' {
		if n.itemName.matches(b[i+1:]) {
			d.pos = i + 1 + int(n.itemName.size)
			return n.itemName.name, false, false, nil
		}
		if j := i + 2 + len(name); b[i+1] == '/' && string(b[i+2:j]) == name && b[j] == '>' {
			d.pos = j + 1
			d.closeElement()
			return "", false, true, nil
		}
	}
	d.pos = i
	raw, k, err := d.nextTag()
	if err != nil {
		return "", false, false, err
	}
	switch {
	case k == endTag:
		return "", false, true, d.endElement(raw, name)
	case string(raw) == n.itemName.name:
		return n.itemName.name, k == emptyTag, false, nil
	case bytes.EqualFold(raw, []byte(n.itemName.name)):
	default:
		d.page.AddUnknown(1)
	}
	return string(raw), k == emptyTag, false, nil
}
