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
type concealer struct{ *strings.Replacer } // nil: nothing is hidden

func concealerOf(hidden []secret.String) concealer {
	if len(hidden) == 0 {
		return concealer{}
	}
	var texts []string
	for _, s := range hidden {
		texts = append(texts, s.Reveal())
	}
	return concealer{config.NewScrubber(texts)}
}

// err is an error with the same reason, hint and chain that prints without the texts.
func (c concealer) err(err error) error {
	if err == nil || c.Replacer == nil {
		return err
	}
	text, hint := err.Error(), record.HintOf(err)
	clean, cleanHint := c.Replace(text), c.Replace(hint)
	if clean == text && cleanHint == hint {
		return err
	}
	f := &record.Fault{Reason: record.ReasonOf(err), Hint: cleanHint, Text: clean, Err: err}
	var later *Later
	if errors.As(err, &later) {
		return &Later{After: later.After, Err: f}
	}
	return f
}

// concealed is an output that says nothing of these texts.
type concealed struct {
	Output
	hide concealer
}

// conceal wraps an output that has something to hide.
func (c concealer) output(o Output) Output {
	if c.Replacer == nil {
		return o
	}
	return &concealed{o, c}
}

func (c *concealed) Send(ctx context.Context, b Batch) error {
	return c.hide.err(c.Output.Send(ctx, b))
}
func (c *concealed) Flush(ctx context.Context) error { return c.hide.err(c.Output.Flush(ctx)) }
func (c *concealed) Close(ctx context.Context) error { return c.hide.err(c.Output.Close(ctx)) }

func (c *concealed) reconfigure(options any) {
	if r, ok := c.Output.(reconfigurer); ok {
		r.reconfigure(options)
	}
}

// log is a logger that writes nothing of these texts.
func (c concealer) log(l *slog.Logger) *slog.Logger {
	if c.Replacer == nil || l == nil {
		return l
	}
	return slog.New(concealedLog{l.Handler(), c})
}

type concealedLog struct {
	slog.Handler
	hide concealer
}

func (h concealedLog) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, h.hide.Replace(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

func (h concealedLog) attr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		var all []any
		for _, in := range v.Group() {
			all = append(all, h.attr(in))
		}
		return slog.Group(a.Key, all...)
	case slog.KindString, slog.KindAny:
		text := v.String()
		if err, ok := v.Any().(error); ok {
			text = err.Error()
		} else if v.Kind() == slog.KindAny {
			text = fmt.Sprintf("%v", v.Any())
		}
		if clean := h.hide.Replace(text); clean != text {
			return slog.String(a.Key, clean)
		}
	}
	return slog.Attr{Key: a.Key, Value: v}
}

func (h concealedLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = h.attr(a)
	}
	return concealedLog{h.Handler.WithAttrs(clean), h.hide}
}

func (h concealedLog) WithGroup(name string) slog.Handler {
	return concealedLog{h.Handler.WithGroup(name), h.hide}
}
