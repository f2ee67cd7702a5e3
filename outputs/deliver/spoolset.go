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

// openSpooled returns the open spool of this name, or opens it. It opens the inner output now, so that its errors
// reject the configuration. The caller holds s.configMu.
func (s *Set) openSpooled(ctx context.Context, t outputs.Type, fo fanOutput, o outputs.Spool) (_ fanOutput, err error) {
	fo.spoolOptions = o
	w := s.findWorker("spool:" + fo.name)
	if w != nil && w.spool.canKeepInner(t, fo.key, fo.options) {
		w.refs++
		fo.worker = w
		return fo, nil
	}
	if fo.newInner, err = s.openShared(ctx, t, fo); err != nil {
		return fanOutput{}, err
	}
	if w != nil {
		w.refs++
		fo.worker = w
		return fo, nil
	}
	sp, err := openSpool(fo.name, o, s.deps)
	if err != nil {
		return fanOutput{}, errors.Join(err, fo.newInner.Close(ctx))
	}
	w = newWorker("spool:"+fo.name, fo.name, t.Name, sp, s.deps)
	w.spool, sp.onChange = sp, w.reportUp
	s.addWorker(&fo, w)
	return fo, nil
}

// reportOrphans logs, once, which spools hold records that no output will send. The caller holds s.configMu.
func (s *Set) reportOrphans() {
	if s.orphansReported || s.deps.SpoolDir == "" {
		return
	}
	s.orphansReported = true
	dirs, err := os.ReadDir(s.deps.SpoolDir)
	if err != nil {
		return // the folder does not exist yet: an output with a spool would have created it
	}
	for _, d := range dirs {
		name, err := url.PathUnescape(d.Name())
		if err != nil || !d.IsDir() || s.findWorker("spool:"+name) != nil {
			continue
		}
		dir := filepath.Join(s.deps.SpoolDir, d.Name())
		st, err := journal.Inspect(dir)
		if err != nil {
			s.deps.Log.Warn("cannot read a spool without an output", "output", name, "spool", dir, "error", err)
		} else if st.Records > 0 {
			s.deps.Log.Warn("spool without an output holds records", "output", name,
				"records", st.Records, "oldest", st.Oldest.UTC().Format(time.RFC3339), "spool", dir,
				"hint", "Configure an output with this name to send them, or remove the folder.")
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
