package local

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/internal/statefile"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
)

// An unavailableStore fails while away is set.
type unavailableStore struct {
	*runner.MemoryStore
	away atomic.Bool
}

func (l *unavailableStore) ActiveTargets(ctx context.Context, account string) ([]record.Target, error) {
	if l.away.Load() {
		return nil, &record.Fault{
			Reason: record.Network,
			Hint:   "start the database",
			Err:    errors.New("store: known targets: connection refused"),
		}
	}
	return l.MemoryStore.ActiveTargets(ctx, account)
}

// If the store fails for many accounts at every run, this is logged once with a hint, and once when it is over.
func TestRetireOutageIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &unavailableStore{MemoryStore: runner.NewMemoryStore()}
		g := newHarness(t, runner.Options{Store: store}, Options{})
		var all []*runner.Account
		for _, name := range []string{"a", "b", "c", "d"} {
			all = append(all, account(name, &fakeAccount{}, at("*/15 * * * *")))
		}
		g.runner.Swap(buildConfiguration(t, all...))
		count := func(failures, recoveries int) {
			t.Helper()
			log := strings.Join(g.logs.lines, "")
			if n := strings.Count(log, "retiring removed targets failed"); n != failures ||
				strings.Count(log, "start the database") != failures {
				t.Errorf("failure logged %d times, want %d:\n%s", n, failures, log)
			}
			if n := strings.Count(log, "targets retired again"); n != recoveries {
				t.Errorf("recovery logged %d times, want %d:\n%s", n, recoveries, log)
			}
		}
		store.away.Store(true)
		g.run(2 * time.Hour)
		count(1, 0)
		store.away.Store(false)
		g.run(time.Hour)
		count(1, 1)
		store.away.Store(true)
		g.run(time.Hour)
		count(2, 1)
		g.runner.Swap(buildConfiguration(t, all[:2]...)) // two of the affected accounts are removed
		store.away.Store(false)
		g.run(time.Hour)
		count(2, 2)
	})
}

// fullTicks cannot be saved while the disk is full.
type fullTicks struct {
	memoryTicks
	full atomic.Bool
}

func (f *fullTicks) Save(l map[TickKey]time.Time) error {
	if f.full.Load() {
		return &record.Fault{Reason: record.Other, Hint: "free disk space", Err: errors.New("no space left")}
	}
	return f.memoryTicks.Save(l)
}

func TestTickSaverOutageIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ticks fullTicks
		g := newHarness(t, runner.Options{}, Options{Ticks: &ticks})
		g.runner.Swap(buildConfiguration(t, account("a", &fakeAccount{}, at("*/15 * * * *"))))
		ticks.full.Store(true)
		time.AfterFunc(3*time.Hour, func() { ticks.full.Store(false) })
		g.run(5 * time.Hour)
		log := strings.Join(g.logs.lines, "")
		if strings.Count(log, "saving last run times failed") != 1 || strings.Count(log, `hint="free disk space"`) != 1 ||
			strings.Count(log, "last run times saved again") != 1 {
			t.Errorf("log:\n%s", log)
		}
	})
}

// An error of the disk has a hint.
func TestFileTicksHint(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ticks := FileTicks(filepath.Join(dir, "ticks.json"), slog.New(slog.DiscardHandler))
	if err := ticks.Save(nil); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := ticks.Save(nil); !errors.Is(err, os.ErrNotExist) || !strings.Contains(record.HintOf(err), dir) {
		t.Errorf("%v (hint %q)", err, record.HintOf(err))
	}
	for err, want := range map[error]string{syscall.ENOSPC: "Free disk space", syscall.EROFS: "read-only",
		syscall.EACCES: "Give uid"} {
		if got := statefile.Hint(filepath.Join(dir, "ticks.json"), err); !strings.Contains(got, want) {
			t.Errorf("%v: %q", err, got)
		}
	}
}
