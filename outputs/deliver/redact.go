package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// A redactor removes an output's secrets, and texts that came from references, from its errors and logs. Each output
// already hides its own secrets; the redactor covers libraries, receivers and systems that quote their input.
type redactor struct{ *strings.Replacer } // nil: there is nothing to remove

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

// redactError returns an error with the same reason, hint and chain whose text is redacted.
func (r redactor) redactError(err error) error {
	if err == nil || r.Replacer == nil {
		return err
	}
	text, hint := err.Error(), record.HintOf(err)
	clean, cleanHint := r.Replace(text), r.Replace(hint)
	if clean == text && cleanHint == hint {
		return err
	}
	f := &record.Fault{Reason: record.ReasonOf(err), Hint: cleanHint, Text: clean, Err: err}
	var later *outputs.RetryAfterError
	if errors.As(err, &later) {
		return &outputs.RetryAfterError{After: later.After, Err: f}
	}
	return f
}

// A redactedOutput redacts the errors of an output.
type redactedOutput struct {
	outputs.Output
	redactor redactor
}

// wrapOutput wraps an output if there is something to redact.
func (r redactor) wrapOutput(o outputs.Output) outputs.Output {
	if r.Replacer == nil {
		return o
	}
	return &redactedOutput{o, r}
}

func (c *redactedOutput) Send(ctx context.Context, b outputs.Batch) error {
	return c.redactor.redactError(c.Output.Send(ctx, b))
}

func (c *redactedOutput) Flush(ctx context.Context) error {
	return c.redactor.redactError(c.Output.Flush(ctx))
}

func (c *redactedOutput) Close(ctx context.Context) error {
	return c.redactor.redactError(c.Output.Close(ctx))
}

func (c *redactedOutput) Reconfigure(options any) {
	if r, ok := c.Output.(outputs.Reconfigurer); ok {
		r.Reconfigure(options)
	}
}

// wrapLogger returns a logger whose records are redacted.
func (r redactor) wrapLogger(l *slog.Logger) *slog.Logger {
	if r.Replacer == nil || l == nil {
		return l
	}
	return slog.New(redactingHandler{l.Handler(), r})
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
