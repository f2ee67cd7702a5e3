//go:build unix

package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// A file with a size limit behaves like a full disk: a write stores a part of its data and returns an error.
func limitFileSize(t *testing.T, n uint64) {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		t.Fatal(err)
	}
	l.Cur = n
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		t.Fatal(err)
	}
}

// On a full disk an append fails and leaves nothing behind. Once there is space, appends work again. The reader is not
// affected.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	o := openJournal(t, dir, 1<<20)
	o.put(t, "r", "a")
	o.put(t, "r", "b")
	ch, err := o.Read(1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	limitFileSize(t, uint64(o.last().size)+500)
	defer limitFileSize(t, 1<<40)
	big := randomLine(5000)
	for range 3 {
		if _, err := o.Append(Entry{N: 1}, linesOf(big), false); !errors.Is(err, syscall.EFBIG) {
			t.Errorf("a write without room: %v", err)
		}
	}
	if err := o.Ack(ch); err != nil { // the cursor's space is allocated
		t.Error(err)
	}
	st, err := os.Stat(filepath.Join(dir, segmentName(1)))
	if err != nil || st.Size() != o.last().size || o.Stat().Records != 1 {
		t.Errorf("half a frame is left: %v, %v, %+v", st.Size(), err, o.Stat())
	}
	limitFileSize(t, 1<<40)
	o.put(t, "r", "c")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = openJournal(t, dir, 1<<20)
	if got := o.readAll(t, 5); !slices.Equal(got, []string{"b", "c"}) || len(o.damage) > 0 {
		t.Errorf("read %v, reported %v", got, o.damage)
	}
}

func TestFolderNotWritable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("SKIPPED, NOT PASSED: root may write everywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: filepath.Join(dir, "spool"), MaxBytes: 1 << 20}); !errors.Is(err, os.ErrPermission) {
		t.Errorf("opened: %v", err)
	}
}
