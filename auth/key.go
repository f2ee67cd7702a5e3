package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// keyStep is the access key in a block.
type keyStep struct {
	id     string
	secret secret.String
	token  secret.String
}

func (*keyStep) constant() {}

func (s *keyStep) Name() string { return "ak " + maskID(s.id) }

func (s *keyStep) Key() string {
	return "ak " + s.id + " " + hashSecret(s.secret.Reveal()) + " " + hashSecret(s.token.Reveal())
}

func (s *keyStep) Retrieve(context.Context, Provider) (aws.Credentials, error) {
	if s.id == "" || s.secret.IsZero() {
		return aws.Credentials{}, fault.New(record.NoCredentials, "Set both `ak_id` and `ak_secret`.",
			"%s: ak_id or ak_secret is missing", s.Name())
	}
	if strings.HasPrefix(s.id, "ASIA") && s.token.IsZero() {
		return aws.Credentials{}, fault.New(record.NoCredentials,
			"Set `session_token` too: a temporary key (ASIA…) does not work without it.",
			"%s: no session token", s.Name())
	}
	c := aws.Credentials{
		AccessKeyID:     s.id,
		SecretAccessKey: s.secret.Reveal(),
		SessionToken:    s.token.Reveal(),
		Source:          "configuration",
	}
	return c, keyNames{"ak_id", "ak_secret", "session_token"}.check(s.Name(), c)
}

// keyNames are the names of a key's parts where it was read.
type keyNames struct{ id, secret, token string }

var (
	variableNames = keyNames{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
	partNames     = keyNames{"the access key id", "the secret access key", "the session token"}
)

// check refuses a key with a character that no key has, such as the line break of a file that was copied into a
// variable. Otherwise the HTTP client refuses the request or AWS the signature, and neither names the cause.
func (n keyNames) check(operation string, c aws.Credentials) error {
	for _, part := range []struct{ name, text string }{
		{n.id, c.AccessKeyID}, {n.secret, c.SecretAccessKey}, {n.token, c.SessionToken},
	} {
		i := strings.IndexFunc(part.text, func(r rune) bool { return r <= ' ' || r >= 0x7f })
		if i < 0 {
			continue
		}
		what := "contains a character that no key has"
		switch trimmed := strings.TrimSpace(part.text); {
		case len(strings.TrimRight(part.text, "\r\n")) == i:
			what = "ends with a line break"
		case len(trimmed) < len(part.text):
			what = "begins or ends with a space"
		}
		return fault.New(record.NoCredentials, "Remove it from the value: "+
			"a line break is often that of a file which was copied with its last line.",
			"%s: %s %s", operation, part.name, what)
	}
	return nil
}

// maskID shows just enough of a key id to tell keys apart.
func maskID(id string) string {
	if len(id) < 12 {
		return "****"
	}
	return id[:4] + "…" + id[len(id)-4:]
}

// hashSecret replaces a secret in a map key.
func hashSecret(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:16])
}

// envStep is `credential_source: Environment`.
type envStep struct{ getenv func(string) string }

func (*envStep) Name() string { return "environment" }
func (*envStep) Key() string  { return "environment" }

func (s *envStep) Retrieve(context.Context, Provider) (aws.Credentials, error) {
	first := func(names ...string) string {
		for _, n := range names {
			if v := s.getenv(n); v != "" {
				return v
			}
		}
		return ""
	}
	c := aws.Credentials{
		AccessKeyID:     first("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"),
		SecretAccessKey: first("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"),
		SessionToken:    first("AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"), // the old name first, as in boto3
		Source:          "environment",
	}
	if !c.HasKeys() {
		return aws.Credentials{}, fault.New(record.NoCredentials,
			"Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or remove `credential_source` to use the default chain.",
			"environment: AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY is not set")
	}
	return c, variableNames.check(s.Name(), c)
}
