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
	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/record"
)

// Served is an output's handler of GET requests, with its path on the web server.
type Served struct {
	Path    string
	Handler http.Handler
}

// ServedOptions holds the options of every output that answers HTTP requests.
type ServedOptions struct {
	Where  string          `yaml:"where" doc:"Only these resources: a condition as in collector list --where."`
	MaxAge config.Duration `yaml:"max_age" doc:"Answer 503 if the last complete listing is older, as 2h. 0: no limit."`
}

// NeedsStore tells package config that these outputs always need a store.
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

// parseWhere parses the condition. Ages in it are relative to now.
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

// errNoStore rejects an output that answers from the store if there is none.
var errNoStore = &record.Fault{
	Reason: record.Other, Hint: "Remove `store: none`, or this output.",
	Err: errors.New("answers from the store, but there is none"),
}

// A mountedOutput is a served output of a fan.
type mountedOutput struct {
	name    string
	handler http.Handler
}

// mount opens a served output and adds it to a fan. The caller holds s.configMu.
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

// reportMounted tells the observer which served outputs are up. The caller holds s.configMu.
func (s *Set) reportMounted(f *Fan) {
	for _, o := range f.mounted {
		if s.mounts[o.name]++; s.deps.Observer != nil {
			s.deps.Observer.OutputUp(o.name, true)
		}
	}
}

// unmount tells the observer which served outputs no fan has any more. The caller holds s.configMu.
func (s *Set) unmount(f *Fan) {
	for _, o := range f.mounted {
		if s.mounts[o.name]--; s.mounts[o.name] == 0 && s.deps.Observer != nil {
			s.deps.Observer.OutputClosed(o.name)
		}
	}
}

// Handlers returns the handlers of the served outputs by path.
func (f *Fan) Handlers() map[string]http.Handler {
	all := make(map[string]http.Handler, len(f.mounted))
	for path, o := range f.mounted {
		all[path] = o.handler
	}
	return all
}

// Limits of an answer. The web server limits concurrent answers and slow readers.
const (
	answerTimeout = 55 * time.Second // shorter than the web server's, so that the error can name the store
	answerBuffer  = 64 << 10
)

// answerCounts counts the resources that an answer shows, and those that it leaves out, by reason.
type answerCounts struct {
	shown   int
	leftOut map[string]int
}

func (t *answerCounts) addLeftOut(reason string, n int) {
	if t.leftOut == nil {
		t.leftOut = map[string]int{}
	}
	t.leftOut[reason] += n
}

// A renderer writes an answer.
type renderer interface {
	contentType(http.Header) string // of the answer to a request with this header
	render(ctx context.Context, contentType string, w *bufio.Writer) (answerCounts, error)
}

// errNothingListed is returned by a renderer before the first complete listing. It is not logged as a failure.
var errNothingListed = errors.New("no listing is complete yet; retry after the first one")

// An answerHandler serves what a renderer makes of the store. It streams, so that memory does not grow with the answer.
// An error before the first bytes are sent is a 503 with one line. A later error closes the connection, so that the
// client does not take a part for the whole.
type answerHandler struct {
	renderer
	name     string
	log      *slog.Logger
	observer Observer

	mu              sync.Mutex
	failing         bool
	reportedReasons map[string]bool // for leaving out resources, already logged
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
	timedOut := fmt.Errorf("the store did not answer within %s", answerTimeout)
	ctx, cancel := context.WithTimeoutCause(r.Context(), answerTimeout, timedOut)
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
	case out.err != nil || r.Context().Err() != nil: // the client has gone
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

// answerUnavailable answers 503 with one line.
func (a *answerHandler) answerUnavailable(w http.ResponseWriter, text string) {
	text = printable.Text(strings.Join(strings.Fields(text), " "))
	http.Error(w, "output "+a.name+": "+text, http.StatusServiceUnavailable)
}

// reportFailure counts a failure, and logs the first one after the output worked.
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
	a.log.Warn("output cannot answer requests", "output", a.name, "error", err, "hint", record.HintOf(err))
	if a.observer != nil {
		a.observer.OutputUp(a.name, false)
	}
}

// reportAnswer reports an answer, and logs each reason for leaving out resources once.
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
	for reason, n := range t.leftOut {
		if n > 0 && !a.reportedReasons[reason] {
			a.reportedReasons[reason] = true
			a.log.Warn("output leaves out resources", "output", a.name, "why", reason, "resources", n, "shown", t.shown)
		}
	}
	if w, ok := a.observer.(AnswerObserver); ok {
		w.OutputAnswered(a.name, t.shown, t.leftOut)
	}
}

// An answerWriter sets the Content-Type before the first bytes.
type answerWriter struct {
	to          http.ResponseWriter
	contentType string
	begun       bool
	err         error // of the connection
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

// A freshness says when targets were last listed completely.
type freshness struct {
	kinds    []string                  // with a complete listing, sorted
	accounts []accountKind             // sorted
	oldest   map[accountKind]time.Time // last complete listing of the stalest target
}

type accountKind struct{ account, accountID, kind string }

// checkFreshness reads how fresh the store is for the kinds. It returns errNothingListed before the first complete
// listing, because an empty answer would mean that every resource is gone.
func (s *ServedOptions) checkFreshness(
	ctx context.Context, store inventory.Reader, kinds func(string) bool,
) (freshness, error) {
	f := freshness{oldest: map[accountKind]time.Time{}}
	var newest time.Time
	for c, err := range store.Targets(ctx) {
		if err != nil {
			return f, fmt.Errorf("read the store: %w", err)
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
		return f, fmt.Errorf("the last complete listing was at %s, longer ago than max_age %s",
			newest.UTC().Format(time.RFC3339), time.Duration(s.MaxAge))
	}
	return f, nil
}

// find returns the live resources of a kind that satisfy the condition.
func (s *ServedOptions) find(
	ctx context.Context, store inventory.Reader, kind string, data bool,
) (iter.Seq2[*inventory.Resource, error], error) {
	where, err := s.parseWhere()
	if err != nil {
		return nil, err
	}
	return func(yield func(*inventory.Resource, error) bool) {
		for r, err := range store.Find(ctx, inventory.Query{Kinds: []string{kind}, Where: where, Data: data}) {
			if err != nil {
				err = fmt.Errorf("read the store: %w", err)
			}
			if !yield(r, err) {
				return
			}
		}
	}, nil
}

// An AnswerObserver is told about the answers of served outputs. An [Observer] may implement it.
type AnswerObserver interface {
	// OutputAnswered reports how many resources an answer shows, and how many it leaves out, by reason.
	OutputAnswered(output string, shown int, leftOut map[string]int)
}
