package s3_test

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/klauspost/compress/zstd"
	reading "github.com/parquet-go/parquet-go"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/outputs/parquet"
	"github.com/aws-collector/collector/outputs/s3"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

const (
	exampleKey    = "AKIAIOSFODNN7EXAMPLE"
	exampleSecret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

// A bucket is served by gofakes3, which checks each object's MD5; a test may inject other answers.
type bucket struct {
	t       *testing.T
	backend *s3mem.Backend
	server  http.Handler

	mu       sync.Mutex
	refuse   string
	busy     time.Duration
	fail     func(*http.Request) bool // answer 500
	puts     []string                 // keys in order of arrival, including refused ones
	requests []*http.Request
}

func newBucket(t *testing.T) *bucket {
	b := &bucket{t: t, backend: s3mem.New()}
	b.server = gofakes3.New(b.backend, gofakes3.WithTimeSkewLimit(0)).Server()
	must(t, b.backend.CreateBucket("records"))
	return b
}

func (b *bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the connection was cut
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	b.mu.Lock()
	b.puts = append(b.puts, r.URL.Path)
	b.requests = append(b.requests, r.Clone(context.Background()))
	refused := b.refuse != "" && slices.Contains(idsIn(b.t, r.URL.Path, body), b.refuse)
	busy := b.busy
	b.busy = 0
	failed := b.fail != nil && b.fail(r)
	b.mu.Unlock()
	switch {
	case busy > 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(busy.Seconds())))
		answerS3(w, http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
	case refused:
		answerS3(w, http.StatusBadRequest, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")
	case failed:
		answerS3(w, http.StatusInternalServerError, "InternalError", "We encountered an internal error.")
	default:
		b.server.ServeHTTP(w, r)
	}
}

func answerS3(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(
		w,
		`<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>`,
		code, message,
	)
}

// objects returns the bucket's objects by key.
func (b *bucket) objects() map[string][]byte {
	b.t.Helper()
	list, err := b.backend.ListBucket("records", nil, gofakes3.ListBucketPage{})
	must(b.t, err)
	all := map[string][]byte{}
	for _, c := range list.Contents {
		o, err := b.backend.GetObject("records", c.Key, nil)
		must(b.t, err)
		body, err := io.ReadAll(o.Contents)
		must(b.t, err)
		all[c.Key] = body
	}
	return all
}

func (b *bucket) keys() []string {
	var keys []string
	for k := range b.objects() {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// plain returns an object's lines, decompressed.
func plain(t *testing.T, key string, body []byte) []byte {
	t.Helper()
	r := io.Reader(bytes.NewReader(body))
	switch {
	case strings.HasSuffix(key, ".gz"):
		z, err := gzip.NewReader(r)
		must(t, err)
		r = z
	case strings.HasSuffix(key, ".zst"):
		z, err := zstd.NewReader(r)
		must(t, err)
		defer z.Close()
		r = z
	}
	lines, err := io.ReadAll(r)
	must(t, err)
	return lines
}

func idsIn(t *testing.T, key string, body []byte) []string {
	return outputstest.IDs(t, plain(t, key, body))
}

func (b *bucket) ids() []string {
	var ids []string
	objects := b.objects()
	for _, key := range b.keys() {
		ids = append(ids, idsIn(b.t, key, objects[key])...)
	}
	return ids
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func s3Options(url string, set func(*s3.Options)) *s3.Options {
	o := s3.Type.Options().(*s3.Options)
	o.Bucket, o.Endpoint, o.AKID, o.AKSecret = "records", url, exampleKey, secret.New(exampleSecret)
	if set != nil {
		set(o)
	}
	return o
}

func openBucket(t *testing.T, url string, set func(*s3.Options)) outputs.Output {
	t.Helper()
	o := s3Options(url, set)
	must(t, o.Validate())
	out, err := s3.Type.Open(t.Context(), o, outputs.Deps{Kind: outputstest.KindInfo})
	must(t, err)
	t.Cleanup(func() { must(t, out.Close(context.Background())) })
	return out
}

func TestS3Remote(t *testing.T) {
	outputstest.RunRemote(t, outputstest.Remote{
		Type: s3.Type, TLS: true, Unordered: true,
		Serve: func(t *testing.T, w *outputstest.FaultyListener) outputstest.Receiver {
			b := newBucket(t)
			s := &httptest.Server{Listener: w, Config: &http.Server{Handler: b, ErrorLog: log.New(io.Discard, "", 0)}}
			s.Start()
			t.Cleanup(s.Close)
			return outputstest.Receiver{
				Options: func(ca string) any {
					return s3Options(w.URL(), func(o *s3.Options) { o.TLS.CAFile = ca })
				},
				Received: b.ids,
				Refuse: func(id string) {
					b.mu.Lock()
					defer b.mu.Unlock()
					b.refuse = id
				},
				Busy: func(d time.Duration) {
					b.mu.Lock()
					defer b.mu.Unlock()
					b.busy = d
				},
			}
		},
	})
}

// mixed is a batch of a spool: records of two accounts, regions and days, a change, and the end of a target.
const mixed = `{"kind":"ec2_instance","id":"i-1","account":"prod","account_id":"012345678901","partition":"aws",` +
	`"region":"us-east-1","name":"web","tags":{"team":"a"},"extra_tags":{},"run":"01JDRUN",` +
	`"collected_at":"2026-11-21T23:59:59Z","data":{"State":{"Name":"running"},"InstanceType":"t3.micro"}}` + "\n" +
	`{"kind":"ec2_instance","id":"i-2","account":"prod","account_id":"012345678901","partition":"aws",` +
	`"region":"us-east-1","tags":{},"extra_tags":{},"run":"01JDRUN","collected_at":"2026-11-22T00:00:01Z",` +
	`"data":{}}` + "\n" +
	`{"kind":"ec2_instance","id":"i-3","account":"a/b =ü","account_id":"222222222222","partition":"aws",` +
	`"region":"eu-west-1","tags":{},"extra_tags":{},"run":"01JDRUN","collected_at":"2026-11-21T01:00:00+02:00",` +
	`"data":{}}` + "\n" +
	`{"kind":"ec2_volume","id":"vol-1","account":"prod","account_id":"012345678901","partition":"aws",` +
	`"region":"us-east-1","tags":{},"extra_tags":{},"run":"01JDRUN","collected_at":"2026-11-21T23:59:59Z",` +
	`"data":{}}` + "\n" +
	`{"at":"2026-11-21T12:00:00Z","change":"changed","kind":"ec2_volume","id":"vol-2","account":"prod",` +
	`"account_id":"012345678901","region":"us-east-1","changes":[{"path":"State","from":"creating",` +
	`"to":"available"}],"record":{"kind":"ec2_volume","id":"vol-2","account":"prod",` +
	`"account_id":"012345678901","partition":"aws","region":"us-east-1","tags":{},"extra_tags":{},` +
	`"run":"01JDRUN","collected_at":"2026-11-20T11:00:00Z","data":{"State":"available"}}}` + "\n" +
	`{"kind":"_target","account":"prod","region":"us-east-1","target":"ec2_volume","state":"ok","records":2,` +
	`"run":"01M802TQJR0000000000000000"}` + "\n"

func mixedBatch() outputs.Batch { return outputs.Batch{ID: "b1", N: 5, Lines: []byte(mixed)} }

var nameForm = regexp.MustCompile(`(?:2026112[0-9]T[0-9]{6}Z-)?[0-9a-f]{24}\.(jsonl|jsonl\.gz|jsonl\.zst|parquet)$`)

// folders returns the keys without the objects' names.
func folders(t *testing.T, keys []string) []string {
	t.Helper()
	var all []string
	for _, k := range keys {
		if !nameForm.MatchString(k) {
			t.Errorf("an object called %s", k)
		}
		all = append(all, nameForm.ReplaceAllString(k, ""))
	}
	return all
}

func TestS3Keys(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*s3.Options)
		want []string
	}{
		"as it comes": {nil, []string{
			"account_id=012345678901/region=us-east-1/date=2026-11-21/",
			"account_id=012345678901/region=us-east-1/date=2026-11-22/",
			"account_id=222222222222/region=eu-west-1/date=2026-11-20/",
			"account_id=__HIVE_DEFAULT_PARTITION__/region=us-east-1/date=2026-11-21/",
		}},
		"prefix and values that need care": {func(o *s3.Options) {
			o.Prefix, o.Key = "/inventory/aws/",
				"/{partition}/{account}/{kind}/"
		}, []string{
			"inventory/aws/__HIVE_DEFAULT_PARTITION__/prod/_target/",
			"inventory/aws/aws/a%2Fb%20%3D%C3%BC/ec2_instance/",
			"inventory/aws/aws/prod/ec2_instance/",
			"inventory/aws/aws/prod/ec2_volume/",
		}},
		"one folder": {func(o *s3.Options) { o.Key = "" }, []string{""}},
		"zstd": {func(o *s3.Options) { o.Key, o.Compression = "run={run}", "zstd" },
			[]string{"run=01JDRUN/", "run=01M802TQJR0000000000000000/"}},
		"plain": {func(o *s3.Options) { o.Key, o.Compression = "x", "none" }, []string{"x/"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBucket(t)
			s := httptest.NewServer(b)
			t.Cleanup(s.Close)
			out := openBucket(t, s.URL, c.set)
			must(t, out.Send(t.Context(), mixedBatch()))
			if got := folders(t, b.keys()); !slices.Equal(got, c.want) {
				t.Errorf("keys are in\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			var lines []string
			for key, body := range b.objects() {
				for line := range strings.Lines(string(plain(t, key, body))) {
					lines = append(lines, line)
				}
			}
			want := slices.Sorted(strings.Lines(mixed))
			if slices.Sort(lines); !slices.Equal(lines, want) {
				t.Errorf("the lines are not those that were sent:\n%q", lines)
			}
		})
	}
}

// Sending a batch again, even by another process, writes the same objects; a batch that failed in the middle is
// completed.
func TestS3SameObjectsAgain(t *testing.T) {
	b := newBucket(t)
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	out := openBucket(t, s.URL, nil)
	b.fail = func(r *http.Request) bool { return strings.Contains(r.URL.Path, "222222222222") }
	err := out.Send(t.Context(), mixedBatch())
	if err == nil || errors.Is(err, outputs.ErrRefused) {
		t.Fatalf("an object of four was not taken: %v", err)
	}
	arrived := len(b.keys())
	b.mu.Lock()
	b.fail, b.puts = nil, nil
	b.mu.Unlock()
	must(t, out.Send(t.Context(), mixedBatch()))
	want := b.keys()
	if len(want) != 4 || len(b.puts) != 4-arrived {
		t.Errorf("%d objects are there, %d of them from the first try; the second sent %d", len(want), arrived, len(b.puts))
	}
	// another process, after a kill before the acknowledgement
	must(t, openBucket(t, s.URL, nil).Send(t.Context(), mixedBatch()))
	must(t, out.Send(t.Context(), mixedBatch()))
	if got := b.keys(); !slices.Equal(got, want) {
		t.Errorf("sending again made other objects:\n%q\n%q", got, want)
	}
}

// The only object of a batch is uploaded again, although it arrived before: the upload must show how the store is now.
func TestS3OnlyObject(t *testing.T) {
	b := newBucket(t)
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	out := openBucket(t, s.URL, nil)
	b.fail = func(r *http.Request) bool { return strings.Contains(r.URL.Path, "222222222222") }
	if err := out.Send(t.Context(), mixedBatch()); !errors.Is(err, outputs.ErrReceiverFailed) {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(b.keys(), " "), "date=2026-11-22") {
		t.Fatalf("the other object did not arrive: %q", b.keys())
	}
	b.fail = func(*http.Request) bool { return true }
	if err := out.Send(t.Context(), outputs.Batch{ID: "b2", N: 1,
		Lines: []byte(strings.SplitAfter(mixed, "\n")[1])}); !errors.Is(
		err,
		outputs.ErrReceiverFailed,
	) {
		t.Errorf("to a store that fails: %v", err)
	}
}

func TestS3OptionsReachTheStore(t *testing.T) {
	b := newBucket(t)
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	out := openBucket(t, s.URL, func(o *s3.Options) {
		o.SSE, o.KMSKeyID, o.StorageClass, o.Region = "aws:kms", "arn:aws:kms:eu-west-1:111111111111:key/k", "STANDARD_IA",
			"eu-west-1"
		o.SessionToken = secret.New("a-session-token")
	})
	must(t, out.Send(t.Context(), mixedBatch()))
	r := b.requests[0]
	for header, want := range map[string]string{
		"X-Amz-Server-Side-Encryption":                "aws:kms",
		"X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "arn:aws:kms:eu-west-1:111111111111:key/k",
		"X-Amz-Storage-Class":                         "STANDARD_IA",
		"X-Amz-Security-Token":                        "a-session-token",
		"Content-Type":                                "application/gzip",
	} {
		if got := r.Header.Get(header); got != want {
			t.Errorf("%s: %q, want %q", header, got, want)
		}
	}
	if got := r.Header.Get("Authorization"); !strings.Contains(got, "Credential="+exampleKey+"/") ||
		!strings.Contains(got, "/eu-west-1/s3/aws4_request") {
		t.Errorf("signed %s", got)
	}
	if r.Header.Get("Content-Md5") == "" || r.ContentLength <= 0 {
		t.Errorf("MD5 %q, length %d", r.Header.Get("Content-Md5"), r.ContentLength)
	}
	for name := range r.Header { // other stores do not support checksum headers
		if strings.HasPrefix(name, "X-Amz-Checksum") || strings.HasPrefix(name, "X-Amz-Sdk-Checksum") ||
			name == "X-Amz-Trailer" {
			t.Errorf("%s was sent", name)
		}
	}
	if !strings.HasPrefix(r.URL.Path, "/records/") {
		t.Errorf("the bucket is not in the path: %s", r.URL.Path)
	}
}

// The store's answers, with the reason and hint of their errors.
func TestS3Answers(t *testing.T) {
	for name, c := range map[string]struct {
		status        int
		code, message string
		header        string
		reason        record.Reason
		hint          string
		refused       bool
	}{
		"no bucket": {404, "NoSuchBucket", "The specified bucket does not exist", "", record.Other,
			"Create the bucket", false},
		"denied": {403, "AccessDenied", "Access Denied", "", record.AccessDenied,
			"Allow s3:PutObject on arn:aws:s3:::records/*", false},
		"other region, in a header": {301, "PermanentRedirect", "The bucket must be addressed using the specified endpoint.",
			"eu-central-1", record.Other, "`region: eu-central-1`", false},
		"other region, in the message": {400, "AuthorizationHeaderMalformed",
			"the region 'us-east-1' is wrong; expecting 'eu-west-3'", "", record.Other, "`region: eu-west-3`", false},
		"unknown key": {403, "InvalidAccessKeyId", "does not exist in our records", "", record.BadKey,
			"Check ak_id", false},
		"wrong secret": {403, "SignatureDoesNotMatch", "does not match", "", record.BadSignature, "Check ak_secret",
			false},
		"clock": {403, "RequestTimeTooSkewed", "The difference is too large", "", record.ClockSkew, "clock",
			false},
		"expired":            {400, "ExpiredToken", "The provided token has expired.", "", record.Expired, "renewed", false},
		"too large":          {400, "EntityTooLarge", "exceeds the maximum", "", "", "", true},
		"too large, a proxy": {413, "", "", "", "", "", true},
		"key too long":       {400, "KeyTooLongError", "Your key is too long", "", "", "", true},
		"unknown option": {501, "NotImplemented",
			"A header you provided implies functionality that is not implemented", "", record.Unsupported, "storage_class",
			false},
		"damaged": {400, "BadDigest", "The Content-MD5 you specified did not match", "", record.Network,
			"The upload is repeated", false},
		"slow down": {503, "SlowDown", "Please reduce your request rate.", "", record.Throttling,
			"The upload is repeated", false},
		"trouble": {500, "InternalError", "We encountered an internal error.", "", record.Other, "it failed",
			false},
		"another's 400": {400, "InvalidRequest", "what?", "", record.BadAnswer, "is an S3 API", false},
		"no S3 at all":  {404, "", "", "", record.BadAnswer, "is an S3 API", false},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				asked++
				if c.header != "" {
					w.Header().Set("X-Amz-Bucket-Region", c.header)
				}
				if c.code == "" {
					http.Error(w, "<html>nothing here</html>", c.status)
					return
				}
				answerS3(w, c.status, c.code, c.message)
			}))
			t.Cleanup(s.Close)
			out := openBucket(t, s.URL, func(o *s3.Options) { o.Key, o.SSE = "x", "AES256" })
			err := out.Send(t.Context(), mixedBatch())
			switch {
			case err == nil:
				t.Fatal("no error")
			case errors.Is(err, outputs.ErrRefused) != c.refused || errors.Is(err, outputs.ErrPermanent):
				t.Errorf("refused is %t: %v", !c.refused, err)
			case !c.refused && record.ReasonOf(err) != c.reason:
				t.Errorf("reason %s, want %s", record.ReasonOf(err), c.reason)
			case !strings.Contains(record.HintOf(err), c.hint):
				t.Errorf("hint %q, want %q in it", record.HintOf(err), c.hint)
			case errors.Is(err, outputs.ErrReceiverFailed) != (c.status == http.StatusInternalServerError):
				t.Errorf("receiver failed: %v", err)
			case !strings.Contains(err.Error(), "s3://records/x/"), !strings.Contains(err.Error(), c.code):
				t.Errorf("the error does not name the object and the code: %v", err)
			case strings.Contains(err.Error(), exampleSecret):
				t.Errorf("the error shows the secret: %v", err)
			}
			if asked != 1 {
				t.Errorf("%d requests: retries belong to the spool", asked)
			}
		})
	}
}

// A store that never answers costs no more than the timeout, and the hint says so.
func TestS3Timeout(t *testing.T) {
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // read the body, and do not answer
		select {
		case <-over:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() {
		close(over)
		s.Close()
	})
	out := openBucket(t, s.URL, func(o *s3.Options) { o.Timeout = config.Duration(time.Second) })
	err := out.Send(t.Context(), mixedBatch())
	if record.ReasonOf(err) != record.TimedOut || !strings.Contains(record.HintOf(err), "Raise timeout") {
		t.Errorf("%v (%s)", err, record.HintOf(err))
	}
}

func TestS3Validate(t *testing.T) {
	for want, set := range map[string]func(*s3.Options){
		"bucket: is needed":                        func(o *s3.Options) { o.Bucket = "" },
		"bucket: must be a name":                   func(o *s3.Options) { o.Bucket = "s3://records/x" },
		`bucket: "a b" is not a valid bucket name`: func(o *s3.Options) { o.Bucket = "a b" },
		`key: "{zone}": unknown field {zone}`:      func(o *s3.Options) { o.Key = "{zone}" },
		`key: "{date": a { without }`:              func(o *s3.Options) { o.Key = "{date" },
		`key: "date}": a } without {`:              func(o *s3.Options) { o.Key = "date}" },
		`format: "csv" is neither`:                 func(o *s3.Options) { o.Format = "csv" },
		`compression: "lz4" is not`:                func(o *s3.Options) { o.Compression = "lz4" },
		"max_bytes: 1GiB is more than 64MiB":       func(o *s3.Options) { o.MaxBytes = 1 << 30 },
		"endpoint: does not begin with http":       func(o *s3.Options) { o.Endpoint = "minio:9000" },
		"endpoint: contains a user":                func(o *s3.Options) { o.Endpoint = "https://user:pass@minio:9000" },
		"tls: has no effect": func(o *s3.Options) {
			o.Endpoint, o.TLS.CAFile = "http://minio:9000",
				"ca.pem"
		},
		"timeout: 0s is less":     func(o *s3.Options) { o.Timeout = 0 },
		"tls.cert_file: set both": func(o *s3.Options) { o.TLS.KeyFile = "key.pem" },
		"ak_id: set both":         func(o *s3.Options) { o.AKID = "" },
		"profile: remove it":      func(o *s3.Options) { o.Profile = "p" },
		"session_token: needs": func(o *s3.Options) {
			o.AKID, o.AKSecret, o.SessionToken = "", secret.String{},
				secret.New("t")
		},
		"external_id: needs":  func(o *s3.Options) { o.ExternalID = "x" },
		`sse: "rot13" is not`: func(o *s3.Options) { o.SSE = "rot13" },
		"kms_key_id: needs":   func(o *s3.Options) { o.KMSKeyID = "k" },
	} {
		err := s3Options("https://minio.example.com:9000", set).Validate()
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pass@") {
			t.Errorf("a password is shown: %v", err)
		}
	}
	must(t, s3Options("https://minio.example.com:9000", nil).Validate())
}

func TestS3Parquet(t *testing.T) {
	b := newBucket(t)
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	out := openBucket(t, s.URL, func(o *s3.Options) { o.Format, o.Key = "parquet", "account_id={account_id}" })
	for range 2 { // the writers are reused
		must(t, out.Send(t.Context(), mixedBatch()))
	}
	rows := map[string]parquet.Delivery{}
	for key, body := range b.objects() {
		got, err := reading.Read[parquet.Delivery](bytes.NewReader(body), int64(len(body)))
		must(t, err)
		for _, r := range got {
			rows[r.Kind+" "+r.ID] = r
			if !strings.HasPrefix(key, "account_id="+cmp.Or(r.AccountID, "__HIVE_DEFAULT_PARTITION__")+"/") ||
				!strings.HasSuffix(key, ".parquet") {
				t.Errorf("%s is in %s", r.ID, key)
			}
		}
	}
	if len(rows) != 6 || len(b.objects()) != 3 {
		t.Fatalf("%d rows in %d objects", len(rows), len(b.objects()))
	}
	first, change, end := rows["ec2_instance i-1"], rows["ec2_volume vol-2"], rows["_target "]
	if first.State != "running" || first.Type != "t3.micro" || first.Tags["team"] != "a" || first.Change != "" ||
		first.Records != nil ||
		string(first.Data) != `{"State":{"Name":"running"},"InstanceType":"t3.micro"}` ||
		!first.CollectedAt.Equal(time.Date(2026, 11, 21, 23, 59, 59, 0, time.UTC)) {
		t.Errorf("a record: %+v %s", first, first.Data)
	}
	if change.Change != "changed" || change.State != "available" ||
		change.Changes != `[{"path":"State","from":"creating","to":"available"}]` ||
		!change.ChangedAt.Equal(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)) {
		t.Errorf("a change: %+v", change)
	}
	if end.Target != "ec2_volume" || end.State != "ok" || end.Records == nil || *end.Records != 2 ||
		string(end.Data) != "null" {
		t.Errorf("an end: %+v", end)
	}
}

// A line that is not a record is refused.
func TestS3InvalidLine(t *testing.T) {
	out := openBucket(t, "http://127.0.0.1:1", nil)
	err := out.Send(t.Context(), outputs.Batch{N: 1, Lines: []byte("{\"kind\":\n")})
	if !errors.Is(err, outputs.ErrRefused) {
		t.Errorf("%v, want a refusal", err)
	}
}

// A batch of many accounts becomes many small objects, which are uploaded concurrently.
func TestS3ManyObjects(t *testing.T) {
	b := newBucket(t)
	s := httptest.NewServer(b)
	t.Cleanup(s.Close)
	var lines bytes.Buffer
	for i := range 300 {
		fmt.Fprintf(
			&lines,
			`{"kind":"k","id":"%d","account_id":"%012d","region":"us-east-1","tags":{},"extra_tags":{},`+
				`"collected_at":"2026-11-21T00:00:00Z","data":{}}`+"\n",
			i,
			i%100,
		)
	}
	must(t, openBucket(t, s.URL, nil).Send(t.Context(), outputs.Batch{N: 300, Lines: lines.Bytes()}))
	if keys, ids := b.keys(), b.ids(); len(keys) != 100 || len(ids) != 300 {
		t.Errorf("%d objects with %d records", len(keys), len(ids))
	}
}
