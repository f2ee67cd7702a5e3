package record

import "hash/maphash"

// SeenIDs is the set of ids of one listing, so that a resource that EC2 returns on two pages is delivered once. It
// keeps a 64-bit keyed hash of each id, which takes 24 to 38 bytes: among a million ids, the probability that two
// collide is 3e-8. The zero value is ready. It is for one goroutine.
type SeenIDs struct {
	seed   maphash.Seed
	hashes map[uint64]struct{}
}

// add reports whether the id is new.
func (s *SeenIDs) add(id []byte) bool {
	if s.hashes == nil {
		s.seed, s.hashes = maphash.MakeSeed(), map[uint64]struct{}{}
	}
	n := len(s.hashes)
	s.hashes[maphash.Bytes(s.seed, id)] = struct{}{}
	return len(s.hashes) > n
}

// Len is the number of ids.
func (s *SeenIDs) Len() int { return len(s.hashes) }
