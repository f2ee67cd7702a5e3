package local

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestFileTicks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ticks.json")
	warnings := new(logLines)
	ticks := FileTicks(path, slog.New(slog.NewTextHandler(warnings, nil)))
	load := func() map[TickKey]time.Time {
		t.Helper()
		m, err := ticks.Load()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if m := load(); len(m) != 0 || len(warnings.lines) != 0 {
		t.Error("of a first start:", m, warnings.lines)
	}
	at := time.Date(2026, 11, 21, 22, 15, 0, 0, time.UTC)
	want := map[TickKey]time.Time{
		{"prod", "*/15 * * * *"}: at,
		{"prod", "@daily"}:       at.Add(-time.Hour),
		{"dev \"x\"", "@hourly"}: at,
	}
	for range 2 { // replaces an earlier file
		if err := ticks.Save(want); err != nil {
			t.Fatal(err)
		}
	}
	if m := load(); !maps.EqualFunc(m, want, time.Time.Equal) {
		t.Error(m)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Error("left behind:", names)
	}
	for _, bad := range []string{"", "{", `{"version":2}`, "\x00\x00\x00"} {
		warnings.lines = nil
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if m := load(); len(m) != 0 || len(warnings.lines) != 1 ||
			!strings.Contains(warnings.lines[0], "ticks.json.damaged") {
			t.Errorf("%q: %v, %v", bad, m, warnings.lines)
		}
		if b, err := os.ReadFile(path + ".damaged"); err != nil || string(b) != bad {
			t.Errorf("%q was not kept: %q, %v", bad, b, err)
		}
		if err := os.Remove(path + ".damaged"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("still in the way")
		}
	}
	if err := FileTicks(filepath.Join(dir, "none", "x"), slog.New(slog.DiscardHandler)).Save(want); err == nil {
		t.Error("saved into a folder that is not there")
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	warnings.lines = nil
	if m := load(); len(m) != 0 || len(warnings.lines) != 1 || !strings.Contains(warnings.lines[0], "ticks.json.damaged") {
		t.Errorf("a folder: %v, %v", m, warnings.lines)
	}
	if err := os.Symlink(path+".damaged", path); err != nil {
		t.Fatal(err)
	}
	warnings.lines = nil
	if m := load(); len(m) != 0 || len(warnings.lines) != 1 ||
		!strings.Contains(warnings.lines[0], "ticks.json.damaged-2") {
		t.Errorf("a link: %v, %v", m, warnings.lines)
	}
	if err := ticks.Save(want); err != nil {
		t.Error(err)
	}
}
