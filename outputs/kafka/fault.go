package kafka

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

// fault adds the brokers, a reason and a hint to an error. connErr is why the last connection failed, or nil. The
// protocol's errors are listed at https://kafka.apache.org/protocol#protocol_error_codes.
func (k *output) fault(err, connErr error) error {
	switch timedOut := errors.Is(err, errAckTimeout); {
	case connErr != nil && (timedOut || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrRecordRetries)):
		err = fmt.Errorf("%w: %w", err, connErr)
	case timedOut:
		err = fmt.Errorf("no answer within %s: %w", k.opts.Timeout, err)
	}
	reason, hint := k.reasonAndHint(err)
	return &record.Fault{
		Reason: reason,
		Hint:   hint,
		Err:    fmt.Errorf("kafka %s: %w", strings.Join(k.opts.Brokers, ","), err),
	}
}

// needsOperator reports whether no retry can succeed until somebody changes something.
func needsOperator(err error) bool {
	var cert *tls.CertificateVerificationError
	return errors.As(err, &cert) || errors.Is(err, kerr.SaslAuthenticationFailed) ||
		errors.Is(err, kerr.UnsupportedSaslMechanism)
}

func (k *output) reasonAndHint(err error) (record.Reason, string) {
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
		return record.Other, "Raise the topic's max.message.bytes or the brokers' message.max.bytes, and max_message_bytes."
	case is(kerr.InvalidRecord, kerr.InvalidTimestamp):
		return record.Other, "Check the topic's cleanup.policy, message.timestamp.before.max.ms and " +
			"message.timestamp.after.max.ms: the topic rejects the message."
	case is(kerr.UnknownTopicOrPartition, kerr.UnknownTopicID):
		if k.opts.CreateTopics {
			return record.Other, "Create the topic: auto.create.topics.enable does not let the brokers create it."
		}
		return record.Other, "Create the topic, or set `create_topics: true` if the brokers may create it."
	case is(kerr.InvalidTopicException):
		return record.Other, "Check topic: Kafka does not accept the topic's name."
	case is(kerr.SaslAuthenticationFailed):
		return record.AccessDenied, "Check sasl.username, sasl.password, and that the user exists for this sasl.mechanism."
	case is(kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState):
		return record.AccessDenied, "Set another sasl.mechanism: the brokers do not support this one."
	case is(kerr.TopicAuthorizationFailed):
		if k.opts.CreateTopics {
			return record.AccessDenied, "Allow this user Write, Describe and Create on the topic."
		}
		return record.AccessDenied, "Allow this user Write and Describe on the topic."
	case is(kerr.ClusterAuthorizationFailed):
		return record.AccessDenied, "Allow this user IdempotentWrite on the cluster: Kafka before 3.0 requires it."
	case is(kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend):
		return record.Other, "Check the other brokers: too few replicas are in sync (min.insync.replicas)."
	case is(kerr.PolicyViolation):
		return record.Other, "Check the brokers' logs: a policy of theirs rejects the message."
	case errors.As(err, &unknown) && k.opts.TLS.CAFile != "":
		return record.Network, "Add the authority of the broker's certificate to tls.ca_file: " +
			"the root, or the intermediate that the broker does not send."
	case errors.As(err, &unknown):
		return record.Network, "Set tls.ca_file to the certificate of the authority that signed the broker's certificate."
	case errors.As(err, &host):
		return record.Network, "Use the name of the broker's certificate in brokers and advertised.listeners, " +
			"or set tls.server_name."
	case errors.As(err, &invalid):
		return record.Network, "Renew the broker's certificate, which is not valid, or check this machine's clock."
	case errors.As(err, &plain):
		return record.Network, "Remove tls, or set the brokers' TLS port: this port does not use TLS."
	case errors.As(err, &alert), strings.Contains(err.Error(), "remote error: tls"):
		return record.Network, "Set tls.cert_file and tls.key_file if the brokers require a client certificate: " +
			"the broker ended the TLS handshake."
	case errors.As(err, &eof),
		is(io.EOF),
		strings.Contains(err.Error(), "plaintext connection speaking to a tls endpoint"):
		hint := "Set `tls.enabled: true` if the brokers use TLS on this port"
		if k.opts.TLS != (TLS{}) {
			hint = "Remove tls if the brokers do not use TLS on this port"
		}
		if k.opts.SASL == (SASL{}) {
			return record.Network, hint + ", or set sasl if they require a sign-in: the broker closed the connection."
		}
		return record.Network, hint + ", or check sasl.mechanism, sasl.username and sasl.password: " +
			"the broker closed the connection."
	case errors.As(err, &dns):
		return record.Network, "Check brokers, and the cluster's advertised.listeners: the host name cannot be resolved."
	case errors.Is(err, syscall.ECONNREFUSED):
		return record.Network, "Check brokers, the cluster's advertised.listeners, and that the brokers are running: " +
			"the connection is refused."
	case is(context.Canceled):
		return record.Interrupted, ""
	case is(errAckTimeout, context.DeadlineExceeded):
		if k.opts.TLS != (TLS{}) {
			return record.TimedOut, "Check firewalls, the cluster's advertised.listeners, " +
				"and that the brokers use TLS on this port, or raise timeout: the brokers are slow or cannot be reached."
		}
		return record.TimedOut, "Check firewalls, the cluster's advertised.listeners and its health, " +
			"or raise timeout: the brokers are slow or cannot be reached."
	}
	return record.Other, ""
}
