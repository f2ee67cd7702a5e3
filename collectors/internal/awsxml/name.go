package awsxml

import "encoding/binary"

// A tagName is an element's name as it follows the < of a start tag and the </ of an end tag: "volumeId>". Names are
// compared twice a member. Nearly all fit into three words of eight bytes, whose comparison takes less time than a call
// of a function that compares bytes.
type tagName struct {
	name                string // without the >
	first, middle, last uint64 // words of the name; they overlap, and are equal where there are less than three
	atMiddle, atLast    uint16 // their offsets
	size                uint16 // with the >
	padBits             uint8  // for a name shorter than a word: the bits of the word that do not belong to the name
}

const wordSize = 8 // bytes

func newTagName(name string) tagName {
	b := make([]byte, max(wordSize, len(name)+1))
	b[copy(b, name)] = '>'
	t := tagName{name: name, size: uint16(len(name) + 1), padBits: uint8(8 * max(0, wordSize-len(name)-1))}
	t.atLast = uint16(len(b) - wordSize)
	t.atMiddle = min(wordSize, t.atLast)
	t.first, t.middle, t.last = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(
		b[t.atMiddle:],
	), binary.LittleEndian.Uint64(b[t.atLast:])
	return t
}

// matches reports whether b begins with the name and its >. b lies in the window, whose slack makes it safe to read
// beyond its end.
func (t *tagName) matches(b []byte) bool {
	first, middle, last := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(
		b[t.atMiddle:],
	), binary.LittleEndian.Uint64(b[t.atLast:])
	other := (first ^ t.first) | (middle ^ t.middle) | (last ^ t.last)
	return other<<(t.padBits&63) == 0 &&
		(t.size <= 3*wordSize || string(b[2*wordSize:t.atLast]) == t.name[2*wordSize:t.atLast])
}
