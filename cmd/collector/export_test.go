package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/aws-collector/collector/inventory/inventorytest"
	collectorparquet "github.com/aws-collector/collector/outputs/parquet"
	"github.com/aws-collector/collector/query"
)

// newExporter fills a store with two current resources, an older version and a resource that is gone. It returns `db
// export` for it, and a time before the last change.
func newExporter(t *testing.T) (export func(args ...string) (string, error), before time.Time) {
	t.Helper()
	dir := t.TempDir()
	list := openTestStore(t, dir)
	target, identity := inventorytest.Target()
	list(
		target, identity, inventorytest.Item{ID: "i-1", State: "running"},
		inventorytest.Item{ID: "i-2", State: "running"}, inventorytest.Item{ID: "i-3", State: "running"},
	)
	before = time.Now()
	list(
		target, identity, inventorytest.Item{ID: "i-1", State: "stopped"}, inventorytest.Item{ID: "i-2", State: "running"},
	)
	getenv := func(name string) string { return map[string]string{"COLLECTOR_DATA_DIR": dir}[name] }
	return func(args ...string) (string, error) {
		var stdout, stderr bytes.Buffer
		err := run(
			t.Context(), append([]string{"db", "export", "-c", filepath.Join(dir, "none.yaml")}, args...), getenv,
			&stdout, &stderr,
		)
		return stdout.String(), err
	}, before
}

// A Parquet file has the same data as JSON lines.
func TestExportParquet(t *testing.T) {
	export, before := newExporter(t)
	for _, c := range []struct {
		args []string
		want []string // id and state, and why it ended
	}{
		{nil, []string{"i-1 stopped", "i-2 running"}},
		{
			[]string{"--at", before.UTC().Format(time.RFC3339Nano)},
			[]string{"i-1 running", "i-2 running", "i-3 running absent"},
		},
		{[]string{"--history"}, []string{"i-1 running", "i-1 stopped", "i-2 running", "i-3 running absent"}},
		{[]string{"--where", "state=stopped"}, []string{"i-1 stopped"}},
		{[]string{"--where", "state=nowhere"}, nil},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			text, err := export(append(c.args, "-o", "parquet")...)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := parquet.Read[collectorparquet.Version](strings.NewReader(text), int64(len(text)))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			var asLines []query.ResourceLine
			for _, r := range rows {
				got = append(got, strings.TrimSpace(r.ID+" "+r.State+" "+r.Ended))
				l := query.ResourceLine{
					State:      r.State,
					Type:       r.Type,
					FirstSeen:  r.FirstSeen,
					StateSince: r.StateSince,
					ValidFrom:  r.ValidFrom,
					ValidTo:    query.NullIfZero(r.ValidTo),
					Ended:      r.Ended,
					LastSeen:   query.NullIfZero(r.LastSeen),
				}
				asLines = append(asLines, l)
				var data map[string]any
				if err := json.Unmarshal(r.Data, &data); err != nil || data["State"] == nil {
					t.Errorf("data of %s: %v %s", r.ID, err, r.Data)
				}
			}
			if slices.Sort(got); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			text, err = export(c.args...)
			if err != nil {
				t.Fatal(err)
			}
			var lines []query.ResourceLine
			for line := range strings.Lines(text) {
				var l query.ResourceLine
				if err := json.Unmarshal([]byte(line), &l); err != nil {
					t.Fatal(err)
				}
				l.Record = nil
				lines = append(lines, l)
			}
			if d := cmp.Diff(lines, asLines); d != "" {
				t.Error(d)
			}
		})
	}
}

// The name of the file selects the format. A file appears only when it is complete, and replaces an old one only then.
func TestExportToFile(t *testing.T) {
	export, _ := newExporter(t)
	dir := t.TempDir()
	for name, begins := range map[string]string{
		"all.parquet": "PAR1", "all.csv": "kind,id,", "all.jsonl": `{"kind":`, "all.json": "[\n", "all": `{"kind":`,
	} {
		path := filepath.Join(dir, name)
		for range 2 {
			if out, err := export("--file", path); err != nil || out != "" {
				t.Fatalf("%s: %v %q", name, err, out)
			}
		}
		b, err := os.ReadFile(path)
		if err != nil || !bytes.HasPrefix(b, []byte(begins)) {
			t.Errorf("%s: %v %.40q", name, err, b)
		}
	}
	path := filepath.Join(dir, "all.csv")
	if _, err := export("--file", path, "-o", "parquet"); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(b, []byte("PAR1")) {
		t.Errorf("-o is not asked: %v %.10q", err, b)
	}
	if _, err := export("--file", filepath.Join(dir, "nowhere", "x.parquet")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing folder: %v", err)
	}
	errHalf := errors.New("the disk is full")
	err := new(cli).writeToFile(path, func(w io.Writer) error {
		if _, err := w.Write([]byte("half")); err != nil {
			return err
		}
		return errHalf
	})
	b, _ := os.ReadFile(path)
	if !errors.Is(err, errHalf) || !bytes.HasPrefix(b, []byte("PAR1")) {
		t.Errorf("after a half export: %v %.10q", err, b)
	}
	names, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(names) > 0 {
		t.Errorf("left behind: %v %v", names, err)
	}
}

func TestExportUsageErrors(t *testing.T) {
	export, _ := newExporter(t)
	for want, args := range map[string][]string{
		"is not table, json, jsonl or csv":                 {"-o", "xml"},
		"export writes jsonl, json, csv or parquet":        {"-o", "table"},
		"none of the others can be; [at history] were all": {"--at", "1h", "--history"},
	} {
		if _, err := export(args...); err == nil || !strings.Contains(err.Error(), want) ||
			exitCode(err, io.Discard) != exitUsage {
			t.Errorf("%v: %v, want %s", args, err, want)
		}
	}
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("SKIPPED, NOT PASSED: no terminal can be had: %v", err)
	}
	defer tty.Close()
	err = run(t.Context(), []string{"db", "export", "-o", "parquet"}, func(string) string { return "" }, tty, tty)
	if err == nil || !strings.Contains(err.Error(), "a terminal cannot show Parquet") ||
		!strings.Contains(hintOf(err), "--file") {
		t.Errorf("Parquet on a terminal: %v", err)
	}
}
