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

// A point is one line of line protocol before it is written.
type point struct {
	kind        string // for log messages
	measurement string
	tags        []pointTag // if there are too many, the first ones are kept
	fields      []pointField
	at          time.Time
	names       map[string]bool // of its tags and fields
}

type pointTag struct{ key, value string }

type pointField struct {
	key   string
	value lineprotocol.Value
}

// lineLimits are a receiver's limits, in bytes or as a number. 0 means no limit.
type lineLimits struct {
	maxTags, maxFields            int
	maxKeyBytes, maxTagValueBytes int
	maxFieldValueBytes            int  // of a text; a longer one is omitted,
	cutLongFields                 bool // or cut if this is set
	maxSeriesBytes                int  // measurement and tags together, with escapes
	noDots                        bool // dots in names become underscores
	reserved                      []string
}

func (l *lineLimits) isReserved(key string) bool { return slices.Contains(l.reserved, key) }

// A lineWriter writes points within the limits of their receiver; what exceeds a limit is cut or omitted, and logged.
type lineWriter struct {
	enc      lineprotocol.Encoder
	limits   lineLimits
	limitLog *limitLog
}

// has reports whether a tag or a field of the point has the name.
func (p *point) has(name string) bool { return p.names[name] }

// addTag adds a tag, unless its value is empty: line protocol cannot express that. It reports whether it was added.
func (w *lineWriter) addTag(p *point, key, value string) bool {
	l := &w.limits
	name := w.cleanKey(p, key)
	clean := cleanText(value)
	if l.maxTagValueBytes > 0 && len(clean) > l.maxTagValueBytes {
		w.limitLog.report(p.kind, key, "value cut to "+strconv.Itoa(l.maxTagValueBytes)+" bytes")
		clean = cleanText(cutAt(clean, l.maxTagValueBytes))
	}
	switch {
	case name == "" || clean == "":
		return false
	case p.names[name]:
		w.limitLog.report(p.kind, key, "omitted: the record already has "+name)
		return false
	case l.maxTags > 0 && len(p.tags) >= l.maxTags:
		w.limitLog.report(p.kind, key, "omitted: more than "+strconv.Itoa(l.maxTags)+" tags")
		return false
	}
	p.addName(name)
	p.tags = append(p.tags, pointTag{name, clean})
	return true
}

// addField adds a member as a field, unless a tag has its name. Strings and booleans stay as they are; numbers are
// always floats, because a whole number would change the field's type; nested values are JSON; null is omitted.
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

// addText adds a text field.
func (w *lineWriter) addText(p *point, key, text string) {
	text = strings.ToValidUTF8(text, "\ufffd")
	if limit := w.limits.maxFieldValueBytes; limit > 0 && len(text) > limit {
		if !w.limits.cutLongFields {
			w.limitLog.report(p.kind, key, "omitted: longer than "+strconv.Itoa(limit)+" bytes")
			return
		}
		w.limitLog.report(p.kind, key, "value cut to "+strconv.Itoa(limit)+" bytes")
		text = cutAt(text, limit)
	}
	v, ok := lineprotocol.StringValue(text)
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
		w.limitLog.report(p.kind, key, "omitted: the record already has "+name)
		return
	case w.limits.maxFields > 0 && len(p.fields) >= w.limits.maxFields:
		w.limitLog.report(p.kind, key, "omitted: more than "+strconv.Itoa(w.limits.maxFields)+" fields")
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

// reset starts a batch. The buffer is reused unless it is far too large.
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

// cleanKey returns the name in the form that the receiver accepts, or "".
func (w *lineWriter) cleanKey(p *point, key string) string {
	l := &w.limits
	name := strings.ReplaceAll(cleanText(key), `\`, "") // parsers differ on a backslash before a quote
	if l.noDots {
		name = replaceDots(name)
	}
	if l.maxKeyBytes > 0 && len(name) > l.maxKeyBytes {
		w.limitLog.report(p.kind, key, "name cut to "+strconv.Itoa(l.maxKeyBytes)+" bytes")
		name = cutAt(name, l.maxKeyBytes)
	}
	if name == "" {
		w.limitLog.report(p.kind, key, "omitted: its name has no valid characters")
	} else if l.isReserved(name) {
		w.limitLog.report(p.kind, key, "omitted: the receiver reserves the name")
		return ""
	}
	return name
}

// write appends the point's line. If the series name is too long, its last tags are omitted.
func (w *lineWriter) write(p *point) error {
	size := escapedLength(p.measurement)
	tags := p.tags[:0]
	for _, t := range p.tags {
		add := escapedLength(t.key) + escapedLength(t.value) + 2
		if w.limits.maxSeriesBytes > 0 && size+add > w.limits.maxSeriesBytes {
			w.limitLog.report(
				p.kind,
				t.key,
				"omitted: tags of more than "+strconv.Itoa(w.limits.maxSeriesBytes)+" bytes together",
			)
			continue
		}
		size += add
		tags = append(tags, t)
	}
	slices.SortFunc(tags, func(a, b pointTag) int { return cmp.Compare(a.key, b.key) })
	w.enc.StartLine(p.measurement)
	for _, t := range tags {
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

// escapedLength returns the size of a name or a tag's value with its escapes.
func escapedLength(s string) int {
	return len(s) + strings.Count(s, ",") + strings.Count(s, "=") + strings.Count(s, " ")
}

// cleanText returns s as a valid name or tag value. Control characters become spaces. Backslashes are removed where
// they would escape what follows: before a comma, an equals sign or a space, and at the end. Parsers do not agree on
// those.
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

func newLimitLog(log *slog.Logger, typ string) *limitLog {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &limitLog{log: log.With("type", typ)}
}

// maxLimitWarnings bounds the memory and the log: the number of different tags is up to the users.
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
	// Logged once for each kind and member.
	c.log.Warn("record member exceeds limits of receiver",
		"kind", kind, "member", printableName(member), "what", what)
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
