package deliver

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws-collector/collector/outputs/internal/journal"
	"github.com/aws-collector/collector/record"
)

// Loss counts stay after a restart. A damaged file is moved aside and logged.
func TestLossCounts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing.json")
	var log bytes.Buffer
	l := slog.New(slog.NewTextHandler(&log, nil))
	s := journal.Source{Run: "r", Target: record.Target{Account: "prod", Region: "us-east-1", Kind: "ec2_vpc"}}
	m := loadLosses(path, l)
	m.setEnabled(true)
	if err := m.add(map[journal.Source]int{s: 3}); err != nil {
		t.Fatal(err)
	}
	if again := loadLosses(path, l); again.counts[s] != 3 || log.Len() > 0 {
		t.Errorf("after a restart: %v\n%s", again.counts, log.String())
	}
	for _, damage := range []string{"", "[{", "\x00\x00"} {
		if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		log.Reset()
		if m := loadLosses(path, l); len(m.counts) != 0 || !strings.Contains(log.String(), path+".damaged") {
			t.Errorf("%q: %v\n%s", damage, m.counts, log.String())
		}
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%q was not moved: %v", damage, err)
		}
	}
}
