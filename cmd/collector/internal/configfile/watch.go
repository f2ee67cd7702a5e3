package configfile

import (
	"context"
	"log/slog"
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

// Watch calls reload at SIGHUP, and when the content of the configuration or of a ${file:} reference changes. lastRead
// returns the files that were read last, valid or not. Watch watches directories instead of files: an editor replaces
// the file, and Kubernetes swaps a symbolic link (..data) in the directory.
func Watch(
	ctx context.Context, log *slog.Logger, lastRead func() Digests, reload func(context.Context),
) (stop func()) {
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
		dirs, names = lastRead().names()
		for dir := range dirs {
			if err == nil {
				err = w.Add(dir) // adding a directory again does nothing
			}
		}
		if err != nil {
			log.Warn("configuration files are not watched", "error", err,
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
				reload(ctx)
				watch()
			case e := <-events:
				// Any file of the directory may be the target of a link to the configuration. But other files must not delay
				// the reload again and again: records may be written in this directory all the time.
				if e.Op != fsnotify.Chmod && (quiet == nil || names[filepath.Base(e.Name)]) {
					quiet = time.After(settleDelay)
				}
			case err := <-watchErrors: // an overflow: something changed, and events are missing
				log.Debug("configuration watch error", "error", err)
				quiet = time.After(settleDelay)
			case <-quiet:
				quiet = nil
				if lastRead().changed(ctx) {
					reload(ctx)
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

// names returns the directories to watch, and the names of the files.
func (in Digests) names() (dirs, files map[string]bool) {
	dirs, files = map[string]bool{}, map[string]bool{}
	for path := range in {
		dirs[filepath.Dir(path)], files[filepath.Base(path)] = true, true
	}
	return dirs, files
}
