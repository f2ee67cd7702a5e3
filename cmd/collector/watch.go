package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settleDelay is how long a file must be left alone before it is read: an editor writes in several steps.
const settleDelay = 300 * time.Millisecond

// watchConfig reloads at SIGHUP and when the contents change of the file, or of one that ${file:} names, until stop. It
// watches directories, not files: an editor puts a new file in its place, and Kubernetes swaps a symbolic link (..data) beside it.
func (p *program) watchConfig(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	var events chan fsnotify.Event
	var lost chan error
	var names map[string]bool
	w, err := fsnotify.NewWatcher()
	if err == nil {
		events, lost = w.Events, w.Errors
	}
	follow := func() {
		var dirs map[string]bool
		dirs, names = p.watchedFiles()
		for dir := range dirs {
			if err == nil {
				err = w.Add(dir) // once more is no harm
			}
		}
		if err != nil {
			p.log.Warn("the configuration's files are not watched; SIGHUP and POST /-/reload still load them", "error", err)
		}
	}
	follow()
	wg.Go(func() {
		var quiet <-chan time.Time
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				_ = p.reload(ctx) // logged and counted there
				follow()
			case e := <-events:
				// Other files of the directory may be what the name leads to, but they must not put it off: records may be
				// written beside the configuration all the time.
				if e.Op != fsnotify.Chmod && (quiet == nil || names[filepath.Base(e.Name)]) {
					quiet = time.After(settleDelay)
				}
			case err := <-lost: // an overflow: something changed, nobody knows what
				p.log.Debug("watching the configuration file", "error", err)
				quiet = time.After(settleDelay)
			case <-quiet:
				quiet = nil
				if p.changed(ctx) {
					_ = p.reload(ctx)
					follow()
				}
			}
		}
	})
	return func() { // SIGHUP stays caught: it must not end a program that is draining
		cancel()
		wg.Wait()
		if w != nil {
			_ = w.Close()
		}
	}
}

// watchedFiles says what to watch: the directories of all that the configuration was last made of, and these files' names.
func (p *program) watchedFiles() (dirs, names map[string]bool) {
	p.reloadMu.Lock()
	defer p.reloadMu.Unlock()
	dirs, names = map[string]bool{}, map[string]bool{}
	for path := range p.lastRead {
		dirs[filepath.Dir(path)], names[filepath.Base(path)] = true, true
	}
	return dirs, names
}

// changed reports whether the configuration, or a file that it names, holds something else than when it was last read, good or bad.
func (p *program) changed(ctx context.Context) bool {
	p.reloadMu.Lock()
	defer p.reloadMu.Unlock()
	return p.lastRead.changed(ctx)
}
