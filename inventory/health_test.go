package inventory

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/record"
)

// A call that failed because of an outage may report that when the outage is over. Then it must not begin another.
func TestLateErrorOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		d := new(frozenDriver)
		h := newHealthTracker(slog.New(slog.NewTextHandler(&logged, nil)))
		w := newWatchdog(d, h, StallTimeout)
		defer w.Close()
		d.freeze()
		_, waited := w.Begin(t.Context(), record.Target{}, Scope{}, "")
		_, refused := w.Begin(t.Context(), record.Target{}, Scope{}, "")
		d.unfreeze()
		time.Sleep(2 * checkInterval)
		locked := &Stall{Err: &record.Fault{Reason: record.Network, Err: errors.New("locked")}}
		for name, err := range map[string]error{"waited": waited, "refused": refused, "locked": locked} {
			if record.ReasonOf(err) != record.Network || errors.Is(err, context.Canceled) {
				t.Errorf("%s: the reason is %q: %v", name, record.ReasonOf(err), err)
			}
			h.writeFailed(err)
			h.runWriteFailed(err)
		}
		if health := h.snapshot(); health.Err != nil || health.NotStored != 3 {
			t.Errorf("after the outage: %+v", health)
		}
		if n := strings.Count(logged.String(), "store writes fail"); n != 1 {
			t.Errorf("logged %d outages:\n%s", n, &logged)
		}
		h.writeFailed(errors.New("disk full"))
		if h.snapshot().Err == nil {
			t.Error("a new error begins no outage")
		}
	})
}
