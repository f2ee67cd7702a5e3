package record

import "hash/maphash"

// SeenIDs is the set of ids of one listing, so that a resource that EC2 returns on two pages is delivered once. It
// keeps a 64-bit keyed hash of each id, in 11 to 22 bytes including free slots of the table: among a million ids, the
// probability that two collide is 3e-8. The zero value is ready. It is for one goroutine.
type SeenIDs struct {
	seed  maphash.Seed
	table []uint64 // open addressing; 0 is free
	count int
}

// add reports whether the id is new.
func (s *SeenIDs) add(id []byte) bool {
	if s.table == nil {
		s.seed, s.table = maphash.MakeSeed(), make([]uint64, 64)
	}
	if s.count >= len(s.table)/4*3 {
		s.grow()
	}
	h := maphash.Bytes(s.seed, id)
	if h == 0 {
		h = 1
	}
	if !insert(s.table, h) {
		return false
	}
	s.count++
	return true
}

// Len is the number of ids.
func (s *SeenIDs) Len() int { return s.count }

func (s *SeenIDs) grow() {
	t := make([]uint64, 2*len(s.table))
	for _, h := range s.table {
		if h != 0 {
			insert(t, h)
		}
	}
	s.table = t
}

func insert(t []uint64, h uint64) bool {
	mask := uint64(len(t) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch t[i] {
		case 0:
			t[i] = h
			return true
		case h:
			return false
		}
	}
}
