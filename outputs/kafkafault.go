package outputs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/aws-collector/collector/record"
)

// fault names the brokers, and what a person can do. seen is why the last connection failed, or nil. The protocol's errors
// are listed at https://kafka.apache.org/protocol#protocol_error_codes.
func (k *kafka) fault(err, seen error) error {
	switch late := errors.Is(err, errAckTimeout); {
	case seen != nil && (late || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrRecordRetries)):
		err = fmt.Errorf("%w: %w", err, seen)
	case late:
		err = fmt.Errorf("no answer within %s: %w", k.opts.Timeout, err)
	}
	reason, hint := k.reasonAndHint(err)
	return &record.Fault{
		Reason: reason,
		Hint:   hint,
		Err:    fmt.Errorf("kafka %s: %w", strings.Join(k.opts.Brokers, ","), err),
	}
}

// needsOperator reports whether trying again is in vain until somebody does something.
func needsOperator(err error) bool {
	var cert *tls.CertificateVerificationError
	return errors.As(err, &cert) || errors.Is(err, kerr.SaslAuthenticationFailed) ||
		errors.Is(err, kerr.UnsupportedSaslMechanism)
}

func (k *kafka) reasonAndHint(err error) (record.Reason, string) {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		plain   tls.RecordHeaderError
		alert   tls.AlertError
		eof     *kgo.ErrFirstReadEOF
		dns     *net.DNSError
	)
	is := func(errs ...error) bool {
		for _, e := range errs {
			if errors.Is(err, e) {
				return true
			}
		}
		return false
	}
	switch {
	case is(kerr.MessageTooLarge, kerr.RecordListTooLarge):
		return record.Other, "raise the topic's max.message.bytes or the brokers' message.max.bytes, and max_message_bytes here"
	case is(kerr.InvalidRecord, kerr.InvalidTimestamp):
		return record.Other, "see what the topic demands of its messages: cleanup.policy, message.timestamp.before.max.ms and message.timestamp.after.max.ms"
	case is(kerr.UnknownTopicOrPartition, kerr.UnknownTopicID):
		if k.opts.CreateTopics {
			return record.Other, "create the topic: the brokers do not do it by themselves (auto.create.topics.enable)"
		}
		return record.Other, "create the topic, or set create_topics: true where the brokers do it by themselves"
	case is(kerr.InvalidTopicException):
		return record.Other, "Kafka does not take the topic's name: check topic"
	case is(kerr.SaslAuthenticationFailed):
		return record.AccessDenied, "check sasl.username, sasl.password, and that the user exists for this sasl.mechanism"
	case is(kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState):
		return record.AccessDenied, "the brokers take another sasl.mechanism"
	case is(kerr.TopicAuthorizationFailed):
		return record.AccessDenied, "allow this user Write and Describe on the topic" + map[bool]string{true: ", and Create"}[k.opts.CreateTopics]
	case is(kerr.ClusterAuthorizationFailed):
		return record.AccessDenied, "allow this user IdempotentWrite on the cluster, which Kafka before 3.0 demands"
	case is(kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend):
		return record.Other, "too few replicas are in sync (min.insync.replicas): see what is wrong with the other brokers"
	case is(kerr.PolicyViolation):
		return record.Other, "a policy of the brokers is against it: see their logs"
	case errors.As(err, &unknown) && k.opts.TLS.CAFile != "":
		return record.Network, "tls.ca_file does not hold the authority that signed the broker's certificate: add it there, the root, or the intermediate that the broker does not send"
	case errors.As(err, &unknown):
		return record.Network, "who signed the broker's certificate is not known here: name the authority's certificate in tls.ca_file"
	case errors.As(err, &host):
		return record.Network, "the broker's certificate is for another name: use that name in brokers (and in advertised.listeners), or set tls.server_name"
	case errors.As(err, &invalid):
		return record.Network, "the broker's certificate is not valid: renew it there, and see that this machine's clock is right"
	case errors.As(err, &plain):
		return record.Network, "the brokers speak no TLS at this port: take tls away, or give the port that does"
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls"):
		return record.Network, "the broker broke off the handshake: it may want a client's certificate, tls.cert_file and tls.key_file"
	case errors.As(err, &eof),
		is(io.EOF),
		strings.Contains(err.Error(), "plaintext connection speaking to a tls endpoint"):
		hint := "the broker hangs up: it may want TLS at this port (tls.enabled: true)"
		if k.opts.TLS != (KafkaTLS{}) {
			hint = "the broker hangs up: it may want no TLS at this port"
		}
		if k.opts.SASL == (SASL{}) {
			return record.Network, hint + ", or a sign-in (sasl)"
		}
		return record.Network, hint + ", or not take the sign-in: check sasl.mechanism, sasl.username and sasl.password"
	case errors.As(err, &dns):
		return record.Network, "the host's name cannot be resolved: check brokers, and the cluster's advertised.listeners"
	case errors.Is(err, syscall.ECONNREFUSED):
		return record.Network, "nobody listens there: check brokers, the cluster's advertised.listeners, and whether the brokers run"
	case is(context.Canceled):
		return record.Interrupted, ""
	case is(errAckTimeout, context.DeadlineExceeded):
		if k.opts.TLS != (KafkaTLS{}) {
			return record.TimedOut, "the brokers are slow or out of reach, or speak no TLS at this port: check firewalls and the cluster's advertised.listeners, or raise timeout"
		}
		return record.TimedOut, "the brokers are slow or out of reach: check firewalls, the cluster's advertised.listeners and its health, or raise timeout"
	}
	return record.Other, ""
}
