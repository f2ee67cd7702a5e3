package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/collectors"
	"github.com/aws-collector/collector/config"
)

func (c *cli) schemaCommand() *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print a JSON Schema: of the configuration, or of a kind's records",
		Long: `Prints the JSON Schema of the configuration, for editors and CI. With --kind it is that of the member "data" of the kind's
records, for whoever reads them: the members that AWS documents. AWS sends no member always, and adds others.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			schema := func() ([]byte, error) { return config.Schema(knownNames()) }
			if cmd.Flags().Changed("kind") {
				k, ok := collectors.KindNamed(kind)
				if !ok {
					return usageError(fmt.Errorf("--kind %q: no such kind; see %q", kind, "collector kinds"))
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
	cmd.Flags().StringVar(&kind, "kind", "", "the `KIND` of whose data it is to be")
	return cmd
}
