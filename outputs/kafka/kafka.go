// Package kafka is the output `kafka`: one message per line, with the resource as its key.
package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"text/template"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/internal/contextmutex"
	"github.com/aws-collector/collector/outputs/internal/httpclient"
	"github.com/aws-collector/collector/secret"
)

// Options is the options of the output `kafka`: one message per line. The key is the resource, so the messages of a
// resource stay in one partition, in order, and a compacted topic keeps its latest message.
type Options struct {
	outputs.Common   `yaml:",inline"`
	outputs.Batching `yaml:",inline"`
	Brokers          []string        `yaml:"brokers" doc:"Brokers to connect to first, as host:port; they name the others. Default port: 9092."`
	Topic            string          `yaml:"topic" doc:"The topic, or a template of its name, such as aws.{{.Kind}}, with {{.Kind}}, {{.Account}}, {{.AccountID}}, {{.Partition}} and {{.Region}}. Characters that are not allowed in a topic's name become _."`
	CreateTopics     bool            `yaml:"create_topics" doc:"Let the brokers create missing topics, if their auto.create.topics.enable allows it."`
	Compression      string          `yaml:"compression" enum:"zstd,lz4,snappy,gzip,none" doc:"Compression of batches. Brokers before Kafka 2.1 get uncompressed batches instead of zstd."`
	MaxMessageBytes  outputs.Bytes   `yaml:"max_message_bytes" doc:"The largest message to send, before compression: at most the brokers' message.max.bytes and the topic's max.message.bytes. A larger one becomes a dead letter."`
	Tombstones       bool            `yaml:"tombstones" doc:"For a resource that is gone, send a message without a value, so that a compacted topic removes it. Default: send the change."`
	ClientID         string          `yaml:"client_id" doc:"The client's name in the brokers' logs and quotas."`
	Timeout          config.Duration `yaml:"timeout" doc:"How long to wait until every in-sync replica has a batch; then it is sent again."`
	SASL             SASL            `yaml:"sasl" doc:"How to sign in. Default: without signing in."`
	TLS              TLS             `yaml:"tls" doc:"Encrypt the connections. Default: unencrypted, unless a key of this block is set."`
}

// SASL is how to sign in to Kafka.
type SASL struct {
	Mechanism string        `yaml:"mechanism" enum:"PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" doc:"PLAIN sends the password itself, so use it only with tls."`
	Username  string        `yaml:"username" doc:"The user."`
	Password  secret.String `yaml:"password" doc:"The user's password."`
}

// TLS is TLS for Kafka, whose addresses have no scheme to enable it.
type TLS struct {
	Enabled              bool `yaml:"enabled" doc:"Use TLS. The other keys of this block imply it."`
	httpclient.ClientTLS `yaml:",inline"`
}

const (
	saslPlain   = "PLAIN"
	scramSHA256 = "SCRAM-SHA-256"
	scramSHA512 = "SCRAM-SHA-512"
	retries     = 4 // per Send, with the client's backoff from 250ms to 2.5s; then the spool retries
)

// Type is this output.
var Type = outputs.Type{Name: "kafka", Options: defaults, Open: open, Translates: true}

func defaults() any {
	return &Options{
		Batching:        outputs.Batching{MaxRecords: 5000, MaxBytes: 4 << 20, MaxWait: config.Duration(time.Second)},
		Topic:           "aws-inventory",
		Compression:     "zstd",
		MaxMessageBytes: 1_000_000, // the brokers' default is 1 MiB, including the batch's overhead
		ClientID:        "aws-collector",
		Timeout:         config.Duration(30 * time.Second),
	}
}

// Validate reports every error in the options.
func (o *Options) Validate() error {
	errs := o.Batching.BatchingErrors()
	addf := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(o.Brokers) == 0 {
		addf("brokers: is needed: the first brokers, such as [\"kafka-1:9092\"]")
	}
	for _, b := range o.Brokers {
		if err := checkBrokerAddress(b); err != nil {
			addf("brokers: %w", err)
		}
	}
	if _, err := newTopicTemplate(o.Topic); err != nil {
		addf("topic: %w", err)
	}
	if _, ok := compressionCodec(o.Compression); !ok {
		addf("compression: %q is not zstd, lz4, snappy, gzip or none", o.Compression)
	}
	if b := o.MaxMessageBytes; b < 1<<10 || b > 1<<30 {
		addf("max_message_bytes: %s is not between 1KiB and 1GiB", b)
	}
	if t := time.Duration(o.Timeout); t < time.Second {
		addf("timeout: %s is less than 1s", t)
	}
	switch s := o.SASL; {
	case s == (SASL{}):
	case !slices.Contains([]string{saslPlain, scramSHA256, scramSHA512}, s.Mechanism):
		addf("sasl.mechanism: %q is not %s, %s or %s", s.Mechanism, saslPlain, scramSHA256, scramSHA512)
	case s.Username == "":
		addf("sasl.username: is needed with sasl.mechanism")
	case s.Password.IsZero():
		addf("sasl.password: is needed with sasl.username")
	}
	if (o.TLS.CertFile == "") != (o.TLS.KeyFile == "") {
		addf("tls.cert_file: set both cert_file and key_file")
	}
	return errors.Join(errs...)
}

// ClientKeyFile returns the file of the client's key.
func (o *Options) ClientKeyFile() string { return o.TLS.KeyFile }

// Cleartext implements [outputs.Cleartext].
func (o *Options) Cleartext() []config.Problem {
	isRemote := func(broker string) bool {
		host, _, err := net.SplitHostPort(broker)
		if err != nil {
			host = broker
		}
		return !config.IsLoopback(host)
	}
	if o.TLS != (TLS{}) || !slices.ContainsFunc(o.Brokers, isRemote) {
		return o.TLS.Cleartext()
	}
	p := config.Problem{Path: "tls", Text: "records are sent in clear text: TLS is off"}
	p.Remedy = "set tls: {enabled: true}"
	if o.SASL.Mechanism == saslPlain {
		p.Path, p.Text = "sasl", "the password is sent in clear text: the mechanism is PLAIN and TLS is off"
	}
	return []config.Problem{p}
}

// checkBrokerAddress validates a broker's address. Its error does not repeat one that may contain a password.
func checkBrokerAddress(s string) error {
	if strings.Contains(s, "://") || strings.Contains(s, "@") {
		return errors.New("an address is host:port, without a scheme or a user; use sasl and tls")
	}
	if strings.ContainsAny(s, ", ") {
		return fmt.Errorf("%q contains several addresses: write a list, one address per item", s)
	}
	host, port := s, ""
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
		if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
			return fmt.Errorf("%q: %s is not a port", s, port)
		}
	} else if strings.Contains(s, ":") && net.ParseIP(s) == nil {
		return fmt.Errorf("%q is not host:port; write an IPv6 address in brackets", s)
	}
	if host == "" {
		return fmt.Errorf("%q has no host", s)
	}
	return nil
}

// A topicTemplate is the template of a topic's name. Its zero value is not usable.
type topicTemplate struct {
	fixed    string
	template *template.Template // nil: fixed
}

// topicFields is what a template may use.
type topicFields struct{ Kind, Account, AccountID, Partition, Region string }

// invalidTopicChar matches what a topic's name may not contain: org.apache.kafka.common.internals.Topic.
var invalidTopicChar = regexp.MustCompile(`[^a-zA-Z0-9._-]`)

func newTopicTemplate(s string) (topicTemplate, error) {
	if !strings.Contains(s, "{{") {
		if name := invalidTopicChar.ReplaceAllString(s, "_"); name != s {
			return topicTemplate{}, fmt.Errorf("%q: a topic's name may contain only letters, digits and . _ -", s)
		}
		return topicTemplate{fixed: s}, checkTopicName(s)
	}
	of, err := template.New("topic").Parse(s)
	if err != nil {
		return topicTemplate{}, fmt.Errorf("%q: %s", s, strings.TrimPrefix(err.Error(), "template: "))
	}
	t := topicTemplate{template: of}
	name, err := t.name(topicFields{"ec2_instance", "prod", "222222222222", "aws", "us-east-1"})
	if err != nil {
		const format = "%q: it may use {{.Kind}}, {{.Account}}, {{.AccountID}}, {{.Partition}} and {{.Region}}: %w"
		return topicTemplate{}, fmt.Errorf(format, s, err)
	}
	return t, checkTopicName(name)
}

func checkTopicName(s string) error {
	switch {
	case s == "":
		return errors.New("is needed: the topic, such as aws-inventory or aws.{{.Kind}}")
	case s == "." || s == "..", len(s) > 249:
		return fmt.Errorf("%q: a topic's name may not be . or .., and may have at most 249 characters", s)
	}
	return nil
}

func (t topicTemplate) name(f topicFields) (string, error) {
	if t.template == nil {
		return t.fixed, nil
	}
	var b strings.Builder
	if err := t.template.Execute(&b, f); err != nil {
		return "", err
	}
	return invalidTopicChar.ReplaceAllString(b.String(), "_"), nil
}

func compressionCodec(name string) (kgo.CompressionCodec, bool) {
	switch name {
	case "zstd":
		return kgo.ZstdCompression(), true
	case "lz4":
		return kgo.Lz4Compression(), true
	case "snappy":
		return kgo.SnappyCompression(), true
	case "gzip":
		return kgo.GzipCompression(), true
	case "none":
		return kgo.NoCompression(), true
	}
	return kgo.CompressionCodec{}, false
}

// output sends one batch at a time, and waits for its acknowledgement.
type output struct {
	opts          Options
	topic         topicTemplate
	clientOptions []kgo.Opt

	mu           contextmutex.Mutex // guards client
	client       *kgo.Client        // nil: the next Send creates it
	closed       atomic.Bool
	closing      context.Context // canceled by Close
	startClosing context.CancelFunc
	current      atomic.Pointer[sendAttempt]
}

// open reads files, but does not connect.
func open(ctx context.Context, options any, d outputs.Deps) (outputs.Output, error) {
	o := options.(*Options)
	k := &output{opts: *o, mu: contextmutex.New()}
	var err error
	if k.topic, err = newTopicTemplate(o.Topic); err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	compress, _ := compressionCodec(o.Compression)
	k.clientOptions = []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...), kgo.ClientID(o.ClientID), kgo.DisableClientMetrics(), kgo.WithHooks(k),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(compress, kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(int32(o.MaxMessageBytes)), kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(1 << 30), // there is only one batch at a time
		kgo.RecordRetries(retries), kgo.RequestRetries(retries), kgo.UnknownTopicRetries(2),
		kgo.MetadataMinAge(500 * time.Millisecond),
		// Send's context limits the whole time; the client's own limit counts from a message's timestamp, which is the
		// record's time here.
		kgo.DialTimeout(min(10*time.Second, time.Duration(o.Timeout)/2)),
		// Let a Send end although a message may have arrived: the spool sends it again, and receivers can recognise it by
		// its record_id.
		kgo.AllowIdempotentProduceCancellation(),
	}
	if o.CreateTopics {
		k.clientOptions = append(k.clientOptions, kgo.AllowAutoTopicCreation())
	}
	if o.TLS != (TLS{}) {
		c, err := o.TLS.Config()
		if err != nil {
			return nil, err
		}
		k.clientOptions = append(k.clientOptions, kgo.DialTLSConfig(c))
	}
	if m := o.SASL.mechanism(); m != nil {
		k.clientOptions = append(k.clientOptions, kgo.SASL(m))
		if o.SASL.Mechanism == saslPlain && o.TLS == (TLS{}) && d.Log != nil {
			d.Log.Warn("Kafka password is sent unencrypted", "brokers", o.Brokers,
				"hint", "Set tls, or a SCRAM mechanism.")
		}
	}
	if err := kgo.ValidateOpts(k.clientOptions...); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	k.closing, k.startClosing = context.WithCancel(context.WithoutCancel(ctx))
	return k, nil
}

func (s SASL) mechanism() sasl.Mechanism {
	scrammed := scram.Auth{User: s.Username, Pass: s.Password.Reveal()}
	switch s.Mechanism {
	case saslPlain:
		return plain.Auth{User: s.Username, Pass: s.Password.Reveal()}.AsMechanism()
	case scramSHA256:
		return scrammed.AsSha256Mechanism()
	case scramSHA512:
		return scrammed.AsSha512Mechanism()
	}
	return nil
}

// Send returns when every in-sync replica has every message of the batch.
func (k *output) Send(ctx context.Context, b outputs.Batch) error {
	if err := k.mu.Lock(ctx); err != nil {
		return err
	}
	defer k.mu.Unlock()
	if k.closed.Load() {
		return outputs.ErrClosed
	}
	messages, err := k.messages(b.Lines)
	if err != nil || len(messages) == 0 {
		return err
	}
	if k.client == nil {
		if k.client, err = kgo.NewClient(k.clientOptions...); err != nil {
			return fmt.Errorf("kafka: %w", err)
		}
	}
	return k.produce(ctx, messages)
}

// errAckTimeout is the cause of a Send that exceeds the timeout option.
var errAckTimeout = errors.New("the brokers did not acknowledge in time")

// A sendAttempt is a Send in progress, for the client's hooks.
type sendAttempt struct {
	cancel    context.CancelCauseFunc
	lastError atomic.Value // a connectionError
}

type connectionError struct{ error }

func (k *output) produce(ctx context.Context, messages []*kgo.Record) error {
	sendCtx, cancelSend := context.WithCancelCause(ctx)
	defer cancelSend(nil)
	sendCtx, cancel := context.WithTimeoutCause(sendCtx, time.Duration(k.opts.Timeout), errAckTimeout)
	defer cancel()
	defer context.AfterFunc(k.closing, func() { cancelSend(outputs.ErrClosed) })()
	a := &sendAttempt{cancel: cancelSend}
	k.current.Store(a)
	done := make(chan kgo.ProduceResults)
	go func() { done <- k.client.ProduceSync(sendCtx, messages...) }()
	var results kgo.ProduceResults
	select {
	case results = <-done:
	case <-sendCtx.Done():
		// Messages in flight could arrive after the next batch. Closing the client fails them, so done follows soon.
		k.closeClient()
		results = <-done
	}
	err := batchError(results)
	if err == nil {
		return nil
	}
	if sendCtx.Err() != nil {
		k.closeClient()
		err = context.Cause(sendCtx)
	}
	if errors.Is(err, outputs.ErrClosed) {
		return outputs.ErrClosed
	}
	connErr, _ := a.lastError.Load().(connectionError)
	return k.fault(err, connErr.error)
}

// closeClient closes the client: its connections, its goroutines and what it has not sent.
func (k *output) closeClient() {
	if k.client != nil {
		k.client.Close()
		k.client = nil
	}
}

// batchError returns the error of a batch: a refusal, or a failure of the broker, only if there is no other error,
// because after another error the batch is sent again anyway.
func batchError(results kgo.ProduceResults) error {
	var refused, failed error
	for _, r := range results {
		switch {
		case r.Err == nil:
		case isRefusal(r.Err):
			refused = fmt.Errorf("%w: topic %s: %w", outputs.ErrRefused, r.Record.Topic, r.Err)
		case errors.Is(r.Err, kerr.UnknownServerError): // the protocol's internal server error
			failed = fmt.Errorf("%w: topic %s: %w", outputs.ErrReceiverFailed, r.Record.Topic, r.Err)
		default:
			return fmt.Errorf("topic %s: %w", r.Record.Topic, r.Err)
		}
	}
	if failed != nil {
		return failed
	}
	return refused
}

// isRefusal reports whether the message is at fault.
func isRefusal(err error) bool {
	for _, e := range []error{kerr.MessageTooLarge, kerr.InvalidRecord, kerr.RecordListTooLarge, kerr.InvalidTimestamp} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// messages makes a message of each line. A message that is too large refuses the batch before anything is sent, so
// halving the batch sends nothing twice.
func (k *output) messages(lines []byte) ([]*kgo.Record, error) {
	copied := bytes.Clone(lines) // the client may still read messages after an interrupted Send
	var all []*kgo.Record
	for l, err := range outputs.Lines(copied) {
		if err != nil {
			return nil, fmt.Errorf("%w: %w", outputs.ErrRefused, err)
		}
		m, err := k.message(l)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

func (k *output) message(l *outputs.Line) (*kgo.Record, error) {
	f := topicFields{l.Kind, l.Account, l.AccountID, l.Partition, l.Region}
	m := &kgo.Record{Value: l.Raw, Timestamp: l.CollectedAt}
	key := []string{l.Partition, l.AccountID, l.Region, l.Kind, l.ID}
	m.Headers = append(
		m.Headers, recordHeader("kind", l.Kind), recordHeader("account", l.Account),
		recordHeader("account_id", l.AccountID), recordHeader("region", l.Region), recordHeader("run", l.Run),
		recordHeader("record_id", l.StableID()),
	)
	switch {
	case l.Target != "": // in the topic of its target's records
		f.Kind = l.Target
		key = []string{l.Kind, l.Account, l.Region, l.Target}
		m.Headers = append(m.Headers, recordHeader("target", l.Target))
	case l.Change != "":
		m.Timestamp = l.At
		m.Headers = append(m.Headers, recordHeader("change", l.Change))
		if l.Ended != "" {
			m.Headers = append(m.Headers, recordHeader("ended", l.Ended))
		}
		if l.Change == inventory.WasGone && k.opts.Tombstones {
			m.Value = nil
		}
	}
	m.Key = []byte(strings.Join(key, "/"))
	var err error
	if m.Topic, err = k.topic.name(f); err == nil {
		err = checkTopicName(m.Topic)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: topic of %s: %w", outputs.ErrRefused, m.Key, err)
	}
	size := len(m.Key) + len(m.Value) + 100 // overhead: 61 bytes for the batch, at most 30 for the message
	for _, h := range m.Headers {
		size += len(h.Key) + len(h.Value) + 10
	}
	if size > int(k.opts.MaxMessageBytes) {
		const format = "%w: the message of %s has %d bytes, more than max_message_bytes: %w"
		return nil, k.fault(fmt.Errorf(format, outputs.ErrRefused, m.Key, size, kerr.MessageTooLarge), nil)
	}
	return m, nil
}

func recordHeader(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

// Flush has nothing to wait for: Send waits for the acknowledgement.
func (k *output) Flush(ctx context.Context) error {
	if k.closed.Load() {
		return outputs.ErrClosed
	}
	return ctx.Err()
}

// Close waits for the current Send until ctx ends, and then interrupts it: its caller still has the batch.
func (k *output) Close(ctx context.Context) error {
	k.closed.Store(true)
	if err := k.mu.Lock(ctx); err != nil {
		k.startClosing()
		_ = k.mu.Lock(context.WithoutCancel(ctx)) // soon: startClosing interrupts the Send
	}
	defer k.mu.Unlock()
	k.startClosing()
	k.closeClient()
	return nil
}

var (
	_ kgo.HookBrokerConnect = (*output)(nil)
	_ kgo.HookBrokerRead    = (*output)(nil)
)

// OnBrokerConnect stores why a connection failed: the client keeps trying, and would report only a timeout. An error
// that needs the operator ends the Send at once.
func (k *output) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	a := k.current.Load()
	if a == nil || errors.Is(err, context.Canceled) {
		return
	}
	a.lastError.Store(connectionError{err}) // nil after a success
	if err != nil && needsOperator(err) {
		a.cancel(err)
	}
}

// OnBrokerRead stores that a broker closed the connection instead of answering.
func (k *output) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	if a := k.current.Load(); a != nil && err != nil && !isLocalClose(err) {
		a.lastError.Store(connectionError{err})
	}
}

// isLocalClose reports whether the connection failed because this side closed it, at the end of a Send.
func isLocalClose(err error) bool {
	for _, e := range []error{context.Canceled, context.DeadlineExceeded, net.ErrClosed, kgo.ErrClientClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
