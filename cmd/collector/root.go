package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/internal/printable"
	"github.com/aws-collector/collector/record"
)

func hintOf(err error) string { return record.HintOf(err) }

// cli holds what every command needs from the environment, and the flags that all commands share.
type cli struct {
	config         *configfile.Source
	stdout, stderr io.Writer // for people; see package printer

	logLevel, logFormat string
	raw                 bool // of the command that runs; see printer.RawCSV
}

// loadConfig reads the configuration. Its errors are usage errors; with one, the result has only the inputs.
func (c *cli) loadConfig(ctx context.Context) (*configfile.Loaded, error) {
	l, err := c.config.Load(ctx)
	return l, usageError(err)
}

func (c *cli) getenv(name string) string { return c.config.Getenv(name) }

// run is the whole program, without the process.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	human := [...]*printable.Writer{printable.NewWriter(stdout), printable.NewWriter(stderr)}
	source := &configfile.Source{Getenv: getenv, Environ: os.Environ, Stdin: os.Stdin}
	c := &cli{config: source, stdout: human[0], stderr: human[1]}
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

// root returns the command tree; args are the arguments to run it with.
func (c *cli) root(args []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "collector",
		Short: "Inventory every EC2 resource in every AWS account, on a schedule",
		Long: `collector lists the EC2 resources of all AWS accounts that a YAML file names. It runs on a cron schedule,
supports every way to sign in to an account, stores what it finds and sends it to outputs.

To see it work without AWS, run "collector demo". To use it, run "collector init", edit
config.yaml, and run "collector check".`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(cmd *cobra.Command, _ []string) {
			c.raw, _ = cmd.Flags().GetBool("raw") // the error means that the command has no CSV
		},
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetArgs(args)
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if of := serverFlagError(cmd, err); of != nil {
			return usageError(of)
		}
		return usageError(fmt.Errorf("%w; see %q", err, cmd.CommandPath()+" --help"))
	})
	f := root.PersistentFlags()
	f.StringVarP(&c.config.Path, "config", "c", envOr(c.getenv, "COLLECTOR_CONFIG", "config.yaml"),
		"configuration `FILE`; - reads standard input, and a pipe works too; environment: COLLECTOR_CONFIG")
	f.StringVar(&c.logLevel, "log-level", envOr(c.getenv, "COLLECTOR_LOG_LEVEL", "info"),
		"log `LEVEL`: debug, info, warn or error; environment: COLLECTOR_LOG_LEVEL")
	f.StringVar(&c.logFormat, "log-format", envOr(c.getenv, "COLLECTOR_LOG_FORMAT", "text"),
		"log `FORMAT`: text or json; environment: COLLECTOR_LOG_FORMAT")
	f.BoolVar(&c.config.Strict, "strict", false, "treat warnings about the configuration as errors, and refuse cleartext")
	root.AddCommand(
		c.runCommand(), c.demoCommand(), c.validateCommand(), c.checkCommand(), c.policyCommand(), c.kindsCommand(),
		c.schemaCommand(), c.listCommand(), c.findCommand(), c.queryCommand(),
		c.getCommand(), c.historyCommand(), c.diffCommand(), c.changesCommand(),
		c.statusCommand(), c.runsCommand(), c.sqlCommand(), c.dbCommand(), c.loginCommand(), c.acceptCommand(),
		c.startCommand(), c.cancelCommand(), c.pauseCommand(), c.resumeCommand(), c.acknowledgeCommand(),
		c.healthcheckCommand(), c.versionCommand(), c.importCommand(),
		c.explainCommand(), c.initCommand(), c.completionCommand(), c.manualCommand(),
	)
	root.Version = versionText()
	root.SetVersionTemplate("{{.Version}}\n")
	c.addCompletions(root)
	addTopics(root)
	explainArguments(root)
	wrapHelp(root)
	return root
}

// isUsageError recognizes errors about the command line that cobra returns without a type.
func isUsageError(err error) bool {
	s := err.Error()
	prefixes := []string{
		"unknown command ", "unknown flag", "accepts ", "requires at least", "invalid argument", "required flag",
		"if any flags in the group",
	}
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

func envOr(getenv func(string) string, name, fallback string) string {
	if v := getenv(name); v != "" {
		return v
	}
	return fallback
}

// logger returns a logger that writes to w. Logs go to stderr: stdout is for data.
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

// out is where a command writes in a format.
func (c *cli) out(format string) io.Writer { return printer.For(format, c.stdout, c.raw) }

// supportsControls reports whether w is a terminal that obeys control sequences.
func (c *cli) supportsControls(w io.Writer) bool {
	kind := c.getenv("TERM")
	return printer.IsTerminal(printable.Unwrap(w)) && kind != "" && kind != "dumb"
}

// supportsLiveView reports whether the live view may be drawn on w.
func (c *cli) supportsLiveView(w io.Writer) bool {
	return c.supportsControls(w) && c.getenv("NO_COLOR") == ""
}
