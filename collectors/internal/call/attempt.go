package call

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	awsmw "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/ec2query"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/smithy-go"
	mw "github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/klauspost/compress/gzip"

	"github.com/aws-collector/collector/record"
)

const (
	errorBody = 64 << 10 // EC2's errors are under 4 KiB, its encoded authorization messages included
	afterRoot = 4 << 10  // what may stand between the root's end tag and the body's end
)

// read sends one signed attempt and reads its answer to the end.
func (a *attempt) read(
	ctx context.Context,
	in mw.DeserializeInput,
	next mw.DeserializeHandler,
) (out mw.DeserializeOutput, md mw.Metadata, err error) {
	encoding := "identity" // explicit, because net/http asks for gzip by default
	if a.c.opt.GZIP {
		encoding = "gzip"
	}
	if req, ok := in.Request.(*smithyhttp.Request); ok {
		req.Header.Set("Accept-Encoding", encoding) // after signing: a proxy that rewrites it breaks no signature
	}
	w := watch(ctx)
	defer w.stop()
	w.arm(a.c.opt.FirstByte, "the answer's first byte")
	out, md, err = next.HandleDeserialize(w.ctx, in)
	w.disarm()
	resp, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil {
		return out, md, a.patience(w.explain(err))
	}
	if !ok {
		return out, md, &smithy.DeserializationError{Err: fmt.Errorf("unknown transport %T", out.RawResponse)}
	}
	defer resp.Body.Close()                   // its error does not matter: the bytes are read or abandoned
	out.Result = &ec2.DescribeRegionsOutput{} // the SDK asserts the borrowed operation's type

	wire := &stallReader{r: resp.Body, w: w, limit: a.c.opt.Stall}
	head := a.c.head()
	defer a.c.heads.Put(head)
	body, err := readHead(head, wire)
	if err != nil {
		return out, md, a.patience(w.explain(wire.cut(err)))
	}
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		z := &unzipped{c: a.c, r: body}
		defer z.close()
		body = z
	}
	if resp.StatusCode/100 != 2 {
		return out, md, a.patience(w.explain(apiError(resp, body, wire, &md)))
	}
	if err = a.body(body); err == nil {
		err = drain(body) // to the last byte: it proves that the body was whole, and frees the connection for the next call
	}
	if err != nil {
		return out, md, a.patience(w.explain(wire.cut(err)))
	}
	return out, md, nil
}

// apiError reads a refusal. A status without EC2's XML (a proxy's page, a load balancer's) gets a code of its own, so
// that it counts as an answer; its status still says whether to try again.
func apiError(resp *smithyhttp.Response, body io.Reader, wire *stallReader, md *mw.Metadata) error {
	b, err := io.ReadAll(io.LimitReader(body, errorBody))
	if err != nil {
		return wire.cut(err)
	}
	e, err := ec2query.GetErrorResponseComponents(strings.NewReader(string(b)))
	if err != nil || e.Code == "" {
		return &smithy.GenericAPIError{
			Code:    fmt.Sprintf("http_%d", resp.StatusCode),
			Message: fmt.Sprintf("not an answer of EC2: %s: %s", resp.Status, firstWords(b)),
		}
	}
	if e.RequestID != "" {
		awsmw.SetRequestIDMetadata(md, e.RequestID)
	}
	return &smithy.GenericAPIError{Code: e.Code, Message: e.Message}
}

// firstWords returns the beginning of a body for an error message.
func firstWords(b []byte) string {
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(b[:min(len(b), 512)]), "")), " ")
	return fmt.Sprintf("%.120q", s)
}

func drain(r io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, afterRoot+1))
	if err == nil && n > afterRoot {
		err = &record.Fault{Reason: record.BadAnswer, Err: errors.New("the answer has data after its end")}
	}
	return err
}

// A watched attempt ends by its own clock. The clock runs only while the wire is waited for: not while a page is waited
// for, nor while bytes are decoded.
type watched struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	mu     sync.Mutex
	what   *Slow
}

func watch(parent context.Context) *watched {
	w := new(watched)
	w.ctx, w.cancel = context.WithCancelCause(parent)
	return w
}

func (w *watched) arm(d time.Duration, what string) {
	w.mu.Lock()
	if w.what == nil || w.what.What != what {
		w.what = &Slow{What: what, Limit: d}
	}
	w.mu.Unlock()
	if w.timer == nil {
		w.timer = time.AfterFunc(d, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.cancel(w.what)
		})
		return
	}
	w.timer.Reset(d)
}

func (w *watched) disarm() { w.timer.Stop() }

func (w *watched) stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// explain replaces the "context canceled" that the clock caused by the clock's error. (The SDK never retries what
// looks canceled; a slow attempt is worth another.)
func (w *watched) explain(err error) error {
	var slow *Slow
	if err != nil && errors.As(context.Cause(w.ctx), &slow) {
		return slow
	}
	return err
}

// Slow is the error of an abandoned attempt: no bytes arrived for Limit.
type Slow struct {
	What  string // what was waited for
	Limit time.Duration
	last  bool
}

// slowAttempts is how many attempts of a call may end like that. One may be a connection that died in silence; an
// endpoint that hangs would otherwise hold its target for all attempts' time-outs, one after the other.
const slowAttempts = 2

// patience counts the attempts that hung, and lets the SDK try again only as long as there is some left.
func (a *attempt) patience(err error) error {
	var s *Slow
	if errors.As(err, &s) {
		a.slow++
		s.last = a.slow >= slowAttempts
	}
	return err
}

func (s *Slow) Error() string {
	return fmt.Sprintf("no bytes for %v while waiting for %s", s.Limit, s.What)
}

// Timeout makes it one to net.Error's users.
func (s *Slow) Timeout() bool { return true }

// Temporary completes net.Error.
func (s *Slow) Temporary() bool { return true }

// RetryableError is asked by the SDK's retryer.
func (s *Slow) RetryableError() bool { return !s.last }

// stallReader limits the wait for the next bytes, not the length of the whole: a page of 10 MB may take its time.
type stallReader struct {
	r     io.Reader
	w     *watched
	limit time.Duration
	err   error
}

func (s *stallReader) Read(p []byte) (int, error) {
	s.w.arm(s.limit, "the rest of the answer's body")
	n, err := s.r.Read(p)
	s.w.disarm()
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// cut says whether err, which the body's reader returned, is the wire's doing: then the call is worth another attempt.
func (s *stallReader) cut(err error) error {
	if s.err != nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, gzip.ErrChecksum) ||
		errors.Is(err, gzip.ErrHeader) {
		return &torn{
			&record.Fault{
				Reason: record.Network,
				Err:    fmt.Errorf("the answer's body was cut short: %w", errors.Join(err, s.err)),
			},
		}
	}
	return &final{err}
}

// torn is a body that ended early. The SDK retries no such thing by itself.
type torn struct{ err error }

func (t *torn) Error() string      { return t.err.Error() }
func (t *torn) Unwrap() error      { return t.err }
func (*torn) RetryableError() bool { return true }

// final is an error that another attempt would not change, whatever stands inside it.
type final struct{ err error }

func (f *final) Error() string      { return f.err.Error() }
func (f *final) Unwrap() error      { return f.err }
func (*final) RetryableError() bool { return false }

func isCanceled(err error) bool {
	var c interface{ CanceledError() bool }
	return errors.Is(err, context.Canceled) || errors.As(err, &c) && c.CanceledError()
}

// Skew is how far EC2's clock is ahead of this machine's, from the Date header of the answer that err carries. It is
// good to a second and the length of the call.
func Skew(err error, now time.Time) (time.Duration, bool) {
	var re *smithyhttp.ResponseError
	if !errors.As(err, &re) || re.Response == nil || re.Response.Response == nil {
		return 0, false
	}
	t, perr := http.ParseTime(re.Response.Header.Get("Date"))
	if perr != nil {
		return 0, false
	}
	return t.Sub(now).Round(time.Second), true
}
