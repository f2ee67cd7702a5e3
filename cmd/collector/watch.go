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

// settleDelay is how long a file must be unchanged before it is read: an editor writes in several steps.
const settleDelay = 300 * time.Millisecond

// watchConfig reloads the configuration at SIGHUP, and when the content of the file or of a ${file:} reference changes.
// It watches directories instead of files: an editor replaces the file, and Kubernetes swaps a symbolic link (..data)
// in the directory.
func (p *program) watchConfig(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	var events chan fsnotify.Event
	var watchErrors chan error
	var names map[string]bool
	w, err := fsnotify.NewWatcher()
	if err == nil {
		events, watchErrors = w.Events, w.Errors
	}
	watch := func() {
		var dirs map[string]bool
		dirs, names = p.watchedFiles()
		for dir := range dirs {
			if err == nil {
				err = w.Add(dir) // adding a directory again does nothing
			}
		}
		if err != nil {
			p.log.Warn("configuration files are not watched", "error", err,
				"hint", "Send SIGHUP or POST /-/reload after a change.")
		}
	}
	watch()
	wg.Go(func() {
		var quiet <-chan time.Time
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				_ = p.reload(ctx) // logged and counted there
				watch()
			case e := <-events:
				// Any file of the directory may be the target of a link to the configuration. But other files must not delay
				// the reload again and again: records may be written in this directory all the time.
				if e.Op != fsnotify.Chmod && (quiet == nil || names[filepath.Base(e.Name)]) {
					quiet = time.After(settleDelay)
				}
			case err := <-watchErrors: // an overflow: something changed, and events are missing
				p.log.Debug("configuration watch error", "error", err)
				quiet = time.After(settleDelay)
			case <-quiet:
				quiet = nil
				if p.changed(ctx) {
					_ = p.reload(ctx)
					watch()
				}
			}
		}
	})
	return func() { // SIGHUP stays caught, because it must not kill a program that drains
		cancel()
		wg.Wait()
		if w != nil {
			_ = w.Close()
		}
	}
}

// watchedFiles returns the directories to watch, and the names of the files of the last configuration.
func (p *program) watchedFiles() (dirs, names map[string]bool) {
	p.reloadMu.Lock()
	defer p.reloadMu.Unlock()
	dirs, names = map[string]bool{}, map[string]bool{}
	for path := range p.lastRead {
		dirs[filepath.Dir(path)], names[filepath.Base(path)] = true, true
	}
	return dirs, names
}

// changed reports whether a file of the configuration has changed since it was read last, valid or not.
func (p *program) changed(ctx context.Context) bool {
	p.reloadMu.Lock()
	defer p.reloadMu.Unlock()
	return p.lastRead.changed(ctx)
}
