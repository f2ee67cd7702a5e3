package main

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/spf13/cobra"

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
			if question.To.IsZero() {
				question.To = q.now
			}
			question.Data = true
			return c.withStore(cmd.Context(), func(r inventory.Store) error {
				return c.diff(q.format, r.Diff(cmd.Context(), question.Query, question.From, question.To))
			})
		},
	}
	q.addFlags(cmd, resourceParameters(query.Where, query.From, query.To)...)
	_ = cmd.MarkFlagRequired(query.From.FlagName()) // it exists
	return cmd
}

// diff prints changes and, in a table, their number by kind.
func (c *cli) diff(format string, changes iter.Seq2[inventory.Change, error]) error {
	l := resultTable{columns: []string{"change", "kind", "id", "name", "account", "region", "changes"}}
	counts := map[string]map[string]int{}
	var array []any
	for ch, err := range changes {
		if err != nil {
			return err
		}
		line, err := inventory.NewChangeLine(ch)
		if err != nil {
			return err
		}
		switch format {
		case "jsonl":
			if _, err := c.out(format).Write(query.JSONLine(line)); err != nil {
				return err
			}
			continue
		case "json":
			array = append(array, line)
			continue
		}
		l.rows = append(l.rows, changeRow(line))
		if counts[line.Kind] == nil {
			counts[line.Kind] = map[string]int{}
		}
		counts[line.Kind][line.Change]++
	}
	switch format {
	case "jsonl":
		return nil
	case "json":
		return printJSON(c.out(format), array)
	case "csv":
		return l.print(c.out(format), format)
	}
	sums := resultTable{columns: []string{"kind", inventory.WasAdded, inventory.WasChanged, inventory.WasGone}}
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		n := counts[kind]
		sums.rows = append(sums.rows, map[string]any{
			"kind": kind, inventory.WasAdded: n[inventory.WasAdded],
			inventory.WasChanged: n[inventory.WasChanged], inventory.WasGone: n[inventory.WasGone],
		})
	}
	if err := sums.print(c.out(format), format); err != nil || len(l.rows) == 0 {
		return err
	}
	fmt.Fprintln(c.stdout)
	return l.print(c.out(format), format)
}
