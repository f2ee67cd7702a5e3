package journal

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"

	"github.com/aws-collector/collector/internal/statefile"
)

// syncedCounts is a file with the number of synced records of each segment. A segment that was emptied, or filled with
// zeros, or whose headers are damaged no longer tells what it held. The file does not depend on an fsync: after a power
// cut a count may be too low, which hides a loss but never invents one.
type syncedCounts struct{ file *os.File } // nil: nothing is known

// The file is a ring of slots. A slot has the number of its segment, because the ring starts over.
const (
	countSize  = 24
	countSlots = 8192 // segments of more than 100 GiB
)

func openCounts(dir string) (syncedCounts, error) {
	path := filepath.Join(dir, "counts")
	f, err := statefile.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, statefile.ErrNotRegular) {
		if _, err := statefile.MoveDamaged(path); err != nil {
			return syncedCounts{}, err
		}
		f, err = statefile.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	}
	return syncedCounts{f}, err
}

// put saves the count of a segment.
func (c syncedCounts) put(segment uint64, records int) {
	b := make([]byte, countSize)
	le := binary.LittleEndian
	le.PutUint64(b, segment)
	le.PutUint64(b[8:], uint64(records))
	le.PutUint32(b[16:], checksum(b[:16]))
	_, _ = c.file.WriteAt(b, countOffset(segment)) // without it, only a later damage is not counted
}

// get returns the count of a segment, or 0 if it is not known.
func (c syncedCounts) get(segment uint64) int {
	b := make([]byte, countSize)
	if c.file == nil {
		return 0
	}
	le := binary.LittleEndian
	_, err := c.file.ReadAt(b, countOffset(segment))
	if err != nil || le.Uint32(b[16:]) != checksum(b[:16]) || le.Uint64(b) != segment {
		return 0
	}
	return int(le.Uint64(b[8:]))
}

func (c syncedCounts) close() error {
	if c.file == nil {
		return nil
	}
	return c.file.Close()
}

func countOffset(segment uint64) int64 { return int64(segment%countSlots) * countSize }
