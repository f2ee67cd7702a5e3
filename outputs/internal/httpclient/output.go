package httpclient

import (
	"context"
	"net/http"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/contextmutex"
)

// An Output sends each batch in one request. Outputs over HTTP differ in how they encode a batch. Only one request
// is sent at a time, so batches arrive in order and encode may reuse its buffers.
type Output struct {
	client *Client
	// encode returns the headers and the body for a batch. An empty body is not sent: the batch has nothing for this
	// output. encode must copy what it keeps of the batch.
	encode func(b outputs.Batch) (http.Header, []byte, error)
	// checkResponse decides the result of a request. It gets the body of a 2xx response, or the error. It may be nil.
	CheckResponse func(b outputs.Batch, response []byte, err error) error
	OnClose       func() // may be nil

	mu     contextmutex.Mutex
	closed bool
}

// NewOutput returns an output that sends what encode makes of a batch.
func NewOutput(c *Client, encode func(outputs.Batch) (http.Header, []byte, error)) *Output {
	return &Output{client: c, encode: encode, mu: contextmutex.New()}
}

func (o *Output) Send(ctx context.Context, b outputs.Batch) error {
	if err := o.mu.Lock(ctx); err != nil {
		return err
	}
	defer o.mu.Unlock()
	if o.closed {
		return outputs.ErrClosed
	}
	header, body, err := o.encode(b)
	if err != nil || len(body) == 0 {
		return err
	}
	response, err := o.client.post(ctx, header, body)
	if o.CheckResponse != nil {
		err = o.CheckResponse(b, response, err)
	}
	return err
}

// Flush has nothing to wait for: when Send returns, the receiver has answered.
func (o *Output) Flush(ctx context.Context) error {
	if err := o.mu.Lock(ctx); err != nil {
		return err
	}
	defer o.mu.Unlock()
	if o.closed {
		return outputs.ErrClosed
	}
	return nil
}

func (o *Output) Close(ctx context.Context) error {
	if err := o.mu.Lock(ctx); err != nil {
		o.client.Close()
		return err
	}
	defer o.mu.Unlock()
	if !o.closed && o.OnClose != nil {
		o.OnClose()
	}
	o.closed = true
	o.client.Close()
	return nil
}
