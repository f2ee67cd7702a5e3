package runner

import "time"

// A Calendar answers when the kinds of a fleet are due. It remembers its answers, as thousands of targets ask the same: it is for
// one scrape, and for one goroutine.
type Calendar struct {
	configuration *Configuration
	ticks         map[*AccountSpec]map[string][]Tick // by kind; accounts share their Terms
	cache         map[dueKey]time.Time
}

type dueKey struct {
	spec   string
	second int64
}

// NewCalendar is of a fleet; nil: of one in which nothing is due.
func NewCalendar(f *Configuration) *Calendar {
	return &Calendar{configuration: f, ticks: map[*AccountSpec]map[string][]Tick{}, cache: map[dueKey]time.Time{}}
}

// Due is when a kind of an account begins to be listed the next time after an instant, at the latest: an account's place within the
// jitter may be earlier. The zero time: never.
func (c *Calendar) Due(account, kind string, after time.Time) (at time.Time) {
	if c.configuration == nil || after.IsZero() {
		return time.Time{}
	}
	a := c.configuration.Account(account)
	if a == nil {
		return time.Time{}
	}
	for _, tick := range c.ticksByKind(a)[kind] {
		if next := c.next(tick, after); at.IsZero() || !next.IsZero() && next.Before(at) {
			at = next
		}
	}
	return at
}

func (c *Calendar) next(tick Tick, after time.Time) time.Time {
	key := dueKey{tick.Spec, after.Unix()}
	if at, known := c.cache[key]; known {
		return at
	}
	at := tick.Schedule.Next(after)
	if second := tick.Schedule.Next(at); !at.IsZero() && !second.IsZero() {
		at = at.Add(min(c.configuration.Jitter, second.Sub(at)/10)) // as offset bounds it
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
			kinds = a.kindNames()
		}
		for _, kind := range kinds {
			by[kind] = append(by[kind], tick)
		}
	}
	c.ticks[a.AccountSpec] = by
	return by
}
