package awsfake

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A FaultKind is a way in which a call goes wrong.
type FaultKind int

// The kinds of faults.
const (
	Hang           FaultKind = iota + 1 // no response until the client disconnects
	Reset                               // the connection is reset before a response
	TruncatedBody                       // the response ends after half of its Content-Length
	ServerError                         // 500 InternalError, as XML
	Unavailable                         // 503 Unavailable, as XML
	ProxyPage                           // 503 with a proxy's HTML page
	Expire                              // refused as if the session had expired
	RepeatToken                         // NextToken is the token of the request: the listing never ends
	UnusualMarkup                       // the same content in legal but unusual markup: CDATA, comments, attributes
	UnknownMembers                      // every item of the response has members that no SDK knows
	SlowBody                            // single bytes, Delay apart (1 ms where 0)
	Delay                               // the response comes after Delay
	// Throttling is refused regardless of the bucket: RequestLimitExceeded by EC2, Throttling by STS, 429 elsewhere.
	Throttling
)

// replacesResponse reports whether the fault needs no response of the service.
func (k FaultKind) replacesResponse() bool {
	switch k {
	case Hang, Reset, ServerError, Unavailable, ProxyPage, Throttling:
		return true
	}
	return false
}

// A Fault makes matching calls fail. An empty field matches everything; Account, Region and Action are globs.
type Fault struct {
	Kind                             FaultKind
	Account, Region, Service, Action string
	After                            int           // how many matching calls succeed first
	Pages                            bool          // only calls with a NextToken: in the middle of a listing
	Count                            int           // how many fail after that; 0: all
	Delay                            time.Duration // of Delay and SlowBody
}

type faults struct {
	mu  sync.Mutex
	all []*fault
}

type fault struct {
	Fault
	matched int
}

// Inject adds a fault. remove removes it and may be called more than once.
func (a *AWS) Inject(f Fault) (remove func()) {
	added := &fault{Fault: f}
	a.faults.mu.Lock()
	defer a.faults.mu.Unlock()
	a.faults.all = append(a.faults.all, added)
	return func() {
		a.faults.mu.Lock()
		defer a.faults.mu.Unlock()
		for i, f := range a.faults.all {
			if f == added {
				a.faults.all = append(a.faults.all[:i:i], a.faults.all[i+1:]...)
				return
			}
		}
	}
}

// match returns the first fault that applies to the call, or nil.
func (s *faults) match(q *request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due *Fault
	for _, f := range s.all {
		if !glob(f.Account, q.call.AccountID) || !glob(f.Region, q.region) || !glob(f.Service, q.service) ||
			!glob(f.Action, q.action) ||
			f.Pages && q.form.Get("NextToken") == "" {
			continue
		}
		f.matched++
		if due == nil && f.matched > f.After && (f.Count == 0 || f.matched <= f.After+f.Count) {
			due = &f.Fault
		}
	}
	return due
}

// sleep waits. It returns false if the client disconnects first.
func sleep(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return r.Context().Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// waitLatency waits for the latency of a call. It returns false if the client disconnects first.
func (a *AWS) waitLatency(q *request) bool {
	l := a.latency.Load()
	d := l.fixed
	if l.jitter > 0 {
		d += rand.N(l.jitter)
	}
	return sleep(q.http, d)
}

// applyFault changes the response as the fault requires. It returns true if the response must not be sent any more.
func (a *AWS) applyFault(w http.ResponseWriter, q *request, out *response, f *Fault) bool {
	xml := func(status int, code, message string) {
		q.call.Status, q.call.Code = status, code
		e := a.errorResponse(q, &apiError{status, code, message})
		*out = *e
	}
	switch f.Kind {
	case Hang:
		<-q.http.Context().Done()
		return true
	case Reset:
		reset(w)
		return true
	case TruncatedBody:
		w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
		w.Header().Set("Content-Length", strconv.Itoa(out.size()))
		w.WriteHeader(q.call.Status)
		left := out.size() / 2
		_ = out.eachPart(func(p []byte) error {
			p = p[:min(len(p), left)]
			left -= len(p)
			_, err := w.Write(p)
			return err
		})
		_ = http.NewResponseController(w).Flush()
		reset(w)
		return true
	case ServerError:
		xml(http.StatusInternalServerError, "InternalError", "An internal error has occurred")
	case Unavailable:
		xml(http.StatusServiceUnavailable, "Unavailable", "The service is unavailable. Please try again shortly.")
	case Throttling:
		switch q.service {
		case "ec2":
			xml(http.StatusServiceUnavailable, "RequestLimitExceeded", "Request limit exceeded.")
		case "autoscaling", "cloudformation", "elasticache", "elasticloadbalancing", "iam", "rds", "redshift", "sts":
			xml(http.StatusBadRequest, "Throttling", "Rate exceeded")
		case "organizations":
			xml(
				http.StatusBadRequest,
				"TooManyRequestsException",
				"AWS Organizations can't complete your request because another request is already in progress. Try again later.",
			)
		default:
			*out = *q.plain(http.StatusTooManyRequests, "")
		}
	case UnusualMarkup, UnknownMembers:
		var doc []byte
		_ = out.eachPart(func(p []byte) error { doc = append(doc, p...); return nil })
		doc, err := rewriteMarkup(doc, f.Kind == UnknownMembers)
		if err != nil {
			panic(err) // this package wrote the document
		}
		*out = response{head: doc}
	case ProxyPage:
		q.call.Status, q.call.Code = http.StatusServiceUnavailable, "proxy"
		*out = response{
			contentType: "text/html",
			head: []byte(
				"<html><head><title>503 Service Unavailable</title></head><body>\n" +
					"<h1>Service Unavailable</h1>\n<p>The upstream did not respond.</body></html>\n",
			),
		}
	case SlowBody:
		w.Header().Set("Content-Type", "text/xml;charset=UTF-8")
		w.Header().Set("Content-Length", strconv.Itoa(out.size()))
		w.WriteHeader(q.call.Status)
		flush := http.NewResponseController(w)
		_ = out.eachPart(func(p []byte) error {
			for i := range p {
				if !sleep(q.http, max(f.Delay, time.Millisecond)) {
					return q.http.Context().Err()
				}
				if _, err := w.Write(p[i : i+1]); err != nil {
					return err
				}
				if err := flush.Flush(); err != nil {
					return err
				}
			}
			return nil
		})
		return true
	case Delay:
		return !sleep(q.http, f.Delay)
	}
	return false
}

// reset closes the connection so that the client sees a reset and not a clean end.
func reset(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 has streams to reset instead
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// rewriteMarkup rewrites a document in legal markup that AWS does not use: text as CDATA, as character references or
// interrupted by comments; spaces in tags, attributes, processing instructions, empty elements with an end tag. If
// unknown is set, it leaves the text unchanged and adds members that no SDK knows to every item.
func rewriteMarkup(doc []byte, unknown bool) ([]byte, error) {
	d := xml.NewDecoder(bytes.NewReader(doc))
	var b bytes.Buffer
	n := 0
	for {
		tok, err := d.RawToken()
		if err == io.EOF {
			return b.Bytes(), nil
		}
		if err != nil {
			return nil, fmt.Errorf("awsfake: parse rendered document: %w", err)
		}
		switch t := tok.(type) {
		case xml.ProcInst:
			fmt.Fprintf(&b, "<?%s %s?>", t.Target, t.Inst)
		case xml.StartElement:
			b.WriteString("<" + t.Name.Local)
			for _, at := range t.Attr {
				fmt.Fprintf(&b, " %s=\"%s\"", at.Name.Local, at.Value)
			}
			if !unknown && t.Name.Local != "item" && len(t.Attr) == 0 {
				b.WriteString("\n  kind='a &gt; b' ")
			}
			b.WriteByte('>')
			if unknown && t.Name.Local == "item" {
				b.WriteString("<memberOf2031><deep>new &amp; nested</deep>" +
					"<listSet><item>1</item><item>2</item></listSet></memberOf2031><emptyOf2031/>")
			}
		case xml.EndElement:
			b.WriteString("</" + t.Name.Local + ">")
			if !unknown {
				b.WriteString("<!-- after <" + t.Name.Local + "> -->")
			}
		case xml.CharData:
			if unknown || len(bytes.TrimSpace(t)) == 0 {
				b.Write(appendEscaped(nil, string(t)))
				continue
			}
			n++
			writeUnusualText(&b, t, n%4)
		}
	}
}

// writeUnusualText writes a text in one of four forms.
func writeUnusualText(b *bytes.Buffer, t []byte, form int) {
	cdata := func(p []byte) {
		b.WriteString("<![CDATA[")
		b.Write(bytes.ReplaceAll(p, []byte("]]>"), []byte("]]]]><![CDATA[>")))
		b.WriteString("]]>")
	}
	half := 0
	for i := range string(t) { // a boundary between characters
		if i <= len(t)/2 {
			half = i
		}
	}
	switch form {
	case 0:
		cdata(t)
	case 1:
		for _, r := range string(t) {
			fmt.Fprintf(b, "&#x%x;", r)
		}
	case 2:
		b.Write(appendEscaped(nil, string(t[:half])))
		b.WriteString("<!-- in the middle -->")
		b.Write(appendEscaped(nil, string(t[half:])))
	default:
		b.Write(appendEscaped(nil, string(t[:half])))
		cdata(t[half:])
	}
}
