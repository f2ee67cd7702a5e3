package main

import (
	"bytes"
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settle is how long a file must be left alone before it is read: an editor writes in several steps.
const settle = 300 * time.Millisecond

// watchConfig reloads at SIGHUP and when the file's contents change, until stop. It watches the file's directory, not
// the file: an editor puts a new file in its place, and Kubernetes swaps a symbolic link (..data) beside it.
func (p *program) watchConfig(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	name := filepath.Base(p.cli.configPath)
	var events chan fsnotify.Event
	var lost chan error
	w, err := fsnotify.NewWatcher()
	if err == nil {
		if err = w.Add(filepath.Dir(p.cli.configPath)); err == nil {
			events, lost = w.Events, w.Errors
		}
	}
	if err != nil {
		p.log.Warn("the configuration file is not watched; SIGHUP and POST /-/reload still load it", "error", err)
	}
	wg.Go(func() {
		var quiet <-chan time.Time
		for {
			select {
			case <-ctx.Done():
				return
			case <-hup:
				_ = p.reload(ctx) // logged and counted there
			case e := <-events:
				// Other files of the directory may be what the name leads to, but they must not put it off: records may be
				// written beside the configuration all the time.
				if e.Op != fsnotify.Chmod && (quiet == nil || filepath.Base(e.Name) == name) {
					quiet = time.After(settle)
				}
			case err := <-lost: // an overflow: something changed, nobody knows what
				p.log.Debug("watching the configuration file", "error", err)
				quiet = time.After(settle)
			case <-quiet:
				quiet = nil
				if p.changed() {
					_ = p.reload(ctx)
				}
			}
		}
	})
	return func() {
		signal.Stop(hup)
		cancel()
		wg.Wait()
		if w != nil {
			_ = w.Close()
		}
	}
}

// changed reports whether the file's contents are other than when they were last read, good or bad. A file that is not
// there is on its way.
func (p *program) changed() bool {
	b, err := os.ReadFile(p.cli.configPath)
	if err != nil {
		return false
	}
	p.reloading.Lock()
	defer p.reloading.Unlock()
	if bytes.Equal(b, p.seen) {
		return false
	}
	p.seen = b
	return true
}
