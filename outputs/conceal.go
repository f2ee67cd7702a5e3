package outputs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// A concealer keeps texts out of what an output says: its secrets, and what came from a reference in its options. Each
// output takes care of its own secrets, too; this is for libraries, receivers and systems that quote what they were given.
type redactor struct{ *strings.Replacer } // nil: nothing is hidden

func newRedactor(hidden []secret.String) redactor {
	if len(hidden) == 0 {
		return redactor{}
	}
	var texts []string
	for _, s := range hidden {
		texts = append(texts, s.Reveal())
	}
	return redactor{config.NewRedactor(texts)}
}

// redactError is an error with the same reason, hint and chain that prints without the texts.
func (c redactor) redactError(redactError error) error {
	if redactError == nil || c.Replacer == nil {
		return redactError
	}
	text, hint := redactError.Error(), record.HintOf(redactError)
	clean, cleanHint := c.Replace(text), c.Replace(hint)
	if clean == text && cleanHint == hint {
		return redactError
	}
	f := &record.Fault{Reason: record.ReasonOf(redactError), Hint: cleanHint, Text: clean, Err: redactError}
	var later *RetryAfterError
	if errors.As(redactError, &later) {
		return &RetryAfterError{After: later.After, Err: f}
	}
	return f
}

// redactedOutput is an output that says nothing of these texts.
type redactedOutput struct {
	Output
	redactor redactor
}

// conceal wraps an output that has something to hide.
func (c redactor) wrapOutput(o Output) Output {
	if c.Replacer == nil {
		return o
	}
	return &redactedOutput{o, c}
}

func (c *redactedOutput) Send(ctx context.Context, b Batch) error {
	return c.redactor.redactError(c.Output.Send(ctx, b))
}
func (c *redactedOutput) Flush(ctx context.Context) error {
	return c.redactor.redactError(c.Output.Flush(ctx))
}
func (c *redactedOutput) Close(ctx context.Context) error {
	return c.redactor.redactError(c.Output.Close(ctx))
}

func (c *redactedOutput) reconfigure(options any) {
	if r, ok := c.Output.(reconfigurer); ok {
		r.reconfigure(options)
	}
}

// wrapLogger is a logger that writes nothing of these texts.
func (c redactor) wrapLogger(l *slog.Logger) *slog.Logger {
	if c.Replacer == nil || l == nil {
		return l
	}
	return slog.New(redactingHandler{l.Handler(), c})
}

type redactingHandler struct {
	slog.Handler
	redactor redactor
}

func (h redactingHandler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.redactor.Replace(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.redactAttr(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

func (h redactingHandler) redactAttr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		var all []any
		for _, in := range v.Group() {
			all = append(all, h.redactAttr(in))
		}
		return slog.Group(a.Key, all...)
	case slog.KindString, slog.KindAny:
		text := v.String()
		if err, ok := v.Any().(error); ok {
			text = err.Error()
		} else if v.Kind() == slog.KindAny {
			text = fmt.Sprintf("%v", v.Any())
		}
		if clean := h.redactor.Replace(text); clean != text {
			return slog.String(a.Key, clean)
		}
	}
	return slog.Attr{Key: a.Key, Value: v}
}

func (h redactingHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.redactAttr(a)
	}
	return redactingHandler{h.Handler.WithAttrs(clean), h.redactor}
}

func (h redactingHandler) WithGroup(name string) slog.Handler {
	return redactingHandler{h.Handler.WithGroup(name), h.redactor}
}
