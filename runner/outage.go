package runner

import (
	"log/slog"
	"sync"

	"github.com/aws-collector/collector/record"
)

// An outage is trouble that many meet, and that is said when the first one does and when the last one no longer does.
type outage struct {
	trouble, over string

	mu sync.Mutex
	of map[string]struct{} // who met it, and has not come through since
}

// met hears how it went for one, nil: well. Those that are not there any more count no longer.
func (o *outage) met(log *slog.Logger, who string, err error, there func(string) bool, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := len(o.of) > 0
	switch {
	case err == nil && !was:
		return
	case err == nil:
		delete(o.of, who)
		for other := range o.of {
			if !there(other) {
				delete(o.of, other)
			}
		}
	default:
		if o.of == nil {
			o.of = map[string]struct{}{}
		}
		o.of[who] = struct{}{}
	}
	switch is := len(o.of) > 0; {
	case is && !was:
		log.Error(o.trouble, append(args, "error", err, "hint", record.HintOf(err))...)
	case was && !is:
		log.Info(o.over)
	}
}
