package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
)

func (c *cli) historyCommand() *cobra.Command {
	var q queryFlags
	cmd := &cobra.Command{
		Use:   "history ID",
		Short: "Show how a resource changed over time, and why it ended",
		Long: `Shows every stored version of the resource with this id, oldest first: when it was valid, what
changed, and why it ended. The reasons are absent (a complete listing did not contain the resource), terminated (the
same, and AWS had reported its termination), account_removed, region_removed and kind_removed (the configuration or AWS
no longer names it).`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			question, err := q.question()
			if err != nil {
				return err
			}
			question.ID = args[0]
			return c.withAnswers(cmd.Context(), &q, func(from query.Answers) error {
				return c.history(cmd.Context(), from, &question, q.format)
			})
		},
	}
	q.addFlags(cmd, resourceParameters()...)
	serverFlag(cmd, &q.server)
	return cmd
}

// history prints the versions of the resources with an id.
func (c *cli) history(ctx context.Context, from query.Answers, q *query.Question, format string) error {
	l := printer.Table{Columns: []string{"valid_from", "valid_to", "account", "region", "state", "what", "changes"}}
	var array []any
	n := 0
	for line, err := range from.History(ctx, q) {
		if err != nil {
			return err
		}
		n++
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
		what := line.What
		if line.Ended != nil {
			what += ", then " + *line.Ended
		}
		l.Rows = append(l.Rows, map[string]any{
			"valid_from": query.CellText(line.ValidFrom), "valid_to": query.CellText(timeOrNil(line.ValidTo)),
			"account": line.Record.Account, "region": line.Record.Region, "state": line.State, "what": what,
			"changes": formatDeltas(line.Changes),
		})
	}
	switch {
	case n == 0:
		err := fmt.Errorf("no version of a resource with the id %s is stored", q.ID)
		return errors.Join(c.printNotes(ctx, from, q, true), err)
	case format == "jsonl":
		return nil
	case format == "json":
		return printer.JSON(c.out(format), array)
	}
	return l.Print(c.out(format), format)
}

func timeOrNil(t *time.Time) any {
	if t == nil {
		return nil
	}
	return *t
}

// formatDeltas formats changes, a line for each.
func formatDeltas(ds []inventory.Delta) printer.Multiline {
	var out printer.Multiline
	for _, d := range ds {
		switch from, to := unquoted(d.From), unquoted(d.To); {
		case string(d.From) == "null":
			out = append(out, "+"+d.Path+"="+to)
		case string(d.To) == "null":
			out = append(out, "-"+d.Path+"="+from)
		default:
			out = append(out, d.Path+": "+from+" → "+to)
		}
	}
	return out
}

func unquoted(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}
