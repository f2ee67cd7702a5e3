package outputs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// SendTimeout bounds how long a batch or a flush waits for one output if there are others. A single output may take as
// long as the caller's context allows: a pager that pauses standard output is not a failure.
const SendTimeout = 30 * time.Second

// A Set holds the open outputs of all configurations. Outputs that a reload does not change stay open.
type Set struct {
	types []Type
	deps  Deps

	configMu        sync.Mutex // serializes Open and Close, which may take as long as an output takes
	mu              sync.Mutex // guards workers and shared; held briefly, because health checks wait for it
	workers         []*worker
	shared          map[string]*sharedOutput // by key
	orphansReported bool                     // guarded by configMu
	mounts          map[string]int           // fans per name of a served output; guarded by configMu
}

// NewSet returns a set without open outputs. types is [Types], except in tests.
func NewSet(types []Type, d Deps) *Set {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return &Set{types: types, deps: d, mounts: map[string]int{}, shared: map[string]*sharedOutput{}}
}

// A Spec is a configured output: its type and its decoded options.
type Spec struct {
	Type    string
	Options any
	Line    int             // of the configuration, for messages; 0 if unknown
	Hidden  []secret.String // texts of the options that no message may show
}

func (s Spec) String() string {
	if s.Line == 0 {
		return "output " + s.Type
	}
	return fmt.Sprintf("line %d: output %s", s.Line, s.Type)
}

// Open opens all outputs of a configuration. If one fails, it opens none and returns all errors. No outputs is not an
// error.
func (s *Set) Open(ctx context.Context, specs []Spec) (*Fan, error) {
	s.configMu.Lock()
	defer s.configMu.Unlock()
	f := &Fan{set: s}
	var errs []error
	for i, a := range resolve(s.types, specs) {
		sp := specs[i]
		err := a.err
		if a.option != "" {
			err = fmt.Errorf("%s: %w", a.option, err)
		}
		if t := findType(s.types, sp.Type); err == nil && t.Serve != nil {
			err = s.mount(f, t, sp, a.name)
		} else if err == nil {
			var fo fanOutput
			if fo, err = s.openOutput(ctx, sp, a); err == nil {
				f.outputs = append(f.outputs, fo)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", sp, newRedactor(sp.Hidden).redactError(err)))
		}
	}
	if len(errs) > 0 {
		for _, fo := range f.outputs {
			if fo.newInner != nil {
				errs = append(errs, fo.newInner.Close(ctx))
			}
			if err := s.releaseWorker(ctx, fo.worker); err != nil {
				errs = append(errs, err)
			}
		}
		return nil, errors.Join(errs...)
	}
	for _, fo := range f.outputs { // only now: a rejected configuration changes nothing
		fo.worker.applyConfig(fo)
	}
	s.reportMounted(f)
	s.reportOrphans()
	return f, nil
}

// openOutput returns the output if it is already open; otherwise it opens it. The caller holds s.configMu.
func (s *Set) openOutput(ctx context.Context, sp Spec, a resolved) (fanOutput, error) {
	t := findType(s.types, sp.Type)
	var c Common
	if o, ok := sp.Options.(interface{ common() *Common }); ok {
		c = *o.common()
	}
	c.Name = a.name
	fo := fanOutput{
		name: a.name, typ: t.Name, key: a.key,
		wantsEnds: c.Ends, wantsRecords: c.Send != sendChanges,
		options: sp.Options, shaping: c.Shaping, redactor: newRedactor(sp.Hidden),
	}
	var err error
	if c.wantsChanges() {
		if fo.feed, err = s.openFeed(ctx, c); err != nil {
			return fanOutput{}, err
		}
	}
	if c.hasSpool(t) {
		return s.openSpooled(ctx, t, fo, c.Spool.withDefaults())
	}
	if fo.key != "" {
		if fo.worker = s.findWorker(fo.key); fo.worker != nil {
			fo.refs++
			return fo, nil
		}
	}
	out, err := s.openShared(ctx, t, fo)
	if err != nil {
		return fanOutput{}, err
	}
	s.addWorker(&fo, newWorker(fo.key, fo.name, t.Name, out, s.deps))
	return fo, nil
}

// depsFor returns the dependencies of one output, with a logger of its own.
func (s *Set) depsFor(name string, r redactor) Deps {
	d := s.deps
	d.Log = r.wrapLogger(d.Log.With("output", name))
	return d
}

// openFeed returns the change feed of an output. The feed starts when the configuration is accepted.
func (s *Set) openFeed(ctx context.Context, c Common) (*feed, error) {
	if s.deps.Store == nil {
		return nil, errors.New("send: changes needs a store: set store, or send: records")
	}
	return newFeed(ctx, folderName(c.Name), s.deps.CursorDir, c.Where, s.deps.Store, s.deps.Log)
}

func (s *Set) addWorker(fo *fanOutput, w *worker) {
	fo.worker = w
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = append(s.workers, w)
}

func (s *Set) findWorker(key string) *worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.workers, func(w *worker) bool { return w.key == key }); i >= 0 {
		return s.workers[i]
	}
	return nil
}

// releaseWorker closes the output if no fan uses it. The caller holds s.configMu.
func (s *Set) releaseWorker(ctx context.Context, w *worker) error {
	if w.refs--; w.refs > 0 {
		return nil
	}
	s.mu.Lock()
	i := slices.Index(s.workers, w)
	if i >= 0 {
		s.workers = slices.Delete(s.workers, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 {
		return nil // Set.Close has closed it
	}
	err := w.close(ctx)
	name := w.State().Name
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.workers {
		if other.State().Name == name { // the same output, now with a spool, for example: keep its metrics
			other.reportUp()
		}
	}
	return err
}

// States returns the state of each open output.
func (s *Set) States() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]State, len(s.workers))
	for i, w := range s.workers {
		all[i] = w.State()
	}
	return all
}

// Close closes every open output, even if a fan still uses it, at the end of the program. It may be called twice.
func (s *Set) Close(ctx context.Context) error {
	s.configMu.Lock()
	defer s.configMu.Unlock()
	s.mu.Lock()
	open := s.workers
	s.workers = nil
	s.mu.Unlock()
	errs := make([]error, len(open))
	var wg sync.WaitGroup
	for i, w := range open {
		wg.Go(func() { errs[i] = w.close(ctx) }) // all at once: one that hangs takes no time from the others
	}
	wg.Wait()
	return errors.Join(errs...)
}

// A Fan delivers to all outputs of one configuration at once. An output that fails does not stop the others, and delays
// them by [SendTimeout] at most. Many goroutines may use a Fan.
type Fan struct {
	set     *Set
	outputs []fanOutput
	mounted map[string]mountedOutput // by path

	mu     sync.Mutex
	closed bool
}

// A fanOutput is one output of a fan with the options of its configuration.
type fanOutput struct {
	*worker
	name         string
	typ          string
	key          string
	wantsEnds    bool
	wantsRecords bool
	shaping      Shaping
	feed         *feed // of changes; nil if the output gets none
	options      any
	redactor     redactor
	spoolOptions Spool  // if the output has a spool
	newInner     Output // replaces the output behind the spool; nil keeps it
}

// Send returns when every output has taken the batch or was abandoned. The error joins theirs, for callers that count;
// the outputs log their failures themselves, once per failure period.
func (f *Fan) Send(ctx context.Context, b Batch) error {
	return f.forEach(func(fo fanOutput, timeout time.Duration) error {
		if !fo.wantsRecords {
			return nil
		}
		shaped, err := fo.shaping.apply(b, time.Now())
		if err != nil {
			fo.countLost(b, 1)
			return fo.markFailed(opSend, err)
		}
		fo.countFiltered(b, b.N-shaped.N)
		if len(shaped.Lines) == 0 {
			return nil
		}
		return fo.send(ctx, shaped, timeout)
	})
}

// End marks the end of a target: outputs with the option ends get a line for it, then all outputs are flushed. If an
// output lost records of the target, its line has the state partial and the number of records that it has, so that its
// receiver does not take the lost ones for gone.
func (f *Fan) End(ctx context.Context, o record.Outcome) error {
	return f.forEach(func(fo fanOutput, timeout time.Duration) error {
		lost, left := fo.takeLosses(o.Run, o.Target)
		fo.wakeFeed()
		if !fo.wantsRecords {
			return nil
		}
		o := o
		o.Records -= left
		var err error
		if fo.wantsEnds {
			b := Batch{ID: o.Run + "/" + o.Account + "/" + o.Region + "/" + o.Kind + "/end", Target: o.Target, Run: o.Run}
			if b.Lines, err = endLine(o, lost); err == nil {
				err = fo.send(ctx, b, timeout)
			}
		}
		return errors.Join(err, fo.flush(ctx, timeout))
	})
}

// Flush returns when everything that was sent before would survive a kill.
func (f *Fan) Flush(ctx context.Context) error {
	return f.forEach(func(fo fanOutput, timeout time.Duration) error { return fo.flush(ctx, timeout) })
}

func (f *Fan) forEach(do func(fanOutput, time.Duration) error) error {
	switch len(f.outputs) {
	case 0:
		return nil
	case 1:
		return do(f.outputs[0], 0)
	}
	errs := make([]error, len(f.outputs))
	var wg sync.WaitGroup
	for i, fo := range f.outputs {
		wg.Go(func() { errs[i] = do(fo, SendTimeout) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close closes the outputs that no other fan uses. It waits for calls in progress until ctx ends. It may be called
// twice.
func (f *Fan) Close(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	f.set.configMu.Lock()
	defer f.set.configMu.Unlock()
	var errs []error
	for _, fo := range f.outputs {
		errs = append(errs, f.set.releaseWorker(ctx, fo.worker))
	}
	f.set.unmount(f)
	return errors.Join(errs...)
}

// endLine returns the line that marks the end of a target.
func endLine(o record.Outcome, lost int) ([]byte, error) {
	l := struct {
		Kind    string       `json:"kind"`
		Account string       `json:"account"`
		Region  string       `json:"region"`
		Target  string       `json:"target"`
		State   record.State `json:"state"`
		Records int          `json:"records"`
		Run     string       `json:"run"`
	}{"_target", o.Account, o.Region, o.Kind, o.State, max(o.Records-lost, 0), o.Run}
	if lost > 0 && o.State == record.OK {
		l.State = record.Partial
	}
	b, err := json.Marshal(l)
	return append(b, '\n'), err
}
