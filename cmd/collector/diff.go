package main

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/inventory"
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
		row["at"] = cellText(*l.At)
	}
	return row
}

func (c *cli) diffCommand() *cobra.Command {
	var q queryFlags
	var from, to string
	cmd := &cobra.Command{
		Use:   "diff --from TIME [--to TIME]",
		Short: "Show what was added, changed and gone between two times",
		Long: `Compares the resources at two times. Shows how many resources of each kind were added, changed and gone,
and lists them. A resource that changed and changed back counts as unchanged. The formats json, jsonl and csv have the
resources without the counts.

` + whereHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			query, err := q.query()
			if err != nil {
				return err
			}
			a, errA := q.parseTime("--from", from)
			b, errB := q.now, error(nil)
			if to != "" {
				b, errB = q.parseTime("--to", to)
			}
			if err := errors.Join(errA, errB); err != nil {
				return usageError(err)
			}
			if !a.Before(b) {
				return usageError(fmt.Errorf("--from %s is not before --to %s", a.Format(time.RFC3339), b.Format(time.RFC3339)))
			}
			query.Data = true
			return c.withStore(cmd.Context(), func(r inventory.Store) error {
				return c.diff(q.format, r.Diff(cmd.Context(), query, a, b))
			})
		},
	}
	q.addFlags(cmd)
	q.addWhereFlag(cmd)
	cmd.Flags().StringVar(&from, "from", "", "the earlier `TIME`: 2026-11-01, 2026-11-01T08:00Z, or 3d for three days ago")
	cmd.Flags().StringVar(&to, "to", "", "the later `TIME`; default: now")
	_ = cmd.MarkFlagRequired("from") // it exists
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
			if _, err := c.out(format).Write(jsonLine(line)); err != nil {
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
