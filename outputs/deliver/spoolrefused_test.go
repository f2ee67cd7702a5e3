package deliver_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// A receiver that refuses every record is at fault, not the records: few are set aside, the others wait, and the output
// is neither up nor ready. Once the receiver accepts records, they arrive.
func TestRefusesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, to := newSpoolHarness(t.TempDir()), new(fakeReceiver)
		to.answer = func(outputs.Batch) error { return fmt.Errorf("%w: 400 no such index", outputs.ErrRefused) }
		f := p.open(t, &remoteOptions{To: to})
		noErr(t, f.Send(t.Context(), testPage("i", 500)))
		time.Sleep(time.Hour)
		synctest.Wait()
		st := p.set.States()[0]
		if st.Up || st.Ready || st.Spool.DeadLetters != 10 || st.Spool.Records != 490 || p.Letters != 10 ||
			!strings.HasPrefix(st.Error, "the receiver refuses every record: ") ||
			!strings.HasSuffix(st.Error, "no such index") || !strings.HasPrefix(st.Hint, "Check the output's options") {
			t.Errorf("%+v %+v, %d letters", st, st.Spool, p.Letters)
		}
		if got := p.Ups[len(p.Ups)-1]; got != "remote false" {
			t.Errorf("the metric says %s", got)
		}
		if n := p.logCount("output fails; records wait in spool"); n != 1 {
			t.Errorf("the failure is logged %d times:\n%.2000s", n, p.logs())
		}
		if n := len(to.requests()); n > 300 { // a pause is 45 seconds on average
			t.Errorf("%d requests in an hour", n)
		}

		to.set(func() { to.answer = nil })
		time.Sleep(2 * time.Minute)
		sameIDs(t, "received", to.has(), idsOf("i", 500)[10:])
		if st := p.set.States()[0]; !st.Up || !st.Ready || st.Error != "" || p.Letters != 10 {
			t.Errorf("afterwards: %+v, %d letters", st, p.Letters)
		}
		closeFan(t, f)
	})
}

// The dead letters in a row are counted from the start of the program, and a reload does not reset the count.
func TestRefusesAllAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, to := newSpoolHarness(t.TempDir()), new(fakeReceiver)
		to.answer = func(outputs.Batch) error { return outputs.ErrRefused }
		f := p.open(t, &remoteOptions{To: to})
		noErr(t, f.Send(t.Context(), testPage("i", 50)))
		time.Sleep(10 * time.Minute)
		reloaded := p.open(t, &remoteOptions{To: to})
		closeFan(t, f)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if p.Letters != 10 {
			t.Errorf("%d letters after a reload, want 10", p.Letters)
		}
		closeFan(t, reloaded)
		f = p.open(t, &remoteOptions{To: to})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if p.Letters != 20 {
			t.Errorf("%d letters after a restart, want 20", p.Letters)
		}
		closeFan(t, f)
	})
}

// Many refused records in a row are set aside if the receiver accepts others, wherever those are. If there are no
// others, the records wait until there are: a record alone says nothing about the receiver, so the output stays ready.
func TestRefusesManyInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, to := newSpoolHarness(t.TempDir()), new(fakeReceiver)
		to.answer = func(b outputs.Batch) error {
			if strings.Contains(string(b.Lines), `"bad-`) {
				return outputs.ErrRefused
			}
			return nil
		}
		f := p.open(t, &remoteOptions{To: to, Batching: outputs.Batching{MaxRecords: 100}})
		noErr(t, f.Send(t.Context(), testPage("bad", 35)))
		noErr(t, f.Send(t.Context(), testPage("good", 50)))
		time.Sleep(time.Minute)
		synctest.Wait()
		if st := p.set.States()[0]; !st.Up || p.Letters != 35 || st.Spool.Records != 0 {
			t.Errorf("%+v %+v, %d letters", st, st.Spool, p.Letters)
		}
		sameIDs(t, "received", lastOfEach(to.has()), idsOf("good", 50))
		if extra := len(to.has()) - 50; extra > 3 { // one for every ten bad ones
			t.Errorf("%d records came twice", extra)
		}

		noErr(t, f.Send(t.Context(), testPage("bad", 11)))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if st := p.set.States()[0]; st.Up || !st.Ready || st.Spool.Records != 1 || p.Letters != 45 ||
			st.Error != outputs.ErrRefused.Error() || !strings.HasSuffix(st.Hint, "until the receiver accepts another.") {
			t.Errorf("one alone: %+v %+v, %d letters", st, st.Spool, p.Letters)
		}
		noErr(t, f.Send(t.Context(), testPage("bad-too", 4)))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if st := p.set.States()[0]; st.Ready || st.Spool.Records != 5 || p.Letters != 45 ||
			!strings.HasPrefix(st.Error, "the receiver refuses every record: ") {
			t.Errorf("without good ones: %+v %+v, %d letters", st, st.Spool, p.Letters)
		}
		noErr(t, f.Send(t.Context(), testPage("late", 2)))
		noErr(t, f.End(t.Context(), record.Outcome{}))
		time.Sleep(10 * time.Minute) // a record from further ahead is tried once a minute
		if st := p.set.States()[0]; !st.Up || !st.Ready || st.Spool.Records != 0 || p.Letters != 50 ||
			!slices.Contains(to.has(), "late-1") {
			t.Errorf("with a good one: %+v %+v, %d letters", st, st.Spool, p.Letters)
		}
		closeFan(t, f)
	})
}

// If the network or the receiver fails at the record from further ahead, nothing is known about other records.
func TestRefusesOneAndFails(t *testing.T) {
	for name, failure := range map[string]error{"503": errors.New("503"), "500": errFailed} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, to := newSpoolHarness(t.TempDir()), new(fakeReceiver)
				to.answer = func(b outputs.Batch) error {
					if strings.Contains(string(b.Lines), `"bad-`) {
						return outputs.ErrRefused
					}
					return failure
				}
				f := p.open(t, &remoteOptions{To: to})
				noErr(t, f.Send(t.Context(), testPage("bad", 11)))
				time.Sleep(10 * time.Minute)
				noErr(t, f.Send(t.Context(), testPage("good", 1)))
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if st := p.set.States()[0]; st.Up || !st.Ready || st.Spool.Records != 2 || p.Letters != 10 {
					t.Errorf("%+v %+v, %d letters", st, st.Spool, p.Letters)
				}
				to.set(func() { to.answer = nil })
				time.Sleep(2 * time.Minute)
				sameIDs(t, "received", to.has(), []string{"bad-10", "good-0"})
				closeFan(t, f)
			})
		})
	}
}
