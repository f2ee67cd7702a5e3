package datadir

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws-collector/collector/record"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDigestKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")

	quiet := slog.New(slog.DiscardHandler)

	// A dry run stores nothing, so it needs no data_dir.
	one, err := DigestKey(dir, false, quiet)
	if err != nil || len(one) != 32 {
		t.Fatalf("dry run: %d bytes, %v", len(one), err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("dry run made the data_dir: %v", err)
	}
	if _, err := DigestKey(dir, true, quiet); err == nil || record.HintOf(err) == "" {
		t.Errorf("a data_dir that cannot be written to: want an error with a hint, got %v", err)
	}

	if err := Make(dir); err != nil {
		t.Fatal(err)
	}
	first, err := DigestKey(dir, true, quiet)
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range []bool{true, false} {
		if again, err := DigestKey(dir, keep, quiet); err != nil || !bytes.Equal(first, again) {
			t.Errorf("keep %t: the key is another one the second time: %v", keep, err)
		}
	}
}

// A damaged key does not prevent the start: it is moved aside with a warning, and a new key is stored. A dry run does
// not touch it.
func TestDamagedDigestKey(t *testing.T) {
	for name, damage := range map[string]string{"empty": "", "short": "half of it", "long": strings.Repeat("x", 33)} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "digest.key")
			write(t, path, damage)
			var log bytes.Buffer
			l := slog.New(slog.NewTextHandler(&log, nil))
			if key, err := DigestKey(dir, false, l); err != nil || len(key) != digestKeySize {
				t.Errorf("dry run: %d bytes, %v", len(key), err)
			}
			if b, err := os.ReadFile(path); err != nil || string(b) != damage {
				t.Errorf("a dry run changed the file: %q, %v", b, err)
			}
			key, err := DigestKey(dir, true, l)
			if err != nil || len(key) != digestKeySize {
				t.Fatalf("%d bytes, %v", len(key), err)
			}
			if b, err := os.ReadFile(path + ".damaged"); err != nil || string(b) != damage {
				t.Errorf("moved aside: %q, %v", b, err)
			}
			if again, err := DigestKey(dir, true, l); err != nil || !bytes.Equal(again, key) {
				t.Errorf("the new key does not stay: %v", err)
			}
			if n := strings.Count(log.String(), "digest key is damaged"); n != 2 ||
				damage != "" && strings.Contains(log.String(), damage) {
				t.Errorf("logged %d times:\n%s", n, log.String())
			}
		})
	}
}

func TestReplacedDataDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	p, err := Lock(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Unlock()
	look := func(what, want string) {
		t.Helper()
		if got := strings.Join(p.NotReadyReasons(), "; "); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	look("at the start", "")
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	look("gone", "was removed")
	if err := Make(dir); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "lock"), "")
	look("created again", "was replaced")
	if err := errors.Join(os.RemoveAll(dir), os.Rename(dir+".away", dir)); err != nil {
		t.Fatal(err)
	}
	look("put back", "")
	if why := (*Locked)(nil).NotReadyReasons(); why != nil {
		t.Errorf("a dry run: %v", why)
	}
}
