package deliver_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

var errFailed = fmt.Errorf("%w: cmdb answered 500", outputs.ErrReceiverFailed)

// failsAt answers 500 to every request that contains one of the records.
func failsAt(bad ...string) func(outputs.Batch) error {
	return func(b outputs.Batch) error {
		for _, id := range bad {
			if bytes.Contains(b.Lines, []byte(`"`+id+`"`)) {
				return errFailed
			}
		}
		return nil
	}
}

// lastOfEach removes repeats, except for the last of each: a probe is sent again in order.
func lastOfEach(ids []string) (all []string) {
	for i, id := range ids {
		if !slices.Contains(ids[i+1:], id) {
			all = append(all, id)
		}
	}
	return all
}

func letters(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "spools", "remote", "dead-letter.jsonl"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// If a receiver always fails at some records and accepts all others, only these are set aside, wherever they are, as
// long as other records come after them.
func TestReceiverFailsAtSome(t *testing.T) {
	for name, bad := range map[string][]string{
		"the first":      {"i-0-0"},
		"in the middle":  {"i-4-50"},
		"some":           {"i-0-0", "i-0-1", "i-3-77", "i-9-98"},
		"many in a row":  idsOf("i-2", 100),
		"two, and a gap": {"i-5-10", "i-5-12"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				p, to := newSpoolHarness(dir), &fakeReceiver{answer: failsAt(bad...)}
				f := p.open(t, &remoteOptions{To: to, Batching: outputs.Batching{MaxRecords: 250}})
				var want []string
				for i := range 10 {
					noErr(t, f.Send(t.Context(), testPage(fmt.Sprint("i-", i), 100)))
					want = append(want, idsOf(fmt.Sprint("i-", i), 100)...)
				}
				want = slices.DeleteFunc(want, func(id string) bool { return slices.Contains(bad, id) })
				time.Sleep(15 * time.Minute)
				got := to.has()
				sameIDs(t, "received", lastOfEach(got), want)
				if extra := len(got) - len(want); extra > len(bad) {
					t.Errorf("%d records came twice, to find %d", extra, len(bad))
				}
				dead := letters(t, dir)
				for _, id := range bad {
					if !strings.Contains(dead, `"id":"`+id+`"`) {
						t.Errorf("%s is not among the dead letters", id)
					}
				}
				st := p.set.States()[0]
				if !st.Up || st.Spool.Records != 0 || st.Spool.DeadLetters != len(bad) || p.Letters != len(bad) ||
					!strings.Contains(dead, "answered 500") {
					t.Errorf("%+v %+v, letters %.300s", st, st.Spool, dead)
				}
				n := p.logCount("receiver fails at one record; record set aside")
				if n != min(len(bad), 10) || p.logCount("id="+bad[0]+" ") != 1 {
					t.Errorf("logged %d times, log:\n%.3000s", n, p.logs())
				}
				// With many bad records, the receiver may look broken for a while.
				if n := p.logCount("output fails"); n > 1+len(bad)/50 || n != p.logCount("works again") {
					t.Errorf("failure logged %d times, log:\n%.3000s", n, p.logs())
				}
				closeFan(t, f)
			})
		})
	}
}

func idsOf(prefix string, n int) (ids []string) {
	for r := range n {
		ids = append(ids, fmt.Sprintf("%s-%d", prefix, r))
	}
	return ids
}

// With a single record, nothing tells what is at fault. The record waits until another is accepted.
func TestReceiverFailsAtTheOnlyOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p, to := newSpoolHarness(dir), &fakeReceiver{answer: failsAt("i-0-0")}
		f := p.open(t, &remoteOptions{To: to, Common: outputs.Common{Ends: true}})
		noErr(t, f.Send(t.Context(), testPage("i-0", 1)))
		end := record.Outcome{
			Target: record.Target{Account: "a", Region: "r", Kind: "k"}, Run: "01", State: record.OK,
		}
		noErr(t, f.End(t.Context(), end))
		time.Sleep(time.Hour)
		if st := p.set.States()[0]; letters(t, dir) != "" || st.Spool.Records != 1 || st.Up {
			t.Errorf("alone: %+v %+v, letters %s", st, st.Spool, letters(t, dir))
		}
		noErr(t, f.Send(t.Context(), testPage("i-1", 1)))
		time.Sleep(5 * time.Minute)
		if st := p.set.States()[0]; strings.Count(letters(t, dir), "\n") != 1 || st.Spool.Records != 0 || !st.Up {
			t.Errorf("with another: %+v %+v, letters %s", st, st.Spool, letters(t, dir))
		}
		closeFan(t, f)
	})
}

// A receiver that fails for a while, in any way, loses nothing.
func TestReceiverFailsForAWhile(t *testing.T) {
	const hours = 6 * time.Hour
	for name, fault := range map[string]func(n int, b outputs.Batch) error{
		"500 to everything": func(int, outputs.Batch) error { return errFailed },
		"500 and 503 in turn": func(n int, _ outputs.Batch) error {
			if n%8 == 0 {
				return errors.New("503")
			}
			return errFailed
		},
		"500, then 503": func(n int, _ outputs.Batch) error {
			if n > 25 {
				return errors.New("503")
			}
			return errFailed
		},
		"it accepts the end of a target, which is not a record": func(_ int, b outputs.Batch) error {
			if bytes.Contains(b.Lines, []byte(`"_target"`)) && bytes.Count(b.Lines, []byte("\n")) == 1 {
				return nil
			}
			return errFailed
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				p, to := newSpoolHarness(dir), new(fakeReceiver)
				n := 0
				to.answer = func(b outputs.Batch) error {
					n++
					return fault(n, b)
				}
				f := p.open(t, &remoteOptions{To: to, Common: outputs.Common{Ends: true}})
				var want []string
				for i := range 10 {
					noErr(t, f.Send(t.Context(), testPage(fmt.Sprint("i-", i), 20)))
					end := record.Outcome{
						Target: record.Target{Account: "a", Region: "r", Kind: "k"}, Run: fmt.Sprint(i), State: record.OK,
					}
					noErr(t, f.End(t.Context(), end))
					want = append(append(want, idsOf(fmt.Sprint("i-", i), 20)...), "")
				}
				time.Sleep(hours)
				if tries := len(to.requests()); tries > 2*int(hours/(30*time.Second)) {
					t.Errorf("%d requests in %s to a receiver that fails", tries, hours)
				}
				to.set(func() { to.answer, to.ids = nil, nil })
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				sameIDs(t, "received", to.has(), want)
				if st := p.set.States()[0]; st.Spool.DeadLetters != 0 || !st.Up || letters(t, dir) != "" {
					t.Errorf("%+v %+v", st, st.Spool)
				}
				closeFan(t, f)
			})
		})
	}
}

// If the receiver breaks while records are being set aside, no more are, even if it recognizes records that it
// accepted.
func TestReceiverFailsAfterDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p, to := newSpoolHarness(dir), new(fakeReceiver)
		bad := failsAt(idsOf("bad", 50)...)
		known := map[string]bool{}
		to.answer = func(b outputs.Batch) error {
			switch {
			case known[b.ID]:
				return nil
			case p.Letters >= 5:
				return errFailed
			}
			err := bad(b)
			known[b.ID] = err == nil
			return err
		}
		f := p.open(t, &remoteOptions{To: to})
		noErr(t, f.Send(t.Context(), testPage("bad", 50)))
		noErr(t, f.Send(t.Context(), testPage("good", 20)))
		time.Sleep(6 * time.Hour)
		if st := p.set.States()[0]; st.Spool.DeadLetters != 5 || st.Up {
			t.Errorf("%+v %+v, want the 5 dead letters from before it failed", st, st.Spool)
		}
		to.set(func() { to.answer = bad })
		noErr(t, f.Send(t.Context(), testPage("new", 50)))
		time.Sleep(time.Hour)
		if st := p.set.States()[0]; st.Spool.DeadLetters != 50 || st.Spool.Records != 0 || !st.Up {
			t.Errorf("after the recovery: %+v %+v", st, st.Spool)
		}
		sameIDs(t, "received", lastOfEach(to.has()), append(idsOf("good", 20), idsOf("new", 50)...))
		closeFan(t, f)
	})
}

// Failures of a replaced receiver do not count against a record.
func TestReceiverReplacedDuringProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p, first, second := newSpoolHarness(dir), new(fakeReceiver), new(fakeReceiver)
		probed := make(chan struct{})
		hold := make(chan struct{})
		bad := failsAt("i-0-0")
		first.answer = func(b outputs.Batch) error {
			if err := bad(b); err != nil {
				return err
			}
			close(probed)
			<-hold
			return nil
		}
		f := p.open(t, &remoteOptions{To: first})
		noErr(t, f.Send(t.Context(), testPage("i-0", 1)))
		noErr(t, f.Send(t.Context(), testPage("i-1", 1)))
		<-probed
		fails := 3
		second.answer = func(outputs.Batch) error {
			if fails--; fails >= 0 {
				return errFailed
			}
			return nil
		}
		next := p.open(t, &remoteOptions{To: second})
		close(hold)
		time.Sleep(10 * time.Minute)
		if got := letters(t, dir); got != "" {
			t.Errorf("set aside: %s", got)
		}
		sameIDs(t, "the second received", lastOfEach(second.has()), idsFrom(0, 2))
		closeFan(t, f)
		closeFan(t, next)
	})
}
