package awsfake

import (
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A response is a body in parts, so that the items of a page need not be copied: each is rendered once.
type response struct {
	head        []byte
	items       [][]byte
	tail        []byte
	cacheKey    string // of the compressed items; "": do not cache
	contentType string // Content-Type; XML where empty

	header http.Header
}

func (o *response) size() int {
	n := len(o.head) + len(o.tail)
	for _, it := range o.items {
		n += len(it)
	}
	return n
}

// eachPart calls f with each part of the body, until f fails.
func (o *response) eachPart(f func([]byte) error) error {
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

// xmlWriter writes XML as EC2 does: indented by four spaces a level.
type xmlWriter struct {
	buf   []byte
	depth int
}

func (m *xmlWriter) line() {
	m.buf = append(m.buf, '\n')
	for range m.depth {
		m.buf = append(m.buf, "    "...)
	}
}

// begin starts a document.
func (m *xmlWriter) begin(root, namespace string) {
	m.buf = append(m.buf, `<?xml version="1.0" encoding="UTF-8"?>`...)
	m.buf = append(m.buf, "\n<"+root+` xmlns="`+namespace+`">`...)
	m.depth = 1
}

func (m *xmlWriter) end(root string) { m.buf = append(m.buf, "\n</"+root+">\n"...) }

// element writes an element that contains others.
func (m *xmlWriter) element(name string, f func()) {
	m.line()
	at := len(m.buf)
	m.buf = append(m.buf, "<"+name+">"...)
	m.depth++
	begun := len(m.buf)
	f()
	m.depth--
	if len(m.buf) == begun {
		m.buf = append(m.buf[:at], "<"+name+"/>"...)
		return
	}
	m.line()
	m.buf = append(m.buf, "</"+name+">"...)
}

func (m *xmlWriter) text(name, value string) {
	m.line()
	if value == "" {
		m.buf = append(m.buf, "<"+name+"/>"...)
		return
	}
	m.buf = append(m.buf, "<"+name+">"...)
	m.buf = appendEscaped(m.buf, value)
	m.buf = append(m.buf, "</"+name+">"...)
}

func (m *xmlWriter) bool(name string, v bool) { m.text(name, strconv.FormatBool(v)) }
func (m *xmlWriter) int(name string, v int)   { m.text(name, strconv.Itoa(v)) }

// list writes the element name with n <item> elements.
func (m *xmlWriter) list(name string, n int, f func(i int)) {
	m.element(name, func() {
		for i := range n {
			m.element("item", func() { f(i) })
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

// errorResponse encodes an error in the format of the service.
func (a *AWS) errorResponse(q *request, e *apiError) *response {
	if q.service == "organizations" {
		return q.organizationsError(e)
	}
	m := new(xmlWriter)
	switch q.service {
	case "ec2":
		m.buf = append(m.buf, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<Response><Errors><Error><Code>"...)
		m.buf = append(appendEscaped(m.buf, e.code), "</Code><Message>"...)
		m.buf = append(
			appendEscaped(m.buf, e.message),
			"</Message></Error></Errors><RequestID>"+q.id+"</RequestID></Response>"...)
	default:
		m.buf = append(m.buf, `<ErrorResponse xmlns="`+stsNamespace+`">`...)
		m.depth = 1
		m.element("Error", func() {
			kind := "Sender"
			if e.status >= 500 {
				kind = "Receiver"
			}
			m.text("Type", kind)
			m.text("Code", e.code)
			m.text("Message", e.message)
		})
		m.text("RequestId", q.id)
		m.buf = append(m.buf, "\n</ErrorResponse>\n"...)
	}
	return &response{head: m.buf}
}

// minGzipSize is the size from which on a body is compressed.
const minGzipSize = 1024

// send writes a response, changed by the fault if there is one.
func (a *AWS) send(w http.ResponseWriter, q *request, out *response) {
	if q.fault != nil && a.applyFault(w, q, out, q.fault) {
		return
	}
	if q.http.Context().Err() != nil {
		return
	}
	h := w.Header()
	kind := out.contentType
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
	if !a.opts.NoGzip && n >= minGzipSize && strings.Contains(q.http.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		w.WriteHeader(q.call.Status)
		_ = a.compressed.compress(out, write) // fails only if the client has disconnected
		return
	}
	h.Set("Content-Length", strconv.Itoa(n))
	w.WriteHeader(q.call.Status)
	_ = out.eachPart(write)
}
