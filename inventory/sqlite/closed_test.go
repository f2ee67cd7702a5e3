package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/record"
)

// A store that no process has open is read without files beside it. If a collector starts meanwhile, the answer is not
// trusted; if one has it open, the file alone is not read.
func TestClosedStoreIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	write := func() *Store {
		s, err := Open(t.Context(), Options{Path: path})
		if err == nil {
			err = inventorytest.List(t, inventory.New(s, inventory.Options{}), "01JDRUN", inventorytest.Item{ID: "i-1"})
		}
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	cause := errors.New("no permission")
	reopen := func() (*Reader, error) {
		r, err := newReader(path, "ro")
		if err != nil {
			t.Fatal(err)
		}
		return reopenClosed(r, path, cause)
	}
	if err := write().Close(); err != nil {
		t.Fatal(err)
	}
	r, err := reopen()
	if err != nil {
		t.Fatal(err)
	}
	if got := inventorytest.IDs(t, r, inventory.Query{}); got != "i-1" {
		t.Errorf("found %q", got)
	}
	if files, _ := filepath.Glob(path + "-*"); len(files) > 0 {
		t.Errorf("files beside it: %q", files)
	}
	if err := r.Close(); err != nil {
		t.Errorf("closed: %v", err)
	}
	if r, err = reopen(); err != nil {
		t.Fatal(err)
	}
	s := write()
	if err := r.Close(); record.HintOf(err) != "Run the command again." {
		t.Errorf("a collector started: %v", err)
	}
	if _, err := reopen(); !errors.Is(err, cause) || record.HintOf(err) == "" {
		t.Errorf("a collector has it open: %v", err)
	}
	if err := errors.Join(s.Close(), os.Remove(path)); err != nil {
		t.Fatal(err)
	}
	if _, err := reopen(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}
