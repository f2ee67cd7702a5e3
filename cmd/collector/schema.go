package main

import (
	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/config"
)

func (c *cli) schemaVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for editors and CI",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b, err := config.Schema(known())
			if err != nil {
				return err
			}
			_, err = c.stdout.Write(b)
			return err
		},
	}
}
