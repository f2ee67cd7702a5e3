package outputs

import (
	"context"
	"net/http"
)

// An httpOutput sends each batch in one request. Outputs over HTTP differ in how they encode a batch. Only one request
// is sent at a time, so batches arrive in order and encode may reuse its buffers.
type httpOutput struct {
	client *httpClient
	// encode returns the headers and the body for a batch. An empty body is not sent: the batch has nothing for this
	// output. encode must copy what it keeps of the batch.
	encode func(b Batch) (http.Header, []byte, error)
	// checkResponse decides the result of a request. It gets the body of a 2xx response, or the error. It may be nil.
	checkResponse func(b Batch, response []byte, err error) error
	onClose       func() // may be nil

	mu     contextMutex
	closed bool
}

func (o *httpOutput) Send(ctx context.Context, b Batch) error {
	if err := o.mu.lock(ctx); err != nil {
		return err
	}
	defer o.mu.unlock()
	if o.closed {
		return ErrClosed
	}
	header, body, err := o.encode(b)
	if err != nil || len(body) == 0 {
		return err
	}
	response, err := o.client.post(ctx, header, body)
	if o.checkResponse != nil {
		err = o.checkResponse(b, response, err)
	}
	return err
}

// Flush has nothing to wait for: when Send returns, the receiver has answered.
func (o *httpOutput) Flush(ctx context.Context) error {
	if err := o.mu.lock(ctx); err != nil {
		return err
	}
	defer o.mu.unlock()
	if o.closed {
		return ErrClosed
	}
	return nil
}

func (o *httpOutput) Close(ctx context.Context) error {
	if err := o.mu.lock(ctx); err != nil {
		o.client.close()
		return err
	}
	defer o.mu.unlock()
	if !o.closed && o.onClose != nil {
		o.onClose()
	}
	o.closed = true
	o.client.close()
	return nil
}
