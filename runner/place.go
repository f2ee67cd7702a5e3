package runner

import (
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// A place is a target without its account. What is kept of every target of every account names its place by an address:
// there are few places and many targets.
type regionKind struct{ region, kind string }

// regionKindTable gives each place its address. It grows with regions × kinds and not with accounts, so nothing leaves it.
type regionKindTable struct {
	mu sync.Mutex
	m  map[regionKind]*regionKind
}

func (t *regionKindTable) intern(target record.Target) *regionKind {
	p := regionKind{target.Region, target.Kind}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.m[p]
	if at == nil {
		if t.m == nil {
			t.m = map[regionKind]*regionKind{}
		}
		at = &p
		t.m[p] = at
	}
	return at
}

// An instant is a time in nanoseconds since 1970, of a third of the size; 0 is the zero time.
type instant int64

func instantOf(t time.Time) instant {
	if t.IsZero() {
		return 0
	}
	return instant(t.UnixNano())
}

func (i instant) time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(i))
}
