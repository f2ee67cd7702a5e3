package runner

import (
	"log/slog"
	"sync"

	"github.com/aws-collector/collector/record"
)

// An outage is trouble that many meet, and that is said when the first one does and when the last one no longer does.
type outage struct {
	failureMessage, recoveryMessage string

	mu       sync.Mutex
	affected map[string]struct{} // who met it, and has not come through since
}

// report hears how it went for one, nil: well. Those that are not there any more count no longer.
func (o *outage) report(log *slog.Logger, who string, err error, there func(string) bool, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	was := len(o.affected) > 0
	switch {
	case err == nil && !was:
		return
	case err == nil:
		delete(o.affected, who)
		for other := range o.affected {
			if !there(other) {
				delete(o.affected, other)
			}
		}
	default:
		if o.affected == nil {
			o.affected = map[string]struct{}{}
		}
		o.affected[who] = struct{}{}
	}
	switch is := len(o.affected) > 0; {
	case is && !was:
		log.Error(o.failureMessage, append(args, "error", err, "hint", record.HintOf(err))...)
	case was && !is:
		log.Info(o.recoveryMessage)
	}
}
