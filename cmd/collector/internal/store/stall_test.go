package store

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/runner"
	"github.com/aws-collector/collector/runner/local"
)

// frozenStore is a database that stops answering in one method or all. If deaf, it ignores its context.
type frozenStore struct {
	inventory.Driver
	method string // "": all
	deaf   bool

	mu   sync.Mutex
	thaw chan struct{} // nil: it answers
	ends atomic.Int64  // commits that succeeded
}

func (f *frozenStore) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.thaw = make(chan struct{})
}

func (f *frozenStore) unfreeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.thaw != nil {
		close(f.thaw)
	}
	f.thaw = nil
}

func (f *frozenStore) wait(ctx context.Context, method string) error {
	f.mu.Lock()
	thaw := f.thaw
	f.mu.Unlock()
	if thaw == nil || f.method != "" && f.method != method && method != "alive" {
		return nil
	}
	done := ctx.Done()
	if f.deaf {
		done = nil
	}
	select {
	case <-thaw:
		return nil
	case <-done:
		return context.Cause(ctx)
	}
}

func (f *frozenStore) Begin(
	ctx context.Context, _ record.Target, _ inventory.Scope, _ string,
) (inventory.ScopeUpdate, error) {
	return frozenWriter{f}, f.wait(ctx, "begin")
}

func (f *frozenStore) ActiveTargets(ctx context.Context, account string) ([]record.Target, error) {
	return []record.Target{{Account: account, Region: "closed", Kind: "ec2_instance"}}, f.wait(ctx, "known")
}

func (f *frozenStore) Retire(ctx context.Context, _ record.Target, _ record.Identity, _ string) error {
	return f.wait(ctx, "retire")
}

func (f *frozenStore) StartRun(ctx context.Context, _ inventory.Run) error { return f.wait(ctx, "run") }
func (f *frozenStore) EndRun(ctx context.Context, _ inventory.Run) error   { return f.wait(ctx, "run") }
func (f *frozenStore) PutSignIn(ctx context.Context, _ inventory.SignIn) error {
	return f.wait(ctx, "run")
}
func (f *frozenStore) Ping(ctx context.Context) error       { return f.wait(ctx, "alive") }
func (f *frozenStore) ProbeWrite(ctx context.Context) error { return f.wait(ctx, "alive") }
func (f *frozenStore) Close() error                         { return nil }

type frozenWriter struct{ store *frozenStore }

func (frozenWriter) HasScope() bool             { return true }
func (frozenWriter) Committed() *record.Outcome { return nil }
func (frozenWriter) Add([]inventory.Row)        {}
func (frozenWriter) Buffered() int              { return 1 }
func (t frozenWriter) Live(ctx context.Context, _ func(inventory.LiveResource) error) error {
	return t.store.wait(ctx, "live")
}
func (t frozenWriter) Stage(ctx context.Context) error {
	return t.store.wait(ctx, "stage")
}
func (t frozenWriter) Commit(ctx context.Context, _ inventory.Commit) error {
	if err := t.store.wait(ctx, "commit"); err != nil {
		return err
	}
	t.store.ends.Add(1)
	return nil
}

// testAccount has one page for each region and kind.
type testAccount struct{ id string }

func (testAccount) SignIn() inventory.SignIn { return inventory.SignIn{} }
func (a testAccount) Identity() record.Identity {
	return record.Identity{Partition: "aws", AccountID: a.id}
}

func (testAccount) Regions(context.Context, *runner.Gate) (runner.Plan, error) {
	return runner.Plan{Regions: []string{"r1", "r2", "r3"}, Complete: true}, nil
}

func (testAccount) Pages(
	_ context.Context, _ *runner.Gate, t record.Target, run, _ string, _ *record.ListStats,
) iter.Seq2[*record.Page, error] {
	p := new(record.Page)
	p.Reset(record.NewEnvelope(t, record.Identity{}, []byte("{}"), run, ""))
	for n := range 64 {
		p.BeginItem(1)
		p.Items.Buf = fmt.Appendf(p.Items.Buf, `{"Id":"i-%04d"}`, n)
		p.SetID(0, record.SpanOf(len(p.Items.Buf)-9, len(p.Items.Buf)-1))
		p.EndItem()
		p.EncodeLines("")
	}
	return func(yield func(*record.Page, error) bool) { yield(p, nil) }
}

// recordingSink is an output that records when batches arrive and how targets end.
type recordingSink struct {
	mu    sync.Mutex
	at    []time.Time
	ended []record.Outcome
}

func (d *recordingSink) Send(context.Context, outputs.Batch) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = append(d.at, time.Now())
	return nil
}

func (d *recordingSink) End(_ context.Context, o record.Outcome) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = append(d.ended, o)
	return nil
}

// countBetween returns the number of pages in a period.
func (d *recordingSink) countBetween(from, to time.Time) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, at := range d.at {
		if !at.Before(from) && at.Before(to) {
			n++
		}
	}
	return n
}

type everyInterval time.Duration

func (e everyInterval) Next(t time.Time) time.Time {
	return t.Truncate(time.Duration(e)).Add(time.Duration(e))
}

// Whichever call of the store freezes: after some seconds outputs get records as before, every target ends ok, /-/ready
// reports it, a drain takes no longer, and the recovery is noticed.
func TestFrozenStoreDoesNotBlockDelivery(t *testing.T) {
	for _, method := range []string{"", "begin", "live", "stage", "commit", "known", "retire"} {
		for _, deaf := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, deaf %t", method, deaf), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testFreeze(t, &frozenStore{method: method, deaf: deaf}) })
			})
		}
	}
}

func testFreeze(t *testing.T, f *frozenStore) {
	var mu sync.Mutex
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(writerFunc(func(b []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return logged.Write(b)
	}), nil))
	inv := inventory.New(f, inventory.Options{Log: log, MaxBuffered: 1})
	store := &Store{Store: inv, Inventory: inv, Driver: inv.Driver()}
	out := new(recordingSink)
	r := runner.New(runner.Options{Limits: runner.NewLimits(64, nil), Store: store, Log: log})
	kinds := []runner.Kind{{Name: "ec2_instance", Op: "DescribeInstances"}, {Name: "ec2_volume", Op: "DescribeVolumes"}}
	var accounts []*runner.Account
	for n := range 8 {
		accounts = append(accounts, &runner.Account{
			Name: fmt.Sprint(
				"a",
				n,
			), Open: func(context.Context) (runner.OpenedAccount, error) { return testAccount{fmt.Sprintf("%012d", n)}, nil },
			AccountSpec: &runner.AccountSpec{Timeout: time.Minute, Overlap: runner.Skip, Kinds: kinds,
				Ticks: []runner.Tick{
					{Spec: "10s", Schedule: everyInterval(10 * time.Second), Kinds: []string{"ec2_instance", "ec2_volume"}},
				}},
		})
	}
	fleet, err := runner.NewConfiguration(runner.Configuration{Accounts: accounts, Output: out})
	if err != nil {
		t.Fatal(err)
	}
	r.Swap(fleet)
	engine := local.New(r, local.Options{Log: log})
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- engine.Run(ctx) }()

	const round = 8 * 3 * 2 // targets, each a page, every ten seconds
	start := time.Now().Truncate(10 * time.Second)
	time.Sleep(65 * time.Second)
	if n := out.countBetween(start.Add(20*time.Second), start.Add(60*time.Second)); n != 4*round ||
		len(store.NotReadyReasons()) > 0 {
		t.Errorf("before: %d pages in 40 s; %v", n, store.NotReadyReasons())
	}
	f.freeze()
	time.Sleep(10 * time.Second) // the next round meets the frozen store
	time.Sleep(inventory.StallTimeout + 2*time.Second)
	if why := store.NotReadyReasons(); len(why) != 1 || !strings.Contains(why[0], "store writes fail since") {
		t.Errorf("frozen, it is not ready because of %q", why)
	}
	from := start.Add(90 * time.Second)
	time.Sleep(time.Until(from.Add(60 * time.Second)))
	if n := out.countBetween(from, from.Add(60*time.Second)); n != 6*round {
		t.Errorf("while it is frozen: %d pages in a minute, want %d", n, 6*round)
	}
	f.unfreeze()
	time.Sleep(2 * time.Second)
	if why := store.NotReadyReasons(); len(why) > 0 {
		t.Errorf("after it: %q", why)
	}
	ends := f.ends.Load()
	time.Sleep(20 * time.Second)
	if n := f.ends.Load() - ends; n < round {
		t.Errorf("after it %d targets are stored in 20 s", n)
	}

	f.freeze()
	time.Sleep(time.Until(time.Now().Truncate(10 * time.Second).Add(10*time.Second + time.Second))) // in mid-run
	stopped := time.Now()
	stop()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if took := time.Since(stopped); took > 25*time.Second {
		t.Errorf("the drain took %s", took)
	}
	f.unfreeze()
	synctest.Wait()
	if err := store.Close(); err != nil {
		t.Error(err)
	}
	for _, o := range out.ended {
		if o.State != record.OK && !strings.Contains(o.Error, "stopping") {
			t.Fatalf("%s %s %s is %s: %s", o.Account, o.Region, o.Kind, o.State, o.Error)
		}
	}
	logs := logged.String()
	if n := strings.Count(logs, "store writes fail"); n == 0 || n > 2 ||
		strings.Count(logs, "store writes recovered") == 0 {
		t.Errorf("it is logged %d times:\n%s", n, logs)
	}
	if n := r.Abandoned(); n > 0 {
		t.Errorf("%d listings were abandoned", n)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
