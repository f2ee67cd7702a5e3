// Command collector inventories every EC2 resource in every AWS account, on a schedule.
//
// main turns signals into a context and an error into an exit code; [run] is the program. Start with [cli.collect] in
// wire.go, which builds the program from top to bottom. Each command has a file of its own.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/internal/memorylimit"
	"github.com/aws-collector/collector/internal/printable"
)

func main() {
	memorylimit.Set(os.Getenv, os.DirFS("/"))
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // a closed standard output is reported by the output that writes to it
	go func() {
		waitForSecondSignal(signals, cancel)
		fmt.Fprintln(os.Stderr, "collector: stopped at once by a second signal")
		os.Exit(exitFailed)
	}()
	os.Exit(exitCode(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr), os.Stderr))
}

// duplicateSignalWindow is how long after the first signal another one counts as the same request to stop. timeout(1)
// signals its child and then the process group, which contains the child; a terminal and a supervisor may both signal.
// A person who wants the program to stop at once signals later than that, or again.
const duplicateSignalWindow = time.Second

// waitForSecondSignal cancels the context at the first signal, and returns at the second.
func waitForSecondSignal(signals <-chan os.Signal, cancel context.CancelCauseFunc) {
	s := <-signals
	first := time.Now()
	cancel(fmt.Errorf("stopped by %s", s))
	for range signals {
		if time.Since(first) >= duplicateSignalWindow {
			return
		}
	}
}

// The exit codes are a contract: a script branches on them.
const (
	exitDone    = 0
	exitFailed  = 1 // nothing was collected, or the program could not continue
	exitUsage   = 2 // bad usage or configuration
	exitPartial = 3 // some targets failed
)

// exitError is an error with its own exit code.
type exitError struct {
	code int
	err  error // nil: everything has been printed already
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

// usageError gives an error the exit code of bad usage.
func usageError(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitUsage, err}
}

// partialError gives an error the exit code of a run that did only a part.
func partialError(err error) error {
	if err == nil {
		return nil
	}
	return &exitError{exitPartial, err}
}

// exitCode prints err and returns its exit code.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return exitDone
	}
	code := exitFailed
	var e *exitError
	if errors.As(err, &e) {
		code = e.code
	}
	text := strings.TrimSpace(printer.ErrorText(err)) // some of the joined errors may have no text
	if text == "" {
		return code
	}
	fmt.Fprintf(stderr, "collector: %s\n", text)
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", printable.Text(hint))
	}
	return code
}
