package kafka_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/kafka"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/record"
)

// These tests use kfake, a broker by franz-go's authors, which speaks Kafka's protocol and checks requests.

const inventoryTopic = "aws-inventory"

func TestKafkaConformance(t *testing.T) {
	outputstest.RunRemote(
		t,
		outputstest.Remote{
			Type: kafka.Type,
			TLS:  true,
			Serve: func(t *testing.T, w *outputstest.FaultyListener) outputstest.Receiver {
				c := brokers(
					t,
					kfake.SeedTopics(1, inventoryTopic),
					kfake.ListenFn(func(string, string) (net.Listener, error) { return w, nil }),
				)
				return outputstest.Receiver{
					Options: func(ca string) any {
						o := kafkaOptions(t, c)
						o.Timeout = config.Duration(5 * time.Second)
						o.TLS.Enabled = w.CA != ""
						o.TLS.CAFile = ca
						return o
					},
					Received: func() (ids []string) {
						var opts []kgo.Opt
						if w.CA != "" {
							opts = append(opts, kgo.DialTLSConfig(trustCA(t, w.CA)))
						}
						for _, m := range consume(t, c, inventoryTopic, opts...) {
							var r record.Record
							if err := json.Unmarshal(m.Value, &r); err != nil {
								t.Errorf("%v: %q", err, m.Value)
							}
							ids = append(ids, r.ID)
						}
						return ids
					},
					Refuse: func(id string) {
						c.Fault(
							kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.InvalidRecord, Count: -1, When: func(r kmsg.Request) bool {
								return slices.ContainsFunc(
									produced(t, r),
									func(m kmsg.Record) bool { return bytes.Contains(m.Value, []byte(`"id":"`+id+`"`)) },
								)
							}},
						)
					},
				}
			},
		},
	)
}

// brokers starts a cluster, of one broker by default.
func brokers(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func kafkaOptions(t *testing.T, c *kfake.Cluster) *kafka.Options {
	t.Helper()
	o := kafka.Type.Options().(*kafka.Options)
	o.Brokers = c.ListenAddrs()
	o.Compression = "none" // so that a test can read a request
	return o
}

func openKafka(t *testing.T, o *kafka.Options) outputs.Output {
	t.Helper()
	out, _ := outputstest.Open(t, kafka.Type, func(defaults any) { *defaults.(*kafka.Options) = *o })
	return out
}

func trustCA(t *testing.T, ca string) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: pool}
}

// messageCount returns the number of messages in a topic.
func messageCount(c *kfake.Cluster, topic string) (n int64) {
	for _, p := range c.PartitionInfos(topic) {
		n += p.HighWatermark
	}
	return n
}

// consume reads a whole topic.
func consume(t *testing.T, c *kfake.Cluster, topic string, opts ...kgo.Opt) []*kgo.Record {
	t.Helper()
	want := messageCount(c, topic)
	if want == 0 {
		return nil
	}
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.ListenAddrs()...), kgo.ConsumeTopics(topic),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	var all []*kgo.Record
	for int64(len(all)) < want {
		f := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("read %d of %d messages: %v", len(all), want, f.Errors())
		}
		all = append(all, f.Records()...)
	}
	return all
}

// produced returns the messages of an uncompressed produce request.
func produced(t *testing.T, r kmsg.Request) (all []kmsg.Record) {
	for _, topic := range r.(*kmsg.ProduceRequest).Topics {
		for _, p := range topic.Partitions {
			var b kmsg.RecordBatch
			if err := b.ReadFrom(p.Records); err != nil {
				t.Error(err)
				continue
			}
			ms, err := kfake.BatchRecords(b)
			if err != nil {
				t.Error(err)
			}
			all = append(all, ms...)
		}
	}
	return all
}

func sendPage(t *testing.T, out outputs.Output, name string, n int) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return out.Send(ctx, outputstest.SmallBatch(name, n))
}

func TestKafkaMessages(t *testing.T) {
	const key = "aws/222222222222/us-east-1/ec2_instance/i-1"
	for name, c := range map[string]struct {
		line       string
		tombstones bool
		key, value string
		at         string
		headers    map[string]string
	}{
		"a record": {line: outputstest.ResourceLine, key: key, value: outputstest.ResourceLine, at: "2026-11-21T22:15:03Z",
			headers: map[string]string{"kind": "ec2_instance", "account": "prod", "account_id": "222222222222",
				"region": "us-east-1", "run": "01JDRUN"}},
		"a change": {line: outputstest.ChangedLine, key: key, value: outputstest.ChangedLine, at: "2026-11-21T22:15:04Z",
			headers: map[string]string{"kind": "ec2_instance", "change": "changed"}},
		"gone": {line: outputstest.GoneLine, key: key, value: outputstest.GoneLine, at: "2026-11-21T22:30:04Z",
			headers: map[string]string{"change": "gone", "ended": "absent"}},
		"gone, as a tombstone": {line: outputstest.GoneLine, tombstones: true, key: key, at: "2026-11-21T22:30:04Z",
			headers: map[string]string{"change": "gone", "ended": "absent"}},
		"changed, not a tombstone": {line: outputstest.ChangedLine, tombstones: true, key: key,
			value: outputstest.ChangedLine},
		"the end of a target": {line: outputstest.TargetEndLine, key: "_target/prod/us-east-1/ec2_instance",
			value:   outputstest.TargetEndLine,
			headers: map[string]string{"kind": "_target", "target": "ec2_instance"}},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := brokers(t, kfake.SeedTopics(3, "aws.ec2_instance"))
			o := kafkaOptions(t, cluster)
			o.Topic, o.Tombstones = "aws.{{.Kind}}", c.tombstones
			if err := openKafka(t, o).Send(t.Context(), outputstest.LinesBatch(c.line)); err != nil {
				t.Fatal(err)
			}
			all := consume(t, cluster, "aws.ec2_instance")
			if len(all) != 1 {
				t.Fatalf("%d messages", len(all))
			}
			m := all[0]
			if string(m.Key) != c.key || string(m.Value) != c.value || (m.Value == nil) != (c.value == "") {
				t.Errorf("key %q, value %q; want %q and %q", m.Key, m.Value, c.key, c.value)
			}
			if c.at != "" && !m.Timestamp.Equal(outputstest.ParseTime(t, c.at)) {
				t.Errorf("timestamp %s, want %s", m.Timestamp, c.at)
			}
			headers := map[string]string{}
			for _, h := range m.Headers {
				headers[h.Key] = string(h.Value)
			}
			for k, v := range c.headers {
				if headers[k] != v {
					t.Errorf("header %s is %q, want %q", k, headers[k], v)
				}
			}
			for l := range outputs.Lines([]byte(c.line)) {
				if headers["record_id"] != l.StableID() {
					t.Errorf("record_id is %q, want %s", headers["record_id"], l.StableID())
				}
			}
		})
	}
}

// The messages of a resource stay in one partition, in order, over many runs.
func TestKafkaPartitions(t *testing.T) {
	c := brokers(t, kfake.NumBrokers(3), kfake.SeedTopics(12, inventoryTopic))
	out := openKafka(t, kafkaOptions(t, c))
	for range 4 {
		if err := sendPage(t, out, "i", 100); err != nil {
			t.Fatal(err)
		}
	}
	where, used := map[string]int32{}, map[int32]bool{}
	for _, m := range consume(t, c, inventoryTopic) {
		if p, ok := where[string(m.Key)]; ok && p != m.Partition {
			t.Errorf("%s is in partitions %d and %d", m.Key, p, m.Partition)
		}
		where[string(m.Key)], used[m.Partition] = m.Partition, true
	}
	if len(where) != 100 || len(used) < 6 {
		t.Errorf("%d keys in %d partitions; want 100, spread", len(where), len(used))
	}
}

// Every message waits for all in-sync replicas, and has the producer id and sequence numbers for deduplication.
func TestKafkaAsksForAllAcks(t *testing.T) {
	for _, compression := range []string{"zstd", "lz4", "snappy", "gzip", "none"} {
		c := brokers(t, kfake.SeedTopics(1, inventoryTopic))
		var mu sync.Mutex
		codecs := map[int16]bool{} // of every batch: on a busy machine there are many
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Observe: true, Count: -1, When: func(r kmsg.Request) bool {
			req := r.(*kmsg.ProduceRequest)
			var b kmsg.RecordBatch
			if err := b.ReadFrom(req.Topics[0].Partitions[0].Records); err != nil {
				t.Error(err)
			}
			if req.Acks != -1 || b.ProducerID < 0 {
				t.Errorf("acks %d, producer %d; want -1 and a number", req.Acks, b.ProducerID)
			}
			mu.Lock()
			defer mu.Unlock()
			codecs[b.Attributes&7] = true
			return true
		}})
		o := kafkaOptions(t, c)
		o.Compression = compression
		if err := sendPage(t, openKafka(t, o), "i", 50); err != nil {
			t.Fatal(err)
		}
		protocolCodecs := []string{"none", "gzip", "snappy", "lz4", "zstd"}
		want := int16(slices.Index(protocolCodecs, compression))
		mu.Lock()
		if want != 0 {
			delete(codecs, 0) // the client does not compress a batch that would not shrink
		}
		if !maps.Equal(codecs, map[int16]bool{want: true}) {
			t.Errorf("%s: the batches have codecs %v, want %d alone", compression, slices.Collect(maps.Keys(codecs)), want)
		}
		mu.Unlock()
		if n := len(consume(t, c, inventoryTopic)); n != 50 {
			t.Errorf("%s: %d messages", compression, n)
		}
	}
}

func TestKafkaOptions(t *testing.T) {
	for name, c := range map[string]struct {
		set  func(*kafka.Options)
		want string // "": it is right
	}{
		"as it is":   {func(*kafka.Options) {}, ""},
		"no brokers": {func(o *kafka.Options) { o.Brokers = nil }, "brokers: is needed"},
		"a URL": {func(o *kafka.Options) { o.Brokers = []string{"kafka://u:pw-EXAMPLE@k:9092"} },
			"brokers: an address is host:port"},
		"a list in a string": {func(o *kafka.Options) { o.Brokers = []string{"a:1,b:2"} }, "write a list"},
		"not a port": {func(o *kafka.Options) { o.Brokers = []string{"a:no-such-port"} },
			"no-such-port is not a port"},
		"no host":              {func(o *kafka.Options) { o.Brokers = []string{":9092"} }, "has no host"},
		"without a port":       {func(o *kafka.Options) { o.Brokers = []string{"kafka-1", "10.0.0.1", "[::1]:9092"} }, ""},
		"no topic":             {func(o *kafka.Options) { o.Topic = "" }, "topic: is needed"},
		"a topic with a slash": {func(o *kafka.Options) { o.Topic = "aws/ec2" }, "letters, digits"},
		"a template":           {func(o *kafka.Options) { o.Topic = "aws.{{.Account}}.{{.Kind}}" }, ""},
		"incomplete template":  {func(o *kafka.Options) { o.Topic = "aws.{{.Kind" }, "topic: \"aws.{{.Kind\""},
		"an unknown field":     {func(o *kafka.Options) { o.Topic = "aws.{{.Knid}}" }, "it may use {{.Kind}}"},
		"too long a topic":     {func(o *kafka.Options) { o.Topic = strings.Repeat("x", 250) }, "249"},
		"compression":          {func(o *kafka.Options) { o.Compression = "brotli" }, "compression: \"brotli\""},
		"a size":               {func(o *kafka.Options) { o.MaxMessageBytes = 10 }, "max_message_bytes: 10"},
		"a timeout":            {func(o *kafka.Options) { o.Timeout = 5 }, "timeout:"},
		"no mechanism":         {func(o *kafka.Options) { o.SASL.Username = "u" }, "sasl.mechanism:"},
		"no user":              {func(o *kafka.Options) { o.SASL.Mechanism = "PLAIN" }, "sasl.username:"},
		"no password": {func(o *kafka.Options) { o.SASL = kafka.SASL{Mechanism: "PLAIN", Username: "u"} },
			"sasl.password:"},
		"certificate without key": {func(o *kafka.Options) { o.TLS.CertFile = "c.pem" }, "tls.cert_file:"},
	} {
		t.Run(name, func(t *testing.T) {
			o := kafka.Type.Options().(*kafka.Options)
			o.Brokers = []string{"kafka-1:9092"}
			c.set(o)
			err := o.Validate()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "pw-EXAMPLE") {
				t.Errorf("the password is shown: %v", err)
			}
		})
	}
	o := kafka.Type.Options().(*kafka.Options)
	o.Brokers, o.TLS.CAFile = []string{"kafka-1:9092"}, "testdata/no-such-file.pem"
	if _, err := kafka.Type.Open(t.Context(), o, outputs.Deps{}); err == nil ||
		!strings.Contains(err.Error(), "tls.ca_file") {
		t.Errorf("a file that is not there: %v", err)
	}
}
