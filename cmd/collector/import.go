package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/config/importers"
	"github.com/aws-collector/collector/internal/userfile"
)

func (c *cli) importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FORMAT FILE",
		Short: "Print a configuration that does what another tool's configuration does",
		Long: `Reads the configuration of another tool and prints the account blocks that sign in to the same accounts, as a
configuration of collector. Comments at its top say what could not be carried over, and why. A secret in the file is
not printed: the block refers to an environment variable, and a comment has the command that sets it. The command makes
no AWS calls.`,
		Example: "  collector import aws-config ~/.aws/config > config.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, f := range importers.Formats {
		cmd.AddCommand(&cobra.Command{
			Use:   f.Name + " FILE",
			Short: "Read " + f.About,
			Args:  cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				text, _, err := userfile.ReadAny(cmd.Context(), args[0], config.MaxFile)
				if err != nil {
					return usageError(err)
				}
				made, err := f.Import(args[0], text, configfile.KnownNames().Kinds)
				if err != nil {
					return usageError(fmt.Errorf("import %s: %w", f.Name, err))
				}
				var errs []error
				for line := range strings.Lines(made) {
					errs = append(errs, printer.Fprintf(c.stdout, "%s\n", strings.TrimSuffix(line, "\n")))
				}
				return errors.Join(errs...)
			},
		})
	}
	return cmd
}
