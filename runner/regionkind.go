package runner

import (
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
)

// A regionKind is a target without its account. Whatever is kept for every target of every account refers to it by a
// pointer, because there are few of them and many targets: 10,000 accounts × 17 regions × 20 kinds are 3.4 million, for
// which the board keeps 156 MiB. With the two strings and time.Time in place of [instant] it would be 337 MiB.
type regionKind struct{ region, kind string }

// A regionKindTable holds one pointer for each regionKind. It grows with regions × kinds and not with accounts, so
// nothing is removed from it.
type regionKindTable struct {
	mu sync.Mutex
	m  map[regionKind]*regionKind
}

func (t *regionKindTable) intern(target record.Target) *regionKind {
	key := regionKind{target.Region, target.Kind}
	t.mu.Lock()
	defer t.mu.Unlock()
	rk := t.m[key]
	if rk == nil {
		if t.m == nil {
			t.m = map[regionKind]*regionKind{}
		}
		rk = &key
		t.m[key] = rk
	}
	return rk
}

// An instant is a time in nanoseconds since 1970, a third of the size of time.Time; 0 is the zero time.
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
