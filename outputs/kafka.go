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
	saslPlain  = "PLAIN"
	scramSHA2  = "SCRAM-SHA-256"
	scramSHA5  = "SCRAM-SHA-512"
	kafkaTries = 4 // of a request within a Send, with the client's backoff from 250ms to 2.5s; then the spool's turn comes
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
	errs := o.Batching.wrong()
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(o.Brokers) == 0 {
		wrong("brokers: is needed: where to begin, as [\"kafka-1:9092\"]")
	}
	for _, b := range o.Brokers {
		if err := brokerAddress(b); err != nil {
			wrong("brokers: %w", err)
		}
	}
	if _, err := newTopic(o.Topic); err != nil {
		wrong("topic: %w", err)
	}
	if _, ok := codec(o.Compression); !ok {
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
	case !slices.Contains([]string{saslPlain, scramSHA2, scramSHA5}, s.Mechanism):
		wrong("sasl.mechanism: %q is none of %s, %s and %s", s.Mechanism, saslPlain, scramSHA2, scramSHA5)
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

// brokerAddress says what is wrong with a broker's address. It does not repeat one that may hold a password.
func brokerAddress(s string) error {
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
type topic struct {
	fixed string
	of    *template.Template // nil: fixed
}

// topicFields is what a topic's template may use.
type topicFields struct{ Kind, Account, AccountID, Partition, Region string }

// noTopicRune is what no topic's name can hold: org.apache.kafka.common.internals.Topic.
var noTopicRune = regexp.MustCompile(`[^a-zA-Z0-9._-]`)

func newTopic(s string) (topic, error) {
	if !strings.Contains(s, "{{") {
		if name := noTopicRune.ReplaceAllString(s, "_"); name != s {
			return topic{}, fmt.Errorf("%q: a topic's name has letters, digits and . _ - only", s)
		}
		return topic{fixed: s}, topicName(s)
	}
	of, err := template.New("topic").Parse(s)
	if err != nil {
		return topic{}, fmt.Errorf("%q: %s", s, strings.TrimPrefix(err.Error(), "template: "))
	}
	t := topic{of: of}
	name, err := t.name(topicFields{"ec2_instance", "prod", "222222222222", "aws", "us-east-1"})
	if err != nil {
		return topic{}, fmt.Errorf("%q: it may use {{.Kind}}, {{.Account}}, {{.AccountID}}, {{.Partition}} and {{.Region}}: %w", s, err)
	}
	return t, topicName(name)
}

func topicName(s string) error {
	switch {
	case s == "":
		return errors.New("is needed: where to send, as aws-inventory or aws.{{.Kind}}")
	case s == "." || s == "..", len(s) > 249:
		return fmt.Errorf("%q: a topic is called neither . nor .., and in 249 characters at most", s)
	}
	return nil
}

func (t topic) name(f topicFields) (string, error) {
	if t.of == nil {
		return t.fixed, nil
	}
	var b strings.Builder
	if err := t.of.Execute(&b, f); err != nil {
		return "", err
	}
	return noTopicRune.ReplaceAllString(b.String(), "_"), nil
}

func codec(name string) (kgo.CompressionCodec, bool) {
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
	opts   Kafka
	topic  topic
	config []kgo.Opt

	turn   turn        // guards client
	client *kgo.Client // nil: to be made by the next Send
	closed atomic.Bool
	over   context.Context // ends with Close
	stop   context.CancelFunc
	now    atomic.Pointer[attempt]
}

// openKafka reads files and calls nobody.
func openKafka(ctx context.Context, options any, d Deps) (Output, error) {
	o := options.(*Kafka)
	k := &kafka{opts: *o, turn: make(turn, 1)}
	var err error
	if k.topic, err = newTopic(o.Topic); err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	compress, _ := codec(o.Compression)
	k.config = []kgo.Opt{
		kgo.SeedBrokers(o.Brokers...), kgo.ClientID(o.ClientID), kgo.DisableClientMetrics(), kgo.WithHooks(k),
		kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerBatchCompression(compress, kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(int32(o.MaxMessageBytes)), kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(1 << 30), // a batch is all that there is at a time
		kgo.RecordRetries(kafkaTries), kgo.RequestRetries(kafkaTries), kgo.UnknownTopicRetries(2), kgo.MetadataMinAge(500 * time.Millisecond),
		// Send's context bounds the whole; the client's own limit counts from a message's timestamp, which is the record's here.
		kgo.DialTimeout(min(10*time.Second, time.Duration(o.Timeout)/2)),
		// A message of which nobody knows whether it has arrived is given up on as any other: the spool sends it again, and its
		// record_id tells.
		kgo.AllowIdempotentProduceCancellation(),
	}
	if o.CreateTopics {
		k.config = append(k.config, kgo.AllowAutoTopicCreation())
	}
	if o.TLS != (KafkaTLS{}) {
		c, err := o.TLS.config()
		if err != nil {
			return nil, err
		}
		k.config = append(k.config, kgo.DialTLSConfig(c))
	}
	if m := o.SASL.mechanism(); m != nil {
		k.config = append(k.config, kgo.SASL(m))
		if o.SASL.Mechanism == saslPlain && o.TLS == (KafkaTLS{}) && d.Log != nil {
			d.Log.Warn("the password for Kafka crosses the network in the clear; set tls, or a SCRAM mechanism", "brokers", o.Brokers)
		}
	}
	if err := kgo.ValidateOpts(k.config...); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	k.over, k.stop = context.WithCancel(context.WithoutCancel(ctx))
	return k, nil
}

func (s SASL) mechanism() sasl.Mechanism {
	scrammed := scram.Auth{User: s.Username, Pass: s.Password.Reveal()}
	switch s.Mechanism {
	case saslPlain:
		return plain.Auth{User: s.Username, Pass: s.Password.Reveal()}.AsMechanism()
	case scramSHA2:
		return scrammed.AsSha256Mechanism()
	case scramSHA5:
		return scrammed.AsSha512Mechanism()
	}
	return nil
}

// Send returns when every replica in sync has every message of the batch.
func (k *kafka) Send(ctx context.Context, b Batch) error {
	if err := k.turn.take(ctx); err != nil {
		return err
	}
	defer k.turn.give()
	if k.closed.Load() {
		return ErrClosed
	}
	messages, err := k.messages(b.Lines)
	if err != nil || len(messages) == 0 {
		return err
	}
	if k.client == nil {
		if k.client, err = kgo.NewClient(k.config...); err != nil {
			return fmt.Errorf("kafka: %w", err)
		}
	}
	return k.produce(ctx, messages)
}

// errNotInTime is the cause of a Send that ends by the timeout in the options.
var errNotInTime = errors.New("the brokers have not acknowledged it in time")

// An attempt is a Send under way, for the client's hook to talk to.
type attempt struct {
	giveUp context.CancelCauseFunc
	seen   atomic.Value // of seenError
}

type seenError struct{ error }

func (k *kafka) produce(ctx context.Context, messages []*kgo.Record) error {
	within, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	within, cancel := context.WithTimeoutCause(within, time.Duration(k.opts.Timeout), errNotInTime)
	defer cancel()
	defer context.AfterFunc(k.over, func() { giveUp(ErrClosed) })()
	a := &attempt{giveUp: giveUp}
	k.now.Store(a)
	done := make(chan kgo.ProduceResults)
	go func() { done <- k.client.ProduceSync(within, messages...) }()
	var results kgo.ProduceResults
	select {
	case results = <-done:
	case <-within.Done():
		// What is in flight would otherwise arrive after what is sent next. Closing fails what the client still holds, so
		// done is not long in coming.
		k.drop()
		results = <-done
	}
	err := verdict(results)
	if err == nil {
		return nil
	}
	if within.Err() != nil {
		k.drop()
		err = context.Cause(within)
	}
	if errors.Is(err, ErrClosed) {
		return ErrClosed
	}
	seen, _ := a.seen.Load().(seenError)
	return k.fault(err, seen.error)
}

// drop closes the client: its connections, its goroutines and what it has not sent.
func (k *kafka) drop() {
	if k.client != nil {
		k.client.Close()
		k.client = nil
	}
}

// verdict is what is to be said of a batch: a refusal, or that the broker failed at it, only if nothing else stood in the
// way, as the rest is sent again anyway.
func verdict(results kgo.ProduceResults) error {
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
	m.Headers = append(m.Headers, header("kind", l.Kind), header("account", l.Account), header("account_id", l.AccountID),
		header("region", l.Region), header("run", l.Run), header("record_id", l.StableID()))
	switch {
	case l.Target != "": // beside the records of its target, in their topic
		f.Kind = l.Target
		key = []string{l.Kind, l.Account, l.Region, l.Target}
		m.Headers = append(m.Headers, header("target", l.Target))
	case l.Change != "":
		m.Timestamp = l.At
		m.Headers = append(m.Headers, header("change", l.Change))
		if l.Ended != "" {
			m.Headers = append(m.Headers, header("ended", l.Ended))
		}
		if l.Change == inventory.WasGone && k.opts.Tombstones {
			m.Value = nil
		}
	}
	m.Key = []byte(strings.Join(key, "/"))
	var err error
	if m.Topic, err = k.topic.name(f); err == nil {
		err = topicName(m.Topic)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: topic of %s: %w", ErrRefused, m.Key, err)
	}
	size := len(m.Key) + len(m.Value) + 100 // the batch's own head is 61 bytes, the message's at most 30
	for _, h := range m.Headers {
		size += len(h.Key) + len(h.Value) + 10
	}
	if size > int(k.opts.MaxMessageBytes) {
		return nil, k.fault(fmt.Errorf("%w: %s is larger than max_message_bytes, with %d bytes: %w", ErrRefused, m.Key, size, kerr.MessageTooLarge), nil)
	}
	return m, nil
}

func header(key, value string) kgo.RecordHeader {
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
	if err := k.turn.take(ctx); err != nil {
		k.stop()
		k.turn <- struct{}{} // not long: closing the client fails what it waits for
	}
	defer k.turn.give()
	k.stop()
	k.drop()
	return nil
}

var (
	_ kgo.HookBrokerConnect = (*kafka)(nil)
	_ kgo.HookBrokerRead    = (*kafka)(nil)
)

// OnBrokerConnect remembers why no connection comes about: the client goes on trying, and would in the end only say that it
// took too long. What trying cannot mend ends the Send at once.
func (k *kafka) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	a := k.now.Load()
	if a == nil || errors.Is(err, context.Canceled) {
		return
	}
	a.seen.Store(seenError{err}) // nil too: it is mended
	if err != nil && needsPerson(err) {
		a.giveUp(err)
	}
}

// OnBrokerRead remembers that a broker hung up in place of an answer.
func (k *kafka) OnBrokerRead(_ kgo.BrokerMetadata, _ int16, _ int, _, _ time.Duration, err error) {
	if a := k.now.Load(); a != nil && err != nil && !isOurs(err) {
		a.seen.Store(seenError{err})
	}
}

// isOurs reports whether an error of a connection is our own doing: a Send that has ended takes its connections with it.
func isOurs(err error) bool {
	for _, e := range []error{context.Canceled, context.DeadlineExceeded, net.ErrClosed, kgo.ErrClientClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
