package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/aws-collector/collector/record"
)

func hintOf(err error) string { return record.HintOf(err) }

// A cli is what every verb needs of the world, and the flags that all of them share.
type cli struct {
	getenv         func(string) string
	stdout, stderr io.Writer

	configPath          string
	logLevel, logFormat string
	strict              bool
}

// run is the program: everything but the process.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	c := &cli{getenv: getenv, stdout: stdout, stderr: stderr}
	root := &cobra.Command{
		Use:   "collector",
		Short: "Calls the roll of every EC2 resource in every AWS account, on a schedule",
		Long: `collector lists every EC2 resource in every AWS account that a YAML file names, on a cron schedule, whichever way each
account signs in, and delivers what it found.

Begin with "collector demo", which needs no AWS; then copy config.example.yaml, and "collector validate".`,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(fmt.Errorf("%w; see %q", err, cmd.CommandPath()+" --help"))
	})
	f := root.PersistentFlags()
	f.StringVarP(&c.configPath, "config", "c", envOr(getenv, "COLLECTOR_CONFIG", "config.yaml"), "configuration `FILE`; COLLECTOR_CONFIG")
	f.StringVar(&c.logLevel, "log-level", envOr(getenv, "COLLECTOR_LOG_LEVEL", "info"), "debug, info, warn or error")
	f.StringVar(&c.logFormat, "log-format", envOr(getenv, "COLLECTOR_LOG_FORMAT", "text"), "text or json")
	f.BoolVar(&c.strict, "strict", false, "refuse a configuration that there is a warning about")
	root.AddCommand(c.runVerb(), c.demoVerb(), c.validateVerb(), c.checkVerb(), c.policyVerb(), c.kindsVerb(), c.schemaVerb(),
		c.listVerb(), c.getVerb(), c.historyVerb(), c.diffVerb(), c.changesVerb(), c.sqlVerb(), c.dbVerb(),
		c.loginVerb(), c.healthcheckVerb(), c.versionVerb())
	err := root.ExecuteContext(ctx)
	if err != nil && isUsage(err) {
		return usage(err)
	}
	return err
}

// isUsage recognises cobra's own complaints about the command line, which have no type.
func isUsage(err error) bool {
	s := err.Error()
	for _, p := range []string{"unknown command ", "unknown flag", "accepts ", "requires at least", "invalid argument", "required flag", "if any flags in the group"} {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

func envOr(getenv func(string) string, name, otherwise string) string {
	if v := getenv(name); v != "" {
		return v
	}
	return otherwise
}

// logger writes to stderr: stdout is for data.
func (c *cli) logger(w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.logLevel)); err != nil {
		return nil, usage(fmt.Errorf("--log-level: %q is not debug, info, warn or error", c.logLevel))
	}
	o := &slog.HandlerOptions{Level: level}
	switch c.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, usage(fmt.Errorf("--log-format: %q is not text or json", c.logFormat))
}

// terminal reports whether w is a terminal on which a live display may be drawn.
func (c *cli) terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && c.getenv("NO_COLOR") == "" && c.getenv("TERM") != "dumb"
}
