package outputs

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws-collector/collector/outputs/internal/journal"
	"github.com/aws-collector/collector/record"
)

// openSpooled returns the open spool of this name, or opens it. It opens the inner output now, so that its errors
// reject the configuration. The caller holds s.configMu.
func (s *Set) openSpooled(ctx context.Context, t Type, m fanOutput, o Spool) (_ fanOutput, err error) {
	m.spoolOptions = o
	l := s.findWorker("spool:" + m.name)
	if l != nil && l.spool.canKeepInner(t, m.key, m.options) {
		l.refs++
		m.worker = l
		return m, nil
	}
	if m.newInner, err = s.openShared(ctx, t, m); err != nil {
		return fanOutput{}, err
	}
	if l != nil {
		l.refs++
		m.worker = l
		return m, nil
	}
	sp, err := openSpool(m.name, o, s.deps)
	if err != nil {
		return fanOutput{}, errors.Join(err, m.newInner.Close(ctx))
	}
	l = newWorker("spool:"+m.name, m.name, t.Name, sp, s.deps)
	l.spool, sp.onChange = sp, l.reportUp
	s.addWorker(&m, l)
	return m, nil
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
	for i, l := range open {
		wg.Go(func() {
			errs[i] = l.catchUp(ctx)
			if l.spool == nil {
				return
			}
			l.spool.drain(ctx, true)
			if st := l.State(); st.Spool.Records > 0 {
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
