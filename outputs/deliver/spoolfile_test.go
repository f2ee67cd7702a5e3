package deliver_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/all"
	"github.com/aws-collector/collector/outputs/deliver"
	"github.com/aws-collector/collector/outputs/file"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/record"
)

// Reloads can add a spool to a file output, and remove it, while the file is written.
func TestFileWithAndWithoutSpool(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.jsonl")
	d := outputs.Deps{Log: slog.New(slog.DiscardHandler), SpoolDir: filepath.Join(dir, "spools")}
	set := deliver.NewSet(all.Types, d)
	var fan *deliver.Fan
	for i, spool := range []*outputs.Spool{nil, {}, {MaxBytes: 1 << 21}, nil, {}} {
		o := outputstest.Options[file.Options](file.Type, nil)
		o.Path, o.Spool = path, spool
		next, err := set.Open(t.Context(), []deliver.Spec{{Type: "file", Options: o}})
		noErr(t, err)
		if fan != nil { // a run of the old configuration still delivers
			noErr(t, fan.Send(t.Context(), testPage(fmt.Sprint("old-", i), 1)))
			closeFan(t, fan)
		}
		fan = next
		noErr(t, fan.Send(t.Context(), testPage(fmt.Sprint("new-", i), 1)))
		noErr(t, fan.Flush(t.Context()))
	}
	closeFan(t, fan)
	got, err := os.ReadFile(path)
	noErr(t, err)
	if n := strings.Count(string(got), "\n"); n != 9 {
		t.Errorf("%d records of 9:\n%s", n, got)
	}
	other := deliver.NewSet(all.Types, outputs.Deps{}) // can open the file: its lock was released
	o := outputstest.Options[file.Options](file.Type, nil)
	o.Path = path
	fan, err = other.Open(t.Context(), []deliver.Spec{{Type: "file", Options: o}})
	noErr(t, err)
	closeFan(t, fan)
}

// The line at the end of a target comes after its records, also through a spool. A file output may have a spool.
func TestDirectWithSpool(t *testing.T) {
	dir := t.TempDir()
	d := outputs.Deps{Log: slog.New(slog.DiscardHandler), SpoolDir: filepath.Join(dir, "spools")}
	set := deliver.NewSet(all.Types, d)
	path := filepath.Join(dir, "out.jsonl")
	o := outputstest.Options[file.Options](file.Type, nil)
	o.Path, o.Ends, o.Spool = path, true, &outputs.Spool{}
	f, err := set.Open(t.Context(), []deliver.Spec{{Type: "file", Options: o}})
	noErr(t, err)
	b := testPage("i", 2)
	noErr(t, f.Send(t.Context(), b))
	noErr(t, f.End(t.Context(), record.Outcome{Target: b.Target, Run: b.Run, State: record.OK, Records: 2}))
	noErr(t, set.Drain(t.Context()))
	again, err := set.Open(t.Context(), []deliver.Spec{{Type: "file", Options: o}}) // keeps the file open
	noErr(t, err)
	closeFan(t, f)
	got, err := os.ReadFile(path)
	noErr(t, err)
	if lines := strings.Split(string(got), "\n"); len(lines) != 4 || !strings.Contains(lines[2], `"kind":"_target"`) {
		t.Errorf("the file holds %s", got)
	}
	if st := set.States()[0]; st.Records != 2 || st.Type != "file" {
		t.Errorf("%+v", st)
	}
	closeFan(t, again)
}
