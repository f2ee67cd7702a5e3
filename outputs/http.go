package outputs

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
	"github.com/aws-collector/collector/secret"
)

// HTTP is the options of the output `http`: the records as they are, in requests to the user's own receiver.
type HTTP struct {
	Common     `yaml:",inline"`
	HTTPClient `yaml:",inline"`
	Batching   `yaml:",inline"`
	Method     string `yaml:"method" enum:"POST,PUT" doc:"POST or PUT."`
	Format     string `yaml:"format" enum:"jsonl,json" doc:"jsonl: one object per line, application/x-ndjson. json: one array, application/json."`
	HMAC       HMAC   `yaml:"hmac" doc:"Sign each request, so that the receiver can verify its sender."`
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

func httpOutputDefaults() any {
	return &HTTP{
		HTTPClient: httpDefaults(),
		Batching:   Batching{MaxRecords: 1000, MaxBytes: 1 << 20, MaxWait: config.Duration(time.Second)},
		Method:     http.MethodPost,
		Format:     jsonLines,
		HMAC:       HMAC{Header: "X-Signature", Timestamp: "X-Signature-Timestamp"},
	}
}

// Validate reports every error in the options.
func (o *HTTP) Validate() error {
	errs := append(o.clientErrors("https://receiver.example.com/ec2"), o.batchingErrors()...)
	if o.Method != http.MethodPost && o.Method != http.MethodPut {
		errs = append(errs, fmt.Errorf("method: %q is neither POST nor PUT", o.Method))
	}
	if o.Format != jsonLines && o.Format != jsonArray {
		errs = append(errs, fmt.Errorf("format: %q is neither %s nor %s", o.Format, jsonLines, jsonArray))
	}
	if !validHeaderName(o.HMAC.Header) {
		errs = append(errs, fmt.Errorf("hmac.header: %q is not a valid header name", o.HMAC.Header))
	}
	if !validHeaderName(o.HMAC.Timestamp) {
		errs = append(errs, fmt.Errorf("hmac.timestamp_header: %q is not a valid header name", o.HMAC.Timestamp))
	}
	if http.CanonicalHeaderKey(o.HMAC.Header) == http.CanonicalHeaderKey(o.HMAC.Timestamp) {
		errs = append(errs, errors.New("hmac.header: must differ from hmac.timestamp_header"))
	}
	if def := httpOutputDefaults().(*HTTP).HMAC; o.HMAC.Key.IsZero() &&
		(o.HMAC.Header != def.Header || o.HMAC.Timestamp != def.Timestamp) {
		errs = append(errs, errors.New("hmac.key: is needed: without it, requests are not signed"))
	}
	return errors.Join(errs...)
}

func openHTTP(_ context.Context, options any, _ Deps) (Output, error) {
	o := options.(*HTTP)
	c, err := newHTTPClient(&o.HTTPClient, "")
	if err != nil {
		return nil, err
	}
	c.method = o.Method
	if !o.HMAC.Key.IsZero() {
		c.addSecrets(o.HMAC.Key.Reveal())
		c.sign = o.HMAC.sign
	}
	return &httpOutput{client: c, mu: make(contextMutex, 1), encode: o.encode}, nil
}

// encode sends the lines as they are. The batch's ID lets a receiver recognise a repeated request.
func (o *HTTP) encode(b Batch) (http.Header, []byte, error) {
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
