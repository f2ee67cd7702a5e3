package outputs

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
	"github.com/aws-collector/collector/record"
)

// File is the options of the output `file`: the records as JSON lines in a file that is only appended to, and, if asked
// for, turned over by size or age into finished files beside it: records.jsonl becomes records-20261121T221503Z.jsonl,
// or .jsonl.zst.
type File struct {
	Common      `yaml:",inline"`
	Path        string `yaml:"path" doc:"The file being written, as out/records.jsonl; its folder is made if it is missing."`
	Compression string `yaml:"compression" enum:"none,zstd" doc:"Of finished files."`
	Rotate      Rotate `yaml:"rotate" doc:"When a file is finished and another begun. Default: never."`
}

// Rotate says when a file is finished and how many are kept. A file is never split in mid-line, and an empty one is never
// finished. logrotate may move the file as well: a new one is begun at the next flush.
type Rotate struct {
	MaxBytes Bytes           `yaml:"max_bytes" doc:"Finish the file before it grows over this, as 256MiB; 0: any size."`
	MaxAge   config.Duration `yaml:"max_age" doc:"Finish the file when its oldest record is older; 0: any age."`
	Keep     int             `yaml:"keep" doc:"How many finished files are kept, the youngest; 0: all."`
}

const (
	noCompression   = "none"
	zstdCompression = "zstd"
)

func fileDefaults() any { return &File{Compression: noCompression} }

// Validate reports everything that is wrong.
func (f *File) Validate() error {
	var errs []error
	if f.Path == "" {
		errs = append(errs, errors.New("path: is needed: where to write, as out/records.jsonl"))
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

// fileKey is the file's real path, so that two ways to write it are one file.
func fileKey(options any) string { return "file:" + realPath(options.(*File).Path) }

func realPath(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		abs = path // the working directory is gone; open will say so
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real
	}
	if dir, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		return filepath.Join(dir, filepath.Base(abs))
	}
	return abs
}

// file appends batches to the active file. A Send that fails leaves nothing behind, and the next one tries anew: what
// was wrong (a full disk, a folder that was taken away) may be over.
type file struct {
	path     string
	log      *slog.Logger
	finished *finishedFiles

	opts atomic.Pointer[File] // a reload swaps it

	mu         contextMutex // guards what follows; held while writing, never during a flush's fsync
	active     *activeFile  // nil: to be opened by the next Send
	retryAfter time.Time    // it could not be finished: goes on growing, and is tried again then
	closed     bool
}

// activeFile is the file being written.
type activeFile struct {
	*os.File
	size         int64
	oldestRecord time.Time // of its oldest record

	mu       sync.Mutex
	syncErr  error // of the fsync before it was closed
	isClosed bool
}

func openFile(ctx context.Context, options any, d Deps) (Output, error) {
	o := options.(*File)
	f := &file{path: realPath(o.Path), log: d.Log, mu: make(contextMutex, 1)}
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
	f.finished.requestSweep() // what a crash left half done
	return f, nil
}

func (f *file) reconfigure(options any) {
	o := options.(*File)
	f.opts.Store(o)
	f.finished.configure(o.Compression == zstdCompression, o.Rotate.Keep)
	f.finished.requestSweep()
}

func (f *file) Send(ctx context.Context, b Batch) error {
	if err := f.mu.lock(ctx); err != nil {
		return err
	}
	defer f.mu.unlock()
	if f.closed {
		return ErrClosed
	}
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
		return f.fault("write", f.undoWrite(n, err))
	}
	if f.active.size == 0 {
		f.active.oldestRecord = time.Now()
	}
	f.active.size += int64(n)
	return nil
}

// undoWrite takes back the n bytes of a write that failed, so that the next one does not continue a torn line.
func (f *file) undoWrite(n int, err error) error {
	if n == 0 {
		return err
	}
	at, serr := f.active.Stat()
	if serr == nil {
		serr = f.active.Truncate(at.Size() - int64(n)) // we alone append: the last n bytes are ours
	}
	if serr != nil { // open cuts it, next time
		f.active.shutdown()
		f.active = nil
		return errors.Join(err, fmt.Errorf("take back half a line: %w", serr))
	}
	return err
}

// Flush waits until everything sent before is on the disk. It also sees whether somebody moved the file away.
func (f *file) Flush(ctx context.Context) error {
	if err := f.mu.lock(ctx); err != nil {
		return err
	}
	if f.closed {
		f.mu.unlock()
		return ErrClosed
	}
	a := f.active
	var moved bool
	if a != nil {
		moved = !a.isAt(f.path)
		if moved { // its bytes are still ours to sync; a new file begins with the next batch
			f.log.Info("output file was moved away; a new one is begun", "path", f.path)
			f.active = nil
		} else if err := f.rotateIfDue(0); err != nil {
			f.mu.unlock()
			return err
		}
	}
	f.mu.unlock()
	if a == nil {
		return nil
	}
	if moved {
		return f.fault("flush", a.shutdown())
	}
	err := a.Sync()
	if errors.Is(err, os.ErrClosed) { // turned over meanwhile, which syncs too
		err = a.shutdown()
	}
	if err != nil { // what the kernel dropped is lost; go on with a new handle
		if terr := f.mu.lock(ctx); terr == nil {
			if f.active == a {
				f.active = nil
			}
			f.mu.unlock()
		}
		a.shutdown()
	}
	return f.fault("flush", err)
}

// Close syncs the file, and waits for the compression of finished ones as long as ctx lets it; what it leaves, the next
// start does.
func (f *file) Close(ctx context.Context) error {
	if err := f.mu.lock(ctx); err != nil {
		f.finished.stop(ctx)
		return err
	}
	defer f.mu.unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	var err error
	if f.active != nil {
		err = f.active.shutdown()
		f.active = nil
	}
	f.finished.stop(ctx)
	return f.fault("close", err)
}

// shutdown syncs and closes, once; every caller gets the sync's error.
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
	have, err := a.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(have, there)
}

// rotationDue reports whether the file is finished before more bytes go into it.
func (f *file) rotationDue(more int64) bool {
	r, a := f.opts.Load().Rotate, f.active
	switch {
	case a.size == 0:
		return false
	case r.MaxBytes > 0 && a.size+more > int64(r.MaxBytes):
		return true
	}
	return r.MaxAge > 0 && time.Since(a.oldestRecord) >= time.Duration(r.MaxAge)
}

// rotateRetryDelay is how long a file that could not be finished is left to grow before the next try.
const rotateRetryDelay = time.Minute

// rotateIfDue finishes the file if it is due before more bytes. A file that cannot be renamed is written on, whatever its
// size: too long a file is better than lost records.
func (f *file) rotateIfDue(more int64) error {
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
				"output file cannot be finished; it goes on growing",
				"path", f.path, "error", err, "hint", record.HintOf(err),
			)
		}
		f.retryAfter = time.Now().Add(rotateRetryDelay)
	default:
		return f.fault("finish the file", err)
	}
	return nil
}

// rotate finishes the active file: synced, then renamed, so that a finished file is whole whatever happens when.
func (f *file) rotate() error {
	a := f.active
	if !a.isAt(f.path) { // somebody else did
		f.active = nil
		return a.shutdown()
	}
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

var errNotJSONLines = errors.New("it holds something else than JSON lines")

// open opens or makes the file, locks it, and cuts off a line that a crash left torn.
func (f *file) open() (_ *activeFile, err error) {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o750); err != nil {
		return nil, err
	}
	if st, err := os.Stat(f.path); err == nil &&
		!st.Mode().IsRegular() { // before opening: a FIFO would wait for its reader
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
	if err := filelock.TryLock(h); errors.Is(err, filelock.ErrLocked) {
		return nil, err
	} else if err != nil {
		f.log.Warn("output file cannot be locked here; see that no second process writes it", "path", f.path, "error", err)
	}
	if !a.isAt(f.path) {
		return nil, filelock.ErrLocked // its owner turned it over between our open and our lock
	}
	if err := f.repair(a); err != nil {
		return nil, err
	}
	return a, statefile.SyncDir(filepath.Dir(f.path))
}

// repair cuts a torn last line, and finds size and age.
func (f *file) repair(a *activeFile) error {
	st, err := a.Stat()
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
	if head[0] != '{' && head[0] != 0 { // 0: a power cut can leave a file's length without its bytes
		return errNotJSONLines
	}
	end, err := lastLineEnd(a, a.size)
	if err != nil {
		return err
	}
	if end < a.size {
		f.log.Warn("output file ended in half a line, which is cut off; an earlier process was killed while it wrote",
			"path", f.path, "bytes", a.size-end)
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

// lastLineEnd is where the last whole line of the first size bytes ends.
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

var errNotRegular = errors.New("it is not a regular file")

// fault names the path, and what a person can do.
func (f *file) fault(doing string, err error) error {
	if err == nil {
		return nil
	}
	hint := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		hint = "make room, or set rotate.max_bytes and rotate.keep; it goes on by itself"
	case errors.Is(err, syscall.EISDIR):
		hint = "path names a folder: add a file name, as " + filepath.Join(f.path, "records.jsonl")
	case errors.Is(err, errNotRegular):
		hint = "path names a device or a pipe: for the terminal use `type: stdout`"
	case errors.Is(err, filelock.ErrLocked):
		hint = "another collector, or another output of this one, writes it: give each its own path"
	case errors.Is(err, errNotJSONLines):
		hint = "nothing was changed in it: give another path"
	case errors.Is(err, fs.ErrPermission):
		hint = fmt.Sprintf("let uid %d write %s, or give another path", os.Getuid(), filepath.Dir(f.path))
	case errors.Is(err, syscall.EROFS):
		hint = "the file system is read-only: in the container write below the data volume"
	case errors.Is(err, syscall.ENOTDIR):
		hint = "a part of the path is a file"
	case errors.Is(err, fs.ErrNotExist):
		hint = "its folder cannot be made there: give another path"
	}
	return &record.Fault{
		Reason: record.Other,
		Hint:   hint,
		Err:    fmt.Errorf("%s %s: %w", doing, f.path, withoutPath(err, f.path)),
	}
}

// withoutPath is err without the path, if that is said already.
func withoutPath(err error, path string) error {
	if e, ok := err.(*fs.PathError); ok && e.Path == path { // not one inside: what is wrapped around it would be lost
		return e.Err
	}
	return err
}
