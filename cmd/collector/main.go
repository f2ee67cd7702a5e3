// Command collector calls the roll of every EC2 resource in every AWS account, on a schedule.
//
// main turns signals into a context and an error into an exit code; [run] is the program. What it does is in wire.go, top
// to bottom; each verb has a file.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/aws-collector/collector/internal/printable"
)

// gcPercent is Go's GOGC where the environment does not say: how much a heap may grow by of what lives in it. Half of it costs
// some 4 % of CPU beside Go's own 100, as most of what a run allocates dies at once. Of thousands of accounts so much is kept
// that a quarter is enough: with ten thousand it takes 12 MiB off the peak of 111, and adds a tenth to the CPU.
func gcPercent(accounts int) int {
	if accounts >= 2000 {
		return 25
	}
	return 50
}

// setGCPercent is for so many accounts; whoever sets GOGC knows better.
func setGCPercent(getenv func(string) string, accounts int) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent(accounts))
	}
}

func main() {
	setGCPercent(os.Getenv, 0)
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // a reader of standard output that has gone is an output's trouble, and it says so
	go func() {
		waitForSecondSignal(signals, cancel)
		fmt.Fprintln(os.Stderr, "collector: stopped at once by a second signal")
		os.Exit(exitFailed)
	}()
	os.Exit(exitCode(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr), os.Stderr))
}

// duplicateSignalWindow is how long after the first signal another one is still the first: timeout(1) signals its child and then the process
// group, which is the child again; a terminal and a supervisor may both signal. A person who means it asks later, or again.
const duplicateSignalWindow = time.Second

// waitForSecondSignal cancels at the first signal, and returns at the second.
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
	exitFailed  = 1 // nothing collected, or the program could not go on
	exitUsage   = 2 // bad usage or configuration
	exitPartial = 3 // some targets failed
)

// An exitError is an error that has an exit code of its own.
type exitError struct {
	code int
	err  error // nil where what there is to say has been said
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error { return &exitError{exitUsage, err} }

// exitCode prints err, once, and says which code it is.
func exitCode(err error, stderr io.Writer) int {
	if err == nil {
		return exitDone
	}
	code := exitFailed
	var e *exitError
	if errors.As(err, &e) {
		code = e.code
	}
	text := strings.TrimSpace(errorText(err)) // of joined errors, some may have nothing to say
	if text == "" {
		return code
	}
	fmt.Fprintf(stderr, "collector: %s\n", text)
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(stderr, "hint: %s\n", printable.Text(hint))
	}
	return code
}
