package datakit

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws-collector/collector/outputs/internal/points"
)

// A text above DataKit's limit of 32 MiB is cut between characters and logged; a text of exactly 32 MiB is not.
func TestDataKitHugeField(t *testing.T) {
	var log bytes.Buffer
	w := points.NewWriter(limits, slog.New(slog.NewTextHandler(&log, nil)), "datakit")
	p := &points.Point{Kind: "ec2_volume"}
	w.AddText(p, "Fits", strings.Repeat("x", 32<<20))
	if log.Len() > 0 {
		t.Errorf("logged %s", log.String())
	}
	w.AddText(p, "Long", "x"+strings.Repeat("é", 16<<20))
	for i, want := range []int{32 << 20, 32<<20 - 1} {
		if got := p.Fields[i].Value.StringV(); len(got) != want || strings.ContainsRune(got, '\ufffd') {
			t.Errorf("%s: %d bytes, want %d", p.Fields[i].Key, len(got), want)
		}
	}
	if text := log.String(); !strings.Contains(text, "cut to 33554432 bytes") || !strings.Contains(text, "member=Long") ||
		strings.Count(text, "\n") != 1 {
		t.Errorf("logged %s", text)
	}
}
