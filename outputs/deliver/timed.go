package deliver

import (
	"context"
	"time"

	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/record"
)

// Every layer is an output.
var (
	_ outputs.Output = (*redactedOutput)(nil)
	_ outputs.Output = (*sharedHandle)(nil)
	_ outputs.Output = (*spool)(nil)
	_ outputs.Output = timedOutput{}
	_ outputs.Output = shapedOutput{}
	_ outputs.Output = retriableOutput{}
	_ outputs.Output = (*Fan)(nil)
)

// A timedOutput is a worker whose callers wait no longer than timeout; 0: as long as their context allows.
type timedOutput struct {
	worker  *worker
	timeout time.Duration
}

// Send counts the records of a failed batch as lost.
func (o timedOutput) Send(ctx context.Context, b outputs.Batch) error {
	return o.worker.send(ctx, b, o.timeout)
}

func (o timedOutput) Flush(ctx context.Context) error { return o.worker.flush(ctx, o.timeout) }
func (o timedOutput) Close(ctx context.Context) error { return o.worker.close(ctx) }

// A shapedOutput sends what the options where and rename make of a batch.
type shapedOutput struct {
	timedOutput
	shaping outputs.Shaping
	kind    func(string) record.KindInfo
}

func (o shapedOutput) Send(ctx context.Context, b outputs.Batch) error {
	shaped, err := o.shaping.Apply(b, time.Now(), o.kind)
	if err != nil {
		o.worker.countLost(b, 1)
		return o.worker.markFailed(opSend, err)
	}
	o.worker.countFiltered(b, b.N-shaped.N)
	if len(shaped.Lines) == 0 {
		return nil
	}
	return o.timedOutput.Send(ctx, shaped)
}

// A retriableOutput is for a caller that sends a failed batch again. So a failure loses nothing.
type retriableOutput struct{ timedOutput }

func (o retriableOutput) Send(ctx context.Context, b outputs.Batch) error {
	return o.worker.sendRetriable(ctx, b)
}
