package outputs

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
	"github.com/aws-collector/collector/secret"
)

// Kafka is the options of the output `kafka`: a message a line. Its key is the resource, so that what is said of a resource
// stays in one partition and in its order, and a compacted topic keeps the last word on each.
type Kafka struct {
	Common          `yaml:",inline"`
	Batching        `yaml:",inline"`
	Brokers         []string        `yaml:"brokers" doc:"Where to begin, as host:port; the other brokers of the cluster are found from there. Without a port: 9092."`
	Topic           string          `yaml:"topic" doc:"The topic, or a template of its name, as aws.{{.Kind}}. It may use {{.Kind}}, {{.Account}}, {{.AccountID}}, {{.Partition}} and {{.Region}}; a character that no topic's name can have becomes _."`
	CreateTopics    bool            `yaml:"create_topics" doc:"Have the brokers create a topic that does not exist, if their auto.create.topics.enable lets them."`
	Compression     string          `yaml:"compression" enum:"zstd,lz4,snappy,gzip,none" doc:"Of batches. Brokers older than Kafka 2.1 get theirs plain where it is zstd."`
	MaxMessageBytes Bytes           `yaml:"max_message_bytes" doc:"The largest message, before compression, that is sent: no more than the brokers' message.max.bytes and the topic's max.message.bytes allow. A larger one is set aside."`
	Tombstones      bool            `yaml:"tombstones" doc:"Of a resource that is gone, send a message without a value: a compacted topic then forgets it. Default: the change as any other."`
	ClientID        string          `yaml:"client_id" doc:"What we are called in the brokers' logs and quotas."`
	Timeout         config.Duration `yaml:"timeout" doc:"How long a batch may take until every replica in sync has it; after that it is tried anew."`
	SASL            SASL            `yaml:"sasl" doc:"How to sign in. Default: not at all."`
	TLS             KafkaTLS        `yaml:"tls" doc:"Encrypt the connections. Default: they are plain, unless a key of this block is set."`
}

// SASL is how to sign in to Kafka.
type SASL struct {
	Mechanism string        `yaml:"mechanism" enum:"PLAIN,SCRAM-SHA-256,SCRAM-SHA-512" doc:"How the password is proved. PLAIN shows it to the broker, so use it with tls only."`
	Username  string        `yaml:"username" doc:"The user."`
	Password  secret.String `yaml:"password" doc:"The user's password."`
}

// KafkaTLS is TLS, which no scheme of an address asks for here.
type KafkaTLS struct {
	Enabled   bool `yaml:"enabled" doc:"Speak TLS. The other keys of this block imply it."`
	ClientTLS `yaml:",inline"`
}

const (
	saslPlain    = "PLAIN"
	scramSHA256  = "SCRAM-SHA-256"
	scramSHA512  = "SCRAM-SHA-512"
	kafkaRetries = 4 // of a request within a Send, with the client's backoff from 250ms to 2.5s; then the spool's turn comes
)

func kafkaDefaults() any {
	return &Kafka{
		Batching:        Batching{MaxRecords: 5000, MaxBytes: 4 << 20, MaxWait: config.Duration(time.Second)},
		Topic:           "aws-inventory",
		Compression:     "zstd",
		MaxMessageBytes: 1_000_000, // of the brokers' default of 1 MiB, some is the batch's own
		ClientID:        "aws-collector",
		Timeout:         config.Duration(30 * time.Second),
	}
}

// Validate reports everything that is wrong.
func (o *Kafka) Validate() error {
	errs := o.Batching.batchingErrors()
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(o.Brokers) == 0 {
		wrong("brokers: is needed: where to begin, as [\"kafka-1:9092\"]")
	}
	for _, b := range o.Brokers {
		if err := checkBrokerAddress(b); err != nil {
			wrong("brokers: %w", err)
		}
	}
	if _, err := newTopicTemplate(o.Topic); err != nil {
		wrong("topic: %w", err)
	}
	if _, ok := compressionCodec(o.Compression); !ok {
		wrong("compression: %q is none of zstd, lz4, snappy, gzip and none", o.Compression)
	}
	if b := o.MaxMessageBytes; b < 1<<10 || b > 1<<30 {
		wrong("max_message_bytes: %s is not between 1KiB and 1GiB", b)
	}
	if t := time.Duration(o.Timeout); t < time.Second {
		wrong("timeout: %s is less than 1s", t)
	}
	switch s := o.SASL; {
	case s == (SASL{}):
	case !slices.Contains([]string{saslPlain, scramSHA256, scramSHA512}, s.Mechanism):
		wrong("sasl.mechanism: %q is none of %s, %s and %s", s.Mechanism, saslPlain, scramSHA256, scramSHA512)
	case s.Username == "":
		wrong("sasl.username: is needed beside the mechanism")
	case s.Password.IsZero():
		wrong("sasl.password: is needed beside the username")
	}
	if (o.TLS.CertFile == "") != (o.TLS.KeyFile == "") {
		wrong("tls.cert_file: cert_file and key_file stand together")
	}
	return errors.Join(errs...)
}

// checkBrokerAddress says what is wrong with a broker's address. It does not repeat one that may hold a password.
func checkBrokerAddress(s string) error {
	if strings.Contains(s, "://") || strings.Contains(s, "@") {
		return errors.New("an address is host:port, without a scheme or a user; see sasl and tls")
	}
	if strings.ContainsAny(s, ", ") {
		return fmt.Errorf("%q is several: write a list, an address an item", s)
	}
	host, port := s, ""
	if h, p, err := net.SplitHostPort(s); err == nil {
		host, port = h, p
		if n, err := net.LookupPort("tcp", port); err != nil || n == 0 {
			return fmt.Errorf("%q: %s is no port", s, port)
		}
	} else if strings.Contains(s, ":") && net.ParseIP(s) == nil {
		return fmt.Errorf("%q is not host:port; an IPv6 address stands in brackets", s)
	}
	if host == "" {
		return fmt.Errorf("%q names no host", s)
	}
	return nil
}

// A topic is the template of a topic's name. Its zero value is of no use.
type topicTemplate struct {
	fixed    string
	template *template.Template // nil: fixed
}

// topicFields is what a topic's template may use.
type topicFields struct{ Kind, Account, AccountID, Partition, Region string }

// invalidTopicChar is what no topic's name can hold: org.apache.kafka.common.internals.Topic.
var invalidTopicChar = regexp.MustCompile(`[^a-zA-Z0-9._-]`)

func newTopicTemplate(s string) (topicTemplate, error) {
	if !strings.Contains(s, "{{") {
		if name := invalidTopicChar.ReplaceAllString(s, "_"); name != s {
			return topicTemplate{}, fmt.Errorf("%q: a topic's name has letters, digits and . _ - only", s)
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
		return topicTemplate{}, fmt.Errorf(
			"%q: it may use {{.Kind}}, {{.Account}}, {{.AccountID}}, {{.Partition}} and {{.Region}}: %w",
			s,
			err,
		)
	}
	return t, checkTopicName(name)
}

func checkTopicName(s string) error {
	switch {
	case s == "":
		return errors.New("is needed: where to send, as aws-inventory or aws.{{.Kind}}")
	case s == "." || s == "..", len(s) > 249:
		return fmt.Errorf("%q: a topic is called neither . nor .., and in 249 characters at most", s)
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
	case noCompression:
		return kgo.NoCompression(), true
	}
	return kgo.CompressionCodec{}, false
}

// kafka sends a batch at a time and waits for it.
type kafka struct {
	opts          Kafka
	topic         topicTemplate
	clientOptions []kgo.Opt

	mu           contextMutex // guards client
	client       *kgo.Client  // nil: to be made by the next Send
	closed       atomic.Bool
	closing      context.Context // ends with Close
	startClosing context.CancelFunc
	current      atomic.Pointer[sendAttempt]
}

// openKafka reads files and calls nobody.
func openKafka(ctx context.Context, options any, d Deps) (Output, error) {
	o := options.(*Kafka)
	k := &kafka{opts: *o, mu: make(contextMutex, 1)}
	var err error
	if k.topic, err = newTopicTemplate(o.Topic); err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	compress, _ := compressionCodec(o.Compression)
	k.clientOptions = []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...), kgo.ClientID(o.ClientID), kgo.DisableClientMetrics(), kgo.WithHooks(k),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(compress, kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(int32(o.MaxMessageBytes)), kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(1 << 30), // a batch is all that there is at a time
		kgo.RecordRetries(
			kafkaRetries,
		), kgo.RequestRetries(kafkaRetries), kgo.UnknownTopicRetries(2), kgo.MetadataMinAge(500 * time.Millisecond),
		// Send's context bounds the whole; the client's own limit counts from a message's timestamp, which is the record's here.
		kgo.DialTimeout(min(10*time.Second, time.Duration(o.Timeout)/2)),
		// A message of which nobody knows whether it has arrived is given up on as any other: the spool sends it again, and its
		// record_id tells.
		kgo.AllowIdempotentProduceCancellation(),
	}
	if o.CreateTopics {
		k.clientOptions = append(k.clientOptions, kgo.AllowAutoTopicCreation())
	}
	if o.TLS != (KafkaTLS{}) {
		c, err := o.TLS.config()
		if err != nil {
			return nil, err
		}
		k.clientOptions = append(k.clientOptions, kgo.DialTLSConfig(c))
	}
	if m := o.SASL.mechanism(); m != nil {
		k.clientOptions = append(k.clientOptions, kgo.SASL(m))
		if o.SASL.Mechanism == saslPlain && o.TLS == (KafkaTLS{}) && d.Log != nil {
			d.Log.Warn(
				"the password for Kafka crosses the network in the clear; set tls, or a SCRAM mechanism",
				"brokers",
				o.Brokers,
			)
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

// Send returns when every replica in sync has every message of the batch.
func (k *kafka) Send(ctx context.Context, b Batch) error {
	if err := k.mu.lock(ctx); err != nil {
		return err
	}
	defer k.mu.unlock()
	if k.closed.Load() {
		return ErrClosed
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

// errAckTimeout is the cause of a Send that ends by the timeout in the options.
var errAckTimeout = errors.New("the brokers have not acknowledged it in time")

// An attempt is a Send under way, for the client's hook to talk to.
type sendAttempt struct {
	cancel    context.CancelCauseFunc
	lastError atomic.Value // of seenError
}

type connectionError struct{ error }

func (k *kafka) produce(ctx context.Context, messages []*kgo.Record) error {
	within, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	within, cancel := context.WithTimeoutCause(within, time.Duration(k.opts.Timeout), errAckTimeout)
	defer cancel()
	defer context.AfterFunc(k.closing, func() { giveUp(ErrClosed) })()
	a := &sendAttempt{cancel: giveUp}
	k.current.Store(a)
	done := make(chan kgo.ProduceResults)
	go func() { done <- k.client.ProduceSync(within, messages...) }()
	var results kgo.ProduceResults
	select {
	case results = <-done:
	case <-within.Done():
		// What is in flight would otherwise arrive after what is sent next. Closing fails what the client still holds, so
		// done is not long in coming.
		k.closeClient()
		results = <-done
	}
	err := batchError(results)
	if err == nil {
		return nil
	}
	if within.Err() != nil {
		k.closeClient()
		err = context.Cause(within)
	}
	if errors.Is(err, ErrClosed) {
		return ErrClosed
	}
	seen, _ := a.lastError.Load().(connectionError)
	return k.fault(err, seen.error)
}

// closeClient closes the client: its connections, its goroutines and what it has not sent.
func (k *kafka) closeClient() {
	if k.client != nil {
		k.client.Close()
		k.client = nil
	}
}

// batchError is what is to be said of a batch: a refusal, or that the broker failed at it, only if nothing else stood in the
// way, as the rest is sent again anyway.
func batchError(results kgo.ProduceResults) error {
	var refused, failed error
	for _, r := range results {
		switch {
		case r.Err == nil:
		case isRefusal(r.Err):
			refused = fmt.Errorf("%w: topic %s: %w", ErrRefused, r.Record.Topic, r.Err)
		case errors.Is(r.Err, kerr.UnknownServerError): // the protocol's 500
			failed = fmt.Errorf("%w: topic %s: %w", ErrReceiverFailed, r.Record.Topic, r.Err)
		default:
			return fmt.Errorf("topic %s: %w", r.Record.Topic, r.Err)
		}
	}
	if failed != nil {
		return failed
	}
	return refused
}

// isRefusal reports whether the message is at fault, and not the way there.
func isRefusal(err error) bool {
	for _, e := range []error{kerr.MessageTooLarge, kerr.InvalidRecord, kerr.RecordListTooLarge, kerr.InvalidTimestamp} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// messages makes a message of each line. One that is too large refuses the batch before anything is sent, so that halving it
// sends nothing twice.
func (k *kafka) messages(lines []byte) ([]*kgo.Record, error) {
	own := bytes.Clone(lines) // the client may still read a message after a Send that was given up on
	var all []*kgo.Record
	for l, err := range Lines(own) {
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		m, err := k.message(l)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

func (k *kafka) message(l *Line) (*kgo.Record, error) {
	f := topicFields{l.Kind, l.Account, l.AccountID, l.Partition, l.Region}
	m := &kgo.Record{Value: l.Raw, Timestamp: l.CollectedAt}
	key := []string{l.Partition, l.AccountID, l.Region, l.Kind, l.ID}
	m.Headers = append(
		m.Headers, recordHeader("kind", l.Kind), recordHeader("account", l.Account),
		recordHeader("account_id", l.AccountID), recordHeader("region", l.Region), recordHeader("run", l.Run),
		recordHeader("record_id", l.StableID()),
	)
	switch {
	case l.Target != "": // beside the records of its target, in their topic
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
		return nil, fmt.Errorf("%w: topic of %s: %w", ErrRefused, m.Key, err)
	}
	size := len(m.Key) + len(m.Value) + 100 // the batch's own head is 61 bytes, the message's at most 30
	for _, h := range m.Headers {
		size += len(h.Key) + len(h.Value) + 10
	}
	if size > int(k.opts.MaxMessageBytes) {
		return nil, k.fault(
			fmt.Errorf(
				"%w: %s is larger than max_message_bytes, with %d bytes: %w", ErrRefused, m.Key, size, kerr.MessageTooLarge,
			),
			nil,
		)
	}
	return m, nil
}

func recordHeader(key, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: []byte(value)}
}

// Flush has nothing to wait for.
func (k *kafka) Flush(ctx context.Context) error {
	if k.closed.Load() {
		return ErrClosed
	}
	return ctx.Err()
}

// Close waits for the Send under way as long as ctx lets it, then ends it: whoever called it has the batch still.
func (k *kafka) Close(ctx context.Context) error {
	k.closed.Store(true)
	if err := k.mu.lock(ctx); err != nil {
		k.startClosing()
		k.mu <- struct{}{} // not long: closing the client fails what it waits for
	}
	defer k.mu.unlock()
	k.startClosing()
	k.closeClient()
	return nil
}

var (
	_ kgo.HookBrokerConnect = (*kafka)(nil)
	_ kgo.HookBrokerRead    = (*kafka)(nil)
)

// OnBrokerConnect remembers why no connection comes about: the client goes on trying, and would in the end only say that it
// took too long. What trying cannot mend ends the Send at once.
func (k *kafka) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	a := k.current.Load()
	if a == nil || errors.Is(err, context.Canceled) {
		return
	}
	a.lastError.Store(connectionError{err}) // nil too: it is mended
	if err != nil && needsOperator(err) {
		a.cancel(err)
	}
}

// OnBrokerRead remembers that a broker hung up in place of an answer.
func (k *kafka) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	if a := k.current.Load(); a != nil && err != nil && !isLocalClose(err) {
		a.lastError.Store(connectionError{err})
	}
}

// isLocalClose reports whether an error of a connection is our own doing: a Send that has ended takes its connections with it.
func isLocalClose(err error) bool {
	for _, e := range []error{context.Canceled, context.DeadlineExceeded, net.ErrClosed, kgo.ErrClientClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
