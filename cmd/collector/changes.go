package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/aws-collector/collector/cmd/collector/internal/printer"
	"github.com/aws-collector/collector/query"
)

func (c *cli) changesCommand() *cobra.Command {
	var q queryFlags
	var follow bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "changes",
		Short: "Show what was added, changed and gone since a time, in order",
		Long: `Shows each change since a time, oldest first. With --follow, it also shows new changes until you press
Ctrl-C. The command also works while a collector runs.

To continue after the last change that you have seen, pass the value of its "at" field as --since: changes at exactly
that time are not shown again.

` + whereHelp,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			question, err := q.question()
			if err != nil {
				return err
			}
			after := question.Since
			switch {
			case !after.IsZero():
			case follow:
				after = q.now
			default:
				after = q.now.Add(-24 * time.Hour)
			}
			return c.withAnswers(cmd.Context(), &q, func(from query.Answers) error {
				n, err := c.changes(cmd.Context(), from, changesOptions{q.format, &question, after, follow, every})
				if err != nil || follow {
					return err
				}
				return c.printNotes(cmd.Context(), from, &question, n == 0)
			})
		},
	}
	q.addFlags(cmd, resourceParameters(query.Where, query.ChangesSince)...)
	serverFlag(cmd, &q.server)
	since := cmd.Flags().Lookup(query.ChangesSince.FlagName())
	since.DefValue, since.Usage = "1d", since.Usage+"; the default with --follow is now"
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "continue with new changes until Ctrl-C")
	cmd.Flags().DurationVar(&every, "every", time.Second, "with --follow: how often to look for changes")
	return cmd
}

// changesOptions are the flags of the command, parsed.
type changesOptions struct {
	format string
	query  *query.Question
	after  time.Time
	follow bool
	every  time.Duration
}

// changes prints the changes after an instant, and with follow new changes as they come. With follow, the columns of a
// table are not aligned across prints. n is how many there are.
func (c *cli) changes(ctx context.Context, from query.Answers, o changesOptions) (n int, err error) {
	format, after, follow := o.format, o.after, o.follow
	l := printer.Table{Columns: []string{"at", "change", "kind", "id", "name", "account", "region", "changes"}}
	var array []any
	for {
		for line, err := range from.Changes(ctx, o.query, after) {
			if err != nil {
				if follow && ctx.Err() != nil {
					return n, nil
				}
				return n, err
			}
			after = *line.At
			n++
			switch {
			case format == "jsonl" || follow && format == "json":
				if _, err := c.out(format).Write(query.JSONLine(line)); err != nil {
					return n, err
				}
			case format == "json":
				array = append(array, line)
			default:
				l.Rows = append(l.Rows, changeRow(line))
			}
		}
		if len(l.Rows) > 0 || !follow {
			switch format {
			case "table", "csv":
				if err := l.Print(c.out(format), format); err != nil {
					return n, err
				}
				l.Rows, l.NoHeader = nil, true
			case "json":
				if !follow {
					return n, printer.JSON(c.out(format), array)
				}
			}
		}
		if !follow {
			return n, nil
		}
		select {
		case <-ctx.Done():
			return n, nil // Ctrl-C is the normal end of --follow
		case <-time.After(o.every):
		}
	}
}
