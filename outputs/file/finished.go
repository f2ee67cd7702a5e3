package file

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/aws-collector/collector/internal/statefile"
)

// finishedFiles manages the files that were rotated: one goroutine compresses them and removes the oldest. It finds its
// work in the directory, so the next start completes what a crash interrupted.
type finishedFiles struct {
	dir, stem, ext string // for out/records.jsonl: out, records, .jsonl
	log            *slog.Logger

	mu       sync.Mutex
	compress bool
	keep     int

	wake     chan struct{}
	cancel   context.CancelFunc
	stopping chan struct{} // closed: finish the requested work, then return
	once     sync.Once
	wg       sync.WaitGroup
}

const (
	timestampFormat = "20060102T150405Z"
	zstExt          = ".zst"
	tmpExt          = ".tmp"
)

func newFinished(path string, log *slog.Logger) *finishedFiles {
	dir, base := filepath.Split(path)
	ext := filepath.Ext(base)
	return &finishedFiles{dir: filepath.Clean(dir), stem: strings.TrimSuffix(base, ext), ext: ext, log: log,
		wake: make(chan struct{}, 1), stopping: make(chan struct{})}
}

// nextName is the name for a file that is finished now. It sorts after all others, even if the clock went back or
// within the same second, so the first file to be removed is always the oldest.
func (f *finishedFiles) nextName(now time.Time) (string, error) {
	all, _, err := f.list()
	if err != nil {
		return "", err
	}
	at := now.UTC().Format(timestampFormat)
	if len(all) > 0 {
		if last := all[len(all)-1]; last.at >= at {
			return filepath.Join(f.dir, f.stem+"-"+last.at+"-"+strconv.Itoa(last.sequence+1)+f.ext), nil
		}
	}
	return filepath.Join(f.dir, f.stem+"-"+at+f.ext), nil
}

func (f *finishedFiles) start(compress bool, keep int) {
	f.configure(compress, keep)
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.wg.Go(func() {
		for {
			select {
			case <-f.wake:
				f.sweep(ctx)
				continue
			default:
			}
			select {
			case <-f.wake:
				f.sweep(ctx)
			case <-f.stopping:
				return
			}
		}
	})
}

func (f *finishedFiles) configure(compress bool, keep int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.compress, f.keep = compress, keep
}

// requestSweep wakes the goroutine.
func (f *finishedFiles) requestSweep() {
	select {
	case f.wake <- struct{}{}:
	default: // already requested
	}
}

// stop waits for the goroutine until ctx ends, and then interrupts it. It may be called twice.
func (f *finishedFiles) stop(ctx context.Context) {
	f.once.Do(func() { close(f.stopping) })
	defer context.AfterFunc(ctx, f.cancel)()
	f.wg.Wait()
	f.cancel()
}

// A finishedFile is one that was rotated.
type finishedFile struct {
	path       string // without .zst
	at         string
	sequence   int
	plain      bool
	compressed bool
}

// sweep removes incomplete files, compresses finished ones, and removes those above the number to keep.
func (f *finishedFiles) sweep(ctx context.Context) {
	f.mu.Lock()
	compress, keep := f.compress, f.keep
	f.mu.Unlock()
	all, partial, err := f.list()
	if err != nil {
		f.log.Warn("output files cannot be listed", "path", f.dir, "error", err)
		return
	}
	for _, h := range partial {
		f.remove(true, h)
	}
	if keep > 0 && len(all) > keep { // before compression, which they do not need
		for _, o := range all[:len(all)-keep] {
			f.log.Info("removed old output file", "path", o.path, "keep", keep)
			f.remove(o.plain, o.path)
			f.remove(o.compressed, o.path+zstExt)
		}
		all = all[len(all)-keep:]
	}
	for _, o := range all {
		switch {
		case o.plain && o.compressed: // killed before the removal: the compressed file is complete
			f.remove(true, o.path)
		case o.plain && compress:
			if err := compressFile(ctx, o.path); err != nil {
				if ctx.Err() == nil {
					f.log.Warn("output file cannot be compressed", "path", o.path, "error", err)
				}
				return
			}
		}
	}
}

func (f *finishedFiles) remove(exists bool, path string) {
	if !exists {
		return
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		f.log.Warn("output file cannot be removed", "path", path, "error", err)
	}
}

// list returns the finished files, oldest first, and the incompletely compressed ones.
func (f *finishedFiles) list() (all []finishedFile, partial []string, err error) {
	re, err := regexp.Compile(
		`^` + regexp.QuoteMeta(f.stem) + `-(\d{8}T\d{6}Z)(?:-(\d{1,9}))?` + regexp.QuoteMeta(f.ext) + `(\.zst)?(\.tmp)?$`,
	)
	if err != nil {
		return nil, nil, err
	}
	es, err := os.ReadDir(f.dir)
	if err != nil {
		return nil, nil, err
	}
	byPath := map[string]*finishedFile{}
	for _, e := range es {
		m := re.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(f.dir, e.Name())
		if m[4] != "" {
			if m[3] != "" {
				partial = append(partial, path)
			}
			continue
		}
		path = strings.TrimSuffix(path, m[3])
		o := byPath[path]
		if o == nil {
			n := 1 // the first file of a second has no number
			if m[2] != "" {
				n, _ = strconv.Atoi(m[2]) // at most nine digits
			}
			o = &finishedFile{path: path, at: m[1], sequence: n}
			byPath[path] = o
		}
		o.plain = o.plain || m[3] == ""
		o.compressed = o.compressed || m[3] != ""
	}
	for _, o := range byPath {
		all = append(all, *o)
	}
	slices.SortFunc(all, func(a, b finishedFile) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.sequence, b.sequence))
	})
	return all, partial, nil
}

// compressFile creates path.zst and removes path. The new file gets its name when it is complete and on the disk.
func compressFile(ctx context.Context, path string) (err error) {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	st, err := in.Stat()
	if err != nil {
		return err
	}
	tmp := path + zstExt + tmpExt
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, st.Mode().Perm())
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, out.Close(), os.Remove(tmp))
		}
	}()
	z, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, contextReader{ctx, in}); err != nil {
		return errors.Join(err, z.Close())
	}
	if err := z.Close(); err != nil {
		return err
	}
	if err := out.Sync(); err != nil {
		return err
	}
	if err := os.Chtimes(tmp, st.ModTime(), st.ModTime()); err != nil {
		return err
	}
	if err := os.Rename(tmp, path+zstExt); err != nil {
		return err
	}
	if err := statefile.SyncDir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Remove(path)
}

// A contextReader fails when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(b)
}
