package main

import (
	"context"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Signals within a second of the first count as one: timeout(1) sends two, a terminal and a supervisor one each. A
// later signal stops the program.
func TestSecondSignal(t *testing.T) {
	type sent struct {
		after time.Duration
		what  os.Signal
	}
	for name, c := range map[string]struct {
		signals []sent
		second  bool
	}{
		"one":           {[]sent{{0, syscall.SIGTERM}}, false},
		"timeout":       {[]sent{{0, syscall.SIGINT}, {0, syscall.SIGINT}}, false},
		"both at once":  {[]sent{{0, syscall.SIGTERM}, {0, syscall.SIGINT}}, false},
		"a group, late": {[]sent{{0, syscall.SIGTERM}, {999 * time.Millisecond, syscall.SIGTERM}}, false},
		"many in a second": {
			[]sent{{0, syscall.SIGINT}, {300 * time.Millisecond, syscall.SIGINT}, {300 * time.Millisecond, syscall.SIGTERM}},
			false,
		},
		"a second later":          {[]sent{{0, syscall.SIGTERM}, {time.Second, syscall.SIGTERM}}, true},
		"another, a minute later": {[]sent{{0, syscall.SIGTERM}, {time.Minute, syscall.SIGINT}}, true},
		"timeout, then a person": {
			[]sent{{0, syscall.SIGINT}, {0, syscall.SIGINT}, {3 * time.Second, syscall.SIGINT}}, true,
		},
		"impatient": {
			[]sent{{0, syscall.SIGINT}, {600 * time.Millisecond, syscall.SIGINT}, {600 * time.Millisecond, syscall.SIGINT}},
			true,
		},
		"a person after an hour's": {[]sent{{time.Hour, syscall.SIGINT}, {10 * time.Millisecond, syscall.SIGINT}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals, done := make(chan os.Signal, 2), make(chan struct{})
				ctx, cancel := context.WithCancelCause(t.Context())
				go func() {
					defer close(done)
					waitForSecondSignal(signals, cancel)
				}()
				for _, s := range c.signals {
					time.Sleep(s.after)
					signals <- s.what
					synctest.Wait()
					if want := "stopped by " + c.signals[0].what.String(); ctx.Err() == nil || context.Cause(ctx).Error() != want {
						t.Errorf("the cause is %v, want %q", context.Cause(ctx), want)
					}
				}
				time.Sleep(time.Hour) // time alone does not count as a second signal
				select {
				case <-done:
					if !c.second {
						t.Error("one signal was taken for two")
					}
				default:
					if c.second {
						t.Error("a second signal was not noticed")
					}
				}
				close(signals)
				<-done
			})
		})
	}
}
