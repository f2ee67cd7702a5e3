package local

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
)

// A TickKey names one schedule of one account.
type TickKey struct{ Account, Spec string }

// Ticks stores the last tick of each schedule for which a run was started, so that a restart runs a missed tick exactly
// once.
type Ticks interface {
	Load() (map[TickKey]time.Time, error)
	Save(map[TickKey]time.Time) error // all of them; others are removed
}

// FileTicks stores Ticks in a JSON file. A kill at any moment leaves the old file or the new one. A damaged file is
// moved aside, with a warning: it is better to lose the last ticks than not to start.
func FileTicks(path string, log *slog.Logger) Ticks { return &fileTicks{path, log} }

type fileTicks struct {
	path string
	log  *slog.Logger
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
	last, err := readTicks(f.path)
	if err != nil {
		aside, moved := statefile.MoveDamaged(f.path)
		if moved != nil {
			return nil, fmt.Errorf("read last run times: %w", errors.Join(err, moved))
		}
		f.log.Warn("last run times damaged; file moved aside", "path", f.path, "error", err, "moved_to", aside,
			"hint", "Nothing to do: only the runs that were missed before this start are not run.")
		return nil, nil
	}
	return last, nil
}

// readTicks reads the file. Without one there are none.
func readTicks(path string) (map[TickKey]time.Time, error) {
	b, err := statefile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var s savedTicks
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err == nil && s.Version != 1 {
		err = fmt.Errorf("unknown version %d", s.Version)
	}
	if err != nil {
		return nil, err
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
			err = &record.Fault{
				Reason: record.Other, Hint: statefile.Hint(f.path, err), Err: fmt.Errorf("save last run times: %w", err),
			}
		}
	}()
	return statefile.Write(f.path, append(b, '\n'))
}
