// Package file is the output `file`: JSON lines that are appended to a file, which can be rotated by size or age.
package file

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/internal/filelock"
	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/contextmutex"
	"github.com/aws-collector/collector/record"
)

// Options is the options of the output `file`: JSON lines that are appended to a file. It can be rotated by size or
// age: records.jsonl becomes records-20261121T221503Z.jsonl, or .jsonl.zst, in the same directory.
type Options struct {
	outputs.Common `yaml:",inline"`
	Path           string `yaml:"path" doc:"The file to write, such as out/records.jsonl. Its directory is created if needed."`
	Compression    string `yaml:"compression" enum:"none,zstd" doc:"How finished files are compressed."`
	Rotate         Rotate `yaml:"rotate" doc:"When to finish the file and start another. Default: never."`
}

// Rotate tells when a file is finished and how many are kept. A line is never split, and an empty file is never
// finished. logrotate may move the file too: the next batch starts a new file.
type Rotate struct {
	MaxBytes outputs.Bytes   `yaml:"max_bytes" doc:"Finish the file before it is larger, such as 256MiB. 0: any size."`
	MaxAge   config.Duration `yaml:"max_age" doc:"Finish the file when its oldest record is older. 0: any age."`
	Keep     int             `yaml:"keep" doc:"How many finished files to keep; the oldest are removed. 0: all."`
}

const (
	noCompression   = "none"
	zstdCompression = "zstd"
)

// Type is this output.
var Type = outputs.Type{Name: "file", Options: defaults, Key: key, Open: open, Direct: true}

func defaults() any { return &Options{Compression: noCompression} }

// Validate reports every error in the options.
func (f *Options) Validate() error {
	var errs []error
	if f.Path == "" {
		errs = append(errs, errors.New("path: is needed: where to write, such as out/records.jsonl"))
	}
	if f.Compression != noCompression && f.Compression != zstdCompression {
		errs = append(errs, fmt.Errorf("compression: %q is neither %s nor %s", f.Compression, noCompression, zstdCompression))
	}
	if b := f.Rotate.MaxBytes; b != 0 && b < 4<<10 {
		errs = append(errs, fmt.Errorf("rotate.max_bytes: %d is less than 4KiB, about one record", int64(b)))
	}
	if a := time.Duration(f.Rotate.MaxAge); a < 0 || a > 0 && a < time.Minute {
		errs = append(errs, fmt.Errorf("rotate.max_age: %s is less than 1m", a))
	}
	if f.Rotate.Keep < 0 {
		errs = append(errs, fmt.Errorf("rotate.keep: %d is negative; 0 keeps all", f.Rotate.Keep))
	}
	if f.Compression == zstdCompression && f.Rotate.MaxBytes == 0 && f.Rotate.MaxAge == 0 {
		errs = append(
			errs,
			errors.New("compression: only finished files are compressed: set rotate.max_bytes or rotate.max_age"),
		)
	}
	return errors.Join(errs...)
}

// key is the file's real path, so that two spellings of a path are one file.
func key(options any) string { return "file:" + realPath(options.(*Options).Path) }

func realPath(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path // the working directory does not exist; open returns the error
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		return filepath.Join(dir, filepath.Base(abs))
	}
	return abs
}

// output appends batches to the active file. A Send that fails leaves nothing in the file, and the next one tries
// again: the cause, such as a full disk or a removed directory, may be gone.
type output struct {
	path     string
	log      *slog.Logger
	finished *finishedFiles

	opts atomic.Pointer[Options] // replaced by a reload

	mu         contextmutex.Mutex // guards the following; locked during a write, but not during a flush's fsync
	active     *activeFile        // nil: the next Send opens it
	retryAfter time.Time          // rotation failed: when to try again; the file grows until then
	syncErr    error              // of files that a Send has closed; the next Flush returns it
	closed     bool
}

// activeFile is the file being written.
type activeFile struct {
	*os.File
	info         fs.FileInfo // at the time it was opened, to recognize it
	size         int64
	oldestRecord time.Time // its time

	mu       sync.Mutex
	syncErr  error // of the fsync before closing
	isClosed bool
}

func open(ctx context.Context, options any, d outputs.Deps) (outputs.Output, error) {
	o := options.(*Options)
	f := &output{path: realPath(o.Path), log: d.Log, mu: contextmutex.New()}
	f.opts.Store(o)
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	a, err := f.open()
	if err != nil {
		return nil, f.fault("open", err)
	}
	f.active = a
	f.finished = newFinished(f.path, f.log)
	f.finished.start(o.Compression == zstdCompression, o.Rotate.Keep)
	f.finished.requestSweep() // completes what a crash interrupted
	return f, nil
}

func (f *output) Reconfigure(options any) {
	o := options.(*Options)
	f.opts.Store(o)
	f.finished.configure(o.Compression == zstdCompression, o.Rotate.Keep)
	f.finished.requestSweep()
}

func (f *output) Send(ctx context.Context, b outputs.Batch) error {
	if err := f.mu.Lock(ctx); err != nil {
		return err
	}
	defer f.mu.Unlock()
	if f.closed {
		return outputs.ErrClosed
	}
	f.leaveMoved()
	if err := f.rotateIfDue(int64(len(b.Lines))); err != nil {
		return err
	}
	if f.active == nil {
		a, err := f.open()
		if err != nil {
			return f.fault("open", err)
		}
		f.active = a
	}
	n, err := f.active.Write(b.Lines)
	if err != nil {
		err = f.undoWrite(n, err)
		if isDiskFull(err) { // an open file would keep its space after a person has removed it
			f.leave()
		}
		return f.fault("write", err)
	}
	if f.active.size == 0 {
		f.active.oldestRecord = time.Now()
	}
	f.active.size += int64(n)
	return nil
}

// leaveMoved closes the file if its path no longer leads to it: somebody has moved or removed it, and what is written
// to it now would be lost.
func (f *output) leaveMoved() {
	if f.active != nil && !f.active.isAt(f.path) {
		f.log.Info("output file was moved; starting a new one", "path", f.path)
		f.leave()
	}
}

// leave closes the file, if it is open. The next batch opens the path again.
func (f *output) leave() {
	if f.active != nil {
		f.syncErr = errors.Join(f.syncErr, f.active.shutdown())
		f.active = nil
	}
}

// undoWrite removes the n bytes of a failed write, so that the next one does not continue an incomplete line.
func (f *output) undoWrite(n int, err error) error {
	if n == 0 {
		return err
	}
	at, serr := f.active.Stat()
	if serr == nil {
		serr = f.active.Truncate(at.Size() - int64(n)) // nobody else appends: the last n bytes are this write's
	}
	if serr != nil { // the next open removes the line
		f.leave()
		return errors.Join(err, fmt.Errorf("remove the incomplete line: %w", serr))
	}
	return err
}

// Flush waits until everything that was sent is on the disk. It also notices when the file was moved.
func (f *output) Flush(ctx context.Context) error {
	if err := f.mu.Lock(ctx); err != nil {
		return err
	}
	if f.closed {
		f.mu.Unlock()
		return outputs.ErrClosed
	}
	f.leaveMoved()
	err := f.fault("flush", f.syncErr)
	f.syncErr = nil
	if err == nil {
		err = f.rotateIfDue(0)
	}
	a := f.active
	f.mu.Unlock()
	if err != nil || a == nil {
		return err
	}
	err = a.Sync()
	if errors.Is(err, os.ErrClosed) { // rotated meanwhile, which syncs too
		err = a.shutdown()
	}
	if err != nil { // the kernel may have dropped pages: continue with a new handle
		if terr := f.mu.Lock(ctx); terr == nil {
			if f.active == a {
				f.active = nil
			}
			f.mu.Unlock()
		}
		a.shutdown()
	}
	return f.fault("flush", err)
}

// Close syncs the file and waits, until ctx ends, for the compression of finished files. The next start does what is
// left.
func (f *output) Close(ctx context.Context) error {
	if err := f.mu.Lock(ctx); err != nil {
		f.finished.stop(ctx)
		return err
	}
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	f.leave()
	f.finished.stop(ctx)
	return f.fault("close", f.syncErr)
}

// shutdown syncs and closes once; every caller gets the error.
func (a *activeFile) shutdown() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.isClosed {
		a.isClosed = true
		a.syncErr = errors.Join(a.File.Sync(), a.File.Close())
	}
	return a.syncErr
}

// isAt reports whether path still leads to this file.
func (a *activeFile) isAt(path string) bool {
	current, err := os.Stat(path)
	return err == nil && os.SameFile(a.info, current)
}

// rotationDue reports whether the file must be finished before more bytes are written.
func (f *output) rotationDue(more int64) bool {
	r, a := f.opts.Load().Rotate, f.active
	switch {
	case a.size == 0:
		return false
	case r.MaxBytes > 0 && a.size+more > int64(r.MaxBytes):
		return true
	}
	return r.MaxAge > 0 && time.Since(a.oldestRecord) >= time.Duration(r.MaxAge)
}

// rotateRetryDelay is the pause after a failed rotation.
const rotateRetryDelay = time.Minute

// rotateIfDue finishes the file if necessary. If it cannot be renamed, the file grows beyond its limits: a file that is
// too large is better than lost records.
func (f *output) rotateIfDue(more int64) error {
	if f.active == nil || !f.rotationDue(more) || time.Now().Before(f.retryAfter) {
		return nil
	}
	err := f.rotate()
	switch {
	case err == nil:
		f.retryAfter = time.Time{}
	case f.active != nil:
		if f.retryAfter.IsZero() {
			err := f.fault("finish the file", err)
			f.log.Warn(
				"output file cannot be rotated; it keeps growing",
				"path", f.path, "error", err, "hint", record.HintOf(err),
			)
		}
		f.retryAfter = time.Now().Add(rotateRetryDelay)
	default:
		return f.fault("finish the file", err)
	}
	return nil
}

// rotate finishes the active file: first fsync, then rename, so a finished file is complete even after a crash.
func (f *output) rotate() error {
	a := f.active
	if err := a.Sync(); err != nil {
		return err
	}
	name, err := f.finished.nextName(time.Now())
	if err != nil {
		return err
	}
	if err := os.Rename(f.path, name); err != nil {
		return err
	}
	f.active = nil
	if err := errors.Join(a.shutdown(), statefile.SyncDir(filepath.Dir(f.path))); err != nil {
		return err
	}
	f.finished.requestSweep()
	return nil
}

var errNotJSONLines = errors.New("the file does not contain JSON lines")

// open opens or creates the file, locks it, and removes an incomplete last line.
func (f *output) open() (_ *activeFile, err error) {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o750); err != nil {
		return nil, err
	}
	st, err := os.Stat(f.path)
	if err == nil && !st.Mode().IsRegular() { // check before opening: opening a FIFO waits for its reader
		if st.IsDir() {
			return nil, syscall.EISDIR
		}
		return nil, errNotRegular
	}
	h, err := os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	a := &activeFile{File: h, oldestRecord: time.Now()}
	defer func() {
		if err != nil {
			_ = h.Close() // nothing was written
		}
	}()
	if a.info, err = h.Stat(); err != nil {
		return nil, err
	}
	if err := filelock.TryLock(h); errors.Is(err, filelock.ErrLocked) {
		return nil, err
	} else if err != nil {
		f.log.Warn("output file cannot be locked", "path", f.path, "error", err,
			"hint", "Make sure that no other process writes this file.")
	}
	if !a.isAt(f.path) {
		return nil, filelock.ErrLocked // its owner rotated it between our open and our lock
	}
	if err := f.repair(a); err != nil {
		return nil, err
	}
	return a, statefile.SyncDir(filepath.Dir(f.path))
}

// repair removes an incomplete last line, and finds the file's size and age.
func (f *output) repair(a *activeFile) error {
	st, err := a.Stat() // the owner before may have written until the file was locked
	if err != nil {
		return err
	}
	if a.size = st.Size(); a.size == 0 {
		return nil
	}
	head := make([]byte, 1)
	if _, err := a.ReadAt(head, 0); err != nil {
		return err
	}
	if head[0] != '{' && head[0] != 0 { // 0: after a power failure a file may have its length but not its bytes
		return errNotJSONLines
	}
	end, err := lastLineEnd(a, a.size)
	if err != nil {
		return err
	}
	if end < a.size {
		// An earlier process was killed while it wrote.
		f.log.Warn("removed incomplete last line of output file", "path", f.path, "bytes", a.size-end)
		if err := a.Truncate(end); err != nil {
			return err
		}
		a.size = end
	}
	a.oldestRecord = st.ModTime()
	var first struct {
		At time.Time `json:"collected_at"`
	}
	if json.NewDecoder(io.NewSectionReader(a, 0, 1<<20)).Decode(&first) == nil && !first.At.IsZero() {
		a.oldestRecord = first.At
	}
	return nil
}

// lastLineEnd returns the offset after the last complete line of the first size bytes.
func lastLineEnd(r io.ReaderAt, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		n := min(end, int64(len(buf)))
		if _, err := r.ReadAt(buf[:n], end-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}

var errNotRegular = errors.New("not a regular file")

func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// fault adds the path and a hint to an error.
func (f *output) fault(doing string, err error) error {
	if err == nil {
		return nil
	}
	hint := ""
	switch {
	case isDiskFull(err):
		hint = "Free disk space, or set rotate.max_bytes and rotate.keep. Writing resumes by itself."
	case errors.Is(err, syscall.EISDIR):
		hint = "Add a file name to path, such as " + filepath.Join(f.path, "records.jsonl") + ": it is a directory."
	case errors.Is(err, errNotRegular):
		hint = "Set path to a regular file. For the terminal use `type: stdout`."
	case errors.Is(err, filelock.ErrLocked):
		hint = "Set a path of its own: another collector, or another output of this one, writes this file."
	case errors.Is(err, errNotJSONLines):
		hint = "Set another path. The file was not changed."
	case errors.Is(err, fs.ErrPermission):
		hint = fmt.Sprintf("Allow uid %d to write to %s, or set another path.", os.Getuid(), filepath.Dir(f.path))
	case errors.Is(err, syscall.EROFS):
		hint = "Set a path on a writable file system; in a container, below the data volume."
	case errors.Is(err, syscall.ENOTDIR):
		hint = "Correct path: one of its parents is a file."
	case errors.Is(err, fs.ErrNotExist):
		hint = "Set another path: its directory cannot be created."
	}
	return &record.Fault{
		Reason: record.Other,
		Hint:   hint,
		Err:    fmt.Errorf("%s %s: %w", doing, f.path, withoutPath(err, f.path)),
	}
}

// withoutPath returns err without the path, if the message has it already.
func withoutPath(err error, path string) error {
	if e, ok := err.(*fs.PathError); ok && e.Path == path { // only the outermost error: an inner one has context around it
		return e.Err
	}
	return err
}
