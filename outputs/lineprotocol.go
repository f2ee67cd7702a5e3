package outputs

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/influxdata/line-protocol/v2/lineprotocol"
)

// A point is one line of line protocol in the making: what it is measured by, and what is known.
type point struct {
	kind        string // for messages
	measurement string
	tags        []pointTag // those before others are kept when there are too many
	fields      []pointField
	at          time.Time
	names       map[string]bool // of tags and fields
}

type pointTag struct{ key, value string }

type pointField struct {
	key   string
	value lineprotocol.Value
}

// lineLimits is what a receiver takes, in bytes where it is not a number of things. 0 is any.
type lineLimits struct {
	tags, fields  int
	key, tagValue int
	fieldValue    int  // of text; a longer one is left out,
	cutFields     bool // or cut
	series        int  // measurement and tags together, as they are written
	dotless       bool // a dot in a name becomes an underscore
	reserved      []string
}

func (l *lineLimits) isReserved(key string) bool { return slices.Contains(l.reserved, key) }

// A lineWriter writes points that their receiver will take: what goes over its limits is cut, and said.
type lineWriter struct {
	enc    lineprotocol.Encoder
	limits lineLimits
	cuts   *cuts
}

// has reports whether the name is used by a tag or a field of the point.
func (p *point) has(name string) bool { return p.names[name] }

// tag adds a tag. An empty value is none: line protocol has no form for it. It reports whether the point has it now.
func (w *lineWriter) tag(p *point, key, value string) bool {
	l := &w.limits
	name := w.key(p, key)
	clean := cleanText(value)
	if l.tagValue > 0 && len(clean) > l.tagValue {
		w.cuts.note(p.kind, key, "its value is cut to "+strconv.Itoa(l.tagValue)+" bytes")
		clean = cleanText(cutAt(clean, l.tagValue))
	}
	switch {
	case name == "" || clean == "":
		return false
	case p.names[name]:
		w.cuts.note(p.kind, key, "left out: the record has another "+name)
		return false
	case l.tags > 0 && len(p.tags) >= l.tags:
		w.cuts.note(p.kind, key, "left out: more than "+strconv.Itoa(l.tags)+" tags")
		return false
	}
	p.use(name)
	p.tags = append(p.tags, pointTag{name, clean})
	return true
}

// field adds a member as a field, unless a tag has its name: text, numbers and truth values as they are, numbers always as
// floats, as one that is whole by chance would otherwise change its field's type; what is nested as JSON; null not at all.
func (w *lineWriter) field(p *point, key string, raw json.RawMessage) {
	text, ok := scalar(raw)
	switch {
	case !ok && (len(raw) == 0 || string(raw) == "null"):
		return
	case !ok:
		w.text(p, key, compact(raw))
	case raw[0] == '"':
		w.text(p, key, text)
	case text == "true" || text == "false":
		w.add(p, key, lineprotocol.BoolValue(text == "true"))
	default:
		n, err := strconv.ParseFloat(text, 64)
		v, finite := lineprotocol.FloatValue(n)
		if err != nil || !finite {
			w.text(p, key, text)
			return
		}
		w.add(p, key, v)
	}
}

// text adds a field that is text.
func (w *lineWriter) text(p *point, key, text string) {
	text = strings.ToValidUTF8(text, "\ufffd")
	if most := w.limits.fieldValue; most > 0 && len(text) > most {
		if !w.limits.cutFields {
			w.cuts.note(p.kind, key, "left out: longer than "+strconv.Itoa(most)+" bytes")
			return
		}
		w.cuts.note(p.kind, key, "its value is cut to "+strconv.Itoa(most)+" bytes")
		text = cutAt(text, most)
	}
	v, ok := lineprotocol.StringValue(text)
	if ok {
		w.add(p, key, v)
	}
}

func (w *lineWriter) add(p *point, key string, v lineprotocol.Value) {
	name := w.key(p, key)
	switch {
	case name == "":
		return
	case p.names[name]:
		w.cuts.note(p.kind, key, "left out: the record has another "+name)
		return
	case w.limits.fields > 0 && len(p.fields) >= w.limits.fields:
		w.cuts.note(p.kind, key, "left out: more than "+strconv.Itoa(w.limits.fields)+" fields")
		return
	}
	p.use(name)
	p.fields = append(p.fields, pointField{name, v})
}

func (p *point) use(name string) {
	if p.names == nil {
		p.names = map[string]bool{}
	}
	p.names[name] = true
}

// reset begins a batch. The writer's buffer is used again, unless it grew out of all proportion.
func (w *lineWriter) reset(lines int) {
	buf := w.enc.Bytes()[:0]
	if cap(buf) > 8<<20 && cap(buf) > 8*lines {
		buf = nil
	}
	w.enc.SetBuffer(buf)
}

func lineProtocolHeader() http.Header {
	return http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
}

// key is the name as the receiver takes it, or "".
func (w *lineWriter) key(p *point, key string) string {
	l := &w.limits
	name := strings.ReplaceAll(cleanText(key), `\`, "") // parsers differ on those before a quote, too
	if l.dotless {
		name = dotless(name)
	}
	if l.key > 0 && len(name) > l.key {
		w.cuts.note(p.kind, key, "its name is cut to "+strconv.Itoa(l.key)+" bytes")
		name = cutAt(name, l.key)
	}
	if name == "" {
		w.cuts.note(p.kind, key, "left out: nothing of its name can be written")
	} else if l.isReserved(name) {
		w.cuts.note(p.kind, key, "left out: the receiver keeps the name for itself")
		return ""
	}
	return name
}

// write appends the point's line. Tags that make the series' name too long are left out, the last first.
func (w *lineWriter) write(p *point) error {
	size := written(p.measurement)
	kept := p.tags[:0]
	for _, t := range p.tags {
		add := written(t.key) + written(t.value) + 2
		if w.limits.series > 0 && size+add > w.limits.series {
			w.cuts.note(p.kind, t.key, "left out: tags of more than "+strconv.Itoa(w.limits.series)+" bytes together")
			continue
		}
		size += add
		kept = append(kept, t)
	}
	slices.SortFunc(kept, func(a, b pointTag) int { return cmp.Compare(a.key, b.key) })
	w.enc.StartLine(p.measurement)
	for _, t := range kept {
		w.enc.AddTag(t.key, t.value)
	}
	for _, f := range p.fields {
		w.enc.AddField(f.key, f.value)
	}
	w.enc.EndLine(p.at)
	if err := w.enc.Err(); err != nil {
		w.enc.ClearErr()
		return fmt.Errorf("%w: %s: %w", ErrRefused, p.kind, err)
	}
	return nil
}

// written is the size of a name or a tag's value with its escapes.
func written(s string) int {
	return len(s) + strings.Count(s, ",") + strings.Count(s, "=") + strings.Count(s, " ")
}

// cleanText is s as a name or a tag's value can be: control characters, line breaks among them, are spaces. Backslashes are gone
// where they would escape what follows: before a comma, an equals sign, a space, and at the end. Line protocol has no form for
// those that every parser reads alike.
func cleanText(s string) string {
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

func dotless(name string) string { return strings.ReplaceAll(name, ".", "_") }

func sortedKeys(m map[string]json.RawMessage) []string { return slices.Sorted(maps.Keys(m)) }

// cutAt is the first n bytes of s, or a little less: no rune is torn.
func cutAt(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// cuts says what a receiver's limits cost: each kind, member and loss once, and how often in all at the end.
type cuts struct {
	log *slog.Logger

	mu   sync.Mutex
	said map[[3]string]bool
	all  int
}

func newCuts(log *slog.Logger, typ string) *cuts {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &cuts{log: log.With("type", typ)}
}

// maxCuts bounds what is remembered, and said, of cuts: tags are the users'.
const maxCuts = 1000

func (c *cuts) note(kind, member, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all++
	key := [3]string{kind, member, what}
	if c.said[key] || len(c.said) >= maxCuts {
		return
	}
	if c.said == nil {
		c.said = map[[3]string]bool{}
	}
	c.said[key] = true
	c.log.Warn("a member does not go out whole: the receiver has limits; this is said once for each kind and member",
		"kind", kind, "member", printable(member), "what", what)
}

// total says how often something was cut.
func (c *cuts) total() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all > 0 {
		c.log.Info("members that did not go out whole", "times", c.all)
		c.all = 0
	}
}

// printable is a member's name as a log may show it.
func printable(s string) string { return strings.ToValidUTF8(s[:min(len(s), 64)], "") }
