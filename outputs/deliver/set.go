// Package deliver takes lines to the outputs of a configuration, whatever the outputs do. Each layer wraps the one
// before it:
//
//   - the output itself, such as package kafka
//   - redact.go: no error and no log of the output shows a secret
//   - shared.go: an output that can be open only once, such as a file, has several users during a reload
//   - spool*.go: a log on disk in front of a receiver that can be away. spool.go appends; spoolfeed.go sends, and
//     halves refused requests; spoolpoison.go finds records at which the receiver fails; spooldead.go and
//     spoollosses.go hold what is never sent. internal/journal is the file format
//   - worker.go: isolates one output from the others. One that fails or hangs costs no other output a record
//   - timed.go: how long callers wait for the worker, and the options where and rename
//   - feed.go, cursor.go: changes, read from the store after a cursor, sent through the worker
//   - fan.go: delivers to all outputs of one configuration at once
//
// Each layer is an [outputs.Output] around another one; only its neighbours know it. Begin with [Set.Open]: openOutput
// puts these layers together for each output of a configuration. A [Set] holds the open outputs of all configurations,
// a [Fan] those of one. conflicts.go finds outputs that exclude each other; mount.go has the outputs that answer HTTP
// requests.
package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/secret"
)

// A Set holds the open outputs of all configurations. Outputs that a reload does not change stay open.
type Set struct {
	types []outputs.Type
	deps  outputs.Deps

	configMu        sync.Mutex // serializes Open and Close, which may take as long as an output takes
	mu              sync.Mutex // guards workers and shared; held briefly, because health checks wait for it
	workers         []*worker
	shared          map[string]*sharedOutput // by key
	orphansReported bool                     // guarded by configMu
	mounts          map[string]int           // fans per name of a served output; guarded by configMu
}

// NewSet returns a set without open outputs. types is the list of package all, except in tests.
func NewSet(types []outputs.Type, d outputs.Deps) *Set {
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
	timeout := SendTimeout
	if len(f.outputs) == 1 {
		timeout = 0
	}
	for i := range f.outputs { // only now: a rejected configuration changes nothing
		fo := &f.outputs[i]
		limited := timedOutput{fo.worker, timeout}
		fo.out, fo.records = limited, shapedOutput{limited, fo.shaping, s.deps.KindInfo}
		fo.worker.applyConfig(*fo)
	}
	s.reportMounted(f)
	s.reportOrphans()
	return f, nil
}

// openOutput opens an output with its layers. What is already open and can stay is not opened again. The caller holds
// s.configMu.
func (s *Set) openOutput(ctx context.Context, sp Spec, a resolved) (fanOutput, error) {
	t := findType(s.types, sp.Type)
	var c outputs.Common
	if o := outputs.CommonOf(sp.Options); o != nil {
		c = *o
	}
	c.Name = a.name
	fo := fanOutput{
		name: a.name, typ: t.Name, key: a.key,
		wantsEnds: c.Ends, wantsRecords: c.WantsRecords(),
		options: sp.Options, shaping: c.Shaping, redactor: newRedactor(sp.Hidden),
		hasSpool: c.HasSpool(t), spoolOptions: c.Spool.WithDefaults(),
	}
	var err error
	if c.WantsChanges() {
		if fo.feed, err = s.openFeed(ctx, c); err != nil {
			return fanOutput{}, err
		}
	}
	err = s.isolate(ctx, &fo, s.spool(&fo, s.share(fo.key, s.redact(t, fo))))
	return fo, err
}

// An opener opens an output with some of its layers. If old, which is open for an earlier configuration, can stay, the
// opener returns old. old is nil if there is none.
type opener func(ctx context.Context, old outputs.Output) (outputs.Output, error)

// redact opens the output itself, and hides secrets in its errors and logs.
func (s *Set) redact(t outputs.Type, fo fanOutput) opener {
	return func(ctx context.Context, _ outputs.Output) (outputs.Output, error) {
		out, err := t.Open(ctx, fo.options, s.depsFor(fo.name, fo.redactor))
		if err != nil {
			return nil, err
		}
		return fo.redactor.wrapOutput(out), nil
	}
}

// isolate gives fo the worker of its spool or key, or a new one. An output with neither is always new. The caller holds
// s.configMu.
func (s *Set) isolate(ctx context.Context, fo *fanOutput, open opener) error {
	key := fo.key
	if fo.hasSpool {
		key = spoolKey(fo.name)
	}
	var old outputs.Output
	if key != "" {
		if fo.worker = s.findWorker(key); fo.worker != nil {
			old = fo.worker.out
		}
	}
	out, err := open(ctx, old)
	if err != nil {
		return err
	}
	if fo.worker != nil {
		fo.worker.refs++
		return nil
	}
	fo.worker = newWorker(key, fo.name, fo.typ, out, s.deps)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers = append(s.workers, fo.worker)
	return nil
}

// depsFor returns the dependencies of one output, with a logger of its own.
func (s *Set) depsFor(name string, r redactor) outputs.Deps {
	d := s.deps
	d.Log = r.wrapLogger(d.Log.With("output", name))
	return d
}

// openFeed returns the change feed of an output. The feed starts when the configuration is accepted.
func (s *Set) openFeed(ctx context.Context, c outputs.Common) (*feed, error) {
	if s.deps.Store == nil {
		return nil, errors.New("send: changes needs a store: set store, or send: records")
	}
	return newFeed(ctx, directoryName(c.Name), s.deps.CursorDir, c.Where, s.deps.Store, s.deps.Log)
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
