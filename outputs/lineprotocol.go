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
	maxTags, maxFields            int
	maxKeyBytes, maxTagValueBytes int
	maxFieldValueBytes            int  // of text; a longer one is left out,
	cutLongFields                 bool // or cut
	maxSeriesBytes                int  // measurement and tags together, as they are written
	noDots                        bool // a dot in a name becomes an underscore
	reserved                      []string
}

func (l *lineLimits) isReserved(key string) bool { return slices.Contains(l.reserved, key) }

// A lineWriter writes points that their receiver will take: what goes over its limits is cut, and said.
type lineWriter struct {
	enc      lineprotocol.Encoder
	limits   lineLimits
	limitLog *limitLog
}

// has reports whether the name is used by a tag or a field of the point.
func (p *point) has(name string) bool { return p.names[name] }

// addTag adds a tag. An empty value is none: line protocol has no form for it. It reports whether the point has it now.
func (w *lineWriter) addTag(p *point, key, value string) bool {
	l := &w.limits
	name := w.cleanKey(p, key)
	clean := cleanText(value)
	if l.maxTagValueBytes > 0 && len(clean) > l.maxTagValueBytes {
		w.limitLog.report(p.kind, key, "its value is cut to "+strconv.Itoa(l.maxTagValueBytes)+" bytes")
		clean = cleanText(cutAt(clean, l.maxTagValueBytes))
	}
	switch {
	case name == "" || clean == "":
		return false
	case p.names[name]:
		w.limitLog.report(p.kind, key, "left out: the record has another "+name)
		return false
	case l.maxTags > 0 && len(p.tags) >= l.maxTags:
		w.limitLog.report(p.kind, key, "left out: more than "+strconv.Itoa(l.maxTags)+" tags")
		return false
	}
	p.addName(name)
	p.tags = append(p.tags, pointTag{name, clean})
	return true
}

// addField adds a member as a field, unless a tag has its name: text, numbers and truth values as they are, numbers always as
// floats, as one that is whole by chance would otherwise change its field's type; what is nested as JSON; null not at all.
func (w *lineWriter) addField(p *point, key string, raw json.RawMessage) {
	text, ok := scalar(raw)
	switch {
	case !ok && (len(raw) == 0 || string(raw) == "null"):
		return
	case !ok:
		w.addText(p, key, compactJSON(raw))
	case raw[0] == '"':
		w.addText(p, key, text)
	case text == "true" || text == "false":
		w.addValue(p, key, lineprotocol.BoolValue(text == "true"))
	default:
		n, err := strconv.ParseFloat(text, 64)
		v, finite := lineprotocol.FloatValue(n)
		if err != nil || !finite {
			w.addText(p, key, text)
			return
		}
		w.addValue(p, key, v)
	}
}

// addText adds a field that is text.
func (w *lineWriter) addText(p *point, key, addText string) {
	addText = strings.ToValidUTF8(addText, "\ufffd")
	if most := w.limits.maxFieldValueBytes; most > 0 && len(addText) > most {
		if !w.limits.cutLongFields {
			w.limitLog.report(p.kind, key, "left out: longer than "+strconv.Itoa(most)+" bytes")
			return
		}
		w.limitLog.report(p.kind, key, "its value is cut to "+strconv.Itoa(most)+" bytes")
		addText = cutAt(addText, most)
	}
	v, ok := lineprotocol.StringValue(addText)
	if ok {
		w.addValue(p, key, v)
	}
}

func (w *lineWriter) addValue(p *point, key string, v lineprotocol.Value) {
	name := w.cleanKey(p, key)
	switch {
	case name == "":
		return
	case p.names[name]:
		w.limitLog.report(p.kind, key, "left out: the record has another "+name)
		return
	case w.limits.maxFields > 0 && len(p.fields) >= w.limits.maxFields:
		w.limitLog.report(p.kind, key, "left out: more than "+strconv.Itoa(w.limits.maxFields)+" fields")
		return
	}
	p.addName(name)
	p.fields = append(p.fields, pointField{name, v})
}

func (p *point) addName(name string) {
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

// cleanKey is the name as the receiver takes it, or "".
func (w *lineWriter) cleanKey(p *point, cleanKey string) string {
	l := &w.limits
	name := strings.ReplaceAll(cleanText(cleanKey), `\`, "") // parsers differ on those before a quote, too
	if l.noDots {
		name = replaceDots(name)
	}
	if l.maxKeyBytes > 0 && len(name) > l.maxKeyBytes {
		w.limitLog.report(p.kind, cleanKey, "its name is cut to "+strconv.Itoa(l.maxKeyBytes)+" bytes")
		name = cutAt(name, l.maxKeyBytes)
	}
	if name == "" {
		w.limitLog.report(p.kind, cleanKey, "left out: nothing of its name can be written")
	} else if l.isReserved(name) {
		w.limitLog.report(p.kind, cleanKey, "left out: the receiver keeps the name for itself")
		return ""
	}
	return name
}

// write appends the point's line. Tags that make the series' name too long are left out, the last first.
func (w *lineWriter) write(p *point) error {
	size := escapedLength(p.measurement)
	kept := p.tags[:0]
	for _, t := range p.tags {
		add := escapedLength(t.key) + escapedLength(t.value) + 2
		if w.limits.maxSeriesBytes > 0 && size+add > w.limits.maxSeriesBytes {
			w.limitLog.report(
				p.kind,
				t.key,
				"left out: tags of more than "+strconv.Itoa(w.limits.maxSeriesBytes)+" bytes together",
			)
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

// escapedLength is the size of a name or a tag's value with its escapes.
func escapedLength(s string) int {
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

func replaceDots(name string) string { return strings.ReplaceAll(name, ".", "_") }

func sortedKeys(m map[string]json.RawMessage) []string { return slices.Sorted(maps.Keys(m)) }

// cutAt is the first n bytes of s, or a little less: no rune is torn.
func cutAt(s string, n int) string {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// limitLog says what a receiver's limits cost: each kind, member and loss once, and how often in all at the end.
type limitLog struct {
	log *slog.Logger

	mu     sync.Mutex
	logged map[[3]string]bool
	count  int
}

func newLimitLog(log *slog.Logger, typ string) *limitLog {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &limitLog{log: log.With("type", typ)}
}

// maxLimitWarnings bounds what is remembered, and said, of cuts: tags are the users'.
const maxLimitWarnings = 1000

func (c *limitLog) report(kind, member, what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	key := [3]string{kind, member, what}
	if c.logged[key] || len(c.logged) >= maxLimitWarnings {
		return
	}
	if c.logged == nil {
		c.logged = map[[3]string]bool{}
	}
	c.logged[key] = true
	c.log.Warn("a member does not go out whole: the receiver has limits; this is said once for each kind and member",
		"kind", kind, "member", printableName(member), "what", what)
}

// logTotal says how often something was cut.
func (c *limitLog) logTotal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count > 0 {
		c.log.Info("members that did not go out whole", "times", c.count)
		c.count = 0
	}
}

// printableName is a member's name as a log may show it.
func printableName(s string) string { return strings.ToValidUTF8(s[:min(len(s), 64)], "") }
