package runner

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

// A TickKey names one schedule of one account.
type TickKey struct{ Account, Spec string }

// Ticks remembers the last instant of each schedule for which a run was started, so that a restart catches up once, and
// only once.
type Ticks interface {
	Load() (map[TickKey]time.Time, error)
	Save(map[TickKey]time.Time) error // the whole; what is not in it is forgotten
}

// FileTicks keeps Ticks in a JSON file. A kill at any moment leaves the old file or the new one. A file that cannot be
// read as what it should be is moved aside, and warn hears of it: a collector that forgot its last run is better
// than one that does not start.
func FileTicks(path string, warn func(string)) Ticks { return &fileTicks{path, warn} }

type fileTicks struct {
	path string
	warn func(string)
}

type savedTicks struct {
	Version int         `json:"version"`
	Ticks   []savedTick `json:"ticks"`
}

type savedTick struct {
	Account string    `json:"account"`
	Spec    string    `json:"spec"`
	Last    time.Time `json:"last"`
}

func (f *fileTicks) Load() (map[TickKey]time.Time, error) {
	b, err := statefile.Read(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var s savedTicks
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && s.Version != 1 {
		err = fmt.Errorf("version %d is not known", s.Version)
	}
	if err != nil {
		aside, moved := statefile.MoveDamaged(f.path)
		if moved != nil {
			return nil, fmt.Errorf("read the last run times: %w", errors.Join(err, moved))
		}
		f.warn(fmt.Sprintf("%s cannot be used (%v) and was moved to %s: runs that were missed are not caught up", f.path, err, aside))
		return nil, nil
	}
	last := make(map[TickKey]time.Time, len(s.Ticks))
	for _, t := range s.Ticks {
		last[TickKey{t.Account, t.Spec}] = t.Last
	}
	return last, nil
}

func (f *fileTicks) Save(last map[TickKey]time.Time) (err error) {
	s := savedTicks{Version: 1, Ticks: make([]savedTick, 0, len(last))}
	for k, t := range last {
		s.Ticks = append(s.Ticks, savedTick{k.Account, k.Spec, t.UTC()})
	}
	slices.SortFunc(s.Ticks, func(a, b savedTick) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Spec, b.Spec))
	})
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = &record.Fault{Reason: record.Other, Hint: f.hint(err), Err: fmt.Errorf("save the last run times: %w", err)}
		}
	}()
	return statefile.Write(f.path, append(b, '\n'))
}

// hint is what a person can do about an error of the disk.
func (f *fileTicks) hint(err error) string {
	switch dir := filepath.Dir(f.path); {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room below data_dir, " + dir
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("let uid %d write %s", os.Getuid(), dir)
	case errors.Is(err, fs.ErrNotExist):
		return "Put data_dir back, or restart the collector to use what is there now: " + dir + " was removed while it is in use"
	case errors.Is(err, syscall.EROFS):
		return "the file system is read-only: data_dir must be on a volume that can be written"
	}
	return ""
}
