package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // RFC 6238's, and that of every MFA device of AWS
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"hash"
	"strings"
	"time"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/auth/internal/process"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// A codeSource gives the one-time codes of an MFA device.
type codeSource interface {
	// name is the key of the block that configures the source.
	name() string
	// key identifies the source by a hash, as in [Step].
	key() string
	// unattended reports whether the source can give a code at any time, so that sessions are renewed without a person.
	unattended() bool
	// code returns the code of the window that contains at, by AWS's clock. counter is the number of the window; 0:
	// unknown.
	code(ctx context.Context, at time.Time) (code secret.String, counter int64, err error)
	// period is the length of a window.
	period() time.Duration
}

// newCodeSource returns the source of the block's codes; nil: there is none. env is the environment of a command; nil:
// that of this process.
func newCodeSource(a config.Account, env func() []string) (codeSource, error) {
	switch {
	case !a.TOTPSeed.IsZero():
		t, err := config.ParseTOTP(a.TOTPSeed.Reveal())
		if err != nil {
			return nil, fault.New(record.MFANeeded, "Check the value that `totp_seed` refers to.", "totp_seed %w", err)
		}
		return seedCodes{t}, nil
	case len(a.TokenCommand) > 0:
		return commandCodes{a.TokenCommand, commandTimeout, env}, nil
	case !a.TokenCode.IsZero():
		return literalCode{a.TokenCode}, nil
	}
	return nil, nil
}

const codePeriod = 30 * time.Second // of AWS's devices

// literalCode is a code that a person gave. It can be used once.
type literalCode struct{ text secret.String }

func (literalCode) name() string          { return "`token_code`" }
func (c literalCode) key() string         { return "code " + hashSecret(c.text.Reveal()) }
func (literalCode) unattended() bool      { return false }
func (literalCode) period() time.Duration { return codePeriod }

func (c literalCode) code(context.Context, time.Time) (secret.String, int64, error) {
	return c.text, 0, nil
}

// seedCodes computes codes from the device's seed.
type seedCodes struct{ config.TOTP }

func (seedCodes) name() string { return "`totp_seed`" }
func (c seedCodes) key() string {
	return "seed " + hashSecret(c.Key.Reveal()+c.Algorithm+c.Period.String())
}
func (seedCodes) unattended() bool        { return true }
func (c seedCodes) period() time.Duration { return c.Period }

func (c seedCodes) code(_ context.Context, at time.Time) (secret.String, int64, error) {
	counter, _ := codeWindow(at, c.Period)
	return secret.New(totpCode(c.TOTP, counter)), counter, nil
}

// codeWindow returns the number of the window that contains at, and the rest of its time.
func codeWindow(at time.Time, period time.Duration) (counter int64, left time.Duration) {
	seconds := int64(period / time.Second)
	elapsed := time.Duration(at.Unix()%seconds)*time.Second + time.Duration(at.Nanosecond())
	return at.Unix() / seconds, period - elapsed
}

// totpCode is the device's code in the window of this number, counted from 1970.
// https://www.rfc-editor.org/rfc/rfc6238, https://www.rfc-editor.org/rfc/rfc4226#section-5.3
func totpCode(t config.TOTP, counter int64) string {
	h := map[string]func() hash.Hash{"SHA256": sha256.New, "SHA512": sha512.New}[t.Algorithm]
	if h == nil {
		h = sha1.New
	}
	m := hmac.New(h, []byte(t.Key.Reveal()))
	_, _ = m.Write(binary.BigEndian.AppendUint64(nil, uint64(counter))) // a hash's Write does not fail
	sum := m.Sum(nil)
	at := sum[len(sum)-1] & 15
	n := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	mod := uint32(1)
	for range t.Digits {
		mod *= 10
	}
	return fmt.Sprintf("%0*d", t.Digits, n%mod)
}

// commandTimeout is the limit of one run of a token_command.
const commandTimeout = 30 * time.Second

// commandCodes runs a program for each code, which it prints on standard output.
type commandCodes struct {
	argv  []string
	limit time.Duration // for one run
	env   func() []string
}

func (commandCodes) name() string          { return "`token_command`" }
func (c commandCodes) key() string         { return "command " + hashSecret(strings.Join(c.argv, "\x00")) }
func (commandCodes) unattended() bool      { return true }
func (commandCodes) period() time.Duration { return codePeriod }

func (c commandCodes) code(ctx context.Context, _ time.Time) (secret.String, int64, error) {
	code, err := process.Code(ctx, c.argv, c.env, c.limit)
	return code, 0, err
}
