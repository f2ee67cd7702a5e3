package sqlite

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
)

// The index of a database that an older program wrote is built in steps, and a restart continues it. Until then it is
// known what is not found.
func TestIndexIsBuiltInSteps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	s := openAt(t, path)
	const all = indexedPerStep + 100
	items := make([]inventorytest.Item, all)
	for i := range items {
		items[i] = inventorytest.Item{ID: fmt.Sprintf("i-%04d", i), Address: fmt.Sprintf("10.1.%d.%d", i/250, i%250)}
	}
	if err := inventorytest.List(t, inventory.New(s, inventory.Options{}), "one", items...); err != nil {
		t.Fatal(err)
	}
	// as an older program leaves it: versions without entries
	exec(t, s.writeDB, "INSERT INTO search (search) VALUES ('delete-all')")
	exec(t, s.writeDB, restartBuild)
	wantNotIndexed(t, s, all)
	if n, err := s.indexStep(t.Context()); n != indexedPerStep || err != nil {
		t.Fatalf("%d were indexed: %v", n, err)
	}
	wantNotIndexed(t, s, all-indexedPerStep)
	first, last := inventory.Query{Search: "10.1.0.0"}, inventory.Query{Search: "10.1.2.99"}
	if got := inventorytest.IDs(t, s, first) + inventorytest.IDs(t, s, last); got != "i-0599" {
		t.Errorf("before the end: %q", got)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if n, err := s.NotIndexed(t.Context()); err != nil || time.Now().After(deadline) {
			t.Fatalf("%d are not indexed: %v", n, err)
		} else if n == 0 {
			break
		}
	}
	if got := inventorytest.IDs(t, s, first); got != "i-0000" {
		t.Errorf("after the end: %q", got)
	}
	if n := count(t, s.db, "SELECT count(*) FROM search"); n != all {
		t.Errorf("%d entries for %d versions", n, all)
	}
}

func wantNotIndexed(t *testing.T, s *Store, want int) {
	t.Helper()
	if n, err := s.NotIndexed(t.Context()); n != want || err != nil {
		t.Errorf("%d are not indexed, want %d; %v", n, want, err)
	}
}

// What is deleted leaves no entry: versions that expire, and rows of a writer that never ended.
func TestIndexHasNoOtherEntries(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "collector.db"), Keep: time.Nanosecond})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inv := inventory.New(s, inventory.Options{})
	for _, state := range []string{"running", "stopped", "running"} {
		if err := inventorytest.List(t, inv, state, inventorytest.Item{ID: "i-1", State: state}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Vacuum(t.Context()); err != nil {
		t.Fatal(err)
	}
	versions, entries := count(t, s.db, "SELECT count(*) FROM version"), count(t, s.db, "SELECT count(*) FROM search")
	if versions != 1 || entries != 1 {
		t.Errorf("%d versions, %d entries, want one each", versions, entries)
	}
}
