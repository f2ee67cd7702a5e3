package outputs

import (
	"fmt"
)

// BatchingErrors validates the sizes.
func (b *Batching) BatchingErrors() []error {
	var errs []error
	if b.MaxRecords < 1 {
		errs = append(errs, fmt.Errorf("max_records: %d is less than 1", b.MaxRecords))
	}
	if b.MaxBytes < 4<<10 {
		errs = append(errs, fmt.Errorf("max_bytes: %s is less than 4KiB, about one record", b.MaxBytes))
	}
	return errs
}
