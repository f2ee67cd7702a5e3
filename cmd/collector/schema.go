package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/account"
	"github.com/aws-collector/collector/cmd/collector/internal/configfile"
	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
)

func (c *cli) schemaCommand() *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, or of the records of a kind",
		Long: `Prints the JSON Schema of the configuration, for editors and CI. With --kind, prints the schema of the
member "data" in the records of that kind. It has the members that AWS documents. AWS may omit any of them, and may
add others.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			schema := func() ([]byte, error) { return config.Schema(configfile.KnownNames()) }
			if cmd.Flags().Changed("kind") {
				name, err := account.Catalogue().Pattern(kind)
				if err != nil {
					return usageError(fmt.Errorf("--kind: %w", err))
				}
				k, ok := collectors.KindNamed(name)
				if !ok {
					return usageError(fmt.Errorf("--kind %q: unknown kind; see %q", kind, "collector kinds"))
				}
				schema = k.DataSchema
			}
			b, err := schema()
			if err != nil {
				return err
			}
			_, err = c.out("json").Write(b)
			return err
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "", "print the schema of the data of this `KIND`")
	return cmd
}
