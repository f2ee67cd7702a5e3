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
	exec(t, s.writeDB, "DELETE FROM search_text")
	exec(t, s.writeDB, restartBuild)
	wantNotIndexed(t, s, all)
	n, err := s.indexStep(t.Context())
	if n < indexedPerStep || n >= indexedPerStep+packRows || err != nil {
		t.Fatalf("%d were indexed: %v", n, err)
	}
	wantNotIndexed(t, s, all-n)
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
	wantIndexOfPacks(t, s)
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
	if n := count(t, s.db, "SELECT count(*) FROM version"); n != 1 {
		t.Errorf("%d versions, want one", n)
	}
	wantIndexOfPacks(t, s)
}

// wantIndexOfPacks fails if the index does not have exactly one entry for each pack.
func wantIndexOfPacks(t *testing.T, s *Store) {
	t.Helper()
	packs := count(t, s.db, "SELECT count(*) FROM body")
	texts := count(t, s.db, "SELECT count(*) FROM search_text t JOIN body b ON b.pack = t.pack")
	entries := count(t, s.db, "SELECT count(*) FROM search")
	if packs == 0 || texts != packs || entries != packs {
		t.Errorf("%d packs, %d texts, %d entries", packs, texts, entries)
	}
}

// However a text is searched, it finds the same.
func TestWaysToSearch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	s := openAt(t, path)
	readers := map[string]inventory.Reader{}
	for name, limits := range map[string]searchLimits{
		"as a list": {maxEntries: 1 << 17, fewEntries: 1 << 17}, "in the order of keys": {maxEntries: 1 << 17},
		"with a part of the index": {maxEntries: 5}, "without the index": {},
	} {
		r, err := OpenReader(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		r.searchLimits = limits
		readers[name] = r
	}
	inventorytest.CompareSearches(t, s, readers)
}

// Letters of which one case is ASCII and the other is not are the same, too, as are all that FTS5 folds.
func TestFold(t *testing.T) {
	for text, want := range map[string]string{
		"AbZ-09": "abz-09", "\u212aelvin": "kelvin", "\u017fet": "set", "a\x00b\u0085c": "a\nb\nc", "\xff": "\ufffd",
	} {
		if got := fold(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for _, pair := range []string{"Éé", "Σς", "ДД", "ǅǆ"} {
		runes := []rune(pair)
		if fold(string(runes[0])) != fold(string(runes[1])) {
			t.Errorf("%s: not the same", pair)
		}
	}
}
