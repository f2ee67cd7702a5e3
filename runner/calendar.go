package runner

import (
	"time"

	"github.com/aws-collector/collector/record"
)

// A Calendar computes when the kinds of a configuration are due. It caches its answers, because thousands of targets
// ask the same question. It is for one scrape and one goroutine.
type Calendar struct {
	configuration *Configuration
	ticks         map[*AccountSpec]map[string][]Tick // by kind; accounts share their AccountSpec
	cache         map[dueKey]time.Time
}

type dueKey struct {
	spec   string
	second int64
}

// NewCalendar returns the calendar of a configuration; nil: nothing is ever due.
func NewCalendar(conf *Configuration) *Calendar {
	return &Calendar{configuration: conf, ticks: map[*AccountSpec]map[string][]Tick{}, cache: map[dueKey]time.Time{}}
}

// Due is the latest time at which the next listing of a kind of an account begins after an instant; the account's own
// jitter may make it earlier. The zero time means never, also for a paused account.
func (c *Calendar) Due(account, kind string, after time.Time) (at time.Time) {
	if c.configuration == nil || after.IsZero() {
		return time.Time{}
	}
	a := c.configuration.Account(account)
	if a == nil || c.configuration.Directives.Paused(account) != nil {
		return time.Time{}
	}
	for _, tick := range c.ticksByKind(a)[kind] {
		if next := c.next(tick, after); at.IsZero() || !next.IsZero() && next.Before(at) {
			at = next
		}
	}
	return at
}

// Overdue is for how long a target that was last listed completely at an instant should have been listed completely
// again. running means that a run of its account is in progress: until the account's timeout, it may still do it.
func (c *Calendar) Overdue(t record.Target, last, now time.Time, running bool) time.Duration {
	due := c.Due(t.Account, t.Kind, last)
	if due.IsZero() || !now.After(due) {
		return 0
	}
	late := now.Sub(due)
	if running && late < c.configuration.Account(t.Account).Timeout {
		return 0
	}
	return late
}

func (c *Calendar) next(tick Tick, after time.Time) time.Time {
	key := dueKey{tick.Spec, after.Unix()}
	if at, known := c.cache[key]; known {
		return at
	}
	at := tick.Schedule.Next(after)
	if second := tick.Schedule.Next(at); !at.IsZero() && !second.IsZero() {
		at = at.Add(min(c.configuration.Jitter, second.Sub(at)/10)) // as jitterOffset bounds it
	}
	c.cache[key] = at
	return at
}

func (c *Calendar) ticksByKind(a *Account) map[string][]Tick {
	if by := c.ticks[a.AccountSpec]; by != nil {
		return by
	}
	by := map[string][]Tick{}
	for _, tick := range a.Ticks {
		kinds := tick.Kinds
		if len(kinds) == 0 {
			kinds = a.KindNames()
		}
		for _, kind := range kinds {
			by[kind] = append(by[kind], tick)
		}
	}
	c.ticks[a.AccountSpec] = by
	return by
}
