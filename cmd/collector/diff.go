package main

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
)

func changeRow(l inventory.ChangeLine) map[string]any {
	what := l.Change
	if l.Ended != "" {
		what += " (" + l.Ended + ")"
	}
	row := map[string]any{
		"change": what, "kind": l.Kind, "id": l.ID, "name": l.Name, "account": l.Account, "region": l.Region,
		"changes": formatDeltas(l.Changes),
	}
	if l.At != nil {
		row["at"] = query.CellText(*l.At)
	}
	return row
}

func (c *cli) diffCommand() *cobra.Command {
	var q queryFlags
	cmd := &cobra.Command{
		Use:   "diff --from TIME [--to TIME]",
		Short: "Show what was added, changed and gone between two times",
		Long: `Compares the resources at two times. Shows how many resources of each kind were added, changed and gone,
and lists them. A resource that changed and changed back counts as unchanged. The formats json, jsonl and csv have the
resources without the counts.

` + whereHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			question, err := q.question()
			if err != nil {
				return err
			}
			if question.From.IsZero() {
				return usageError(errors.New("collector diff needs --from TIME, such as --from 7d"))
			}
			if question.To.IsZero() {
				question.To = q.now
			}
			return c.withAnswers(cmd.Context(), &q, func(from query.Answers) error {
				n, err := c.diff(q.format, from.Diff(cmd.Context(), &question))
				if err != nil {
					return err
				}
				return c.printNotes(cmd.Context(), from, &question, n == 0)
			})
		},
	}
	q.addFlags(cmd, resourceParameters(query.Where, query.From, query.To)...)
	serverFlag(cmd, &q.server)
	return cmd
}

// diff prints changes and, in a table, their number by kind. n is how many there are.
func (c *cli) diff(format string, changes iter.Seq2[inventory.ChangeLine, error]) (n int, err error) {
	l := printer.Table{Columns: []string{"change", "kind", "id", "name", "account", "region", "changes"}}
	counts := map[string]map[string]int{}
	var array []any
	for line, err := range changes {
		if err != nil {
			return n, err
		}
		n++
		switch format {
		case "jsonl":
			if _, err := c.out(format).Write(query.JSONLine(line)); err != nil {
				return n, err
			}
			continue
		case "json":
			array = append(array, line)
			continue
		}
		l.Rows = append(l.Rows, changeRow(line))
		if counts[line.Kind] == nil {
			counts[line.Kind] = map[string]int{}
		}
		counts[line.Kind][line.Change]++
	}
	switch format {
	case "jsonl":
		return n, nil
	case "json":
		return n, printer.JSON(c.out(format), array)
	case "csv":
		return n, l.Print(c.out(format), format)
	}
	sums := printer.Table{Columns: []string{"kind", inventory.WasAdded, inventory.WasChanged, inventory.WasGone}}
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		of := counts[kind]
		sums.Rows = append(sums.Rows, map[string]any{
			"kind": kind, inventory.WasAdded: of[inventory.WasAdded],
			inventory.WasChanged: of[inventory.WasChanged], inventory.WasGone: of[inventory.WasGone],
		})
	}
	if err := sums.Print(c.out(format), format); err != nil || len(l.Rows) == 0 {
		return n, err
	}
	fmt.Fprintln(c.stdout)
	return n, l.Print(c.out(format), format)
}
