package main

import (
	"context"
	"errors"

	"github.com/aws-collector/collector/inventory"
	"github.com/aws-collector/collector/query"
)

// printNotes says on standard error why an answer is empty, and what it may lack.
func (c *cli) printNotes(ctx context.Context, r inventory.Store, q query.Question, isEmpty bool) error {
	notes, err := q.Notes(ctx, r, isEmpty)
	if err != nil {
		return err
	}
	var errs []error
	for _, note := range notes {
		errs = append(errs, safeFprintf(c.stderr, "note: %s\n", note))
	}
	return errors.Join(errs...)
}
