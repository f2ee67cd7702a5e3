package call

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	awsmw "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/ec2query"
	"github.com/aws/smithy-go"
	mw "github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/aws-collector/collector/record"
)

const (
	maxErrorBody = 64 << 10 // EC2's errors are under 4 KiB, its encoded authorization messages included
	maxAfterRoot = 4 << 10  // what may stand between the root's end tag and the body's end
)

// read sends one signed request, by next, and reads its response to the end.
func (a *attempt) read(
	ctx context.Context, in mw.DeserializeInput, next mw.DeserializeHandler,
) (out mw.DeserializeOutput, md mw.Metadata, err error) {
	o := &a.caller.options
	encoding := "identity" // explicit, because net/http asks for gzip by default
	if o.GZIP {
		encoding = "gzip"
	}
	if req, ok := in.Request.(*smithyhttp.Request); ok {
		req.Header.Set("Accept-Encoding", encoding) // after signing: a proxy that rewrites it breaks no signature
	}
	t := newWaitTimer(ctx)
	defer t.close()
	t.start(o.FirstByte, "the response's first byte")
	out, md, err = next.HandleDeserialize(t.ctx, in)
	t.stop()
	resp, ok := out.RawResponse.(*smithyhttp.Response)
	if err != nil {
		return out, md, a.limitSlow(t.explain(err))
	}
	if !ok {
		return out, md, &smithy.DeserializationError{Err: fmt.Errorf("unknown transport %T", out.RawResponse)}
	}
	defer resp.Body.Close() // its error does not matter: the bytes are read or abandoned

	wire := &stallReader{r: resp.Body, timer: t, limit: o.Stall}
	head := a.caller.head()
	defer a.caller.heads.Put(head)
	body, err := readHead(head, wire)
	if err != nil {
		return out, md, a.limitSlow(t.explain(wire.classify(err)))
	}
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		z := &unzipped{caller: a.caller, r: body}
		defer z.close()
		body = z
	}
	if resp.StatusCode/100 != 2 {
		return out, md, a.limitSlow(t.explain(a.readError(resp, body, wire, &md)))
	}
	if err = a.body(body); err == nil {
		err = drain(body) // to the last byte: it proves that the body was whole, and frees the connection for the next call
	}
	if err != nil {
		return out, md, a.limitSlow(t.explain(wire.classify(err)))
	}
	return out, md, nil
}

// readError reads a refusal. A status without the service's document (a proxy's page, a load balancer's) gets a code of
// its own, so that it counts as a response; its status still says whether to try again.
func (a *attempt) readError(resp *smithyhttp.Response, body io.Reader, wire *stallReader, md *mw.Metadata) error {
	b, err := io.ReadAll(io.LimitReader(body, maxErrorBody))
	if err != nil {
		return wire.classify(err)
	}
	s := a.request.Service
	e := s.ReadError(b)
	if e.Code == "" {
		return &smithy.GenericAPIError{
			Code:    fmt.Sprintf("http_%d", resp.StatusCode),
			Message: fmt.Sprintf("not a response of %s: %s: %s", s.ID, resp.Status, firstWords(b)),
		}
	}
	if e.RequestID != "" {
		awsmw.SetRequestIDMetadata(md, e.RequestID)
	}
	return &smithy.GenericAPIError{Code: e.Code, Message: e.Message}
}

// ReadEC2Error reads the error document of EC2.
func ReadEC2Error(document []byte) ServiceError {
	e, err := ec2query.GetErrorResponseComponents(strings.NewReader(string(document)))
	if err != nil {
		return ServiceError{}
	}
	return ServiceError(e)
}

// firstWords returns the beginning of a body for an error message.
func firstWords(b []byte) string {
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(b[:min(len(b), 512)]), "")), " ")
	return fmt.Sprintf("%.120q", s)
}

func drain(r io.Reader) error {
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxAfterRoot+1))
	if err == nil && n > maxAfterRoot {
		err = &record.Fault{Reason: record.BadAnswer, Err: errors.New("the response has data after its end")}
	}
	return err
}

// Skew is how far the service's clock is ahead of this machine's, from the Date header of the response that err
// carries. It is good to a second and the length of the call.
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
