package inventory

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws-collector/collector/record"
)

// A hungDriver never finishes a commit.
type hungDriver struct{ Driver }

func (hungDriver) Begin(context.Context, record.Target, Scope, string) (ScopeUpdate, error) {
	return hungUpdate{}, nil
}

func (hungDriver) Ping(context.Context) error { return nil }

type hungUpdate struct{ ScopeUpdate }

func (hungUpdate) HasScope() bool { return false }
func (hungUpdate) Commit(ctx context.Context, _ Commit) error {
	<-ctx.Done()
	return ctx.Err()
}

// An end that the store did not take in time is counted as not stored. An end that the program itself cancelled is not.
func TestLateEndIsNotStored(t *testing.T) {
	for _, c := range []struct {
		cause error
		lost  int
	}{{fmt.Errorf("no answer within 5s: %w", context.DeadlineExceeded), 1}, {errors.New("the program was stopping"), 0}} {
		i := New(hungDriver{}, Options{})
		v, err := i.Begin(t.Context(), record.Target{Account: "prod"}, record.Identity{}, "R")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(c.cause)
		if err := v.End(ctx, record.Outcome{State: record.OK}); err == nil || i.NotStored() != c.lost ||
			(i.Err() != nil) != (c.lost > 0) {
			t.Errorf("%v: %v, %d lost, %v", c.cause, err, i.NotStored(), i.Err())
		}
	}
}

// An emptyDriver has no live resources and accepts everything.
type emptyDriver struct{ Driver }

func (emptyDriver) Begin(context.Context, record.Target, Scope, string) (ScopeUpdate, error) {
	return &emptyUpdate{}, nil
}

type emptyUpdate struct {
	ScopeUpdate
	size int
}

func (u *emptyUpdate) Add(rows []Row) {
	for i := range rows {
		u.size += rows[i].Size()
	}
}
func (u *emptyUpdate) Buffered() int                                     { return u.size }
func (emptyUpdate) HasScope() bool                                       { return true }
func (emptyUpdate) Live(context.Context, func(LiveResource) error) error { return nil }
func (emptyUpdate) Commit(context.Context, Commit) error                 { return nil }
func (emptyUpdate) Stage(context.Context) error                          { return nil }

// A writer gives back all its memory, also one that nobody ends.
func TestWritersFreeMemory(t *testing.T) {
	i := New(emptyDriver{}, Options{})
	for name, end := range map[string]func(ScopeWriter){
		"an end": func(v ScopeWriter) {
			if err := v.End(t.Context(), record.Outcome{State: record.OK}); err != nil {
				t.Error(err)
			}
		},
		"none": func(ScopeWriter) {},
	} {
		v, err := i.Begin(
			t.Context(), record.Target{Account: "prod", Region: "r", Kind: "ec2_instance"},
			record.Identity{AccountID: "222222222222", Partition: "aws"}, "R",
		)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.Page(t.Context(), testPage(t, 1000, "")); err != nil {
			t.Fatal(err)
		}
		if i.buffered.Load() == 0 || i.indexed.Load() < 1000*int64(len("i-1")) {
			t.Fatal("the writer buffers nothing")
		}
		end(v)
		counted := func() int64 { return i.buffered.Load() + i.indexed.Load() }
		if name == "none" {
			for deadline := time.Now().Add(10 * time.Second); counted() != 0 && time.Now().Before(deadline); {
				runtime.GC()
				time.Sleep(time.Millisecond)
			}
		}
		if n := counted(); n != 0 {
			t.Errorf("%s: %d bytes were not freed", name, n)
		}
	}
}

// A fullDriver stores no run.
type fullDriver struct {
	Driver
	err error
}

func (d *fullDriver) EndRun(context.Context, Run) error { return d.err }

// A run that is not stored is an outage, and no target is lost by it. The next one that is stored ends the outage.
func TestRunNotStored(t *testing.T) {
	d := &fullDriver{err: errors.New("disk full")}
	i := New(d, Options{})
	if err := i.EndRun(t.Context(), Run{}); !errors.Is(err, d.err) || !errors.Is(i.Err(), d.err) || i.NotStored() != 0 {
		t.Errorf("%v, %v, %d lost", err, i.Err(), i.NotStored())
	}
	d.err = nil
	if err := i.EndRun(t.Context(), Run{}); err != nil || i.Err() != nil {
		t.Errorf("%v, %v", err, i.Err())
	}
}

// The store keeps one copy of a text: what differs each time is not in it.
func TestCausesAreGeneral(t *testing.T) {
	for text, want := range map[string]string{
		"denied (request 4442587FB7D0A2F9)":                             "denied",
		"the run timed out at 2026-11-30T09:17:26Z":                     "the run timed out at …",
		"read tcp 10.0.0.1:43210->52.94.1.2:443: reset":                 "read tcp 52.94.1.2:443: reset",
		"read tcp [fe80::1]:43210->[fe80::2]:443: reset":                "read tcp [fe80::2]:443: reset",
		"no. Encoded authorization failure message: A-b_c9 (request 1)": "no. Encoded authorization failure message: …",
		"i/o timeout after 1m2.345s":                                    "i/o timeout after …",
		"within 30s":                                                    "within 30s",
	} {
		if got := CauseOf(record.Outcome{Error: text}).Error; got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// Different errors of one reason are different causes; the same error of many targets is one.
func TestCausesDiffer(t *testing.T) {
	var causes []Cause
	for _, c := range []struct {
		reason record.Reason
		text   string
	}{
		{record.BadRequest, "list ec2_volume in us-east-1: InvalidParameterValue: no such id vol-1 (request 5)"},
		{record.BadRequest, "list ec2_subnet in eu-west-1: InvalidParameterValue: no such id subnet-2"},
		{record.BadRequest, "list ec2_vpc in us-east-1: MissingParameter: an owner"},
		{record.ServiceError, "list ec2_vpc in us-east-1: InternalError: of its own"},
		{record.AccessDenied, "list ec2_vpc in us-east-1: UnauthorizedOperation: a"},
		{record.AccessDenied, "list ec2_image in us-east-1: UnauthorizedOperation: b"},
	} {
		causes = AddCause(causes, CauseOf(record.Outcome{State: record.Error, Reason: c.reason, Error: c.text}))
	}
	var counts []int
	for _, c := range causes {
		counts = append(counts, c.Targets)
	}
	if want := []int{2, 1, 1, 2}; !slices.Equal(counts, want) {
		t.Errorf("causes of %v targets, want %v", counts, want)
	}
}

func testPage(t *testing.T, n int, pad string) *record.Page {
	t.Helper()
	p := new(record.Page)
	p.Reset(
		record.NewEnvelope(
			record.Target{Account: "a", Region: "r", Kind: "ec2_instance"},
			record.Identity{AccountID: "222222222222", Partition: "aws"}, []byte(`{}`), "run", "2026-11-21T22:15:03Z",
		),
	)
	for i := range n {
		d := &p.Items
		p.BeginItem(1)
		d.Buf = append(d.Buf, `{"InstanceId":`...)
		from := len(d.Buf)
		d.Buf = record.AppendQuote(d.Buf, string(rune('a'+i%26))+strings.Repeat("x", i/26))
		p.SetID(0, record.SpanOf(from, len(d.Buf)))
		d.Buf = append(d.Buf, ",\n \"Pad\":"...)
		d.Buf = record.AppendQuote(d.Buf, pad)
		d.Buf = append(d.Buf, '}')
		p.EndItem()
		p.EncodeLines("")
	}
	return p
}

// A writer stages when all writers together have too much, or when it has more than its share. Small amounts stay
// buffered.
func TestShouldStage(t *testing.T) {
	for _, c := range []struct {
		own, others int64
		full        bool
	}{
		{own: minStageBytes, others: 0, full: false},
		{own: minStageBytes, others: defaultMaxBuffered, full: true},
		{own: minStageBytes - 1, others: defaultMaxBuffered, full: false},
		{own: defaultMaxBuffered / 4, others: 0, full: true},
		{own: 0, others: 2 * defaultMaxBuffered, full: false},
	} {
		inv := New(nil, Options{})
		inv.buffered.Store(c.own + c.others)
		w := scopeWriter{inv: inv, buffered: c.own}
		if w.shouldStage() != c.full {
			t.Errorf("with %d of its own and %d of others: full is %t", c.own, c.others, !c.full)
		}
	}
}
