package main

import (
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
			question.ID, question.Data = args[0], true
			return c.withStore(cmd.Context(), func(r inventory.Store) error {
				var previous *inventory.Resource
				l := printer.Table{Columns: []string{"valid_from", "valid_to", "account", "region", "state", "what", "changes"}}
				var array []any
				for v, err := range r.History(cmd.Context(), question.Query) {
					if err != nil {
						return err
					}
					line, follows, err := query.NewVersionLine(previous, v)
					if err != nil {
						return err
					}
					what := "appeared"
					if follows {
						what = "changed"
					}
					previous = v
					switch q.format {
					case "jsonl":
						if _, err := c.out(q.format).Write(query.JSONLine(line)); err != nil {
							return err
						}
					case "json":
						array = append(array, line)
					}
					to := query.CellText(timeOrNil(line.ValidTo))
					if v.Ended != "" {
						what += ", then " + v.Ended
					}
					l.Rows = append(l.Rows, map[string]any{
						"valid_from": query.CellText(v.ValidFrom), "valid_to": to, "account": v.Account, "region": v.Region,
						"state": v.State, "what": what, "changes": formatDeltas(line.Changes),
					})
				}
				switch {
				case previous == nil:
					err := fmt.Errorf("no version of a resource with the id %s is stored", question.ID)
					return errors.Join(c.printNotes(cmd.Context(), r, question, true), err)
				case q.format == "jsonl":
					return nil
				case q.format == "json":
					return printer.JSON(c.out(q.format), array)
				}
				return l.Print(c.out(q.format), q.format)
			})
		},
	}
	q.addFlags(cmd, resourceParameters()...)
	return cmd
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
