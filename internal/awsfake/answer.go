package awsfake

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An answer is a body in parts, so that the items of a page are written from where they were rendered once.
type answer struct {
	head  []byte
	items [][]byte
	tail  []byte
	key   string // of the compressed items, for those that are the same next time; "" is never kept
	kind  string // Content-Type; XML where empty

	header http.Header
}

func (o *answer) size() int {
	n := len(o.head) + len(o.tail)
	for _, it := range o.items {
		n += len(it)
	}
	return n
}

// parts calls f with every part of the body, until f fails.
func (o *answer) parts(f func([]byte) error) error {
	if err := f(o.head); err != nil {
		return err
	}
	for _, it := range o.items {
		if err := f(it); err != nil {
			return err
		}
	}
	return f(o.tail)
}

// markup writes XML the way EC2 does: indented by four blanks a level.
type markup struct {
	b     []byte
	depth int
}

func (m *markup) line() {
	m.b = append(m.b, '\n')
	for range m.depth {
		m.b = append(m.b, "    "...)
	}
}

// open begins a document.
func (m *markup) open(root, namespace string) {
	m.b = append(m.b, `<?xml version="1.0" encoding="UTF-8"?>`...)
	m.b = append(m.b, "\n<"+root+` xmlns="`+namespace+`">`...)
	m.depth = 1
}

func (m *markup) close(root string) { m.b = append(m.b, "\n</"+root+">\n"...) }

// in writes an element around others.
func (m *markup) in(name string, f func()) {
	m.line()
	at := len(m.b)
	m.b = append(m.b, "<"+name+">"...)
	m.depth++
	begun := len(m.b)
	f()
	m.depth--
	if len(m.b) == begun {
		m.b = append(m.b[:at], "<"+name+"/>"...)
		return
	}
	m.line()
	m.b = append(m.b, "</"+name+">"...)
}

func (m *markup) text(name, value string) {
	m.line()
	if value == "" {
		m.b = append(m.b, "<"+name+"/>"...)
		return
	}
	m.b = append(m.b, "<"+name+">"...)
	m.b = appendEscaped(m.b, value)
	m.b = append(m.b, "</"+name+">"...)
}

func (m *markup) bool(name string, v bool) { m.text(name, strconv.FormatBool(v)) }
func (m *markup) int(name string, v int)   { m.text(name, strconv.Itoa(v)) }

// list writes name with an <item> for each of n.
func (m *markup) list(name string, n int, f func(i int)) {
	m.in(name, func() {
		for i := range n {
			m.in("item", func() { f(i) })
		}
	})
}

func appendEscaped(b []byte, s string) []byte {
	for _, r := range s {
		switch r {
		case '&':
			b = append(b, "&amp;"...)
		case '<':
			b = append(b, "&lt;"...)
		case '>':
			b = append(b, "&gt;"...)
		case '"':
			b = append(b, "&quot;"...)
		case '\r':
			b = append(b, "&#xD;"...)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return b
}

// errorAnswer writes a refusal in the shape of the service.
func (a *AWS) errorAnswer(q *request, e *apiError) *answer {
	if q.service == "organizations" {
		return q.organizationsRefusal(e)
	}
	m := new(markup)
	switch q.service {
	case "ec2":
		m.b = append(m.b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<Response><Errors><Error><Code>"...)
		m.b = append(appendEscaped(m.b, e.code), "</Code><Message>"...)
		m.b = append(appendEscaped(m.b, e.message), "</Message></Error></Errors><RequestID>"+q.id+"</RequestID></Response>"...)
	default:
		m.b = append(m.b, `<ErrorResponse xmlns="`+stsNamespace+`">`...)
		m.depth = 1
		m.in("Error", func() {
			kind := "Sender"
			if e.status >= 500 {
				kind = "Receiver"
			}
			m.text("Type", kind)
			m.text("Code", e.code)
			m.text("Message", e.message)
		})
		m.text("RequestId", q.id)
		m.b = append(m.b, "\n</ErrorResponse>\n"...)
	}
	return &answer{head: m.b}
}

// gzipFloor is the size below which a body is not worth compressing.
const gzipFloor = 1024

// send writes an answer, or what a fault makes of it.
func (a *AWS) send(w http.ResponseWriter, q *request, out *answer) {
	if q.fault != nil && a.spoil(w, q, out, q.fault) {
		return
	}
	if q.http.Context().Err() != nil {
		return
	}
	h := w.Header()
	kind := out.kind
	if kind == "" {
		kind = "text/xml;charset=UTF-8"
	}
	h.Set("Content-Type", kind)
	h.Set("X-Amzn-Requestid", q.id)
	for k, v := range out.header {
		h[k] = v
	}
	n := out.size()
	write := func(p []byte) error { _, err := w.Write(p); q.call.Bytes += int64(len(p)); return err }
	if !a.opts.NoGzip && n >= gzipFloor && strings.Contains(q.http.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		w.WriteHeader(q.call.Status)
		_ = a.rendered.compress(out, write) // the client went away
		return
	}
	h.Set("Content-Length", strconv.Itoa(n))
	w.WriteHeader(q.call.Status)
	_ = out.parts(write)
}
