// Package served is what outputs share that answer HTTP requests from the store: their options, the handler, and how
// fresh the store is.
package served

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
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// Options holds the options of every output that answers HTTP requests.
type Options struct {
	Where  string          `yaml:"where" doc:"Only these resources: a condition as in collector list --where."`
	MaxAge config.Duration `yaml:"max_age" doc:"Answer 503 if the last complete listing is older, such as 2h. 0: no limit."`
}

// NeedsStore tells package config that these outputs always need a store.
func (*Options) NeedsStore() (option, value string, needs bool) { return "", "", true }

func (s *Options) ServedErrors() (errs []error) {
	if _, err := s.parseWhere(); err != nil {
		errs = append(errs, err)
	}
	if s.MaxAge < 0 {
		errs = append(errs, fmt.Errorf("max_age: %s is negative", time.Duration(s.MaxAge)))
	}
	return errs
}

// parseWhere parses the condition. Ages in it are relative to now.
func (s *Options) parseWhere() (*inventory.Where, error) {
	if s.Where == "" {
		return nil, nil
	}
	w, err := inventory.ParseWhere(s.Where, time.Now())
	if err != nil {
		return nil, fmt.Errorf("where: %w", err)
	}
	return w, nil
}

// Limits of an answer. The web server limits concurrent answers and slow readers.
const (
	answerTimeout = 55 * time.Second // shorter than the web server's, so that the error can name the store
	answerBuffer  = 64 << 10
)

// Counts counts the resources that an answer shows, and those that it leaves out, by reason.
type Counts struct {
	Shown   int
	leftOut map[string]int
}

func (t *Counts) AddLeftOut(reason string, n int) {
	if t.leftOut == nil {
		t.leftOut = map[string]int{}
	}
	t.leftOut[reason] += n
}

// A renderer writes an answer.
type renderer interface {
	ContentType(http.Header) string // of the answer to a request with this header
	Render(ctx context.Context, contentType string, w *bufio.Writer) (Counts, error)
}

// errNothingListed is returned by a renderer before the first complete listing. It is not logged as a failure.
var errNothingListed = errors.New("no listing is complete yet; retry after the first one")

// A handler serves what a renderer makes of the store. It streams, so that memory does not grow with the answer.
// An error before the first bytes are sent is a 503 with one line. A later error closes the connection, so that the
// client does not take a part for the whole.
type handler struct {
	renderer
	name     string
	log      *slog.Logger
	observer outputs.Observer

	mu              sync.Mutex
	failing         bool
	reportedReasons map[string]bool // for leaving out resources, already logged
}

func NewHandler(name string, r renderer, d outputs.Deps) (http.Handler, error) {
	a := &handler{renderer: r, name: name, log: d.Log, observer: d.Observer, reportedReasons: map[string]bool{}}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	compressed, err := gzhttp.NewWrapper(gzhttp.CompressionLevel(gzip.BestSpeed), gzhttp.EnableZstd(false))
	if err != nil {
		return nil, err
	}
	return compressed(a), nil
}

func (a *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	timedOut := fmt.Errorf("the store did not answer within %s", answerTimeout)
	ctx, cancel := context.WithTimeoutCause(r.Context(), answerTimeout, timedOut)
	defer cancel()
	out := &answerWriter{to: w, contentType: a.ContentType(r.Header)}
	buf := bufio.NewWriterSize(out, answerBuffer)
	t, err := a.Render(ctx, out.contentType, buf)
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
func (a *handler) answerUnavailable(w http.ResponseWriter, text string) {
	text = printable.Text(strings.Join(strings.Fields(text), " "))
	http.Error(w, "output "+a.name+": "+text, http.StatusServiceUnavailable)
}

// reportFailure counts a failure, and logs the first one after the output worked.
func (a *handler) reportFailure(err error) {
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
func (a *handler) reportAnswer(t Counts) {
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
			a.log.Warn("output leaves out resources", "output", a.name, "reason", reason, "resources", n, "shown", t.Shown)
		}
	}
	if w, ok := a.observer.(outputs.AnswerObserver); ok {
		w.OutputAnswered(a.name, t.Shown, t.leftOut)
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
	Kinds    []string                  // with a complete listing, sorted
	Accounts []accountKind             // sorted
	Oldest   map[accountKind]time.Time // last complete listing of the stalest target
}

type accountKind struct{ Account, AccountID, Kind string }

// CheckFreshness reads how fresh the store is for the kinds. It returns ErrNothingListed before the first complete
// listing, because an empty answer would mean that every resource is gone.
func (s *Options) CheckFreshness(
	ctx context.Context, store inventory.Reader, kinds func(string) bool,
) (freshness, error) {
	f := freshness{Oldest: map[accountKind]time.Time{}}
	var newest time.Time
	for c, err := range store.Targets(ctx) {
		if err != nil {
			return f, fmt.Errorf("read the store: %w", err)
		}
		if !c.Retired.IsZero() || c.LastSeen.IsZero() || !kinds(c.Kind) {
			continue
		}
		if !slices.Contains(f.Kinds, c.Kind) {
			f.Kinds = append(f.Kinds, c.Kind)
		}
		k := accountKind{c.Account, c.AccountID, c.Kind}
		at, known := f.Oldest[k]
		if !known {
			f.Accounts = append(f.Accounts, k)
		}
		if !known || c.LastSeen.Before(at) {
			f.Oldest[k] = c.LastSeen
		}
		if c.LastSeen.After(newest) {
			newest = c.LastSeen
		}
	}
	slices.Sort(f.Kinds)
	slices.SortFunc(f.Accounts, func(a, b accountKind) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Account, b.Account), cmp.Compare(a.AccountID, b.AccountID))
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

// Find returns the live resources of a kind that satisfy the condition.
func (s *Options) Find(
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
