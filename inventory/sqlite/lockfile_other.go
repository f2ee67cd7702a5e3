//go:build !unix

package sqlite

import (
	"fmt"
	"os"

	"github.com/aws-collector/collector/internal/statefile"
)

// lockFile opens the file without a lock: the user must ensure that only one process writes the database.
func lockFile(path string) (*os.File, error) {
	f, err := statefile.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return f, nil
}
