package inventory

import (
	"fmt"

	"github.com/aws-collector/collector/record"
)

// MaxGone limits how many of a target's resources one listing may end. AWS, a proxy or a policy may show far fewer
// resources than there are, without an error. Such a listing ends none; the next complete listing ends those that it
// does not find either. The zero value is no limit.
type MaxGone struct {
	Percent int // of the resources that the last complete listing found: more than these must be missing
	AtLeast int // and at least so many; 0: no limit
}

// Check returns an error with the reason max_gone if too many of the expected resources are missing.
func (m MaxGone) Check(missing, expected int) error {
	if m.AtLeast == 0 || missing < m.AtLeast || missing*100 <= m.Percent*expected {
		return nil
	}
	return &record.Fault{
		Reason: record.MaxGone,
		Hint: "Find out whether they were deleted. They stay in the inventory until the next " +
			"complete listing does not find them either.",
		Err: fmt.Errorf("%d of %d resources of the last complete listing are missing", missing, expected),
	}
}
