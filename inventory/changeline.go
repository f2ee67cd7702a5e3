package inventory

import (
	"fmt"
	"time"

	"github.com/aws-collector/collector/record"
)

// A ChangeLine is a change as JSON. A change of a diff has no At.
type ChangeLine struct {
	At        *time.Time     `json:"at,omitempty"`
	Change    string         `json:"change"`
	Kind      string         `json:"kind"`
	ID        string         `json:"id"`
	Name      string         `json:"name,omitempty"`
	Account   string         `json:"account"`
	AccountID string         `json:"account_id"`
	Partition string         `json:"partition"`
	Region    string         `json:"region"`
	Ended     string         `json:"ended,omitempty"`
	Changes   []Delta        `json:"changes"`
	Record    *record.Record `json:"record"` // after the change; before it if the resource is gone
}

// NewChangeLine returns c as a line, which shares c's record.
func NewChangeLine(c Change) (ChangeLine, error) {
	r := c.Resource()
	l := ChangeLine{Change: c.Op, Kind: r.Kind, ID: r.ID, Name: r.Name, Account: r.Account, AccountID: r.AccountID,
		Partition: r.Partition, Region: r.Region, Changes: []Delta{}, Record: &r.Record}
	if !c.At.IsZero() {
		l.At = &c.At
	}
	switch c.Op {
	case WasChanged:
		var err error
		if l.Changes, err = Deltas(c.Before.Data, c.After.Data); err != nil {
			return l, fmt.Errorf("%s: %w", r.ID, err)
		}
	case WasGone:
		l.Ended = r.Ended
	}
	return l, nil
}
