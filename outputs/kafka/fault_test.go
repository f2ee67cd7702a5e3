package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/outputs"
	"github.com/aws-collector/collector/outputs/kafka"
	"github.com/aws-collector/collector/outputs/outputstest"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

func TestKafkaTooLarge(t *testing.T) {
	t.Run("for the options", func(t *testing.T) {
		c := brokers(t, kfake.SeedTopics(1, inventoryTopic))
		out := openKafka(t, kafkaOptions(t, c))
		small := outputstest.Page("small", 3, 10).Lines()
		large := outputstest.Page("large", 1, 1_100_000).Lines()
		err := out.Send(t.Context(), outputs.Batch{ID: "b", N: 4, Lines: slices.Concat(small, large)})
		if !errors.Is(err, outputs.ErrRefused) || !strings.Contains(record.HintOf(err), "max_message_bytes") ||
			!strings.Contains(err.Error(), "large-0") {
			t.Errorf("%v (hint %q)", err, record.HintOf(err))
		}
		if n := messageCount(c, inventoryTopic); n != 0 {
			t.Errorf("%d messages were sent before the refusal, and would come twice", n)
		}
	})
	t.Run("for the topic", func(t *testing.T) {
		c := brokers(t)
		if err := c.CreateTopic(inventoryTopic, 1, map[string]string{"max.message.bytes": "5000"}); err != nil {
			t.Fatal(err)
		}
		out := openKafka(t, kafkaOptions(t, c))
		err := out.Send(t.Context(), outputstest.BatchOf("l", outputstest.Page("large", 1, 6000)))
		if !errors.Is(err, outputs.ErrRefused) || !strings.Contains(record.HintOf(err), "max.message.bytes") {
			t.Errorf("%v (hint %q)", err, record.HintOf(err))
		}
		if err := sendPage(t, out, "small", 3); err != nil {
			t.Errorf("after a refusal: %v", err)
		}
	})
}

func TestKafkaTopicIsMissing(t *testing.T) {
	t.Run("and made later", func(t *testing.T) {
		c := brokers(t)
		out := openKafka(t, kafkaOptions(t, c))
		err := sendPage(t, out, "i", 2)
		if err == nil || !strings.Contains(record.HintOf(err), "Create the topic") ||
			!strings.Contains(err.Error(), inventoryTopic) ||
			errors.Is(err, outputs.ErrRefused) {
			t.Fatalf("%v (hint %q)", err, record.HintOf(err))
		}
		if err := c.CreateTopic(inventoryTopic, 1, nil); err != nil {
			t.Fatal(err)
		}
		if err := sendPage(t, out, "i", 2); err != nil {
			t.Fatal(err)
		}
		if n := messageCount(c, inventoryTopic); n != 2 {
			t.Errorf("%d messages", n)
		}
	})
	t.Run("and made by the brokers", func(t *testing.T) {
		c := brokers(t, kfake.AllowAutoTopicCreation())
		o := kafkaOptions(t, c)
		o.CreateTopics = true
		if err := sendPage(t, openKafka(t, o), "i", 2); err != nil {
			t.Fatal(err)
		}
		if n := messageCount(c, inventoryTopic); n != 2 {
			t.Errorf("%d messages", n)
		}
	})
	t.Run("and not made unasked", func(t *testing.T) {
		c := brokers(t, kfake.AllowAutoTopicCreation())
		if err := sendPage(t, openKafka(t, kafkaOptions(t, c)), "i", 2); err == nil || c.TopicInfo(inventoryTopic) != nil {
			t.Errorf("%v; topic %v", err, c.TopicInfo(inventoryTopic))
		}
	})
}

func TestKafkaSASL(t *testing.T) {
	const password = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		t.Run(mechanism, func(t *testing.T) {
			t.Parallel() // each waits for its timeout
			c := brokers(
				t, kfake.SeedTopics(1, inventoryTopic), kfake.EnableSASL(), kfake.Superuser(mechanism, "collector", password),
			)
			o := kafkaOptions(t, c)
			o.SASL = kafka.SASL{Mechanism: mechanism, Username: "collector", Password: secret.New(password)}
			if err := sendPage(t, openKafka(t, o), "i", 2); err != nil {
				t.Fatal(err)
			}
			if n := messageCount(c, inventoryTopic); n != 2 {
				t.Errorf("%d messages", n)
			}
			o = kafkaOptions(t, c)
			o.SASL = kafka.SASL{Mechanism: mechanism, Username: "collector", Password: secret.New(password + "!")}
			o.Timeout = config.Duration(15 * time.Second) // SCRAM is slow by design
			err := sendPage(t, openKafka(t, o), "i", 2)   // this broker closes the connection, as old ones did
			if err == nil || !strings.Contains(record.HintOf(err), "sasl.password") || strings.Contains(err.Error(), password) ||
				errors.Is(err, outputs.ErrRefused) {
				t.Errorf("a wrong password: %v (hint %q)", err, record.HintOf(err))
			}
		})
	}
	for name, answer := range map[string]func(kmsg.Request) kmsg.Response{
		"a wrong password": func(r kmsg.Request) kmsg.Response {
			resp := r.ResponseKind().(*kmsg.SASLAuthenticateResponse)
			resp.ErrorCode, resp.ErrorMessage = kerr.SaslAuthenticationFailed.Code,
				kmsg.StringPtr("Authentication failed: Invalid username or password")
			return resp
		},
		"another mechanism": func(r kmsg.Request) kmsg.Response {
			resp := r.ResponseKind().(*kmsg.SASLHandshakeResponse)
			resp.ErrorCode, resp.SupportedMechanisms = kerr.UnsupportedSaslMechanism.Code, []string{"GSSAPI"}
			return resp
		},
	} {
		t.Run(name+", as real brokers report it", func(t *testing.T) {
			c := brokers(
				t, kfake.SeedTopics(1, inventoryTopic), kfake.EnableSASL(), kfake.Superuser("PLAIN", "collector", password),
			)
			key := kmsg.SASLAuthenticate
			if name == "another mechanism" {
				key = kmsg.SASLHandshake
			}
			c.ControlKey(int16(key), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				return answer(r), nil, true
			})
			o := kafkaOptions(t, c)
			o.SASL = kafka.SASL{Mechanism: "PLAIN", Username: "collector", Password: secret.New(password)}
			begin := time.Now()
			err := sendPage(t, openKafka(t, o), "i", 2)
			if took := time.Since(begin); took > 10*time.Second { // a third of its timeout
				t.Errorf("it took %s to report an error that needs the operator", took)
			}
			if record.ReasonOf(err) != record.AccessDenied || !strings.Contains(record.HintOf(err), "sasl.") ||
				strings.Contains(err.Error(), password) {
				t.Errorf("%v (%s; hint %q)", err, record.ReasonOf(err), record.HintOf(err))
			}
		})
	}
	t.Run("none, where one is needed", func(t *testing.T) {
		c := brokers(
			t, kfake.SeedTopics(1, inventoryTopic), kfake.EnableSASL(), kfake.Superuser("PLAIN", "collector", password),
		)
		o := kafkaOptions(t, c)
		o.Timeout = config.Duration(3 * time.Second)
		err := sendPage(t, openKafka(t, o), "i", 2)
		if err == nil || !strings.Contains(record.HintOf(err), "sasl") {
			t.Errorf("%v (hint %q)", err, record.HintOf(err))
		}
	})
}

func TestKafkaWriteDenied(t *testing.T) {
	c := brokers(t, kfake.SeedTopics(1, inventoryTopic), kfake.EnableACLs(), kfake.EnableSASL(),
		kfake.Superuser("PLAIN", "admin", "admin-EXAMPLE"),
		kfake.User("PLAIN", "collector", "pw-EXAMPLE", kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: inventoryTopic,
			Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: kmsg.ACLOperationDescribe, Allow: true}))
	o := kafkaOptions(t, c)
	o.SASL = kafka.SASL{Mechanism: "PLAIN", Username: "collector", Password: secret.New("pw-EXAMPLE")}
	err := sendPage(t, openKafka(t, o), "i", 2)
	if record.ReasonOf(err) != record.AccessDenied || !strings.Contains(record.HintOf(err), "Write") {
		t.Errorf("%v (hint %q)", err, record.HintOf(err))
	}
}

// TLS on one side only is detected, and the hint says so.
func TestKafkaTLSOnOneSide(t *testing.T) {
	c := brokers(t, kfake.SeedTopics(1, inventoryTopic))
	o := kafkaOptions(t, c)
	// This broker does not close the connection, unlike a real one.
	o.TLS.Enabled, o.Timeout = true, config.Duration(2*time.Second)
	err := sendPage(t, openKafka(t, o), "i", 1)
	if err == nil || !strings.Contains(record.HintOf(err), "TLS") {
		t.Errorf("TLS to a plain port: %v (hint %q)", err, record.HintOf(err))
	}
}

// After a restart of the brokers, Send works again.
func TestKafkaRestarts(t *testing.T) {
	dir := t.TempDir()
	first, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, inventoryTopic), kfake.DataDir(dir))
	if err != nil {
		t.Fatal(err)
	}
	o := kafkaOptions(t, first)
	o.Timeout = config.Duration(2 * time.Second)
	out := openKafka(t, o)
	if err := sendPage(t, out, "before", 10); err != nil {
		t.Fatal(err)
	}
	_, service, err := net.SplitHostPort(first.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	port, err := net.LookupPort("tcp", service)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	begin := time.Now()
	err = sendPage(t, out, "during", 10)
	if record.ReasonOf(err) != record.Network || !strings.Contains(record.HintOf(err), "the connection is refused") ||
		!strings.Contains(err.Error(), "refused") {
		t.Errorf("no broker: %v (%s; hint %q)", err, record.ReasonOf(err), record.HintOf(err))
	}
	if took := time.Since(begin); took > 15*time.Second { // sendPage itself would wait for 20
		t.Errorf("the error took %s with a timeout of 2s", took)
	}
	second := brokers(t, kfake.Ports(port), kfake.DataDir(dir))
	if err := sendPage(t, out, "during", 10); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, m := range consume(t, second, inventoryTopic) {
		ids[string(m.Key[bytes.LastIndexByte(m.Key, '/')+1:])] = true
	}
	if len(ids) != 20 {
		t.Errorf("%d resources arrived, want 20: %v", len(ids), ids)
	}
}

// Send waits for temporary errors to pass; permanent ones are returned with their name and a hint.
func TestKafkaBrokerErrors(t *testing.T) {
	for name, c := range map[string]struct {
		err   *kerr.Error
		count int
		hint  string
	}{
		"a leader moves":               {kerr.NotLeaderForPartition, 2, ""},
		"a replica is slow":            {kerr.NotEnoughReplicasAfterAppend, 1, ""},
		"replicas are missing":         {kerr.NotEnoughReplicas, -1, "min.insync.replicas"},
		"a timestamp out of bounds":    {kerr.InvalidTimestamp, -1, "message.timestamp"},
		"a policy forbids":             {kerr.PolicyViolation, -1, "policy"},
		"idempotent writes are denied": {kerr.ClusterAuthorizationFailed, -1, "IdempotentWrite"},
		"it fails":                     {kerr.UnknownServerError, -1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := brokers(t, kfake.SeedTopics(1, inventoryTopic))
			cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: c.err, Count: c.count})
			o := kafkaOptions(t, cluster)
			o.Timeout = config.Duration(3 * time.Second)
			err := sendPage(t, openKafka(t, o), "i", 2)
			if c.count > 0 {
				if n := messageCount(cluster, inventoryTopic); err != nil || n < 2 {
					t.Errorf("%v, %d messages", err, n)
				}
				return
			}
			if !errors.Is(err, c.err) || !strings.Contains(record.HintOf(err), c.hint) {
				t.Errorf("%v (hint %q)", err, record.HintOf(err))
			}
			if errors.Is(err, outputs.ErrRefused) != (c.err == kerr.InvalidTimestamp) {
				t.Errorf("refused: %v", err)
			}
			if errors.Is(err, outputs.ErrReceiverFailed) != (c.err == kerr.UnknownServerError) {
				t.Errorf("receiver failed: %v", err)
			}
		})
	}
}

// A broker that receives a request and never answers blocks neither a Send whose context ends nor Close.
func TestKafkaBrokerHangs(t *testing.T) {
	hung := func(t *testing.T) (*kfake.Cluster, <-chan struct{}) {
		c := brokers(t, kfake.SeedTopics(1, inventoryTopic))
		asked := make(chan struct{}, 100)
		c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			asked <- struct{}{}
			return nil, nil, true // received, never answered
		})
		return c, asked
	}
	await := func(t *testing.T, asked <-chan struct{}, sent <-chan error) {
		t.Helper()
		select {
		case <-asked:
		case err := <-sent:
			t.Fatalf("Send did not wait: %v", err)
		}
	}
	quick := func(t *testing.T, what string, begin time.Time) {
		t.Helper()
		if took := time.Since(begin); took > 15*time.Second { // the client's own limits are longer
			t.Errorf("%s took %s", what, took)
		}
	}
	one := outputstest.SmallBatch("h", 1)
	t.Run("a context ends", func(t *testing.T) {
		c, asked := hung(t)
		out := openKafka(t, kafkaOptions(t, c))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		sent := make(chan error, 1)
		go func() { sent <- out.Send(ctx, one) }()
		await(t, asked, sent)
		begin := time.Now()
		cancel()
		if err := <-sent; !errors.Is(err, context.Canceled) {
			t.Errorf("Send: %v", err)
		}
		quick(t, "Send", begin)
	})
	t.Run("its timeout ends", func(t *testing.T) {
		c, _ := hung(t)
		o := kafkaOptions(t, c)
		o.Timeout = config.Duration(time.Second)
		begin := time.Now()
		err := sendPage(t, openKafka(t, o), "h", 1)
		if record.ReasonOf(err) != record.TimedOut || !strings.Contains(err.Error(), "no answer within 1s") ||
			record.HintOf(err) == "" {
			t.Errorf("%v (%s; hint %q)", err, record.ReasonOf(err), record.HintOf(err))
		}
		quick(t, "Send", begin)
	})
	t.Run("it is closed", func(t *testing.T) {
		c, asked := hung(t)
		out := openKafka(t, kafkaOptions(t, c))
		sent := make(chan error, 1)
		go func() { sent <- out.Send(context.Background(), one) }()
		await(t, asked, sent)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if err := out.Close(ctx); err != nil {
			t.Error(err)
		}
		quick(t, "Close", begin)
		if err := <-sent; !errors.Is(err, outputs.ErrClosed) {
			t.Errorf("the Send under way: %v", err)
		}
	})
}

// A broker that closes the connection after each request fails the Send before its timeout, although some messages may
// have arrived.
func TestKafkaBrokerCloses(t *testing.T) {
	c := brokers(t, kfake.SeedTopics(1, inventoryTopic))
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		return nil, errors.New("hang up"), true
	})
	o := kafkaOptions(t, c)
	o.Timeout = config.Duration(time.Minute)
	begin := time.Now()
	err := sendPage(t, openKafka(t, o), "i", 1)
	if err == nil || errors.Is(err, outputs.ErrRefused) || record.HintOf(err) == "" {
		t.Errorf("%v (hint %q)", err, record.HintOf(err))
	}
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
}
