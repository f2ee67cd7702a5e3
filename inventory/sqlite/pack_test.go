package sqlite

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
)

// states lists each version with its state, and checks that its body has the same state.
func states(t *testing.T, r *Reader) string {
	t.Helper()
	var out []string
	for v, err := range r.History(t.Context(), inventory.Query{Data: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(v.Data), `"`+v.ID+`"`) || !strings.Contains(string(v.Data), `"`+v.State+`"`) {
			t.Errorf("%s in state %s has the body %s", v.ID, v.State, v.Data)
		}
		out = append(out, v.ID+" "+v.State)
	}
	return strings.Join(out, ", ")
}

// Each row has its line, even if a body contains line feeds, and Add keeps no reference to it.
func TestPacker(t *testing.T) {
	p := packer{encode: bytes.Clone}
	for from := 0; from < 100; from += 20 {
		var rows []inventory.Row
		for i := from; i < from+20; i++ {
			id := fmt.Sprintf("i-%d", i)
			rows = append(rows, inventory.Row{ID: id, Body: []byte("{\n\"InstanceId\":\n\"" + id + "\"\n}")})
		}
		p.Add(rows)
		for i := range rows {
			clear(rows[i].Body)
		}
	}
	p.closePack()
	n, size := 0, 0
	for _, pack := range p.packs {
		for i, r := range pack.rows {
			body, ok := packLine(pack.bodies, i)
			id := fmt.Sprintf("i-%d", n)
			if want := fmt.Sprintf(`{ "InstanceId": %q }`, id); !ok || string(body) != want || r.ID != id {
				t.Errorf("%s has the body %s, want %s", r.ID, body, want)
			}
			n++
		}
		size += len(pack.bodies)
	}
	if n != 100 || len(p.packs) != 5 || p.Buffered() < size+100*100 {
		t.Errorf("%d rows in %d packs of %d bytes", n, len(p.packs), p.Buffered())
	}
	p.clearPacks()
	if p.Buffered() != 0 {
		t.Errorf("%d bytes are still counted", p.Buffered())
	}
}

// Rows that are few and small wait for others.
func TestSmallPackStaysOpen(t *testing.T) {
	p := packer{encode: bytes.Clone}
	row := inventory.Row{ID: "i-1", Body: []byte("{}")}
	for n := 1; n <= packRows/2; n++ {
		p.Add([]inventory.Row{row})
		if want := n / (packRows / 2); len(p.packs) != want {
			t.Fatalf("after %d rows there are %d packs, want %d", n, len(p.packs), want)
		}
	}
	row.Body = bytes.Repeat([]byte(" "), maxOpenPackBytes)
	if p.Add([]inventory.Row{row}); len(p.packs) != 2 {
		t.Errorf("a row of %d bytes stays open", len(row.Body))
	}
}

// A pack stays until its last version is deleted.
func TestPackRetention(t *testing.T) {
	s, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "collector.db"), Keep: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inv := inventory.New(s, inventory.Options{})
	round := func(first, second string) {
		t.Helper()
		if err := inventorytest.List(
			t, inv, "run", inventorytest.Item{ID: "i-1", State: first}, inventorytest.Item{ID: "i-2", State: second},
		); err != nil {
			t.Fatal(err)
		}
		exec(t, s.writeDB, `UPDATE version SET valid_to = valid_to - 7200000000, valid_from = valid_from - 7200000000
			WHERE valid_to > valid_from AND valid_to > ?`,
			time.Now().Add(-time.Hour).UnixMicro()) // makes ended versions old
	}
	for _, step := range []struct {
		first, second string
		packs         int
		history       string
	}{
		{"a", "a", 1, "i-1 a, i-2 a"},
		{"b", "a", 2, "i-1 a, i-1 b, i-2 a"},
		{"b", "a", 2, "i-1 b, i-2 a"}, // i-2 is still in the first pack
		{"b", "b", 3, "i-1 b, i-2 a, i-2 b"},
		{"b", "b", 2, "i-1 b, i-2 b"},
	} {
		round(step.first, step.second)
		if n, h := count(t, s.db, "SELECT count(*) FROM body"), states(t, s.Reader); n != step.packs || h != step.history {
			t.Errorf("%s %s: %d packs with %s, want %d with %s", step.first, step.second, n, h, step.packs, step.history)
		}
		checkConsistent(t, s)
	}
}

// A database of the first schema, which has one body a row, is migrated.
func TestMigrationToPacks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "collector.db")
	db, err := connect(path, "rwc")
	if err != nil {
		t.Fatal(err)
	}
	script, err := migrations.ReadFile("migrations/0001.sql")
	if err != nil {
		t.Fatal(err)
	}
	exec(t, db, string(script))
	exec(t, db, fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	exec(t, db, "PRAGMA user_version = 1")
	exec(
		t, db,
		`INSERT INTO scope (scope, partition, account_id, region, kind, account)
			VALUES (1, 'aws', '222222222222', 'us-east-1', 'ec2_instance', 'prod')`,
	)
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	bodies := map[int]int{1: 2, 2: 3, 3: 1, 64: 4} // numbers that other versions have after the migration
	for version, body := range bodies {
		id := fmt.Sprintf("i-%d", version)
		exec(t, db, `INSERT INTO version (version, scope, id, sum, sum_version, name, state, type, tags, run,
				first_seen, state_since, valid_from, body)
			VALUES (?, 1, ?, zeroblob(16), 1, '', 'old', '', '{}', 'run', 1, 1, 1, ?)`, version, id, body)
		exec(
			t, db, "INSERT INTO body VALUES (?, ?)", body,
			enc.EncodeAll([]byte(`{"InstanceId":"`+id+`","State":{"Name":"old"}}`), nil),
		)
	}
	exec(t, db, "INSERT INTO body VALUES (9, x'00')")
	// by a killed process
	exec(
		t, db,
		`INSERT INTO staged (turn, id, how, sum, name, state, type, tags, body)
			VALUES (1, 'i-9', 0, x'00', '', '', '', '{}', 9)`,
	)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	s := openAt(t, path)
	if got, want := states(t, s.Reader), "i-1 old, i-2 old, i-3 old, i-64 old"; got != want {
		t.Errorf("after the migration: %s, want %s", got, want)
	}
	if n := count(t, s.db, "SELECT count(*) FROM versions WHERE data ->> 'InstanceId' = id"); n != len(bodies) {
		t.Errorf("the view has %d of %d bodies", n, len(bodies))
	}
	checkConsistent(t, s)
	if err := inventorytest.List(
		t, inventory.New(s, inventory.Options{}), "two", inventorytest.Item{ID: "i-1", State: "new"},
	); err != nil {
		t.Fatal(err)
	}
	if n := count(t, s.db, "SELECT count(*) FROM resources WHERE state = 'new'"); n != 1 {
		t.Error("the new version is not stored")
	}
	checkConsistent(t, s)
}

// The cache keeps the packs used last, within its limit.
func TestPackCache(t *testing.T) {
	var o packCache
	for n := range int64(20) {
		o.put(n, make([]byte, 1<<20))
		if n > 0 && o.get(0) == nil {
			t.Fatalf("pack 0 was used all the time, and is not open after %d others", n)
		}
	}
	if o.get(1) != nil || o.get(19) == nil || o.size > packCacheBytes {
		t.Errorf("%d bytes are open", o.size)
	}
}
