package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
)

func TestDigestKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")

	// A dry run remembers nothing, so it needs no data_dir.
	one, err := loadDigestKey(dir, false)
	if err != nil || len(one) != 32 {
		t.Fatalf("dry run: %d bytes, %v", len(one), err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("dry run made the data_dir: %v", err)
	}
	if _, err := loadDigestKey(dir, true); err == nil || record.HintOf(err) == "" {
		t.Errorf("a data_dir that cannot be written to: want an error with a hint, got %v", err)
	}

	if err := makeDataDir(dir); err != nil {
		t.Fatal(err)
	}
	first, err := loadDigestKey(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range []bool{true, false} {
		if again, err := loadDigestKey(dir, keep); err != nil || !bytes.Equal(first, again) {
			t.Errorf("keep %t: the key is another one the second time: %v", keep, err)
		}
	}
}

// What a stop may take must fit into what the container gets for it; a listing that ignores its end costs 3 s more.
func TestStopFitsIntoTheContainersTime(t *testing.T) {
	compose, err := os.ReadFile("../../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\s+stop_grace_period: (\S+)$`).FindSubmatch(compose)
	if m == nil {
		t.Fatal("compose.yaml has no stop_grace_period")
	}
	grace, err := time.ParseDuration(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	f, err := config.Parse([]byte("accounts: [{name: a}]"), "config.yaml", known())
	if err != nil {
		t.Fatal(err)
	}
	if stop := time.Duration(f.DrainTimeout) + 3*time.Second + daemonFlush; stop >= grace {
		t.Errorf("a stop takes up to %s, and the container is killed after %s", stop, grace)
	}
}
