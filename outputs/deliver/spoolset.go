package deliver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/journal"
	"github.com/aws-collector/collector/record"
)

// spoolKey is the key of a worker with a spool: a spool belongs to the output's name.
func spoolKey(name string) string { return "spool:" + name }

// spool opens the spool of fo, if it has one, or keeps it. If the output behind it cannot stay, spool opens the next
// one now, so that its errors reject the configuration; the spool gets it when the configuration is accepted.
func (s *Set) spool(fo *fanOutput, open opener) opener {
	if !fo.hasSpool {
		return open
	}
	return func(ctx context.Context, old outputs.Output) (_ outputs.Output, err error) {
		sp, isOpen := old.(*spool)
		if isOpen && sp.canKeepInner(fo.typ, fo.key, fo.options) {
			return sp, nil
		}
		if fo.newInner, err = open(ctx, nil); err != nil || isOpen {
			return sp, err
		}
		if sp, err = openSpool(fo.name, fo.spoolOptions, s.deps); err != nil {
			return nil, errors.Join(err, fo.newInner.Close(ctx))
		}
		return sp, nil
	}
}

// reportOrphans logs, once, which spools hold records that no output will send. The caller holds s.configMu.
func (s *Set) reportOrphans() {
	if s.orphansReported || s.deps.SpoolDir == "" {
		return
	}
	s.orphansReported = true
	dirs, err := os.ReadDir(s.deps.SpoolDir)
	if err != nil {
		return // the directory does not exist yet: an output with a spool would have created it
	}
	for _, d := range dirs {
		name, err := url.PathUnescape(d.Name())
		if err != nil || !d.IsDir() || s.findWorker(spoolKey(name)) != nil {
			continue
		}
		dir := filepath.Join(s.deps.SpoolDir, d.Name())
		st, err := journal.Inspect(dir)
		if err != nil {
			s.deps.Log.Warn("cannot read a spool without an output", "output", name, "spool", dir, "error", err)
		} else if st.Records > 0 {
			s.deps.Log.Warn("spool without an output holds records", "output", name,
				"records", st.Records, "oldest", st.Oldest.UTC().Format(time.RFC3339), "spool", dir,
				"hint", "Configure an output with this name to send them, or remove the directory.")
		}
	}
}

// Drain waits until the outputs were sent the last changes and the receivers have everything that was in spools, or
// until ctx ends. The error says what is left, and where. It is for the end of collecting: from now on, requests no
// longer wait to fill up.
func (s *Set) Drain(ctx context.Context) error {
	s.mu.Lock()
	open := append([]*worker(nil), s.workers...)
	s.mu.Unlock()
	var wg sync.WaitGroup
	errs := make([]error, len(open))
	for i, w := range open {
		wg.Go(func() {
			errs[i] = w.catchUp(ctx)
			if w.spool == nil {
				return
			}
			w.spool.drain(ctx, true)
			if st := w.State(); st.Spool.Records > 0 {
				err := fmt.Errorf("output %s: %d records wait in %s for the next start", st.Name, st.Spool.Records, st.Spool.Dir)
				if st.Error != "" {
					err = &record.Fault{Reason: record.Other, Hint: st.Hint, Err: fmt.Errorf("%w: %s", err, st.Error)}
				}
				errs[i] = errors.Join(errs[i], err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
