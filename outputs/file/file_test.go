//go:build unix

package file

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/filelock"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/contextmutex"
	"github.com/aws-collector/collector/record"
)

const line = `{"kind":"ec2_instance","id":"i-1","collected_at":"2026-11-21T22:15:03Z"}` + "\n"

// begin opens a file output in a new directory.
func begin(t *testing.T, o Options) (*output, string, *bytes.Buffer) {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "records.jsonl")
	}
	if o.Compression == "" {
		o.Compression = noCompression
	}
	log := new(bytes.Buffer)
	f, err := open(t.Context(), &o, outputs.Deps{Log: slog.New(slog.NewTextHandler(&locked{w: log}, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return f.(*output), o.Path, log
}

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func send(t *testing.T, f outputs.Output, lines string) {
	t.Helper()
	if err := f.Send(t.Context(), outputs.Batch{Lines: []byte(lines)}); err != nil {
		t.Fatal(err)
	}
}

func flush(t *testing.T, f outputs.Output) {
	t.Helper()
	if err := f.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// names lists the directory of path, with each time replaced by T.
func names(t *testing.T, path string) string {
	t.Helper()
	es, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range es {
		all = append(all, regexp.MustCompile(`\d{8}T\d{6}Z`).ReplaceAllString(e.Name(), "T"))
	}
	return strings.Join(all, " ")
}

func TestRotateBySize(t *testing.T) {
	f, path, _ := begin(t, Options{Rotate: Rotate{MaxBytes: outputs.Bytes(3 * len(line))}})
	for range 7 {
		send(t, f, line)
	}
	all, _, err := f.finished.list()
	if err != nil || len(all) != 2 || !all[0].plain || all[0].compressed {
		t.Fatalf("finished files are %+v, %v (%s)", all, err, names(t, path))
	}
	for _, o := range all {
		if got := read(t, o.path); got != strings.Repeat(line, 3) {
			t.Errorf("%s holds %q", o.path, got)
		}
	}
	if got := read(t, path); got != line {
		t.Errorf("the active file holds %q", got)
	}
	big := strings.Repeat(line, 9) // a batch is not split, even if it is larger than the limit
	send(t, f, big)
	if got := read(t, path); got != big {
		t.Errorf("the active file holds %q, want the whole batch", got)
	}
}

func TestRotateByAge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.jsonl")
	if err := os.WriteFile(path, []byte(strings.Replace(line, "2026", "2019", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _, _ := begin(t, Options{Path: path, Rotate: Rotate{MaxAge: config.Duration(time.Hour)}})
	flush(t, f) // the age is that of the oldest record, not that of the file
	if got := names(t, path); got != "records-T.jsonl" {
		t.Errorf("the directory holds %s", got)
	}
	send(t, f, line)
	flush(t, f)
	send(t, f, line)
	if got := read(t, path); got != line+line {
		t.Errorf("a young file was finished; the active one holds %q", got)
	}
}

func TestZstdAndKeep(t *testing.T) {
	f, path, log := begin(t, Options{Compression: zstdCompression,
		Rotate: Rotate{MaxBytes: outputs.Bytes(len(line)), Keep: 3}})
	for i := range 6 {
		send(t, f, strings.Replace(line, "i-1", fmt.Sprint("i-", i), 1))
	}
	if err := f.Close(t.Context()); err != nil { // waits for the worker
		t.Fatal(err)
	}
	all, _, err := f.finished.list()
	if err != nil || len(all) != 3 {
		t.Fatalf("%d finished files, want 3: %v: %s\n%s", len(all), err, names(t, path), log)
	}
	for i, o := range all {
		if o.plain || !o.compressed {
			t.Errorf("%s: plain %v, packed %v", o.path, o.plain, o.compressed)
		}
		if got := unpack(t, o.path+zstExt); !strings.Contains(got, fmt.Sprintf(`"i-%d"`, i+2)) {
			t.Errorf("%s holds %q: the newest must be kept, in order", o.path, got)
		}
	}
}

// When the clock goes back, the newest file is not the first to be removed.
func TestClockGoesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "records.jsonl")
	future := filepath.Join(filepath.Dir(path), "records-21260101T000000Z.jsonl")
	if err := os.WriteFile(future, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	f, _, _ := begin(t, Options{Path: path, Rotate: Rotate{MaxBytes: outputs.Bytes(len(line)), Keep: 2}})
	send(t, f, line)
	send(t, f, line)
	send(t, f, line)
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, _, err := f.finished.list()
	if err != nil || len(all) != 2 || all[0].sequence != 2 || all[1].sequence != 3 {
		t.Errorf("kept are %+v, %v", all, err)
	}
}

func unpack(t *testing.T, path string) string {
	t.Helper()
	h, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	z, err := zstd.NewReader(h, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The next start completes a rotation that was interrupted at any point.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("records-20260101T000000Z.jsonl", line)             // killed before it was compressed
	put("records-20260102T000000Z.jsonl", line)             // killed during compression
	put("records-20260102T000000Z.jsonl.zst.tmp", "half a") //
	put("records-20260103T000000Z.jsonl", line)             // killed between the rename and the removal
	put("records-20260103T000000Z.jsonl.zst", "whole")      //
	put("records-mine.jsonl", line)                         // not a rotated file
	put("records-20260104T000000Z.jsonl.bak", line)
	put("other-20260104T000000Z.jsonl", line)
	f, path, _ := begin(
		t,
		Options{Path: filepath.Join(dir, "records.jsonl"), Compression: zstdCompression, Rotate: Rotate{MaxBytes: 1 << 20}},
	)
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(names(t, path))
	count := map[string]int{}
	for _, n := range got {
		count[n]++
	}
	if count["records-T.jsonl.zst"] != 3 || count["records-T.jsonl"] != 0 || count["records-mine.jsonl"] != 1 ||
		count["records-T.jsonl.bak"] != 1 || count["other-T.jsonl"] != 1 || count["records.jsonl"] != 1 || len(got) != 7 {
		t.Errorf("the directory holds %s", got)
	}
	if got := unpack(t, filepath.Join(dir, "records-20260102T000000Z.jsonl.zst")); got != line {
		t.Errorf("compressed: %q", got)
	}
	if got := read(t, filepath.Join(dir, "records-20260103T000000Z.jsonl.zst")); got != "whole" {
		t.Errorf("the compressed file was changed to %q", got)
	}
}

func TestIncompleteLine(t *testing.T) {
	long := strings.Replace(line, "i-1", strings.Repeat("x", 200<<10), 1)
	for name, c := range map[string]struct{ had, want string }{
		"whole":           {line, line},
		"incomplete":      {line + line[:20], line},
		"only incomplete": {line[:20], ""},
		"zeros":           {line + "\x00\x00\x00", line},
		"nothing but 0":   {"\x00\x00", ""},
		"long incomplete": {long + long[:150<<10], long},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "r.jsonl")
			if err := os.WriteFile(path, []byte(c.had), 0o600); err != nil {
				t.Fatal(err)
			}
			f, _, log := begin(t, Options{Path: path})
			send(t, f, line)
			if got := read(t, path); got != c.want+line {
				t.Errorf("holds %.300q", got)
			}
			if reported := strings.Contains(log.String(), "incomplete last line"); reported != (c.had != c.want) {
				t.Errorf("log: %s", log)
			}
		})
	}
}

func TestRefusedPaths(t *testing.T) {
	dir := t.TempDir()
	foreign := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(foreign, []byte("dear diary"), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	readOnly := filepath.Join(dir, "read-only")
	if err := os.Mkdir(readOnly, 0o500); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]string{
		dir:                                {"is a directory", "Add a file name"},
		foreign:                            {"does not contain JSON lines", "another path"},
		foreign + "/x.jsonl":               {"not a directory", "one of its parents"},
		fifo:                               {"not a regular file", "type: stdout"},
		filepath.Join(readOnly, "r.jsonl"): {"permission denied", "let uid"},
	} {
		if strings.HasPrefix(path, readOnly) && os.Getuid() == 0 {
			t.Log("SKIPPED: the case of a directory without permission: root may write everywhere")
			continue
		}
		_, err := open(t.Context(), &Options{Path: path}, outputs.Deps{})
		if err == nil || !strings.Contains(err.Error(), want[0]) || !strings.Contains(err.Error(), path) ||
			!strings.Contains(record.HintOf(err), want[1]) {
			t.Errorf("%s: error %v, hint %q; want %q", path, err, record.HintOf(err), want)
		}
	}
	if got := read(t, foreign); got != "dear diary" {
		t.Errorf("a foreign file now holds %q", got)
	}
}

func TestLocked(t *testing.T) {
	_, path, _ := begin(t, Options{})
	_, err := open(t.Context(), &Options{Path: path}, outputs.Deps{})
	if !errors.Is(err, filelock.ErrLocked) || !strings.Contains(record.HintOf(err), "another collector") {
		t.Errorf("a second writer of one file: %v", err)
	}
	link := filepath.Join(filepath.Dir(path), "link")
	if err := os.Symlink(filepath.Base(path), link); err != nil {
		t.Fatal(err)
	}
	if a, b := key(&Options{Path: path}), key(&Options{Path: filepath.Dir(path) + "/./link"}); a != b {
		t.Errorf("%s and %s are one file", a, b)
	}
}

// After logrotate has moved the file, new records go to a new file.
func TestMovedAway(t *testing.T) {
	f, path, _ := begin(t, Options{})
	send(t, f, line)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	flush(t, f)
	send(t, f, line+line)
	flush(t, f)
	if a, b := read(t, path+".1"), read(t, path); a != line || b != line+line {
		t.Errorf("moved: %q, new: %q", a, b)
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil { // and its directory
		t.Fatal(err)
	}
	flush(t, f)
	send(t, f, line)
	if got := read(t, path); got != line {
		t.Errorf("after the directory was removed: %q", got)
	}
}

// A batch goes to the path, also if the file was moved after the last flush: a moved file may be compressed already.
func TestMovedBetweenFlushAndBatch(t *testing.T) {
	f, path, _ := begin(t, Options{})
	send(t, f, line)
	flush(t, f)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	send(t, f, line+line)
	if a, b := read(t, path+".1"), read(t, path); a != line || b != line+line {
		t.Errorf("moved: %q, new: %q", a, b)
	}
}

// A write that fails in the middle leaves nothing in the file, and the next one works. The limit on a file's size
// replaces a full disk: it too writes what fits and fails the rest. The limit applies to the process, so the test
// starts its own.
func TestFullDisk(t *testing.T) {
	if os.Getenv("OUTPUTS_FULL_DISK") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFullDisk$", "-test.v")
		cmd.Env = append(os.Environ(), "OUTPUTS_FULL_DISK=1")
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("PASS: TestFullDisk")) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	f, path, _ := begin(t, Options{})
	send(t, f, line)
	limit(t, uint64(len(line)+len(line)/2))
	for range 2 {
		err := f.Send(t.Context(), outputs.Batch{Lines: []byte(line)})
		if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), path) {
			t.Errorf("Send on a full disk: %v", err)
		}
		if got := read(t, path); got != line {
			t.Errorf("after a write that failed the file holds %q", got)
		}
	}
	limit(t, 1<<30)
	send(t, f, line)
	if got := read(t, path); got != line+line {
		t.Errorf("after space was freed the file holds %q", got)
	}
	limit(t, uint64(2*len(line)))
	if err := f.Send(t.Context(), outputs.Batch{Lines: []byte(line)}); err == nil {
		t.Error("a full disk took a line")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	send(t, f, line)
	if got := read(t, path); got != line {
		t.Errorf("after the file was removed, the new one holds %q", got)
	}
}

func limit(t *testing.T, n uint64) {
	t.Helper()
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		t.Fatal(err)
	}
	l.Cur = n
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
		t.Fatal(err)
	}
}

// /dev/full gives the real error of a full disk. The file is closed then: removing it must free its space.
func TestNoSpace(t *testing.T) {
	h, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("SKIPPED, NOT PASSED: no /dev/full here: ", err)
	}
	defer h.Close()
	info, err := h.Stat()
	if err != nil {
		t.Fatal(err)
	}
	f := &output{
		path: "/dev/full", log: slog.New(slog.DiscardHandler), mu: contextmutex.New(),
		active: &activeFile{File: h, info: info},
	}
	f.opts.Store(&Options{})
	err = f.Send(t.Context(), outputs.Batch{Lines: []byte(line)})
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(record.HintOf(err), "Free disk space") ||
		!strings.HasPrefix(err.Error(), "write /dev/full: ") {
		t.Errorf("%v; hint %q", err, record.HintOf(err))
	}
	if _, err := h.Stat(); !errors.Is(err, os.ErrClosed) || f.active != nil {
		t.Errorf("the file is still open: %v", err)
	}
}

// A file that cannot be renamed keeps growing, is reported once, and is rotated later.
func TestRotationFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, path, log := begin(t, Options{Rotate: Rotate{MaxBytes: outputs.Bytes(len(line))}})
		send(t, f, line)
		synctest.Wait()                                        // the worker is idle
		f.finished.dir = filepath.Join(f.finished.dir, "gone") // the directory cannot be read
		for range 3 {
			send(t, f, line)
		}
		time.Sleep(2 * rotateRetryDelay)
		send(t, f, line)
		if n := strings.Count(log.String(), "cannot be rotated"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, log)
		}
		synctest.Wait()
		f.finished.dir = filepath.Dir(path)
		time.Sleep(2 * rotateRetryDelay)
		send(t, f, line)
		all, _, err := f.finished.list()
		if err != nil || len(all) != 1 || read(t, all[0].path) != strings.Repeat(line, 5) || read(t, path) != line {
			t.Errorf("finished: %+v, %v", all, err)
		}
	})
}

// A reload changes the rules of an open file.
func TestReconfigure(t *testing.T) {
	f, path, _ := begin(t, Options{})
	send(t, f, line)
	f.Reconfigure(&Options{Path: path, Compression: zstdCompression, Rotate: Rotate{MaxBytes: outputs.Bytes(len(line))}})
	send(t, f, line)
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := names(t, path); got != "records-T.jsonl.zst records.jsonl" {
		t.Errorf("the directory holds %s", got)
	}
}

// kill -9 during writes, many times: finished files have complete lines only, and no flushed line is missing.
func TestKilled(t *testing.T) {
	pad := strings.Repeat("x", 3000)
	if path := os.Getenv("OUTPUTS_KILLED"); path != "" {
		f, _, _ := begin(t, Options{Path: path, Compression: zstdCompression, Rotate: Rotate{MaxBytes: 64 << 10}})
		for n := 0; ; n++ {
			send(t, f, fmt.Sprintf(`{"run":%q,"n":%d,"pad":%q}`+"\n", os.Getenv("OUTPUTS_RUN"), n, pad))
			flush(t, f)
			fmt.Println("flushed", n)
		}
	}
	path := filepath.Join(t.TempDir(), "r.jsonl")
	flushed := map[string]int{}
	for run := range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$", "-test.v")
		cmd.Env = append(os.Environ(), "OUTPUTS_KILLED="+path, fmt.Sprint("OUTPUTS_RUN=", run))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		output := bufio.NewScanner(out)
		for n := 0; output.Scan(); { // to the end of the output, even after the kill
			if strings.HasPrefix(output.Text(), "flushed") {
				if n++; n == 20+7*run { // during the next write, a rotation or a compression
					_ = cmd.Process.Kill()
				}
				flushed[fmt.Sprint(run)] = n
			}
		}
		_ = cmd.Wait() // it was killed
	}
	f, _, log := begin(t, Options{Path: path, Compression: zstdCompression, Rotate: Rotate{MaxBytes: 64 << 10}})
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, _, err := f.finished.list()
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, o := range all {
		text += unpack(t, o.path+zstExt)
	}
	text += read(t, path)
	got := map[string]int{}
	shape := regexp.MustCompile(`^\{"run":"(\d)","n":(\d+),"pad":"(x+)"\}$`)
	for l := range strings.Lines(text) {
		m := shape.FindStringSubmatch(strings.TrimSuffix(l, "\n"))
		if m == nil || len(m[3]) != len(pad) || m[2] != fmt.Sprint(got[m[1]]) {
			t.Fatalf("a line is incomplete, missing or out of order: %.120q\n%s", l, log)
		}
		got[m[1]]++
	}
	total := 0
	for run, n := range flushed {
		total += n
		if got[run] < n {
			t.Errorf("run %s flushed %d lines, %d are there", run, n, got[run])
		}
	}
	if total == 0 || len(all) == 0 {
		t.Errorf("%d lines, %d finished files: too few for this test", total, len(all))
	}
}

func TestFileValidate(t *testing.T) {
	ok := defaults().(*Options)
	ok.Path = "r.jsonl"
	if err := ok.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	bad := Options{Compression: "gzip", Rotate: Rotate{MaxBytes: 5, MaxAge: config.Duration(time.Second), Keep: -1}}
	err := bad.Validate()
	for _, want := range []string{"path:", "compression:", "rotate.max_bytes:", "rotate.max_age:", "rotate.keep:"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	if err := (&Options{Path: "x", Compression: zstdCompression}).Validate(); err == nil {
		t.Error("zstd without rotation was accepted, although it compresses nothing")
	}
}
