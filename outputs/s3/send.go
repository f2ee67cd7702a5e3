package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/contextmutex"
	"github.com/aws-collector/collector/outputs/internal/httpclient"
	"github.com/aws-collector/collector/record"
)

// output writes one object for each key in a batch. The object's name depends on its content, so a batch that is sent
// again writes the same objects.
type output struct {
	putter         *putter
	http           *httpclient.Client // for TLS, and to explain errors of the connection
	credentials    aws.CredentialsProvider
	bucket, prefix string
	region, sse    string
	keyTemplate    keyTemplate
	format         objectFormat
	timeout        time.Duration

	sendMu  contextmutex.Mutex
	closed  bool
	writers []objectWriter // reused

	uploadedMu sync.Mutex
	uploaded   map[string]bool // objects that arrived although their Send failed
}

// maxUploads is how many objects of a batch are uploaded at once: for small objects latency dominates.
const maxUploads = 4

// Send returns when all objects are in the bucket.
func (o *output) Send(ctx context.Context, b outputs.Batch) error {
	if err := o.sendMu.Lock(ctx); err != nil {
		return err
	}
	defer o.sendMu.Unlock()
	if o.closed {
		return outputs.ErrClosed
	}
	objects, err := o.split(b.Lines)
	if err != nil {
		return err
	}
	for len(o.writers) < min(maxUploads, len(objects)) {
		w, err := o.format.new()
		if err != nil {
			return err
		}
		o.writers = append(o.writers, w)
	}
	next, stop := make(chan *object), make(chan struct{})
	var failed error
	var once sync.Once
	var wg sync.WaitGroup
	for i := range min(maxUploads, len(objects)) {
		w := o.writers[i]
		wg.Go(func() {
			for obj := range next {
				if err := o.upload(ctx, w, obj, len(objects) == 1); err != nil {
					// Uploads in progress may still succeed; those objects are not sent again.
					once.Do(func() {
						failed = err
						close(stop)
					})
					return
				}
			}
		})
	}
feeding:
	for _, obj := range objects {
		select {
		case next <- obj:
		case <-stop:
			break feeding
		case <-ctx.Done():
			break feeding
		}
	}
	close(next)
	wg.Wait()
	if failed == nil {
		failed = ctx.Err()
	}
	if failed == nil {
		clear(o.uploaded)
	}
	return failed
}

// An object is the lines of a batch with the same key.
type object struct {
	folder string
	at     time.Time // of the first line
	lines  [][]byte  // shared with the batch
}

// split groups a batch's lines by key, in order.
func (o *output) split(lines []byte) ([]*object, error) {
	var all []*object
	by := map[string]*object{}
	for line := range bytes.Lines(lines) {
		p, err := locationOf(line)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", outputs.ErrRefused, err)
		}
		folder := o.keyTemplate.render(p)
		obj := by[folder]
		if obj == nil {
			obj = &object{folder: folder, at: p.at}
			by[folder], all = obj, append(all, obj)
		}
		obj.lines = append(obj.lines, line)
	}
	return all, nil
}

// objectKey returns the object's key: first the time, so that listings are in order of collection, then a hash of the
// content.
func (o *output) objectKey(obj *object) string {
	h := sha256.New()
	for _, l := range obj.lines {
		h.Write(l)
	}
	name := hex.EncodeToString(h.Sum(nil)[:12]) + o.format.suffix
	if !obj.at.IsZero() {
		name = obj.at.UTC().Format("20060102T150405Z") + "-" + name
	}
	return strings.Join(
		slices.DeleteFunc([]string{o.prefix, obj.folder, name}, func(part string) bool { return part == "" }),
		"/",
	)
}

// upload uploads an object, unless an earlier attempt did. The only object of a batch is always uploaded: the spool may
// use it to test whether the object store works now.
func (o *output) upload(ctx context.Context, w objectWriter, obj *object, only bool) error {
	key := o.objectKey(obj)
	if !only && o.isUploaded(key, false) {
		return nil
	}
	body := new(bytes.Buffer) // not reused: a transport may still read it after a cancelled request
	if err := w.write(body, obj.lines); err != nil {
		return err
	}
	timeoutErr := &record.Fault{
		Reason: record.TimedOut,
		Err:    fmt.Errorf("no answer within %s", config.Duration(o.timeout)),
		Hint:   "Raise timeout, or set a smaller max_bytes: the object store is slow or cannot be reached.",
	}
	putCtx, cancel := context.WithTimeoutCause(ctx, o.timeout, timeoutErr)
	defer cancel()
	err := o.putter.put(putCtx, key, o.format.contentType, body.Bytes())
	switch {
	case err == nil:
		o.isUploaded(key, true)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case putCtx.Err() != nil:
		err = timeoutErr
	default:
		err = o.explainError(err)
	}
	return fmt.Errorf("put s3://%s/%s: %w", o.bucket, key, err)
}

// isUploaded reports whether an earlier attempt uploaded the object; with note it records that it was uploaded.
func (o *output) isUploaded(key string, note bool) bool {
	o.uploadedMu.Lock()
	defer o.uploadedMu.Unlock()
	if note {
		o.uploaded[key] = true
	}
	return o.uploaded[key]
}

// Flush has nothing to wait for: when Send returns, the object store has answered.
func (o *output) Flush(ctx context.Context) error {
	if err := o.sendMu.Lock(ctx); err != nil {
		return err
	}
	defer o.sendMu.Unlock()
	if o.closed {
		return outputs.ErrClosed
	}
	return nil
}

func (o *output) Close(ctx context.Context) error {
	defer o.http.Close()
	if err := o.sendMu.Lock(ctx); err != nil {
		return err
	}
	defer o.sendMu.Unlock()
	o.closed = true
	o.writers, o.uploaded = nil, map[string]bool{}
	return nil
}
