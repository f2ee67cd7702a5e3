package outputs

import (
	"context"
	"net/http"
)

// An httpOutput sends each batch in one request: an output over HTTP is how it writes a batch. One request is under way at a
// time, so batches arrive in their order, and encode may use its buffers again.
type httpOutput struct {
	client *httpClient
	// encode is the body and the headers of a batch's request. An empty body is not sent: there is nothing that this output
	// sends of the batch. What it keeps of the batch it copies.
	encode func(b Batch) (http.Header, []byte, error)
	// checkResponse has the last word on what became of a batch: it is given what the receiver said beside its 2xx, or the error. May
	// be nil: nothing is to be added.
	checkResponse func(b Batch, said []byte, err error) error
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
	said, err := o.client.post(ctx, header, body)
	if o.checkResponse != nil {
		err = o.checkResponse(b, said, err)
	}
	return err
}

// Flush has nothing to wait for: the receiver has answered when Send returns.
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
