package outputs

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"github.com/klauspost/compress/gzip"

	"github.com/aws-collector/collector/config"
	escape "github.com/aws-collector/collector/internal/printable" // printable is a rule of line protocol here
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// Served is what an output answers with that is asked for what it has: a handler of GET at a path of the web server.
type Served struct {
	Path    string
	Handler http.Handler
}

// ServedOptions is the options that every output has which is asked, and sent nothing.
type ServedOptions struct {
	Where  string          `yaml:"where" doc:"Only what satisfies this condition, as 'state=running and tags.env=prod': the language of collector list --where."`
	MaxAge config.Duration `yaml:"max_age" doc:"Answer with an error once nothing of these kinds was listed in full for so long, as 2h; 0: what was remembered last is good, however old."`
}

// NeedsStore says to config that these outputs are nothing without a store, whatever their options.
func (*ServedOptions) NeedsStore() (option, value string, needs bool) { return "", "", true }

func (s *ServedOptions) validate() (errs []error) {
	if _, err := s.parseWhere(); err != nil {
		errs = append(errs, err)
	}
	if s.MaxAge < 0 {
		errs = append(errs, fmt.Errorf("max_age: %s is negative", time.Duration(s.MaxAge)))
	}
	return errs
}

// parseWhere parses the condition, whose ages are taken from now.
func (s *ServedOptions) parseWhere() (*inventory.Where, error) {
	if s.Where == "" {
		return nil, nil
	}
	w, err := inventory.ParseWhere(s.Where, time.Now())
	if err != nil {
		return nil, fmt.Errorf("where: %w", err)
	}
	return w, nil
}

// errNoStore is why an output that shows what is remembered cannot be with `store: none`.
var errNoStore = &record.Fault{
	Reason: record.Other, Hint: "take `store: none` out, or this output",
	Err: errors.New("it shows what the store remembers, and store: none remembers nothing"),
}

// A served output as a fan holds it.
type mountedOutput struct {
	name    string
	handler http.Handler
}

// mount adds an output that is asked to a fan. s.change is held.
func (s *Set) mount(f *Fan, t Type, sp Spec, name string) error {
	if s.deps.Store == nil {
		return errNoStore
	}
	d := s.deps
	d.Log = newRedactor(sp.Hidden).wrapLogger(d.Log)
	o, err := t.Serve(name, sp.Options, d)
	if err != nil {
		return err
	}
	if f.mounted == nil {
		f.mounted = map[string]mountedOutput{}
	}
	f.mounted[o.Path] = mountedOutput{name, o.Handler}
	return nil
}

// reportMounted says which outputs there are, and retract which are no more. s.change is held.
func (s *Set) reportMounted(f *Fan) {
	for _, o := range f.mounted {
		if s.mounts[o.name]++; s.deps.Observer != nil {
			s.deps.Observer.OutputUp(o.name, true)
		}
	}
}

func (s *Set) unmount(f *Fan) {
	for _, o := range f.mounted {
		if s.mounts[o.name]--; s.mounts[o.name] == 0 && s.deps.Observer != nil {
			s.deps.Observer.OutputClosed(o.name)
		}
	}
}

// Handlers is the outputs of this configuration that are asked, by path.
func (f *Fan) Handlers() map[string]http.Handler {
	all := make(map[string]http.Handler, len(f.mounted))
	for path, o := range f.mounted {
		all[path] = o.handler
	}
	return all
}

// The limits on an answer. How many are written at once, and how slowly they may be read, is the web server's to bound.
const (
	answerTimeout = 55 * time.Second // before the web server's own, so that a store that hangs is said to hang
	answerBuffer  = 64 << 10
)

// A tally is what an answer shows, and what it leaves out, by why.
type answerCounts struct {
	shown   int
	leftOut map[string]int
}

func (t *answerCounts) addLeftOut(why string, n int) {
	if t.leftOut == nil {
		t.leftOut = map[string]int{}
	}
	t.leftOut[why] += n
}

// A renderer writes an answer.
type renderer interface {
	contentType(http.Header) string // of the answer to a request
	render(ctx context.Context, contentType string, w *bufio.Writer) (answerCounts, error)
}

// errNothingListed is what a renderer says before there is anything to answer with: nobody's trouble.
var errNothingListed = errors.New("nothing was listed in full yet; the answer comes with the end of the first listing")

// An answerer serves what a renderer makes of the store, as it is read: whatever its size, little of it is in memory. An
// answer is whole or none. What goes wrong while its first bytes are held back is a 503 with one line; what goes wrong
// later breaks the connection off, so that nobody takes the half for the whole.
type answerHandler struct {
	renderer
	name     string
	log      *slog.Logger
	observer Observer

	mu              sync.Mutex
	failing         bool
	reportedReasons map[string]bool // what is left out, by why
}

func newAnswerHandler(name string, r renderer, d Deps) (http.Handler, error) {
	a := &answerHandler{renderer: r, name: name, log: d.Log, observer: d.Observer, reportedReasons: map[string]bool{}}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	compressed, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false))
	if err != nil {
		return nil, err
	}
	return compressed(a), nil
}

func (a *answerHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeoutCause(r.Context(), answerTimeout, fmt.Errorf("the store did not answer within %s", answerTimeout))
	defer cancel()
	out := &answerWriter{to: w, contentType: a.contentType(r.Header)}
	buf := bufio.NewWriterSize(out, answerBuffer)
	t, err := a.render(ctx, out.contentType, buf)
	if err == nil {
		err = buf.Flush()
	}
	switch {
	case err == nil:
		a.reportAnswer(t)
		return
	case out.err != nil || r.Context().Err() != nil: // whoever asked has gone
	case errors.Is(err, errNothingListed):
		a.answerUnavailable(w, err.Error())
		return
	default:
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		a.reportFailure(err)
		if !out.begun {
			a.answerUnavailable(w, err.Error())
			return
		}
	}
	panic(http.ErrAbortHandler)
}

// answerUnavailable answers 503, and one line.
func (a *answerHandler) answerUnavailable(w http.ResponseWriter, why string) {
	http.Error(w, "output "+a.name+": "+escape.Text(strings.Join(strings.Fields(why), " ")), http.StatusServiceUnavailable)
}

// reportFailure notes trouble, and says it once.
func (a *answerHandler) reportFailure(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.observer != nil {
		a.observer.OutputFailed(a.name, 0)
	}
	if a.failing {
		return
	}
	a.failing = true
	a.log.Warn("output cannot answer; whoever asks is told so", "output", a.name, "error", err, "hint", record.HintOf(err))
	if a.observer != nil {
		a.observer.OutputUp(a.name, false)
	}
}

// reportAnswer notes what an answer came to, and says the first time that something is left out.
func (a *answerHandler) reportAnswer(t answerCounts) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failing {
		a.failing = false
		a.log.Info("output answers again", "output", a.name)
		if a.observer != nil {
			a.observer.OutputUp(a.name, true)
		}
	}
	for why, n := range t.leftOut {
		if n > 0 && !a.reportedReasons[why] {
			a.reportedReasons[why] = true
			a.log.Warn("output leaves resources out", "output", a.name, "why", why, "resources", n, "shown", t.shown)
		}
	}
	if w, ok := a.observer.(AnswerObserver); ok {
		w.OutputAnswered(a.name, t.shown, t.leftOut)
	}
}

// An outbound begins the answer with the first bytes that it is given.
type answerWriter struct {
	to          http.ResponseWriter
	contentType string
	begun       bool
	err         error // the connection's
}

func (o *answerWriter) Write(p []byte) (int, error) {
	if !o.begun {
		o.begun = true
		o.to.Header().Set("Content-Type", o.contentType)
	}
	n, err := o.to.Write(p)
	o.err = err
	return n, err
}

// A freshness is when the targets of some kinds were listed in full.
type freshness struct {
	kinds    []string                  // of which one was, in order
	accounts []accountKind             // in order
	oldest   map[accountKind]time.Time // of the account's targets, the one for which it is the longest ago
}

type accountKind struct{ account, accountID, kind string }

// checkFreshness asks how far the store knows the kinds. Its error is errEarly where it does not yet: an empty answer would tell
// whoever asks that everything is gone.
func (s *ServedOptions) checkFreshness(ctx context.Context, store inventory.Reader, kinds func(string) bool) (freshness, error) {
	f := freshness{oldest: map[accountKind]time.Time{}}
	var newest time.Time
	for c, err := range store.Targets(ctx) {
		if err != nil {
			return f, fmt.Errorf("the store cannot be read: %w", err)
		}
		if !c.Retired.IsZero() || c.LastSeen.IsZero() || !kinds(c.Kind) {
			continue
		}
		if !slices.Contains(f.kinds, c.Kind) {
			f.kinds = append(f.kinds, c.Kind)
		}
		k := accountKind{c.Account, c.AccountID, c.Kind}
		at, known := f.oldest[k]
		if !known {
			f.accounts = append(f.accounts, k)
		}
		if !known || c.LastSeen.Before(at) {
			f.oldest[k] = c.LastSeen
		}
		if c.LastSeen.After(newest) {
			newest = c.LastSeen
		}
	}
	slices.Sort(f.kinds)
	slices.SortFunc(f.accounts, func(a, b accountKind) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.account, b.account), cmp.Compare(a.accountID, b.accountID))
	})
	switch age := time.Since(newest); {
	case newest.IsZero():
		return f, errNothingListed
	case s.MaxAge > 0 && age > time.Duration(s.MaxAge):
		return f, fmt.Errorf("nothing was listed in full since %s, and max_age is %s", newest.UTC().Format(time.RFC3339), time.Duration(s.MaxAge))
	}
	return f, nil
}

// find ranges over the live resources of a kind that satisfy the condition.
func (s *ServedOptions) find(ctx context.Context, store inventory.Reader, kind string, data bool) (iter.Seq2[*inventory.Resource, error], error) {
	where, err := s.parseWhere()
	if err != nil {
		return nil, err
	}
	return func(yield func(*inventory.Resource, error) bool) {
		for r, err := range store.Find(ctx, inventory.Query{Kinds: []string{kind}, Where: where, Data: data}) {
			if err != nil {
				err = fmt.Errorf("the store cannot be read: %w", err)
			}
			if !yield(r, err) {
				return
			}
		}
	}, nil
}

// An AnswerObserver hears what outputs answer that are asked. An [Observer] may be one.
type AnswerObserver interface {
	// OutputAnswered tells how many resources an answer shows, and how many it leaves out, by why.
	OutputAnswered(output string, shown int, leftOut map[string]int)
}
