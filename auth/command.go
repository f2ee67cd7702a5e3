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
	commandWaitDelay = 2 * time.Second // for pipes that a grandchild process keeps open
	maxCommandOutput = 4 << 10         // a code is shorter
)

var sixDigits = regexp.MustCompile(`^[0-9]{6}$`)

// code runs the program without a shell, with the given environment and an empty standard input.
func (c commandCodes) code(ctx context.Context, _ time.Time) (secret.String, int64, error) {
	operation := "token_command " + c.argv[0] // its arguments may be secrets
	const hint = "Run the command yourself, as the user of this process and with its environment, but without the " +
		"variables that the configuration references. It must print 6 digits and nothing else, and must not prompt."
	run, cancel := withTimeout(ctx, c.limit, operation)
	defer cancel()
	cmd := exec.CommandContext(run, c.argv[0], c.argv[1:]...)
	out := &limitedBuffer{remaining: maxCommandOutput}
	cmd.Stdout, cmd.WaitDelay = out, commandWaitDelay
	if c.env != nil {
		cmd.Env = c.env()
	}
	setProcessGroup(cmd)
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return secret.String{}, 0, context.Cause(ctx)
	case run.Err() != nil:
		return secret.String{}, 0, fault(record.MFANeeded, hint, "%w", context.Cause(run))
	case errors.As(err, &exit):
		return secret.String{}, 0, fault(record.MFANeeded, hint, "%s: %s", operation, exit.ProcessState)
	case err != nil:
		return secret.String{}, 0, fault(record.MFANeeded,
			"Put the program into PATH or give its full path, and make it executable.", "token_command: %w", err)
	}
	text := strings.TrimSpace(out.String())
	if !sixDigits.MatchString(text) {
		return secret.String{}, 0, fault(record.MFANeeded, hint,
			"%s: printed %d characters instead of a code of 6 digits", operation, len(text))
	}
	return secret.New(text), 0, nil
}

// limitedBuffer stores the beginning of what is written to it, and discards the rest, so that the writer does not
// block.
type limitedBuffer struct {
	bytes.Buffer
	remaining int
}

func (c *limitedBuffer) Write(p []byte) (int, error) {
	kept := p[:min(len(p), c.remaining)]
	c.remaining -= len(kept)
	_, _ = c.Buffer.Write(kept) // does not fail
	return len(p), nil
}
