package auth

import (
	"context"
	"strings"
	"time"

	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

// A codeSource gives the one-time codes of a device.
type codeSource interface {
	// name is the key of the block that it comes from.
	name() string
	// key is what it amounts to: a digest, as a [Step]'s.
	key() string
	// unattended reports whether it has a code whenever one is needed, so that sessions are renewed without a person.
	unattended() bool
	// code is the code of the window that an instant of AWS's clock lies in. counter is the window's number, 0 if the source
	// does not tell.
	code(ctx context.Context, at time.Time) (code secret.String, counter int64, err error)
	// period is how long a window is.
	period() time.Duration
}

// newCodeSource is what gives the block's codes, nil if nothing does.
func newCodeSource(a config.Account) (codeSource, error) {
	switch {
	case !a.TOTPSeed.IsZero():
		t, err := config.ParseTOTP(a.TOTPSeed.Reveal())
		if err != nil {
			return nil, fault(record.MFANeeded, "look at what `totp_seed` refers to", "totp_seed %w", err)
		}
		return seedCodes{t}, nil
	case len(a.TokenCommand) > 0:
		return commandCodes{a.TokenCommand, commandTimeout}, nil
	case !a.TokenCode.IsZero():
		return literalCode{a.TokenCode}, nil
	}
	return nil, nil
}

const codePeriod = 30 * time.Second // of the devices that AWS makes

// literalCode is a code that a person gave. It is good once.
type literalCode struct{ text secret.String }

func (literalCode) name() string          { return "`token_code`" }
func (c literalCode) key() string         { return "code " + digest(c.text.Reveal()) }
func (literalCode) unattended() bool      { return false }
func (literalCode) period() time.Duration { return codePeriod }

func (c literalCode) code(context.Context, time.Time) (secret.String, int64, error) {
	return c.text, 0, nil
}

// seedCodes makes codes itself.
type seedCodes struct{ config.TOTP }

func (seedCodes) name() string { return "`totp_seed`" }
func (c seedCodes) key() string {
	return "seed " + digest(c.Key.Reveal()+c.Algorithm+c.Period.String())
}
func (seedCodes) unattended() bool        { return true }
func (c seedCodes) period() time.Duration { return c.Period }

func (c seedCodes) code(_ context.Context, at time.Time) (secret.String, int64, error) {
	counter, _ := codeWindow(at, c.Period)
	return secret.New(totpCode(c.TOTP, counter)), counter, nil
}

// codeWindow is the number of the window that holds an instant, and what is left of it.
func codeWindow(at time.Time, period time.Duration) (counter int64, left time.Duration) {
	seconds := int64(period / time.Second)
	in := time.Duration(at.Unix()%seconds)*time.Second + time.Duration(at.Nanosecond())
	return at.Unix() / seconds, period - in
}

// commandCodes asks a program, each time. What it prints is the code; what it says on standard error is not passed on, as
// nobody can tell what stands in it.
type commandCodes struct {
	argv  []string
	limit time.Duration // of a run
}

func (commandCodes) name() string          { return "`token_command`" }
func (c commandCodes) key() string         { return "command " + digest(strings.Join(c.argv, "\x00")) }
func (commandCodes) unattended() bool      { return true }
func (commandCodes) period() time.Duration { return codePeriod }

// sleep waits, no longer than ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
