// Package http is the output `http`: records as they are, in requests to the user's own receiver.
package http

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/httpclient"
	"github.com/aws-collector/collector/secret"
)

// Options is the options of the output `http`: the records as they are, in requests to the user's own receiver.
type Options struct {
	outputs.Common     `yaml:",inline"`
	httpclient.Options `yaml:",inline"`
	outputs.Batching   `yaml:",inline"`
	Method             string `yaml:"method" enum:"POST,PUT" doc:"POST or PUT."`
	Format             string `yaml:"format" enum:"jsonl,json" doc:"jsonl: one object per line, application/x-ndjson. json: one array, application/json."`
	HMAC               HMAC   `yaml:"hmac" doc:"Sign each request, so that the receiver can verify its sender."`
}

// HMAC is how requests are signed. The header is "sha256=" and the HMAC-SHA256 in hex of the timestamp header's value,
// a dot, and the body as it is sent, which is compressed with gzip: true. The timestamp is in seconds since 1970; a
// receiver that refuses old timestamps is safe from replayed requests.
type HMAC struct {
	Key       secret.String `yaml:"key" doc:"The secret that the collector and the receiver share."`
	Header    string        `yaml:"header" doc:"The header with the signature."`
	Timestamp string        `yaml:"timestamp_header" doc:"The header with the time of sending. It is signed too, so the receiver can refuse old requests."`
}

const (
	jsonLines = "jsonl"
	jsonArray = "json"
)

// Type is this output.
var Type = outputs.Type{Name: "http", Options: defaults, Open: open}

func defaults() any {
	return &Options{
		Options:  httpclient.Defaults(),
		Batching: outputs.Batching{MaxRecords: 1000, MaxBytes: 1 << 20, MaxWait: config.Duration(time.Second)},
		Method:   http.MethodPost,
		Format:   jsonLines,
		HMAC:     HMAC{Header: "X-Signature", Timestamp: "X-Signature-Timestamp"},
	}
}

// Validate reports every error in the options.
func (o *Options) Validate() error {
	errs := append(o.ClientErrors("https://receiver.example.com/ec2"), o.BatchingErrors()...)
	if o.Method != http.MethodPost && o.Method != http.MethodPut {
		errs = append(errs, fmt.Errorf("method: %q is neither POST nor PUT", o.Method))
	}
	if o.Format != jsonLines && o.Format != jsonArray {
		errs = append(errs, fmt.Errorf("format: %q is neither %s nor %s", o.Format, jsonLines, jsonArray))
	}
	if !httpclient.ValidHeaderName(o.HMAC.Header) {
		errs = append(errs, fmt.Errorf("hmac.header: %q is not a valid header name", o.HMAC.Header))
	}
	if !httpclient.ValidHeaderName(o.HMAC.Timestamp) {
		errs = append(errs, fmt.Errorf("hmac.timestamp_header: %q is not a valid header name", o.HMAC.Timestamp))
	}
	if http.CanonicalHeaderKey(o.HMAC.Header) == http.CanonicalHeaderKey(o.HMAC.Timestamp) {
		errs = append(errs, errors.New("hmac.header: must differ from hmac.timestamp_header"))
	}
	if def := defaults().(*Options).HMAC; o.HMAC.Key.IsZero() &&
		(o.HMAC.Header != def.Header || o.HMAC.Timestamp != def.Timestamp) {
		errs = append(errs, errors.New("hmac.key: is needed: without it, requests are not signed"))
	}
	return errors.Join(errs...)
}

func open(_ context.Context, options any, _ outputs.Deps) (outputs.Output, error) {
	o := options.(*Options)
	c, err := httpclient.New(&o.Options, "")
	if err != nil {
		return nil, err
	}
	c.Method = o.Method
	if !o.HMAC.Key.IsZero() {
		c.AddSecrets(o.HMAC.Key.Reveal())
		c.Sign = o.HMAC.sign
	}
	return httpclient.NewOutput(c, o.encode), nil
}

// encode sends the lines as they are. The batch's ID lets a receiver recognise a repeated request.
func (o *Options) encode(b outputs.Batch) (http.Header, []byte, error) {
	h := http.Header{}
	if b.ID != "" {
		h.Set("Idempotency-Key", b.ID)
	}
	if o.Format == jsonLines {
		h.Set("Content-Type", "application/x-ndjson")
		return h, b.Lines, nil
	}
	h.Set("Content-Type", "application/json")
	if len(b.Lines) == 0 {
		return h, nil, nil
	}
	body := make([]byte, 0, len(b.Lines)+2)
	body = append(body, '[')
	for line := range bytes.Lines(b.Lines) {
		if len(body) > 1 {
			body = append(body, ',')
		}
		body = append(body, bytes.TrimSuffix(line, []byte("\n"))...)
	}
	return h, append(body, ']'), nil
}

// sign signs the body as it is sent, with the current time.
func (m *HMAC) sign(h http.Header, body []byte) {
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(strings.TrimSpace(m.Key.Reveal())))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	h.Set(m.Timestamp, at)
	h.Set(m.Header, "sha256="+hex.EncodeToString(mac.Sum(nil)))
}
