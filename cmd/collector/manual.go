package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func (c *cli) manualCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "manual",
		Short:   "Print the manual page of all commands, for man",
		Long:    "Prints the manual page of all commands. The packages for Debian and Red Hat install it.",
		Example: "  collector manual | man -l -",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m := &manual{out: c.stdout}
			m.page(cmd.Root())
			return m.err
		},
	}
}

// manual writes a manual page in roff, with the macros of package man.
type manual struct {
	out io.Writer
	err error
}

func (m *manual) linef(format string, args ...any) {
	if m.err == nil {
		_, m.err = fmt.Fprintf(m.out, format+"\n", args...)
	}
}

// roffEscapes keeps hyphens as typed, so that a command can be copied from the page.
var roffEscapes = strings.NewReplacer(`\`, `\e`, "-", `\-`)

// roff returns a line of text. A full stop or an apostrophe at its beginning would be a request.
func roff(line string) string {
	line = roffEscapes.Replace(line)
	if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
		return `\&` + line
	}
	return line
}

func (m *manual) page(root *cobra.Command) {
	b := buildInfo()
	m.linef(`.TH COLLECTOR 1 "%s" "collector %s" "User Commands"`, b.date, b.version)
	m.linef(".SH NAME\ncollector \\- %s", roff(root.Short))
	m.linef(".SH SYNOPSIS\n.B collector\n.I COMMAND\n[flags]")
	m.linef(".SH DESCRIPTION")
	m.text(root.Long)
	m.linef(".SH COMMANDS")
	m.commands(root)
	m.linef(".SH OPTIONS OF ALL COMMANDS")
	m.flags(root.PersistentFlags())
	m.linef(".SH EXIT STATUS")
	for _, row := range [...][2]string{
		{"0", "Done."},
		{"1", "Failed: nothing was collected, or the command could not continue."},
		{"2", "Wrong usage or a wrong configuration."},
		{"3", "Done in part."},
	} {
		m.linef(".TP\n.B %s\n%s", row[0], roff(row[1]))
	}
	m.linef(".SH FILES")
	m.linef(".TP\n.I config.yaml\nThe configuration, if neither \\-\\-config nor COLLECTOR_CONFIG names another file.")
	m.linef(".TP\n.I /etc/collector/config.yaml\nThe configuration of the service that the packages install.")
}

func (m *manual) commands(of *cobra.Command) {
	for _, cmd := range of.Commands() {
		if !cmd.IsAvailableCommand() {
			continue
		}
		if cmd.Runnable() && !cmd.HasAvailableSubCommands() {
			m.linef(".SS %s", roff(cmd.UseLine()))
			if cmd.Long != "" {
				m.text(cmd.Long)
			} else {
				m.text(cmd.Short + ".")
			}
			if cmd.Example != "" {
				m.linef(".PP\n.nf")
				m.lines(cmd.Example)
				m.linef(".fi")
			}
			m.flags(cmd.LocalNonPersistentFlags())
		}
		m.commands(cmd)
	}
}

// text writes paragraphs. Indented lines are examples or tables: their line ends stay.
func (m *manual) text(text string) {
	for i, paragraph := range strings.Split(text, "\n\n") {
		if i > 0 {
			m.linef(".PP")
		}
		indented := strings.HasPrefix(paragraph, " ")
		if indented {
			m.linef(".nf")
		}
		m.lines(paragraph)
		if indented {
			m.linef(".fi")
		}
	}
}

func (m *manual) lines(text string) {
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		m.linef("%s", roff(line))
	}
}

func (m *manual) flags(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "version" {
			return
		}
		name, usage := pflag.UnquoteUsage(f)
		short := ""
		if f.Shorthand != "" {
			short = "-" + f.Shorthand + ", "
		}
		m.linef(".TP\n.B %s", roff(strings.TrimSpace(short+"--"+f.Name+" "+name)))
		if !slices.Contains([]string{"", "0", "0s", "false", "[]"}, f.DefValue) {
			usage += " (default " + f.DefValue + ")"
		}
		m.lines(usage)
	})
}
