package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/docs"
)

// addTopics adds the pages of docs as topics of help: `collector help sign-in`, `collector help outputs kafka`.
func addTopics(root *cobra.Command) {
	byName := map[string]*cobra.Command{"": root}
	for _, t := range docs.Topics() {
		parent, name, nested := strings.Cut(t.Name, " ")
		if !nested {
			parent, name = "", t.Name
		}
		topic := &cobra.Command{Use: name, Short: t.About, Long: t.Text, DisableFlagsInUseLine: true}
		byName[t.Name] = topic
		byName[parent].AddCommand(topic)
	}
}
