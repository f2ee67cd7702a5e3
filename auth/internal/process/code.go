// Package process runs the programs that users name for sign-in: a block's token_command, which prints a code, and a
// profile's credential_process, which prints credentials. Nothing that they print is shown in an error, but for a line
// of standard error that cannot be a secret.
package process

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/aws-collector/collector/auth/internal/fault"
	"github.com/aws-collector/collector/record"
	"github.com/aws-collector/collector/secret"
)

const (
	waitDelay     = 2 * time.Second // for pipes that a grandchild process keeps open
	maxCodeOutput = 4 << 10         // a code is shorter, and so is what is shown of standard error
)

var sixDigits = regexp.MustCompile(`^[0-9]{6}$`)

// Code runs a token_command for at most limit, without a shell and with an empty standard input, and returns the code
// that it prints. env is its environment; nil: that of this process. Its standard error is not shown, because it may
// hold a secret.
func Code(ctx context.Context, argv []string, env func() []string, limit time.Duration) (secret.String, error) {
	operation := "token_command " + argv[0] // its arguments may be secrets
	const hint = "Run the command yourself, as the user of this process and with its environment, but without the " +
		"variables that the configuration references. It must print 6 digits and nothing else, and must not prompt."
	run, cancel := fault.WithTimeout(ctx, limit, operation)
	defer cancel()
	cmd := exec.CommandContext(run, argv[0], argv[1:]...)
	out := &limitedBuffer{remaining: maxCodeOutput}
	cmd.Stdout, cmd.WaitDelay = out, waitDelay
	if env != nil {
		cmd.Env = env()
	}
	setProcessGroup(cmd)
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return secret.String{}, context.Cause(ctx)
	case run.Err() != nil:
		return secret.String{}, fault.New(record.MFANeeded, hint, "%w", context.Cause(run))
	case errors.As(err, &exit):
		return secret.String{}, fault.New(record.MFANeeded, hint, "%s: %s", operation, exit.ProcessState)
	case err != nil:
		return secret.String{}, fault.New(record.MFANeeded,
			"Put the program into PATH or give its full path, and make it executable.", "token_command: %w", err)
	}
	text := strings.TrimSpace(out.String())
	if !sixDigits.MatchString(text) {
		return secret.String{}, fault.New(record.MFANeeded, hint,
			"%s: printed %d characters instead of a code of 6 digits", operation, len(text))
	}
	return secret.New(text), nil
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
