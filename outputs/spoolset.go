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

// openSpooled finds the spool of the member's name, else opens it, and opens the output proper behind it: now, so that what is
// wrong with it refuses the configuration. s.change is held.
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

// reportOrphans says, once, which spools hold something that no output of the configuration is going to send. s.change is held.
func (s *Set) reportOrphans() {
	if s.orphansReported || s.deps.SpoolDir == "" {
		return
	}
	s.orphansReported = true
	dirs, err := os.ReadDir(s.deps.SpoolDir)
	if err != nil {
		return // there are none yet; one that is needed has been opened
	}
	for _, d := range dirs {
		name, err := url.PathUnescape(d.Name())
		if err != nil || !d.IsDir() || s.findWorker("spool:"+name) != nil {
			continue
		}
		dir := filepath.Join(s.deps.SpoolDir, d.Name())
		st, err := journal.Inspect(dir)
		if err != nil {
			s.deps.Log.Warn("spool of an output that the configuration does not name cannot be read", "output", name, "spool", dir, "error", err)
		} else if st.Records > 0 {
			s.deps.Log.Warn("spool of an output that the configuration does not name holds records; they stay there", "output", name,
				"records", st.Records, "oldest", st.Oldest.UTC().Format(time.RFC3339), "spool", dir,
				"hint", "give an output that name again and it sends them, or remove the folder")
		}
	}
}

// Drain waits, as long as ctx lets it, until outputs were sent the last changes and the receivers have everything that waits in
// spools. The error says what is left, and where. It is the end of collecting that it is for: from now on no request waits to fill up.
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
