package outputs

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// A text above DataKit's limit of 32 MiB is cut between characters and logged; a text of exactly 32 MiB is not.
func TestDataKitHugeField(t *testing.T) {
	var log bytes.Buffer
	w := lineWriter{limits: dataKitLimits, limitLog: newLimitLog(slog.New(slog.NewTextHandler(&log, nil)), "datakit")}
	p := &point{kind: "ec2_volume"}
	w.addText(p, "Fits", strings.Repeat("x", 32<<20))
	if log.Len() > 0 {
		t.Errorf("logged %s", log.String())
	}
	w.addText(p, "Long", "x"+strings.Repeat("é", 16<<20))
	for i, want := range []int{32 << 20, 32<<20 - 1} {
		if got := p.fields[i].value.StringV(); len(got) != want || strings.ContainsRune(got, '\ufffd') {
			t.Errorf("%s: %d bytes, want %d", p.fields[i].key, len(got), want)
		}
	}
	if text := log.String(); !strings.Contains(text, "cut to 33554432 bytes") || !strings.Contains(text, "member=Long") ||
		strings.Count(text, "\n") != 1 {
		t.Errorf("logged %s", text)
	}
}
