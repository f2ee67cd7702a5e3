package inventory

import (
	"unsafe"

	"github.com/aws-collector/collector/record"
)

// An index holds the ids and hashes of a scope's live resources.
type index struct {
	byID    map[string]int // places in entries
	entries []entry
	known   int // entries that were loaded; those after them are new
	idBytes int64
}

type entry struct {
	id          string
	sum         record.Digest
	seen        bool // found by this listing
	oldSum      bool // the hash is of another version of the canonical form
	unconfirmed bool // the last complete listing did not find it, and its end waits for a second one
}

// newIndex makes the map as large as it must be: growing it step by step would take as long as reading the ids.
func newIndex(entries []entry) *index {
	x := &index{byID: make(map[string]int, len(entries)), entries: entries, known: len(entries)}
	for i := range entries {
		x.byID[entries[i].id] = i
		x.idBytes += int64(len(entries[i].id))
	}
	return x
}

// size returns the bytes in memory, about: the map has a fifth of its slots free.
func (x *index) size() int64 {
	const slot = (unsafe.Sizeof("") + unsafe.Sizeof(0)) * 5 / 4
	return x.idBytes + int64(len(x.byID))*int64(slot) + int64(cap(x.entries))*int64(unsafe.Sizeof(entry{}))
}

// find returns the entry of id, or nil. It is valid until the next add.
func (x *index) find(id []byte) *entry {
	if n, ok := x.byID[string(id)]; ok {
		return &x.entries[n]
	}
	return nil
}

// add adds an entry whose id is not in the index.
func (x *index) add(e entry) {
	x.byID[e.id] = len(x.entries)
	x.entries = append(x.entries, e)
	x.idBytes += int64(len(e.id))
}

// missing returns how many resources the listing should have found, as the last one did, and how many of them it did
// not find.
func (x *index) missing() (missing, expected int) {
	for i := range x.known {
		if e := &x.entries[i]; !e.unconfirmed {
			expected++
			if !e.seen {
				missing++
			}
		}
	}
	return missing, expected
}

// gone returns the ids that the listing did not find: few, or none.
func (x *index) gone() []string {
	return x.ids(func(e *entry) bool { return !e.seen })
}

// confirmed returns the ids that neither this listing nor the one before found, and as unconfirmed those that only this
// one did not find.
func (x *index) confirmed() (gone, unconfirmed []string) {
	gone = x.ids(func(e *entry) bool { return !e.seen && e.unconfirmed })
	return gone, x.ids(func(e *entry) bool { return !e.seen && !e.unconfirmed })
}

// reappeared returns the ids of unconfirmed resources that the listing found.
func (x *index) reappeared() []string {
	return x.ids(func(e *entry) bool { return e.seen && e.unconfirmed })
}

func (x *index) ids(match func(*entry) bool) (ids []string) {
	for i := range x.entries {
		if match(&x.entries[i]) {
			ids = append(ids, x.entries[i].id)
		}
	}
	return ids
}
