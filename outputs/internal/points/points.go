// Package points sends points in line protocol, within the limits of their receiver. Begin with [NewOutput].
package points

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/fields"
	"github.com/aws-collector/collector/outputs/internal/httpclient"
)

// A Point is one line of line protocol before it is written.
type Point struct {
	Kind        string // for log messages
	Measurement string
	tags        []tag // if there are too many, the first ones are kept
	Fields      []field
	At          time.Time
	names       map[string]bool // of its tags and fields
}

type tag struct{ key, value string }

type field struct {
	Key   string
	Value lineprotocol.Value
}

// Limits are a receiver's limits, in bytes or as a number. 0 means no limit.
type Limits struct {
	MaxTags, MaxFields            int
	MaxKeyBytes, MaxTagValueBytes int
	MaxFieldValueBytes            int  // of a text; a longer one is omitted,
	CutLongFields                 bool // or cut if this is set
	MaxSeriesBytes                int  // measurement and tags together, with escapes
	NoDots                        bool // dots in names become underscores
	Reserved                      []string
}

func (l *Limits) IsReserved(key string) bool { return slices.Contains(l.Reserved, key) }

// A Writer writes points within the limits of their receiver; what exceeds a limit is cut or omitted, and logged.
type Writer struct {
	enc    lineprotocol.Encoder
	limits Limits
	log    *limitLog
}

// NewWriter returns a writer for an output of type typ.
func NewWriter(l Limits, log *slog.Logger, typ string) *Writer {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Writer{limits: l, log: &limitLog{log: log.With("type", typ)}}
}

// NewOutput returns an output that sends each line as the point that pointOf makes with w; nil: the line is not sent.
func NewOutput(c *httpclient.Client, w *Writer, pointOf func(*outputs.Line) *Point) *httpclient.Output {
	header := http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	out := httpclient.NewOutput(c, func(b outputs.Batch) (http.Header, []byte, error) {
		w.reset(len(b.Lines))
		for l, err := range outputs.Lines(b.Lines) {
			if err != nil {
				return nil, nil, fmt.Errorf("%w: %w", outputs.ErrRefused, err)
			}
			if p := pointOf(l); p != nil {
				if err := w.write(p); err != nil {
					return nil, nil, err
				}
			}
		}
		return header, w.enc.Bytes(), nil
	})
	out.OnClose = w.log.logTotal
	return out
}

// Has reports whether a tag or a field of the point has the name.
func (p *Point) Has(name string) bool { return p.names[name] }

// AddTag adds a tag, unless its value is empty: line protocol cannot express that. It reports whether it was added.
func (w *Writer) AddTag(p *Point, key, value string) bool {
	l := &w.limits
	name := w.cleanKey(p, key)
	clean := CleanText(value)
	if l.MaxTagValueBytes > 0 && len(clean) > l.MaxTagValueBytes {
		w.log.report(p.Kind, key, "value cut to "+strconv.Itoa(l.MaxTagValueBytes)+" bytes")
		clean = CleanText(cutAt(clean, l.MaxTagValueBytes))
	}
	switch {
	case name == "" || clean == "":
		return false
	case p.names[name]:
		w.log.report(p.Kind, key, "omitted: the record already has "+name)
		return false
	case l.MaxTags > 0 && len(p.tags) >= l.MaxTags:
		w.log.report(p.Kind, key, "omitted: more than "+strconv.Itoa(l.MaxTags)+" tags")
		return false
	}
	p.addName(name)
	p.tags = append(p.tags, tag{name, clean})
	return true
}

// AddField adds a member as a field, unless a tag has its name. Strings and booleans stay as they are; numbers are
// always floats, because a whole number would change the field's type; nested values are JSON; null is omitted.
func (w *Writer) AddField(p *Point, key string, raw json.RawMessage) {
	text, ok := fields.Scalar(raw)
	switch {
	case !ok && (len(raw) == 0 || string(raw) == "null"):
		return
	case !ok:
		w.AddText(p, key, fields.CompactJSON(raw))
	case raw[0] == '"':
		w.AddText(p, key, text)
	case text == "true" || text == "false":
		w.addValue(p, key, lineprotocol.BoolValue(text == "true"))
	default:
		n, err := strconv.ParseFloat(text, 64)
		v, finite := lineprotocol.FloatValue(n)
		if err != nil || !finite {
			w.AddText(p, key, text)
			return
		}
		w.addValue(p, key, v)
	}
}

// AddText adds a text field.
func (w *Writer) AddText(p *Point, key, text string) {
	text = strings.ToValidUTF8(text, "\ufffd")
	if limit := w.limits.MaxFieldValueBytes; limit > 0 && len(text) > limit {
		if !w.limits.CutLongFields {
			w.log.report(p.Kind, key, "omitted: longer than "+strconv.Itoa(limit)+" bytes")
			return
		}
		w.log.report(p.Kind, key, "value cut to "+strconv.Itoa(limit)+" bytes")
		text = cutAt(text, limit)
	}
	v, ok := lineprotocol.StringValue(text)
	if ok {
		w.addValue(p, key, v)
	}
}

func (w *Writer) addValue(p *Point, key string, v lineprotocol.Value) {
	name := w.cleanKey(p, key)
	switch {
	case name == "":
		return
	case p.names[name]:
		w.log.report(p.Kind, key, "omitted: the record already has "+name)
		return
	case w.limits.MaxFields > 0 && len(p.Fields) >= w.limits.MaxFields:
		w.log.report(p.Kind, key, "omitted: more than "+strconv.Itoa(w.limits.MaxFields)+" fields")
		return
	}
	p.addName(name)
	p.Fields = append(p.Fields, field{name, v})
}

func (p *Point) addName(name string) {
	if p.names == nil {
		p.names = map[string]bool{}
	}
	p.names[name] = true
}

// reset starts a batch. The buffer is reused unless it is far too large.
func (w *Writer) reset(lines int) {
	buf := w.enc.Bytes()[:0]
	if cap(buf) > 8<<20 && cap(buf) > 8*lines {
		buf = nil
	}
	w.enc.SetBuffer(buf)
}

// cleanKey returns the name in the form that the receiver accepts, or "".
func (w *Writer) cleanKey(p *Point, key string) string {
	l := &w.limits
	name := strings.ReplaceAll(CleanText(key), `\`, "") // parsers differ on a backslash before a quote
	if l.NoDots {
		name = ReplaceDots(name)
	}
	if l.MaxKeyBytes > 0 && len(name) > l.MaxKeyBytes {
		w.log.report(p.Kind, key, "name cut to "+strconv.Itoa(l.MaxKeyBytes)+" bytes")
		name = cutAt(name, l.MaxKeyBytes)
	}
	if name == "" {
		w.log.report(p.Kind, key, "omitted: its name has no valid characters")
	} else if l.IsReserved(name) {
		w.log.report(p.Kind, key, "omitted: the receiver reserves the name")
		return ""
	}
	return name
}

// write appends the point's line. If the series name is too long, its last tags are omitted.
func (w *Writer) write(p *Point) error {
	size := escapedLength(p.Measurement)
	tags := p.tags[:0]
	for _, t := range p.tags {
		add := escapedLength(t.key) + escapedLength(t.value) + 2
		if w.limits.MaxSeriesBytes > 0 && size+add > w.limits.MaxSeriesBytes {
			w.log.report(
				p.Kind,
				t.key,
				"omitted: tags of more than "+strconv.Itoa(w.limits.MaxSeriesBytes)+" bytes together",
			)
			continue
		}
		size += add
		tags = append(tags, t)
	}
	slices.SortFunc(tags, func(a, b tag) int { return cmp.Compare(a.key, b.key) })
	w.enc.StartLine(p.Measurement)
	for _, t := range tags {
		w.enc.AddTag(t.key, t.value)
	}
	for _, f := range p.Fields {
		w.enc.AddField(f.Key, f.Value)
	}
	w.enc.EndLine(p.At)
	if err := w.enc.Err(); err != nil {
		w.enc.ClearErr()
		return fmt.Errorf("%w: %s: %w", outputs.ErrRefused, p.Kind, err)
	}
	return nil
}

// escapedLength returns the size of a name or a tag's value with its escapes.
func escapedLength(s string) int {
	return len(s) + strings.Count(s, ",") + strings.Count(s, "=") + strings.Count(s, " ")
}

// CleanText returns s as a valid name or tag value. Control characters become spaces. Backslashes are removed where
// they would escape what follows: before a comma, an equals sign or a space, and at the end. Parsers do not agree on
// those.
func CleanText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	slashes := 0
	for _, r := range s {
		if r == '\\' {
			slashes++
			continue
		}
		if r != ',' && r != '=' && r != ' ' {
			b.WriteString(strings.Repeat(`\`, slashes))
		}
		slashes = 0
		b.WriteRune(r)
	}
	return b.String()
}

func ReplaceDots(name string) string { return strings.ReplaceAll(name, ".", "_") }

// cutAt returns at most the first n bytes of s, without splitting a rune.
func cutAt(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// limitLog logs what is cut or omitted because of a receiver's limits: once for each kind, member and effect, and the
// total at the end.
type limitLog struct {
	log *slog.Logger

	mu     sync.Mutex
	logged map[[3]string]bool
	count  int
}

// maxLimitWarnings bounds the memory and the log: the number of different tags is up to the users.
const maxLimitWarnings = 1000

func (c *limitLog) report(kind, member, change string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	key := [3]string{kind, member, change}
	if c.logged[key] || len(c.logged) >= maxLimitWarnings {
		return
	}
	if c.logged == nil {
		c.logged = map[[3]string]bool{}
	}
	c.logged[key] = true
	// Logged once for each kind and member.
	c.log.Warn("record member exceeds limits of receiver",
		"kind", kind, "member", printableName(member), "change", change)
}

// logTotal logs how often something was cut or omitted.
func (c *limitLog) logTotal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count > 0 {
		c.log.Info("record members were cut or omitted", "times", c.count)
		c.count = 0
	}
}

// printableName shortens a member's name for a log.
func printableName(s string) string { return strings.ToValidUTF8(s[:min(len(s), 64)], "") }
