package auth

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

const (
	commandTimeout   = 30 * time.Second
	commandWaitDelay = 2 * time.Second // for pipes that a grandchild holds open
	maxCommandOutput = 4 << 10         // more is no code
)

var sixDigits = regexp.MustCompile(`^[0-9]{6}$`)

// code runs the program, without a shell, with the environment of this process and nothing on its standard input.
func (c commandCodes) code(ctx context.Context, _ time.Time) (secret.String, int64, error) {
	what := "token_command " + c.argv[0] // its arguments may be secrets
	const byHand = "run the command by hand, as the user of this process and with its environment; it must print 6 digits and nothing else, and may ask nobody"
	run, cancel := withTimeout(ctx, c.limit, what)
	defer cancel()
	cmd := exec.CommandContext(run, c.argv[0], c.argv[1:]...)
	out := &limitedBuffer{remaining: maxCommandOutput}
	cmd.Stdout, cmd.WaitDelay = out, commandWaitDelay
	setProcessGroup(cmd)
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return secret.String{}, 0, context.Cause(ctx)
	case run.Err() != nil:
		return secret.String{}, 0, fault(record.MFANeeded, byHand, "%w", context.Cause(run))
	case errors.As(err, &exit):
		return secret.String{}, 0, fault(record.MFANeeded, byHand, "%s: %s", what, exit.ProcessState)
	case err != nil:
		return secret.String{}, 0, fault(record.MFANeeded, "the program must be in PATH or be named with its whole path, and executable", "token_command: %w", err)
	}
	text := strings.TrimSpace(out.String())
	if !sixDigits.MatchString(text) {
		return secret.String{}, 0, fault(record.MFANeeded, byHand, "%s: printed %d characters that are no code of 6 digits", what, len(text))
	}
	return secret.New(text), 0, nil
}

// limitedBuffer keeps the beginning of what is written to it, and takes the rest, so that the writer does not hang.
type limitedBuffer struct {
	bytes.Buffer
	remaining int
}

func (c *limitedBuffer) Write(p []byte) (int, error) {
	keep := p[:min(len(p), c.remaining)]
	c.remaining -= len(keep)
	_, _ = c.Buffer.Write(keep) // does not fail
	return len(p), nil
}
