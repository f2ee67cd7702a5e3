package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/config"
	"github.com/aws-collector/collector/query"
)

func (c *cli) queryCommand() *cobra.Command {
	var q listFlags
	cmd := &cobra.Command{
		Use:   "query [NAME]",
		Short: "Ask a saved question of the configuration",
		Long: `Lists the resources that a saved question selects. The configuration has the questions in queries, with the
flags of "collector list" as keys:

  queries:
    old-stopped: {kind: instance, where: state=stopped and state_since older than 30d, sort: state_since}

A flag of the command line replaces the saved one. Without NAME, the command shows the saved questions.`,
		Example: `  collector query
  collector query old-stopped --account prod -o csv`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			saved, err := c.savedQueries(cmd.Context())
			if err != nil {
				return usageError(err)
			}
			if len(args) == 0 {
				return c.printSaved(saved, &q)
			}
			of := saved[args[0]]
			if of == nil {
				return usageError(unknownQuery(args[0], saved))
			}
			maps.Copy(q.values, query.Saved(of.Flags(), q.parameters, q.values))
			return c.list(cmd, &q)
		},
	}
	q.add(cmd, query.OfList())
	return cmd
}

// savedQueries returns the saved questions. Only where one has a reference are the references of the file resolved.
func (c *cli) savedQueries(ctx context.Context) (map[string]*config.Query, error) {
	f, err := c.config.Parse(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range f.Queries {
		for _, value := range q.Flags() {
			if strings.Contains(value, "${") {
				err = c.config.Resolve(ctx, f)
				return f.Queries, err
			}
		}
	}
	return f.Queries, nil
}

func unknownQuery(name string, saved map[string]*config.Query) error {
	names := slices.Sorted(maps.Keys(saved))
	err := fmt.Errorf("no saved question has the name %q", name)
	switch near := query.Nearest(name, names); {
	case len(names) == 0:
		return fmt.Errorf("%w; add it to queries in the configuration", err)
	case near != "":
		return fmt.Errorf("%w; did you mean %s?", err, near)
	}
	return fmt.Errorf("%w; saved are %s", err, strings.Join(names, ", "))
}

// printSaved prints the saved questions, each as one would type it.
func (c *cli) printSaved(saved map[string]*config.Query, q *listFlags) error {
	if err := validateFormat(q.format); err != nil {
		return err
	}
	l := printer.Table{Columns: []string{"name", "query"}}
	for _, name := range slices.Sorted(maps.Keys(saved)) {
		flags, typed := saved[name].Flags(), []string{"collector", "list"}
		for _, p := range q.parameters {
			if value, ok := flags[p.FlagName()]; ok {
				typed = append(typed, "--"+p.FlagName(), shellWord(value))
			}
		}
		l.Rows = append(l.Rows, map[string]any{"name": name, "query": strings.Join(typed, " ")})
	}
	if len(saved) == 0 {
		fmt.Fprintln(c.stderr, "the configuration has no saved question; add one to queries")
	}
	return l.Print(c.out(q.format), q.format)
}

// shellWord quotes a text for a shell where it must.
func shellWord(text string) string {
	special := func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-=/:,@%+", r)
	}
	if text != "" && !strings.ContainsFunc(text, special) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

func (c *cli) completeQueries(cmd *cobra.Command, _ string) []string {
	f, err := c.config.Parse(cmd.Context())
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(f.Queries))
}
