package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/record"
)

func hintOf(err error) string { return record.HintOf(err) }

// A cli is what every verb needs of the world, and the flags that all of them share.
type cli struct {
	getenv         func(string) string
	stdout, stderr io.Writer // for people; see out

	configPath          string
	logLevel, logFormat string
	strict              bool

	stdin       io.Reader
	pipedConfig []byte // the configuration, where it came from a pipe
}

// run is the program: everything but the process.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	human := [...]*printable.Writer{printable.NewWriter(stdout), printable.NewWriter(stderr)}
	c := &cli{getenv: getenv, stdin: os.Stdin, stdout: human[0], stderr: human[1]}
	err := c.root(args).ExecuteContext(ctx)
	for _, w := range human {
		if flushed := w.Flush(); err == nil {
			err = flushed
		}
	}
	if err != nil && isUsageError(err) {
		return usageError(err)
	}
	return err
}

// root is the tree of verbs, about to run the one that args name.
func (c *cli) root(args []string) *cobra.Command {
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
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError(fmt.Errorf("%w; see %q", err, cmd.CommandPath()+" --help"))
	})
	f := root.PersistentFlags()
	f.StringVarP(&c.configPath, "config", "c", envOr(c.getenv, "COLLECTOR_CONFIG", "config.yaml"), "configuration `FILE`, or a pipe; - is standard input; COLLECTOR_CONFIG")
	f.StringVar(&c.logLevel, "log-level", envOr(c.getenv, "COLLECTOR_LOG_LEVEL", "info"), "debug, info, warn or error")
	f.StringVar(&c.logFormat, "log-format", envOr(c.getenv, "COLLECTOR_LOG_FORMAT", "text"), "text or json")
	f.BoolVar(&c.strict, "strict", false, "refuse a configuration that there is a warning about")
	root.AddCommand(c.runCommand(), c.demoCommand(), c.validateCommand(), c.checkCommand(), c.policyCommand(), c.kindsCommand(), c.schemaCommand(),
		c.listCommand(), c.getCommand(), c.historyCommand(), c.diffCommand(), c.changesCommand(), c.sqlCommand(), c.dbCommand(),
		c.loginCommand(), c.acceptCommand(), c.healthcheckCommand(), c.versionCommand())
	return root
}

// isUsageError recognises cobra's own complaints about the command line, which have no type.
func isUsageError(err error) bool {
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
		return nil, usageError(fmt.Errorf("--log-level: %q is not debug, info, warn or error", c.logLevel))
	}
	o := &slog.HandlerOptions{Level: level}
	switch c.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(printable.NewWriter(w), o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(printable.NewJSONWriter(w), o)), nil
	}
	return nil, usageError(fmt.Errorf("--log-format: %q is not text or json", c.logFormat))
}

// supportsLiveView reports whether w is a terminal on which a live display may be drawn.
func (c *cli) supportsLiveView(w io.Writer) bool {
	kind := c.getenv("TERM")
	return isTerminal(printable.Unwrap(w)) && c.getenv("NO_COLOR") == "" && kind != "" && kind != "dumb"
}
