package deliver_test

import (
	"bytes"
	"context"
	"encoding/json"
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

// A full spool drops and counts its oldest records, logs that once, and is not ready. Every record is sent or counted.
func TestDropOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, to := newSpoolHarness(t.TempDir()), new(fakeReceiver)
		to.answer = func(outputs.Batch) error { return errors.New("down") }
		f := p.open(t, &remoteOptions{To: to, Common: outputs.Common{Spool: &outputs.Spool{MaxBytes: 64 << 10}}})
		const pages = 3000
		for i := range pages {
			noErr(t, f.Send(t.Context(), testPage(fmt.Sprint("i-", i), 1)))
		}
		st := p.set.States()[0]
		dropped := st.Spool.Dropped
		if dropped == 0 || st.Spool.Records+dropped != pages || st.Spool.Bytes > 64<<10 || st.Ready || !st.Spool.Full ||
			!strings.Contains(st.Error, "spool is full") ||
			st.Lost != 0 || p.Dropped != dropped || p.logCount("spool is full") != 1 {
			t.Fatalf("%+v %+v, log:\n%s", st, st.Spool, p.logs())
		}
		to.set(func() { to.answer = nil })
		p.drain(t)
		sameIDs(t, "what is left", to.has(), idsFrom(dropped, pages))
		if st := p.set.States()[0]; !st.Ready || !st.Up || st.Spool.Full || p.logCount("has space again") != 1 {
			t.Errorf("when it is back: %+v %+v, log:\n%s", st, st.Spool, p.logs())
		}
		closeFan(t, f)
	})
}

// Records that damage took between two starts are counted as dropped, which ends run --once with exit code 3. The rest
// is sent, and the ends that wait in the spool are partial, because nobody knows whose records are lost.
func TestDamagedFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p := newSpoolHarness(dir)
		o := &remoteOptions{
			To:     &fakeReceiver{answer: func(outputs.Batch) error { return errors.New("down") }},
			Common: outputs.Common{Ends: true},
		}
		f := p.open(t, o)
		page := testPage("lost", 5)
		noErr(t, f.Send(t.Context(), page))
		end := func() {
			noErr(t, f.End(t.Context(), record.Outcome{Target: page.Target, Run: page.Run, State: record.OK, Records: 5}))
		}
		end()
		closeFan(t, f)
		files, err := filepath.Glob(filepath.Join(dir, "spools", "remote", "*.seg"))
		if err != nil || len(files) != 1 {
			t.Fatal(files, err)
		}
		b, err := os.ReadFile(files[0])
		noErr(t, err)
		b[10] ^= 1 // in the header of the first frame
		noErr(t, os.WriteFile(files[0], b, 0o600))

		var sent []byte
		o.To = &fakeReceiver{answer: func(b outputs.Batch) error {
			sent = append(sent, b.Lines...)
			return nil
		}}
		p = newSpoolHarness(dir)
		f = p.open(t, o)
		noErr(t, f.Send(t.Context(), testPage("i", 1)))
		p.drain(t)
		end()
		p.drain(t)
		if bytes.Count(sent, []byte(`"state":"partial","records":5`)) != 1 ||
			bytes.Count(sent, []byte(`"state":"ok","records":5`)) != 1 {
			t.Errorf("the end in the damaged spool is not partial, or the later one is not ok:\n%s", sent)
		}
		if st := p.set.States()[0]; st.Spool.Dropped != 5 || p.Dropped != 5 || p.logCount("spool is damaged") == 0 {
			t.Errorf("%+v, observed %d, log:\n%s", st.Spool, p.Dropped, p.logs())
		}
		sameIDs(t, "the rest is sent", o.To.has(), []string{"", "i-0", ""}) // an end has no id
		closeFan(t, f)
	})
}

// The line at a target's end counts what the spool dropped and the receiver refused, also after a restart, so that lost
// records are not taken for gone.
func TestEndsCountLosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		p, to := newSpoolHarness(dir), new(fakeReceiver)
		to.answer = func(outputs.Batch) error { return errors.New("down") }
		o := &remoteOptions{To: to, Common: outputs.Common{Ends: true, Spool: &outputs.Spool{MaxBytes: 64 << 10}}}
		f := p.open(t, o)
		const pages = 3000
		for i := range pages {
			noErr(t, f.Send(t.Context(), testPage(fmt.Sprint("i-", i), 1)))
		}
		first := testPage("", 1)
		end := func(run string, n int) {
			noErr(t, f.End(t.Context(), record.Outcome{Target: first.Target, Run: run, State: record.OK, Records: n}))
		}
		end(first.Run, pages)
		dropped := p.set.States()[0].Spool.Dropped
		closeFan(t, f)

		var ends []string
		to = &fakeReceiver{answer: func(b outputs.Batch) error {
			if bytes.Contains(b.Lines, []byte(`"bad-0"`)) {
				return outputs.ErrRefused
			}
			for line := range bytes.Lines(b.Lines) {
				if bytes.Contains(line, []byte(`"_target"`)) {
					ends = append(ends, string(line))
				}
			}
			return nil
		}}
		o.To = to
		p = newSpoolHarness(dir)
		f = p.open(t, o)
		p.drain(t)
		noErr(t, f.Send(t.Context(), testPage("bad", 1)))
		end(first.Run, 5)
		p.drain(t)
		end(first.Run, 7)
		p.drain(t)
		var got []string
		for _, e := range ends {
			var l struct {
				State   string
				Records int
			}
			noErr(t, json.Unmarshal([]byte(e), &l))
			got = append(got, fmt.Sprint(l.State, " ", l.Records))
		}
		want := []string{fmt.Sprint("partial ", pages-dropped), "partial 4", "ok 7"}
		if dropped == 0 || !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if _, err := os.Stat(filepath.Join(dir, "spools", "remote", "missing.json")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the reported losses are still stored: %v", err)
		}
		closeFan(t, f)
	})
}

// With when_full: block the sender waits, longer than SendTimeout, and nothing is lost.
func TestBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, to, other := newSpoolHarness(t.TempDir()), new(fakeReceiver), new(fakeReceiver)
		to.answer = func(outputs.Batch) error { return errors.New("down") }
		spool := &outputs.Spool{MaxBytes: 64 << 10, WhenFull: "block"}
		f := p.open(t, &remoteOptions{To: to, Common: outputs.Common{Spool: spool}},
			&remoteOptions{To: other})
		time.AfterFunc(time.Hour, func() { to.set(func() { to.answer = nil }) })
		begin, pages := time.Now(), 0
		for time.Since(begin) == 0 { // until one waits
			noErr(t, f.Send(t.Context(), testPage(fmt.Sprint("i-", pages), 1)))
			pages++
		}
		if took := time.Since(begin); took < time.Hour || took > time.Hour+time.Minute || pages < 10 {
			t.Errorf("page %d waited %s", pages, took)
		}
		if p.logCount("collecting waits") != 1 {
			t.Errorf("log:\n%s", p.logs())
		}
		p.drain(t)
		sameIDs(t, "received", to.has(), idsFrom(0, pages))
		to.set(func() { to.answer = func(outputs.Batch) error { return errors.New("down") } })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var err error
		for err == nil {
			err = f.Send(ctx, testPage("late", 1))
		}
		if st := p.set.States()[0]; !errors.Is(err, context.DeadlineExceeded) || st.Lost != 1 || st.Ready {
			t.Errorf("at the end of the run: %v, %+v", err, st)
		}
		to.set(func() { to.answer = nil })
		closeFan(t, f)
	})
}
