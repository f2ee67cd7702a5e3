package http_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/aws-collector/collector/outputs"
	httpoutput "github.com/aws-collector/collector/outputs/http"
	"github.com/aws-collector/collector/outputs/internal/httpclient"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/secret"
)

func open(t testing.TB, set func(*httpoutput.Options)) outputs.Output {
	t.Helper()
	out, _ := outputstest.Open(t, httpoutput.Type, func(o any) { set(o.(*httpoutput.Options)) })
	return out
}

func TestHTTPRemote(t *testing.T) {
	for _, format := range []string{"jsonl", "json"} {
		t.Run(format, func(t *testing.T) {
			outputstest.RunRemote(t, outputstest.RemoteHTTP(t, httpoutput.Type, func(o any, url, ca string) {
				h := o.(*httpoutput.Options)
				h.URL, h.TLS.CAFile, h.Format = url+"/in", ca, format
			}, func(r *http.Request, b []byte) ([]string, error) {
				lines := bytes.SplitAfter(b, []byte("\n"))
				if format == "json" {
					var all []json.RawMessage
					if err := json.Unmarshal(b, &all); err != nil {
						return nil, err
					}
					lines = nil
					for _, one := range all {
						lines = append(lines, append(one, '\n'))
					}
				}
				return outputstest.IDs(t, bytes.Join(lines, nil)), nil
			}))
		})
	}
}

// The request in each format.
func TestHTTPRequest(t *testing.T) {
	p := outputstest.Page("i", 2, 10)
	lines := bytes.Clone(p.Lines())
	one, two, _ := bytes.Cut(bytes.TrimSuffix(lines, []byte("\n")), []byte("\n"))
	for _, c := range []struct {
		set         func(*httpoutput.Options)
		method, typ string
		body        string
		encoding    string
	}{
		{func(*httpoutput.Options) {}, "POST", "application/x-ndjson", string(lines), "gzip"},
		{func(o *httpoutput.Options) { o.Gzip = false }, "POST", "application/x-ndjson", string(lines), ""},
		{func(o *httpoutput.Options) { o.Format, o.Method = "json", "PUT" },
			"PUT", "application/json", fmt.Sprintf("[%s,%s]", one, two), "gzip"},
	} {
		requests := 0
		s := outputstest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			requests++
			if r.Method != c.method || r.URL.String() != "/in?x=y" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			for name, want := range map[string]string{
				"Content-Type": c.typ, "Content-Encoding": c.encoding, "Idempotency-Key": "batch-7", "X-Key": "k",
				"Authorization": "Basic dTpw", "User-Agent": "aws-collector", "X-Signature": "",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if got := string(outputstest.Body(t, r)); got != c.body {
				t.Errorf("got  %s\nwant %s", got, c.body)
			}
		})
		out := open(t, func(o *httpoutput.Options) {
			o.URL = s.URL + "/in?x=y"
			o.Headers = map[string]secret.String{"x-key": secret.New("k\n")}
			o.BasicAuth = httpclient.BasicAuth{Username: "u", Password: secret.New("p")}
			c.set(o)
		})
		b := outputstest.BatchOf("batch-7", p)
		if err := out.Send(t.Context(), b); err != nil || requests != 1 {
			t.Errorf("%d requests: %v", requests, err)
		}
		if err := out.Send(t.Context(), outputs.Batch{ID: "empty"}); err != nil || requests != 1 {
			t.Errorf("a request without records: %v", err)
		}
	}
}

// A receiver can verify the signature from the bytes that it reads.
func TestHTTPSignature(t *testing.T) {
	for _, compressed := range []bool{true, false} {
		s := outputstest.Serve(t, func(w http.ResponseWriter, r *http.Request) {
			sent, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			at := r.Header.Get("X-Sent-At")
			mac := hmac.New(sha256.New, []byte(outputstest.Canary))
			fmt.Fprintf(mac, "%s.%s", at, sent)
			if got, want := r.Header.Get("X-Hub"), "sha256="+hex.EncodeToString(mac.Sum(nil)); got != want {
				t.Errorf("signed %s, want %s", got, want)
			}
			if sec, err := strconv.ParseInt(at, 10, 64); err != nil || time.Since(time.Unix(sec, 0)).Abs() > time.Minute {
				t.Errorf("sent at %q: %v", at, err)
			}
		})
		out := open(t, func(o *httpoutput.Options) {
			o.URL, o.Gzip = s.URL, compressed
			o.HMAC = httpoutput.HMAC{Key: secret.New(outputstest.Canary + "\n"), Header: "X-Hub", Timestamp: "X-Sent-At"}
		})
		if err := out.Send(t.Context(), outputstest.SmallBatch("a", 3)); err != nil {
			t.Error(err)
		}
	}
}
