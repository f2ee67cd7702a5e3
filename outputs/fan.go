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

// SendTimeout is how long a batch or a flush waits for one output while there are others that want to go on. An output
// alone may take as long as its caller's context: a pager in front of standard output is no failure.
const SendTimeout = 30 * time.Second

// A Set holds every output that is open, over all configurations: at a reload, what stays in the file stays open.
type Set struct {
	types []Type
	deps  Deps

	configMu        sync.Mutex // one Open or Close at a time, which may take as long as an output does
	mu              sync.Mutex // guards open and held, for a moment only: a health check asks
	workers         []*worker
	shared          map[string]*sharedOutput // by key
	orphansReported bool                     // for spools that nobody names; by change
	mounts          map[string]int           // served outputs, by name: how many fans have one; by change
}

// NewSet has nothing open yet. types is [Types] but in tests.
func NewSet(types []Type, d Deps) *Set {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	return &Set{types: types, deps: d, mounts: map[string]int{}, shared: map[string]*sharedOutput{}}
}

// A Spec is an output as configured: a type and what its Options made.
type Spec struct {
	Type    string
	Options any
	Line    int             // in the configuration, for messages; 0 if there is none
	Hidden  []secret.String // what no message may show of the options
}

func (s Spec) String() string {
	if s.Line == 0 {
		return "output " + s.Type
	}
	return fmt.Sprintf("line %d: output %s", s.Line, s.Type)
}

// Open opens a configuration's outputs, or none of them and says everything that is wrong. It is no error to have none.
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
			var m fanOutput
			if m, err = s.openOutput(ctx, sp, a); err == nil {
				f.outputs = append(f.outputs, m)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%v: %w", sp, newRedactor(sp.Hidden).redactError(err)))
		}
	}
	if len(errs) > 0 {
		for _, m := range f.outputs {
			if m.newInner != nil {
				errs = append(errs, m.newInner.Close(ctx))
			}
			if err := s.releaseWorker(ctx, m.worker); err != nil {
				errs = append(errs, err)
			}
		}
		return nil, errors.Join(errs...)
	}
	for _, m := range f.outputs { // only now: a configuration that is refused changes nothing
		m.worker.applyConfig(m)
	}
	s.reportMounted(f)
	s.reportOrphans()
	return f, nil
}

// openOutput finds the output that is open already, else opens it. s.change is held.
func (s *Set) openOutput(ctx context.Context, sp Spec, a resolved) (fanOutput, error) {
	t := findType(s.types, sp.Type)
	var c Common
	if o, ok := sp.Options.(interface{ common() *Common }); ok {
		c = *o.common()
	}
	c.Name = a.name
	m := fanOutput{name: a.name, typ: t.Name, key: a.key, wantsEnds: c.Ends, options: sp.Options, wantsRecords: c.Send != sendChanges, shaping: c.Shaping,
		redactor: newRedactor(sp.Hidden)}
	var err error
	if c.wantsChanges() {
		if m.feed, err = s.openFeed(ctx, c); err != nil {
			return fanOutput{}, err
		}
	}
	if c.hasSpool(t) {
		return s.openSpooled(ctx, t, m, c.Spool.withDefaults())
	}
	if m.key != "" {
		if m.worker = s.findWorker(m.key); m.worker != nil {
			m.refs++
			return m, nil
		}
	}
	out, err := s.openShared(ctx, t, m)
	if err != nil {
		return fanOutput{}, err
	}
	s.addWorker(&m, newWorker(m.key, m.name, t.Name, out, s.deps))
	return m, nil
}

// depsFor is what the wire gives, for one output.
func (s *Set) depsFor(name string, hide redactor) Deps {
	d := s.deps
	d.Log = hide.wrapLogger(d.Log.With("output", name))
	return d
}

// openFeed is what sends an output the changes. It begins when the configuration is accepted.
func (s *Set) openFeed(ctx context.Context, c Common) (*feed, error) {
	if s.deps.Store == nil {
		return nil, errors.New("send: changes are read from the store, and there is none")
	}
	return newFeed(ctx, folderName(c.Name), s.deps.CursorDir, c.Where, s.deps.Store, s.deps.Log)
}

func (s *Set) addWorker(m *fanOutput, l *worker) {
	m.worker = l
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = append(s.workers, l)
}

func (s *Set) findWorker(key string) *worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.IndexFunc(s.workers, func(l *worker) bool { return l.key == key }); i >= 0 {
		return s.workers[i]
	}
	return nil
}

// releaseWorker closes the output if nobody uses it any more. s.change is held.
func (s *Set) releaseWorker(ctx context.Context, l *worker) error {
	if l.refs--; l.refs > 0 {
		return nil
	}
	s.mu.Lock()
	i := slices.Index(s.workers, l)
	if i >= 0 {
		s.workers = slices.Delete(s.workers, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 {
		return nil // Set.Close was faster
	}
	err := l.close(ctx)
	name := l.State().Name
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.workers {
		if other.State().Name == name { // the same in another way, as with a spool now: its metrics stay
			other.reportUp()
		}
	}
	return err
}

// States says how each open output fares.
func (s *Set) States() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]State, len(s.workers))
	for i, l := range s.workers {
		all[i] = l.State()
	}
	return all
}

// Close closes every output that is still open, whoever holds it: the end of the program. Safe twice.
func (s *Set) Close(ctx context.Context) error {
	s.configMu.Lock()
	defer s.configMu.Unlock()
	s.mu.Lock()
	open := s.workers
	s.workers = nil
	s.mu.Unlock()
	errs := make([]error, len(open))
	var wg sync.WaitGroup
	for i, l := range open {
		wg.Go(func() { errs[i] = l.close(ctx) }) // at once: one that hangs takes no time from the others
	}
	wg.Wait()
	return errors.Join(errs...)
}

// A Fan delivers to the outputs of one configuration at once. One that fails does not stop another, nor make it wait for
// longer than [Patience]. It may be used by many goroutines.
type Fan struct {
	set     *Set
	outputs []fanOutput
	mounted map[string]mountedOutput // by path

	mu     sync.Mutex
	closed bool
}

type fanOutput struct {
	*worker
	name         string
	typ          string
	key          string
	wantsEnds    bool
	wantsRecords bool // it is sent them
	shaping      Shaping
	feed         *feed // of changes; nil: it is sent none
	options      any
	redactor     redactor
	spoolOptions Spool  // of one with a spool
	newInner     Output // the output proper, to take the place of the one behind the spool; nil leaves that
}

// Send returns when every output has taken the batch or has been given up on. The error joins theirs, for a caller that
// counts; the fan itself logs, once for each time that an output begins or ends to fail.
func (f *Fan) Send(ctx context.Context, b Batch) error {
	return f.forEach(func(m fanOutput, timeout time.Duration) error {
		if !m.wantsRecords {
			return nil
		}
		shaped, err := m.shaping.apply(b, time.Now())
		if err != nil {
			m.countLost(b, 1)
			return m.markFailed(opSend, err)
		}
		m.countFiltered(b, b.N-shaped.N)
		if len(shaped.Lines) == 0 {
			return nil
		}
		return m.send(ctx, shaped, timeout)
	})
}

// End is the end of a target: outputs that asked for it get a line that says so, then all are flushed. An output that
// lost records of the target is told `partial`, and how many it has, whatever the listing was: what it was never sent is
// not gone.
func (f *Fan) End(ctx context.Context, o record.Outcome) error {
	return f.forEach(func(m fanOutput, timeout time.Duration) error {
		lost, left := m.takeLosses(o.Run, o.Target)
		m.wakeFeed()
		if !m.wantsRecords {
			return nil
		}
		o := o
		o.Records -= left
		var err error
		if m.wantsEnds {
			b := Batch{ID: o.Run + "/" + o.Account + "/" + o.Region + "/" + o.Kind + "/end", Target: o.Target, Run: o.Run}
			if b.Lines, err = endLine(o, lost); err == nil {
				err = m.send(ctx, b, timeout)
			}
		}
		return errors.Join(err, m.flush(ctx, timeout))
	})
}

// Flush returns when what every output was sent before would survive a kill.
func (f *Fan) Flush(ctx context.Context) error {
	return f.forEach(func(m fanOutput, timeout time.Duration) error { return m.flush(ctx, timeout) })
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
	for i, m := range f.outputs {
		wg.Go(func() { errs[i] = do(m, SendTimeout) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close closes the outputs that no other fan uses. It waits for what is under way as long as ctx lets it. Safe twice.
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
	for _, m := range f.outputs {
		errs = append(errs, f.set.releaseWorker(ctx, m.worker))
	}
	f.set.unmount(f)
	return errors.Join(errs...)
}

// endLine is DESIGN's end-of-target line.
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
