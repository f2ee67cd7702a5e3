package runner

import "time"

// A TickKey names one schedule of one account.
type TickKey struct{ Account, Spec string }

// Ticks remembers when each schedule last started a run, so that a restart catches up once, and only once.
type Ticks interface {
	Load() (map[TickKey]time.Time, error)
	Save(map[TickKey]time.Time) error // the whole; what is not in it is forgotten
}
