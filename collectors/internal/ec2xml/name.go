package ec2xml

import "encoding/binary"

// A tagName is an element's name as its tags have it: behind the < of a start and the </ of an end, "volumeId>". Names are
// compared twice a member. Nearly all fit into three words of eight bytes, which are compared in less time than it takes
// to call what compares bytes.
type tagName struct {
	name                string // without the >
	first, middle, last uint64 // words of it; they overlap, and are the same where there are less than three
	atMiddle, atLast    uint16 // where these begin
	size                uint16 // with the >
	padBits             uint8  // of a name that is shorter than a word: the bits of the word that are not the name's
}

const wordSize = 8 // bytes

func newTagName(name string) tagName {
	b := make([]byte, max(wordSize, len(name)+1))
	b[copy(b, name)] = '>'
	t := tagName{name: name, size: uint16(len(name) + 1), padBits: uint8(8 * max(0, wordSize-len(name)-1))}
	t.atLast = uint16(len(b) - wordSize)
	t.atMiddle = min(wordSize, t.atLast)
	t.first, t.middle, t.last = binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[t.atMiddle:]), binary.LittleEndian.Uint64(b[t.atLast:])
	return t
}

// matches reports whether b begins with the name and its >. b is of the window, whose slack lets it be read as if it had no end.
func (t *tagName) matches(b []byte) bool {
	first, middle, last := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[t.atMiddle:]), binary.LittleEndian.Uint64(b[t.atLast:])
	other := (first ^ t.first) | (middle ^ t.middle) | (last ^ t.last)
	return other<<(t.padBits&63) == 0 && (t.size <= 3*wordSize || string(b[2*wordSize:t.atLast]) == t.name[2*wordSize:t.atLast])
}
