package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A damaged cursor is moved aside, and the oldest segment is read again.
func TestDamagedCursor(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(path string) error
		reset bool
	}{
		"empty": {func(path string) error { return os.Truncate(path, 0) }, true},
		"garbage": {func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("garbage ", 16)), 0o600)
		}, true},
		"directory": {func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }, true},
		"link": {func(path string) error {
			return errors.Join(os.Rename(path, path+".x"), os.Symlink(path+".x", path))
		}, true},
		"one slot": {func(path string) error { return os.Truncate(path, slotSize) }, false}, // the other one was newer
		"whole":    {func(string) error { return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := openJournal(t, dir, 1<<20)
			o.put(t, "r1", "a", "b")
			for range 2 { // writes both slots
				ch, err := o.Read(1, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				if err := o.Ack(ch); err != nil {
					t.Fatal(err)
				}
				o.put(t, "r1", "c")
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "cursor")
			if err := c.spoil(path); err != nil {
				t.Fatal(err)
			}
			var moved []string
			j, err := Open(Options{Dir: dir, MaxBytes: 1 << 20, CursorReset: func(to string, err error) {
				if err == nil {
					t.Error("no error")
				}
				moved = append(moved, to)
			}})
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close()
			got := (&testJournal{Journal: j}).readAll(t, 10)
			if c.reset {
				if _, err := os.Lstat(path + ".damaged"); err != nil || !slices.Equal(moved, []string{path + ".damaged"}) {
					t.Errorf("moved: %v %v", moved, err)
				}
				if !slices.Equal(got, []string{"a", "b", "c", "c"}) {
					t.Errorf("read again: %v", got)
				}
			} else if len(moved) > 0 || len(got) == 4 {
				t.Errorf("%v %v", moved, got)
			}
		})
	}
}

// However much of the last frame is left, the complete frames before it stay, and appends work.
func TestTornEnd(t *testing.T) {
	made := t.TempDir()
	o := openJournal(t, made, 1<<20)
	o.put(t, "r", "a", "b")
	first := o.last().size
	o.put(t, "r", "c", "d")
	size := o.last().size
	name := segmentName(o.last().n)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(made, name))
	if err != nil || int64(len(whole)) != size {
		t.Fatal(len(whole), err)
	}
	for cut := first; cut < size; cut++ {
		for _, tail := range []int{0, 100} { // after a power cut a file may have its length, but zeros as content
			dir := t.TempDir()
			torn := append(bytes.Clone(whole[:cut]), make([]byte, tail)...)
			if err := os.WriteFile(filepath.Join(dir, name), torn, 0o600); err != nil {
				t.Fatal(err)
			}
			o := openJournal(t, dir, 1<<20)
			if torn := cut > first || tail > 0; len(o.damage) > 0 != torn || torn && !o.damage[0].Torn {
				t.Fatalf("cut at %d, %d zeros: reported %+v", cut, tail, o.damage)
			}
			o.put(t, "r", "e")
			if st := o.Stat(); st.Records != 3 {
				t.Fatalf("cut at %d: %+v", cut, st)
			}
			if got := o.readAll(t, 1); !slices.Equal(got, []string{"a", "b", "e"}) {
				t.Fatalf("cut at %d, %d zeros: %v", cut, tail, got)
			}
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A flipped bit, at any offset, loses only its frame. The damage is reported and counted.
func TestDamage(t *testing.T) {
	made := t.TempDir()
	o := openJournal(t, made, 1<<20)
	var bounds []int64
	for _, id := range []string{"a", "b", "c"} {
		o.put(t, "r", id+"0", id+"1")
		bounds = append(bounds, o.last().size)
	}
	name := segmentName(o.last().n)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(made, name))
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		dir := t.TempDir()
		bad := bytes.Clone(whole)
		bad[at] ^= 0x10
		if err := os.WriteFile(filepath.Join(dir, name), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		o := openJournal(t, dir, 1<<20)
		o.put(t, "r", "d")
		got := o.readAll(t, 3)
		want := []string{"a0", "a1", "b0", "b1", "c0", "c1", "d"}
		i := slices.IndexFunc(bounds, func(b int64) bool { return int64(at) < b })
		want = slices.Delete(want, 2*i, 2*i+2)
		if !slices.Equal(got, want) || len(o.damage) == 0 {
			t.Fatalf("byte %d: read %v, want %v; reported %+v", at, got, want, o.damage)
		}
		if st := o.Stat(); st != (Stat{}) {
			t.Fatalf("byte %d: at the end waiting: %+v", at, st)
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Damage that happens while the journal is open is counted.
func TestDamageIsCounted(t *testing.T) {
	for _, at := range []int64{10, headerSize + 20} { // the header, the content
		dir := t.TempDir()
		o := openJournal(t, dir, 1<<20)
		o.put(t, "r", "a", "b")
		o.put(t, "r", "c")
		f, err := os.OpenFile(filepath.Join(dir, segmentName(1)), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("xx"), at); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if got := o.readAll(t, 5); !slices.Equal(got, []string{"c"}) {
			t.Errorf("byte %d: read %v", at, got)
		}
		lost := 0
		for _, d := range o.damage {
			lost += d.Records
		}
		if lost != 2 || o.Stat() != (Stat{}) {
			t.Errorf("byte %d: %d records reported as lost, want 2; waiting: %+v", at, lost, o.Stat())
		}
		o.put(t, "r", "d")
		if got := o.readAll(t, 5); !slices.Equal(got, []string{"d"}) {
			t.Errorf("byte %d: later %v", at, got)
		}
	}
}

// Whatever happens to the files of a killed journal, each record is read, was acknowledged, or is counted once as lost.
func TestLossesAreCounted(t *testing.T) {
	for name, spoil := range map[string]func(segment []byte) []byte{
		"emptied":        func([]byte) []byte { return nil },
		"zeros":          func(b []byte) []byte { clear(b); return b },
		"zeros, shorter": func(b []byte) []byte { clear(b); return b[:100] },
		"half zeros":     func(b []byte) []byte { clear(b[len(b)/2:]); return b },
		"cut":            func(b []byte) []byte { return b[:len(b)/2] },
		"first header":   func(b []byte) []byte { b[10] ^= 1; return b },
		"first magic":    func(b []byte) []byte { b[0] ^= 1; return b },
		"first content":  func(b []byte) []byte { b[headerSize+30] ^= 1; return b },
		"all headers":    func(b []byte) []byte { return bytes.ReplaceAll(b, magic, []byte("gone")) },
		"last byte":      func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"not at all":     func(b []byte) []byte { return b },
	} {
		for _, size := range []int64{1 << 16, 1 << 20} { // several segments, and one
			for _, acked := range []int{3, 17} { // in the middle of a frame, and in a later segment
				for _, which := range []string{"first", "last", "all"} {
					if size == 1<<20 && which != "all" {
						continue
					}
					t.Run(fmt.Sprint(name, "/", size, "/", acked, "/", which), func(t *testing.T) {
						t.Parallel()
						lossIsCounted(t, size, acked, func(dir string) {
							spoilSegments(t, dir, which, spoil)
						})
					})
				}
			}
		}
	}
}

func spoilSegments(t *testing.T, dir, which string, spoil func(segment []byte) []byte) {
	t.Helper()
	ns, err := listSegments(dir)
	if err != nil {
		t.Fatal(err)
	}
	switch which {
	case "first":
		ns = ns[:1]
	case "last":
		ns = ns[len(ns)-1:]
	}
	for _, n := range ns {
		path := filepath.Join(dir, segmentName(n))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, spoil(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func lossIsCounted(t *testing.T, size int64, acked int, spoil func(dir string)) {
	t.Helper()
	const records = 40
	o := openJournal(t, t.TempDir(), size)
	for range records / 2 {
		o.put(t, "r", randomLine(400), randomLine(400))
	}
	if err := o.Sync(); err != nil {
		t.Fatal(err)
	}
	for range acked {
		ch, err := o.Read(1, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if err := o.Ack(ch); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(t.TempDir(), "killed")
	if err := os.CopyFS(dir, os.DirFS(o.dir)); err != nil {
		t.Fatal(err)
	}
	spoil(dir)
	o = openJournal(t, dir, size)
	atOpen, waiting := o.lost(t), o.Stat().Records
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = openJournal(t, dir, size)
	if again := o.lost(t); again > 0 || o.Stat().Records != waiting {
		t.Errorf("%d records are reported again; %d wait, then %+v", again, waiting, o.Stat())
	}
	o.put(t, "r", "new")
	got := o.readAll(t, 3)
	if n := len(got) - 1 + atOpen + o.lost(t) + acked; n != records || got[len(got)-1] != "new" {
		t.Errorf("%d records are read or counted, of %d; the last is %.10q", n, records, got[len(got)-1])
	}
	if st := o.Stat(); st != (Stat{}) {
		t.Errorf("at the end %+v", st)
	}
}

// lost returns the number of records that were reported as lost.
func (o *testJournal) lost(t testing.TB) (n int) {
	t.Helper()
	for _, d := range o.damage {
		if n += d.Records; d.Torn && d.Records > 0 {
			t.Errorf("synced records are reported as torn: %+v", d)
		}
	}
	return n
}

// Without the file of counts, or with a damaged one, the journal opens. It reports only what the segments tell.
func TestDamagedCounts(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"missing": os.Remove,
		"empty":   func(path string) error { return os.Truncate(path, 0) },
		"garbage": func(path string) error { return os.WriteFile(path, bytes.Repeat([]byte("garbage "), 100), 0o600) },
		"link": func(path string) error {
			return errors.Join(os.Rename(path, path+".x"), os.Symlink(path+".x", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := openJournal(t, dir, 1<<20)
			o.put(t, "r", "a", "b")
			if err := o.Close(); err != nil {
				t.Fatal(err)
			}
			if err := spoil(filepath.Join(dir, "counts")); err != nil {
				t.Fatal(err)
			}
			o = openJournal(t, dir, 1<<20)
			if got := o.readAll(t, 5); !slices.Equal(got, []string{"a", "b"}) || len(o.damage) > 0 {
				t.Errorf("read %v, reported %+v", got, o.damage)
			}
		})
	}
}

// A power cut may remove the end of the log, but not the cursor that was behind it. New appends must not look
// acknowledged.
func TestCursorAheadOfTheLog(t *testing.T) {
	dir := t.TempDir()
	o := openJournal(t, dir, 1<<20)
	o.put(t, "r", "a")
	whole := o.last().size
	o.put(t, "r", randomLine(3000))
	o.readAll(t, 10)
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, segmentName(1)), whole); err != nil {
		t.Fatal(err)
	}
	o = openJournal(t, dir, 1<<20)
	o.put(t, "r", "b", randomLine(4000))
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	o = openJournal(t, dir, 1<<20)
	if got := o.readAll(t, 1); len(got) != 2 || got[0] != "b" {
		t.Errorf("read %.10q", got)
	}
}
