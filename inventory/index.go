package inventory

import (
	"bytes"
	"errors"
	"hash/maphash"
	"iter"
	"math"
	"slices"
	"unsafe"

	"github.com/aws-collector/collector/record"
)

// An index holds the ids and hashes of a scope's live resources, in about 55 bytes each: a third of what a map of
// strings takes, so that a million of them fit in memory.
type index struct {
	seed    maphash.Seed
	slots   []uint32 // open addressing: an entry's number + 1; 0 is free
	entries []entry
	ids     []byte
}

type flags uint16

const (
	seen   flags = 1 << iota // found by this listing
	oldSum                   // the hash is of another version of the canonical form
)

type entry struct {
	offset uint32 // into ids
	length uint16
	flags  flags
	sum    record.Digest
}

func (e *entry) seen() bool      { return e.flags&seen != 0 }
func (e *entry) hasOldSum() bool { return e.flags&oldSum != 0 }
func (e *entry) markSeen()       { e.flags |= seen }

// size returns the bytes in memory.
func (x *index) size() int64 {
	return int64(cap(x.slots)*int(unsafe.Sizeof(uint32(0))) + cap(x.entries)*int(unsafe.Sizeof(entry{})) + cap(x.ids))
}

func newIndex() *index { return &index{seed: maphash.MakeSeed(), slots: make([]uint32, 64)} }

func (x *index) id(e *entry) []byte { return x.ids[e.offset : e.offset+uint32(e.length)] }

// find returns the entry of id, or nil. It is valid until the next add.
func (x *index) find(id []byte) *entry {
	if n := x.slots[x.slot(id)]; n != 0 {
		return &x.entries[n-1]
	}
	return nil
}

// slot returns the slot of id, or the free slot where it belongs.
func (x *index) slot(id []byte) uint64 {
	mask := uint64(len(x.slots) - 1)
	for i := maphash.Bytes(x.seed, id) & mask; ; i = (i + 1) & mask {
		if n := x.slots[i]; n == 0 || string(x.id(&x.entries[n-1])) == string(id) {
			return i
		}
	}
}

var errTooManyIDs = errors.New("more ids than one target can have")

// add copies id, which must not be in the index.
func (x *index) add(id []byte, sum record.Digest, f flags) error {
	if len(id) > math.MaxUint16 || len(x.ids)+len(id) > math.MaxUint32 {
		return errTooManyIDs
	}
	x.entries = append(x.entries, entry{offset: uint32(len(x.ids)), length: uint16(len(id)), sum: sum, flags: f})
	x.ids = append(x.ids, id...)
	if len(x.entries) > len(x.slots)/4*3 {
		x.slots = make([]uint32, 2*len(x.slots))
		for i := range x.entries {
			x.slots[x.slot(x.id(&x.entries[i]))] = uint32(i + 1)
		}
		return nil
	}
	x.slots[x.slot(id)] = uint32(len(x.entries))
	return nil
}

// gone returns copies of the ids that the listing did not find, so that the index can be freed: there are few, or none
// (nil).
func (x *index) gone() iter.Seq[[]byte] {
	var ids [][]byte
	for i := range x.entries {
		if e := &x.entries[i]; !e.seen() {
			ids = append(ids, bytes.Clone(x.id(e)))
		}
	}
	if ids == nil {
		return nil
	}
	return slices.Values(ids)
}
