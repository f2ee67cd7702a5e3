package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/cmd/collector/internal/store"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/inventory/inventorytest"
	"github.com/aws-collector/collector/inventory/sqlite"
	"github.com/aws-collector/collector/record"
)

// openTestStore opens a store in dir, and returns a function that stores a listing.
func openTestStore(
	t *testing.T, dir string,
) func(t record.Target, identity record.Identity, items ...inventorytest.Item) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: store.Path(dir)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	inv := inventory.New(s, inventory.Options{})
	return func(target record.Target, identity record.Identity, items ...inventorytest.Item) {
		t.Helper()
		v, err := inv.Begin(t.Context(), target, identity, "01JDRUN")
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Page(t.Context(), inventorytest.Page(target, identity, "01JDRUN", items...)); err != nil {
			t.Fatal(err)
		}
		o := record.Outcome{Target: target, Run: "01JDRUN", State: record.OK, Started: time.Now()}
		if err := v.End(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// changes --follow prints changes in order until it is interrupted.
func TestFollowChanges(t *testing.T) {
	dir := t.TempDir()
	list := openTestStore(t, dir)
	target, identity := inventorytest.Target()
	list(target, identity, inventorytest.Item{ID: "i-1", State: "running"})
	getenv := func(name string) string { return map[string]string{"COLLECTOR_DATA_DIR": dir}[name] }
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		args := []string{"changes", "--follow", "--since", "1h", "--every", "5ms", "-o", "jsonl"}
		done <- run(ctx, append(args, "-c", filepath.Join(dir, "none.yaml")), getenv, w, io.Discard)
		_ = w.Close()
	}()
	lines := bufio.NewScanner(r)
	next := func() inventory.ChangeLine {
		t.Helper()
		var l inventory.ChangeLine
		if !lines.Scan() {
			t.Fatalf("it ended: %v", <-done)
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	if l := next(); l.Change != "added" || l.ID != "i-1" {
		t.Errorf("%+v", l)
	}
	list(target, identity, inventorytest.Item{ID: "i-1", State: "stopped"})
	if l := next(); l.Change != "changed" || len(l.Changes) != 1 || l.Changes[0].Path != "State.Name" {
		t.Errorf("%+v", l)
	}
	list(target, identity)
	if l := next(); l.Change != "gone" || l.Ended != inventory.Absent || l.At == nil {
		t.Errorf("%+v", l)
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := <-done; err != nil {
		t.Errorf("--follow ended with %v", err)
	}
}

// A failing store fails neither listings nor outputs: the program logs it, is not ready, and recovers.
func TestNotStored(t *testing.T) {
	f := &config.File{DataDir: t.TempDir(), Store: config.Store{Type: "sqlite"}}
	l, err := store.Open(t.Context(), f, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	target, identity := inventorytest.Target()
	if why := l.NotReadyReasons(); len(why) > 0 || l.NotStored() != nil {
		t.Errorf("at first: %v, %v", why, l.NotStored())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Begin(t.Context(), target, identity, "run"); err == nil {
		t.Fatal("a closed store takes a target")
	}
	if why := l.NotReadyReasons(); len(why) != 1 || !strings.Contains(why[0], ": store: ") {
		t.Errorf("not ready because %q", why)
	}
	var exit *exitError
	if err := partialError(l.NotStored()); !errors.As(err, &exit) || exit.code != exitPartial ||
		!strings.Contains(err.Error(), "1 targets were not stored") {
		t.Errorf("%v", err)
	}

	none, err := store.Open(
		t.Context(), &config.File{DataDir: t.TempDir(), Store: config.Store{Type: "none"}}, nil, nil,
	)
	if err != nil || none.Inventory != nil || none.NotReadyReasons() != nil || none.NotStored() != nil ||
		none.Close() != nil {
		t.Errorf("store none: %+v %v", none, err)
	}
}
