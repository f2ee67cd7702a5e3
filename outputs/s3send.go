package outputs

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
	"github.com/aws-collector/collector/record"
)

// s3Output writes an object for each part of a batch that belongs under one key. An object is named by its content, so that
// a batch that is sent again writes the same objects again.
type s3Output struct {
	putter         *putter
	http           *httpClient // for TLS, and for what an error of the way there means
	credentials    aws.CredentialsProvider
	bucket, prefix string
	region, sse    string
	keyTemplate    keyTemplate
	format         objectFormat
	timeout        time.Duration

	sendMu  contextMutex
	closed  bool
	writers []objectWriter // that rest

	uploadedMu sync.Mutex
	uploaded   map[string]bool // objects of Sends that failed, which arrived all the same
}

// maxUploads is how many objects of a batch are on their way at once: a small object is all latency.
const maxUploads = 4

// Send returns when every object is in the bucket.
func (o *s3Output) Send(ctx context.Context, b Batch) error {
	if err := o.sendMu.lock(ctx); err != nil {
		return err
	}
	defer o.sendMu.unlock()
	if o.closed {
		return ErrClosed
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
					once.Do(func() { failed = err; close(stop) }) // those on their way may arrive, and are then not sent again
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

// An object is the lines of a batch that belong under one key.
type object struct {
	folder string
	at     time.Time // of the first line
	lines  [][]byte  // borrowed
}

// split sorts a batch's lines by where they belong, in the order of their coming.
func (o *s3Output) split(lines []byte) ([]*object, error) {
	var all []*object
	by := map[string]*object{}
	for line := range bytes.Lines(lines) {
		p, err := locationOf(line)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
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

// objectKey is the object's key: by time, so that a listing is in the order of collecting, then by content.
func (o *s3Output) objectKey(obj *object) string {
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

// upload puts an object, unless it arrived in an earlier try. One that is all there is of a batch is put in any case: a spool
// may want to know whether the store takes anything now.
func (o *s3Output) upload(ctx context.Context, w objectWriter, obj *object, only bool) error {
	key := o.objectKey(obj)
	if !only && o.isUploaded(key, false) {
		return nil
	}
	body := new(bytes.Buffer) // its own: a transport may read it yet when a cancelled request has returned
	if err := w.write(body, obj.lines); err != nil {
		return err
	}
	late := &record.Fault{Reason: record.TimedOut, Err: fmt.Errorf("no answer within %s", config.Duration(o.timeout)),
		Hint: "the store is slow or out of reach: raise timeout, or make batches smaller"}
	within, cancel := context.WithTimeoutCause(ctx, o.timeout, late)
	defer cancel()
	err := o.putter.put(within, key, o.format.contentType, body.Bytes())
	switch {
	case err == nil:
		o.isUploaded(key, true)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case within.Err() != nil:
		err = late
	default:
		err = o.explainError(err)
	}
	return fmt.Errorf("put s3://%s/%s: %w", o.bucket, key, err)
}

// isUploaded reports whether an object came through in an earlier try, or notes that it did.
func (o *s3Output) isUploaded(key string, note bool) bool {
	o.uploadedMu.Lock()
	defer o.uploadedMu.Unlock()
	if note {
		o.uploaded[key] = true
	}
	return o.uploaded[key]
}

// Flush has nothing to wait for: the store has answered when Send returns.
func (o *s3Output) Flush(ctx context.Context) error {
	if err := o.sendMu.lock(ctx); err != nil {
		return err
	}
	defer o.sendMu.unlock()
	if o.closed {
		return ErrClosed
	}
	return nil
}

func (o *s3Output) Close(ctx context.Context) error {
	defer o.http.close()
	if err := o.sendMu.lock(ctx); err != nil {
		return err
	}
	defer o.sendMu.unlock()
	o.closed = true
	o.writers, o.uploaded = nil, map[string]bool{}
	return nil
}
