// Package outputstest is the conformance suite that every output passes. Begin at [Run] and [RunRemote].
package outputstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// A Subject opens the output under test.
type Subject struct {
	// Open opens a new output. received returns what its receiver has after a Flush, without a Close.
	Open func(t *testing.T) (out outputs.Output, received func() []byte)
}

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	t.Run("order", s.order)
	t.Run("borrowed", s.borrowed)
	t.Run("concurrent", s.concurrent)
	t.Run("large", s.large)
	t.Run("cancelled", s.cancelled)
	t.Run("flush", s.flush)
	t.Run("close", s.close)
}

var target = record.Target{Account: "prod", Region: "us-east-1", Kind: "ec2_instance"}

// Page returns a page of n records, as a collector makes them. Their ids are name-0, name-1…; each has about size
// bytes.
func Page(name string, n, size int) *record.Page {
	who := record.Identity{AccountID: "222222222222", Partition: "aws"}
	p := new(record.Page)
	p.Reset(record.NewEnvelope(target, who, []byte(`{"account_name":"prod"}`), "01JDRUN", "2026-11-21T22:15:03Z"))
	pad := strings.Repeat("x", size)
	for i := range n {
		d := &p.Items
		p.BeginItem(1)
		d.Buf = append(d.Buf, `{"InstanceId":`...)
		from := len(d.Buf)
		d.Buf = fmt.Appendf(d.Buf, `"%s-%d"`, name, i)
		p.SetID(0, record.SpanOf(from, len(d.Buf)))
		d.Buf = fmt.Appendf(d.Buf, `,"Pad":%q}`, pad)
		p.EndItem()
		p.EncodeLines("")
	}
	return p
}

// BatchOf returns a batch that borrows the page's lines.
func BatchOf(id string, p *record.Page) outputs.Batch {
	return outputs.Batch{ID: id, Target: target, Run: "01JDRUN", N: p.Len(), Lines: p.Lines()}
}

// IDs returns the ids of the lines, in order. It fails the test if a line is not a whole record.
func IDs(t *testing.T, lines []byte) []string {
	t.Helper()
	var ids []string
	if len(lines) > 0 && lines[len(lines)-1] != '\n' {
		t.Fatalf("the last line is incomplete: …%.80q", lines[max(0, len(lines)-80):])
	}
	for line := range bytes.Lines(lines) {
		var r record.Record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("a line is not a record: %v: %.200q", err, line)
		}
		ids = append(ids, r.ID)
	}
	return ids
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s Subject) order(t *testing.T) {
	out, received := s.Open(t)
	var want []string
	for i := range 20 {
		name := fmt.Sprintf("i-%02d", i)
		must(t, out.Send(t.Context(), BatchOf(name, Page(name, 3, 10))))
		want = append(want, name+"-0", name+"-1", name+"-2")
	}
	must(t, out.Flush(t.Context()))
	if got := IDs(t, received()); !slices.Equal(got, want) {
		t.Errorf("received %v, want %v", got, want)
	}
	must(t, out.Close(t.Context()))
}

// borrowed overwrites each page after Send has returned, as the page loop may.
func (s Subject) borrowed(t *testing.T) {
	out, received := s.Open(t)
	for i := range 5 {
		p := Page(fmt.Sprintf("i-%d", i), 10, 100)
		must(t, out.Send(t.Context(), BatchOf("b", p)))
		p.Poison()
	}
	must(t, out.Flush(t.Context()))
	if got := IDs(t, received()); len(got) != 50 || got[49] != "i-4-9" {
		t.Errorf("received %d records, the last %q; want 50, the last i-4-9", len(got), got[len(got)-1])
	}
	must(t, out.Close(t.Context()))
}

// concurrent has several senders with their own pages. Each sender's batches stay whole and in order.
func (s Subject) concurrent(t *testing.T) {
	const senders, batches, records = 8, 12, 7
	out, received := s.Open(t)
	var wg sync.WaitGroup
	for g := range senders {
		wg.Go(func() {
			for b := range batches {
				name := fmt.Sprintf("%d.%02d", g, b)
				if err := out.Send(t.Context(), BatchOf(name, Page(name, records, 500))); err != nil {
					t.Error(err)
				}
			}
			if err := out.Flush(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	ids := IDs(t, received())
	if len(ids) != senders*batches*records {
		t.Fatalf("received %d records, want %d", len(ids), senders*batches*records)
	}
	next := make([]int, senders)
	for i := 0; i < len(ids); i += records {
		var g, b int
		if _, err := fmt.Sscanf(ids[i], "%d.%d-0", &g, &b); err != nil {
			t.Fatalf("record %d is %q: a batch was torn", i, ids[i])
		}
		if b != next[g] {
			t.Errorf("sender %d: got batch %d, want %d", g, b, next[g])
		}
		next[g]++
		for r := range records {
			if want := fmt.Sprintf("%d.%02d-%d", g, b, r); ids[i+r] != want {
				t.Fatalf("record %d is %q, want %q: batches are mixed", i+r, ids[i+r], want)
			}
		}
	}
	must(t, out.Close(t.Context()))
}

func (s Subject) large(t *testing.T) {
	out, received := s.Open(t)
	must(t, out.Send(t.Context(), BatchOf("big", Page("big", 1000, 8<<10))))
	must(t, out.Flush(t.Context()))
	if got := IDs(t, received()); len(got) != 1000 || got[999] != "big-999" {
		t.Errorf("received %d records, want 1000", len(got))
	}
	must(t, out.Close(t.Context()))
}

// cancelled checks that a batch sent under a cancelled context does not arrive, and that the next one does.
func (s Subject) cancelled(t *testing.T) {
	out, received := s.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // catches a select that chooses at random
		if err := out.Send(ctx, BatchOf("late", Page("late", 1, 10))); !errors.Is(err, context.Canceled) {
			t.Fatalf("Send under an ended context: %v", err)
		}
	}
	must(t, out.Send(t.Context(), BatchOf("next", Page("next", 1, 10))))
	must(t, out.Flush(t.Context()))
	if got := IDs(t, received()); !slices.Equal(got, []string{"next-0"}) {
		t.Errorf("received %v, want next-0 alone", got)
	}
	must(t, out.Close(t.Context()))
}

// flush checks that everything sent before a flush is there, and that an empty flush is not an error.
func (s Subject) flush(t *testing.T) {
	out, received := s.Open(t)
	must(t, out.Flush(t.Context()))
	for i := range 10 {
		must(t, out.Send(t.Context(), BatchOf("f", Page("f", 1, 10))))
		must(t, out.Flush(t.Context()))
		if got := IDs(t, received()); len(got) != i+1 {
			t.Fatalf("%d records after flush %d", len(got), i+1)
		}
	}
	must(t, out.Flush(t.Context()))
	must(t, out.Close(t.Context()))
}

func (s Subject) close(t *testing.T) {
	out, received := s.Open(t)
	must(t, out.Send(t.Context(), BatchOf("c", Page("c", 2, 10))))
	must(t, out.Close(t.Context()))
	must(t, out.Close(t.Context()))
	if err := out.Send(t.Context(), BatchOf("d", Page("d", 1, 10))); !errors.Is(err, outputs.ErrClosed) {
		t.Errorf("Send after Close: %v", err)
	}
	if err := out.Flush(t.Context()); !errors.Is(err, outputs.ErrClosed) {
		t.Errorf("Flush after Close: %v", err)
	}
	if got := IDs(t, received()); !slices.Equal(got, []string{"c-0", "c-1"}) {
		t.Errorf("received %v, want what was sent before Close", got)
	}
}
